//! One rank of the collective's contract, in its own process.
//!
//! ```text
//! contract_rank RANK SIZE [tcp|nccl] [GPU]
//! ```
//!
//! `scripts/gpu-check` starts SIZE of these. Each prints its address, reads a line with the addresses of all ranks, and
//! prints a line of JSON for every case that passes. After the last case all ranks sum until one of them is killed, and
//! the others print their error. Ranks that share a GPU need different `NCCL_HOSTID`s.

use std::io::{BufRead, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lsgan_collective::contract::processes;
use lsgan_collective::nccl::{self, CONNECT_WITHIN, DRAIN_WITHIN, Library, Nccl, cuda::CudaDevice};
use lsgan_collective::tcp::{self, Listener, Membership, RingKey, RunToken};
use lsgan_collective::{Aborter, Group, GroupError};
use lsgan_spec::Generation;

const USAGE: &str = "usage: contract_rank RANK SIZE [tcp|nccl] [GPU]";

/// NCCL's first communicator loads the kernels; each later one takes a second.
const FORMED_WITHIN: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).map(|text| text.parse::<usize>().expect(USAGE));
    let (rank, size) = (number(0).expect(USAGE), number(1).expect(USAGE));
    let nccl = match arguments.get(2).map_or("nccl", String::as_str) {
        "tcp" => None,
        "nccl" => Some(on_gpu(number(3).unwrap_or(0))),
        _ => panic!("{USAGE}"),
    };

    let mut listener = Listener::on(TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"))
        .expect("a socket that listens");
    say(format_args!(r#"{{"address":"{}"}}"#, listener.local_addr()));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("the members come on a line");
    let members: Vec<SocketAddr> =
        line.split_whitespace().map(|member| member.parse().expect("an address")).collect();
    assert_eq!(members.len(), size, "the members are {line:?}");

    let mut generation = 0;
    let mut form = || {
        generation += 1;
        let membership = Membership {
            token: RunToken([7; 32]),
            key: RingKey { secret: [7; 32], sealed: nccl.is_none() },
            generation: Generation(generation),
            rank,
            members: members.clone(),
        };
        form(nccl.as_ref(), &mut listener, &membership).unwrap_or_else(|error| panic!("{error}"))
    };
    processes::contract(size, &mut form, |case, took| {
        say(format_args!(r#"{{"case":"{}","ms":{}}}"#, case.name, took.as_millis()));
    });
    if size > 1 {
        let error = processes::sum_until_a_death(form(), || say(format_args!(r#"{{"ready":true}}"#)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        say(format_args!(r#"{{"noticed_unix_ms":{},"error":{:?}}}"#, now.as_millis(), error.to_string()));
    }
}

fn on_gpu(index: usize) -> Nccl {
    let library = Library::find(None).unwrap_or_else(|error| panic!("{error}"));
    say(format_args!(r#"{{"nccl":{:?}}}"#, library.description()));
    let device = CudaDevice::new(index).unwrap_or_else(|error| panic!("{error}"));
    Nccl {
        library,
        device: Arc::new(device),
        also_alone: true,
        connect_within: CONNECT_WITHIN,
        drain_within: DRAIN_WITHIN,
    }
}

fn form(
    nccl: Option<&Nccl>,
    listener: &mut Listener,
    membership: &Membership,
) -> Result<Box<dyn Group>, GroupError> {
    let (deadline, aborter) = (Instant::now() + FORMED_WITHIN, Aborter::new()?);
    match nccl {
        None => Ok(Box::new(tcp::connect(listener, membership, deadline, &aborter)?)),
        Some(nccl) => {
            Ok(Box::new(nccl::connect(nccl, listener, membership, deadline, &aborter, &|| ())?.over_nccl()?))
        }
    }
}

/// Prints a line and flushes it.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("standard output is open");
}
