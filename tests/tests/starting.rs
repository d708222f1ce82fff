//! A start that takes long: the port is there first and says so, a worker waits, and a signal ends it at once.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lsgan_tests::binaries::binary;
use lsgan_tests::buckets::s3_environment as environment;
use lsgan_tests::{Client, Lab, Process, until};
use lsgan_wire::v1::Phase;
use nix::sys::signal::Signal;

/// Much less than what is waited for, much more than a loaded machine needs.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A bucket that takes every request and answers none, and what a process needs to use it.
struct Silence {
    listener: TcpListener,
    asked: Mutex<Vec<TcpStream>>,
    variables: Vec<(&'static str, String)>,
}

impl Silence {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        listener.set_nonblocking(true).expect("it can be asked without waiting");
        Self { listener, asked: Mutex::default(), variables: environment(&endpoint, ("AKIA", "x")) }
    }

    /// Waits for the next connection, which stays open.
    #[track_caller]
    fn wait_for_request(&self) {
        let stream =
            until("the bucket is asked", || self.listener.accept().map_err(|error| error.to_string())).0;
        self.asked.lock().expect("nothing panics with it").push(stream);
    }

    fn start(&self, lab: &Lab, name: &str, arguments: &[impl AsRef<OsStr>]) -> Process {
        // Requests of an earlier process are not those of this one.
        while self.listener.accept().is_ok() {}
        let mut command = Command::new(binary(name));
        command.args(arguments).envs(self.variables.clone());
        lab.start_command(name, command)
    }
}

const SHARDS: &str = "data.source={ webdataset: { shards: 's3://slow/train-{0..9}.tar' } }";

/// Sends a signal and waits for the end, which comes at once.
#[track_caller]
fn ends_at_once(process: &mut Process, signal: Signal, code: i32) -> lsgan_tests::Ended {
    let begin = Instant::now();
    process.signal(signal);
    let ended = process.wait().expect_code(code);
    assert!(begin.elapsed() < AT_ONCE, "it took {:?}; {ended}", begin.elapsed());
    ended
}

#[test]
fn a_coordinator_that_starts_has_its_port_says_so_and_ends_at_once() {
    let (lab, silence) = (Lab::new(), Silence::new());
    let listen = format!("{}:7070", lab.host());
    let address = format!("http://{listen}");
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let run = lab.run_arguments(&["--listen", &listen, "--set", SHARDS]);
        let mut coordinator = silence.start(&lab, "coordinator", &run);
        let status = Client::new(address.clone())
            .wait_until("it says that it starts", |s| s.phase() == Phase::Starting);
        assert_eq!((status.run.as_str(), status.steps, status.workers.len()), ("small", 200, 0));
        let shown = lab.lsgan(["status", "--coordinator", &address]).succeeds();
        shown.expect_out(&["small", "starting"]);

        let mut worker = lab.worker_with("early", &address, &["--give-up-after", "1s"]);
        worker.wait_for_words("waits for the coordinator");
        let begin = Instant::now();
        until("more time goes by than it would try to reach one that is away", || {
            worker.running().map_err(|status| status.to_string()).expect("it waits");
            if begin.elapsed() > Duration::from_secs(3) { Ok(()) } else { Err("not yet") }
        });
        ends_at_once(&mut worker, signal, code).expect_err(&["ended before it took part"]);
        let ended = ends_at_once(&mut coordinator, signal, code).expect_one_error();
        assert!(ended.out.is_empty() && !lab.run_dir().exists(), "nothing was begun; {ended}");
    }
}

#[test]
fn lsgan_up_and_tools_that_wait_for_a_bucket_end_at_once() {
    let (lab, silence) = (Lab::new(), Silence::new());
    let run = lab.run_arguments(&["--set", SHARDS]);
    let up = ["up", "--workers", "2"].into_iter().chain(run.iter().map(String::as_str)).collect::<Vec<_>>();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        for arguments in [
            &up[..],
            &["dataset", "inspect", "s3://slow/train-{0..9}.tar"],
            &["checkpoints", "verify", "--run", "s3://slow/run"],
            &["sample", "--run", "s3://slow/run", "--out", "x.png"],
        ] {
            let mut process = silence.start(&lab, "lsgan", arguments);
            // It has set up its signals before it asks for anything.
            silence.wait_for_request();
            ends_at_once(&mut process, signal, code);
            assert!(!lab.path("x.png").exists());
        }
    }
}
