//! All-reduce between two processes, compared with raw sockets between them.
//!
//! `cargo run --release -p lsgan-collective --example all_reduce_bench [rounds]` prints one JSON line. A round measures
//! an all-reduce of 32 MiB of i64 and each kind of raw exchange, one after another, so that other load on the machine
//! affects all of them; figures are medians over the rounds. Between two ranks an all-reduce sends as many bytes in each
//! direction as the values have, and the raw sockets exchange the same, both directions at once. `ratio` compares with
//! the fastest raw kind, `sealed_ratio` an all-reduce whose frames are encrypted with one that is plain.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use lsgan_collective::tcp::{Listener, Membership, RingKey, RunToken, connect};
use lsgan_collective::{Aborter, Group};
use lsgan_spec::Generation;

const EXCHANGED_BYTES: usize = 32 << 20;
const SHORT_CALLS: usize = 1000;
const ROUNDS: usize = 15;

/// A kind of raw exchange.
#[derive(Clone, Copy)]
enum Raw {
    /// Blocking sockets, a sending and a receiving thread, from and to 32 MiB of memory.
    Threads,
    /// The same from and to 128 KiB of memory, which stay in the cache.
    ThreadsInCache,
    /// Non-blocking sockets, one thread that sends and receives in turn, 32 MiB of memory.
    OneThread,
}

const RAWS: [(&str, Raw); 3] = [
    ("two_threads", Raw::Threads),
    ("two_threads_in_cache", Raw::ThreadsInCache),
    ("one_thread", Raw::OneThread),
];

/// One process.
struct Side {
    group: Box<dyn Group>,
    /// Encrypted.
    sealed: Box<dyn Group>,
    to_peer: TcpStream,
    from_peer: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
    values: Vec<i64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [child, address, rounds] if child == "child" => {
            let mut side = second(address.parse().expect("an address"));
            measure(&mut side, rounds.parse().expect("a count"));
        }
        [] => report(ROUNDS),
        [rounds] => report(rounds.parse().expect("usage: all_reduce_bench [rounds]")),
        _ => panic!("usage: all_reduce_bench [rounds]"),
    }
}

fn report(rounds: usize) {
    let (mut side, mut child) = first(rounds);
    let figures = measure(&mut side, rounds);
    let status = child.wait().expect("the child can be waited for");
    assert!(status.success(), "the second process failed: {status}");
    let rate = |seconds: f64| EXCHANGED_BYTES as f64 / seconds;
    let raw: Vec<_> = RAWS.iter().zip(&figures.raw_s).map(|((name, _), s)| (name, rate(*s))).collect();
    let (fastest, raw_rate) =
        raw.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are raw exchanges");
    let raw = raw.iter().map(|(name, rate)| format!("\"{name}\":{rate:.0}")).collect::<Vec<_>>().join(",");
    println!(
        "{{\"bench\":\"all_reduce\",\"ranks\":2,\"bytes\":{EXCHANGED_BYTES},\"rounds\":{rounds},\
         \"bytes_per_s\":{:.0},\"raw_bytes_per_s\":{{{raw}}},\"fastest_raw\":\"{fastest}\",\"ratio\":{:.3},\
         \"sealed_bytes_per_s\":{:.0},\"sealed_ratio\":{:.3},\"call_64_bytes_us\":{:.1},\"call_200000_bytes_us\":{:.1}}}",
        rate(figures.all_reduce_s),
        rate(figures.all_reduce_s) / raw_rate,
        rate(figures.sealed_s),
        figures.all_reduce_s / figures.sealed_s,
        figures.short_s * 1e6,
        figures.middle_s * 1e6,
    );
}

struct Figures {
    all_reduce_s: f64,
    sealed_s: f64,
    raw_s: Vec<f64>,
    short_s: f64,
    middle_s: f64,
}

fn measure(side: &mut Side, rounds: usize) -> Figures {
    let (mut all_reduce, mut all_sealed) = (Vec::new(), Vec::new());
    let mut raws = vec![Vec::new(); RAWS.len()];
    for round in 0..rounds + 1 {
        let ours = timed(side, Side::all_reduce);
        let sealed = timed(side, Side::all_reduce_sealed);
        let raw = RAWS.map(|(_, raw)| timed(side, |side| side.raw(raw)));
        // The first round allocates memory and grows TCP windows.
        if round > 0 {
            all_reduce.push(ours);
            all_sealed.push(sealed);
            raws.iter_mut().zip(raw).for_each(|(all, one)| all.push(one));
        }
    }
    let mut calls = |length: usize| {
        let mut values = vec![1_i64; length];
        let times = (0..SHORT_CALLS).map(|_| {
            values.fill(1);
            let started = Instant::now();
            side.group.all_reduce_i64(&mut values).expect("the other process sums too");
            started.elapsed().as_secs_f64()
        });
        median(times.collect())
    };
    Figures {
        short_s: calls(64 / 8),
        middle_s: calls(200_000 / 8),
        all_reduce_s: median(all_reduce),
        sealed_s: median(all_sealed),
        raw_s: raws.into_iter().map(median).collect(),
    }
}

/// Both processes start together.
fn timed(side: &mut Side, what: impl FnOnce(&mut Side)) -> f64 {
    side.group.barrier().expect("the other process is there");
    let started = Instant::now();
    what(side);
    started.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

impl Side {
    fn all_reduce(&mut self) {
        self.group.all_reduce_i64(&mut self.values).expect("the other process sums too");
    }

    fn all_reduce_sealed(&mut self) {
        self.sealed.all_reduce_i64(&mut self.values).expect("the other process sums too");
    }

    fn raw(&mut self, raw: Raw) {
        match raw {
            Raw::Threads => self.with_threads(EXCHANGED_BYTES),
            Raw::ThreadsInCache => self.with_threads(128 << 10),
            Raw::OneThread => self.with_one_thread(),
        }
    }

    fn with_threads(&mut self, memory_bytes: usize) {
        let Self { to_peer, from_peer, sent, received, .. } = self;
        to_peer.set_nonblocking(false).expect("sockets can be switched");
        from_peer.set_nonblocking(false).expect("sockets can be switched");
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..EXCHANGED_BYTES / memory_bytes {
                    to_peer.write_all(&sent[..memory_bytes]).expect("the other process receives");
                }
            });
            for _ in 0..EXCHANGED_BYTES / memory_bytes {
                from_peer.read_exact(&mut received[..memory_bytes]).expect("the other process sends");
            }
        });
    }

    fn with_one_thread(&mut self) {
        self.to_peer.set_nonblocking(true).expect("sockets can be switched");
        self.from_peer.set_nonblocking(true).expect("sockets can be switched");
        let (mut sent, mut received) = (0, 0);
        while sent < EXCHANGED_BYTES || received < EXCHANGED_BYTES {
            let came =
                (received < EXCHANGED_BYTES).then(|| self.from_peer.read(&mut self.received[received..]));
            let went = (sent < EXCHANGED_BYTES).then(|| self.to_peer.write(&self.sent[sent..]));
            let (came, went) = (moved(came), moved(went));
            received += came;
            sent += went;
            if came + went == 0 {
                thread::yield_now();
            }
        }
    }
}

fn moved(outcome: Option<std::io::Result<usize>>) -> usize {
    match outcome {
        None => 0,
        Some(Ok(count_bytes)) => count_bytes,
        Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => 0,
        Some(Err(error)) => panic!("the other process is gone: {error}"),
    }
}

fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback has free ports")
}

fn listener() -> Listener {
    Listener::on(loopback()).expect("a socket that listens")
}

/// Starts the second process, and meets it.
fn first(rounds: usize) -> (Side, Child) {
    let meeting = loopback();
    let listener = listener();
    let address = meeting.local_addr().expect("a bound socket has an address").to_string();
    let child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["child", &address, &rounds.to_string()])
        .spawn()
        .expect("this program can be started again");
    let accept = || meeting.accept().expect("the child connects").0;
    let (mut to_peer, from_peer) = (accept(), accept());
    writeln!(to_peer, "{}", listener.local_addr()).expect("the child reads");
    let theirs = read_address(&from_peer);
    let members = vec![listener.local_addr(), theirs];
    (side(listener, 0, members, to_peer, from_peer), child)
}

fn second(meeting: SocketAddr) -> Side {
    let dial = || TcpStream::connect(meeting).expect("the first process listens");
    let (from_peer, mut to_peer) = (dial(), dial());
    let listener = listener();
    writeln!(to_peer, "{}", listener.local_addr()).expect("the first process reads");
    let members = vec![read_address(&from_peer), listener.local_addr()];
    side(listener, 1, members, to_peer, from_peer)
}

fn read_address(from: &TcpStream) -> SocketAddr {
    let mut line = String::new();
    BufReader::new(from).read_line(&mut line).expect("the other process sends its address");
    line.trim().parse().expect("an address")
}

fn side(
    mut listener: Listener,
    rank: usize,
    members: Vec<SocketAddr>,
    to_peer: TcpStream,
    from_peer: TcpStream,
) -> Side {
    let aborter = Aborter::new().expect("there are file descriptors left");
    let mut form = |generation, sealed| {
        let membership = Membership {
            token: RunToken([0; 32]),
            key: RingKey { secret: [0; 32], sealed },
            generation: Generation(generation),
            rank,
            members: members.clone(),
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        connect(&mut listener, &membership, deadline, &aborter).expect("the other process joins")
    };
    let (group, sealed) = (form(1, false), form(2, true));
    to_peer.set_nodelay(true).expect("sockets can be switched");
    Side {
        group: Box::new(group),
        sealed: Box::new(sealed),
        to_peer,
        from_peer,
        sent: vec![1; EXCHANGED_BYTES],
        received: vec![2; EXCHANGED_BYTES],
        values: vec![0; EXCHANGED_BYTES / 8],
    }
}
