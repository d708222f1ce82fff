//! A directory, a run's file, and the processes that work on it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use lsgan_certs::Identity;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::binaries::{binary, root};
use crate::client::Client;
use crate::journal::Journal;
use crate::process::{Output, Process};
use crate::wait::until;
use crate::weights::Weights;

/// Lines of each log that a failed test shows.
const TAIL_LINES: usize = 25;

/// Where a lab's processes put temporary files.
pub const TEMPORARY: &str = "tmp";

/// Lets processes listen where others reach them.
pub const INSECURE: &str = "LSGAN_INSECURE";

/// Has a join token.
pub const JOIN_TOKEN: &str = "LSGAN_JOIN_TOKEN";

/// Steps of `small.yaml`.
pub const STEPS: u64 = 200;

/// A run that is short, and saved at steps 10, 20 and 30.
pub const SHORT: [&str; 4] = ["--set", "steps=30", "--set", "checkpoint.every=10"];

/// A run whose networks are so large that their sums travel in several buckets.
pub const BUCKETS: [&str; 8] = [
    "--set",
    "model.generator.dcgan.width=32",
    "--set",
    "model.discriminator.dcgan.width=32",
    "--set",
    "batch.virtual_ranks=8",
    "--set",
    "steps=40",
];

/// A directory of a test's own. Declare it first, so that it is dropped last: when the test fails it prints the ends of all
/// logs. `LSGAN_KEEP=1` keeps the directory.
pub struct Lab {
    dir: Option<TempDir>,
    path: PathBuf,
    host: String,
    logs: Mutex<Vec<(String, Output)>>,
}

/// A coordinator that listens.
pub struct Coordinator {
    pub process: Process,
    /// As `http://127.0.0.1:7070`.
    pub address: String,
    pub client: Client,
}

impl Coordinator {
    /// As `127.0.0.1:7070`.
    pub fn listen(&self) -> String {
        self.address.trim_start_matches("http://").to_owned()
    }

    /// Kills it. Returns where it listened.
    pub fn kill(&mut self) -> String {
        self.process.signal(Signal::SIGKILL);
        self.process.wait();
        self.listen()
    }
}

/// The first picture file of Fashion-MNIST's test set.
pub fn pictures() -> PathBuf {
    root().join("datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
}

/// A shell that runs `before` and then becomes the command that follows it, with its output redirected.
pub fn shell(before: &str, redirection: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{before} exec \"$0\" \"$@\" {redirection}")]);
    command
}

impl Lab {
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("lsgan-test-").expect("a temporary directory can be made");
        let path = dir.path().to_owned();
        std::fs::create_dir(path.join(TEMPORARY)).expect("a folder can be made in it");
        Self { dir: Some(dir), path, host: own_host(), logs: Mutex::default() }
    }

    /// A loopback address that no other test of this machine listens on: a port that was free stays free.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A lab in which a [`SHORT`] run is finished.
    #[track_caller]
    pub fn finished() -> Self {
        let lab = Self::new();
        lab.up(2, &SHORT).succeeds();
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn run_dir(&self) -> PathBuf {
        self.path("run")
    }

    pub fn journal(&self) -> Journal {
        Journal::open(&self.run_dir())
    }

    #[track_caller]
    pub fn weights(&self) -> Weights {
        Weights::of(&self.run_dir())
    }

    /// Starts one of the binaries.
    pub fn start<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> Process {
        let mut command = Command::new(binary(name));
        command.args(arguments);
        let subcommand = command.get_args().next().filter(|first| !first.to_string_lossy().starts_with('-'));
        let label =
            subcommand.map_or(name.to_owned(), |subcommand| format!("{name} {}", subcommand.display()));
        self.start_command(&label, command)
    }

    pub fn lsgan<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Process {
        self.start("lsgan", arguments)
    }

    /// Starts any command in this directory.
    pub fn start_command(&self, label: &str, mut command: Command) -> Process {
        // A developer's own settings must not decide what a test sees.
        let ours = ["LSGAN_COORDINATOR", "LSGAN_TLS", "LSGAN_WEBHOOK", JOIN_TOKEN, INSECURE];
        let others = ["RUST_LOG", "RUST_BACKTRACE"];
        let collectors = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        for name in ours.into_iter().chain(others).chain(collectors) {
            if command.get_envs().all(|(set, _)| set != name) {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.path).env("TMPDIR", self.path(TEMPORARY));
        let process = Process::start(label, command);
        let mut logs = self.logs.lock().expect("nothing panics while the logs are locked");
        logs.push((label.to_owned(), process.output()));
        process
    }

    /// The arguments of a run: `small.yaml` on the real data, in this directory, and `more`.
    pub fn run_arguments(&self, more: &[&str]) -> Vec<String> {
        let images = format!("data.source.idx.images={}", pictures().display());
        let to = format!("checkpoint.to={}", self.run_dir().display());
        let config = root().join("tests/small.yaml").display().to_string();
        let arguments = ["--config", &config, "--set", &images, "--set", &to];
        arguments.iter().chain(more).map(|&argument| argument.to_owned()).collect()
    }

    pub fn up(&self, workers: u32, more: &[&str]) -> Process {
        let up = ["up".to_owned(), "--workers".to_owned(), workers.to_string()];
        self.lsgan(up.into_iter().chain(self.run_arguments(more)))
    }

    /// A coordinator that need not come so far as to listen.
    pub fn start_coordinator(&self, more: &[&str]) -> Process {
        // The default port is the same for all tests of this machine.
        let listen: &[&str] = if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        self.start("coordinator", self.run_arguments(&[more, listen].concat()))
    }

    /// A coordinator on a free port, once it listens.
    pub fn coordinator(&self, more: &[&str]) -> Coordinator {
        self.coordinator_at(&format!("{}:0", self.host), more)
    }

    /// A coordinator at this address, once it listens.
    pub fn coordinator_at(&self, listen: &str, more: &[&str]) -> Coordinator {
        Self::listening(self.start_coordinator(&[&["--quiet", "--listen", listen], more].concat()))
    }

    /// A coordinator of another run than `small.yaml`, once it listens.
    pub fn coordinator_of(&self, arguments: &[&str]) -> Coordinator {
        let listen = format!("{}:0", self.host);
        Self::listening(self.start("coordinator", [&["--quiet", "--listen", &listen], arguments].concat()))
    }

    pub fn listening(process: Process) -> Coordinator {
        Self::listening_as(process, None)
    }

    /// The same, asked by a client that has a certificate.
    pub fn listening_as(mut process: Process, operator: Option<Arc<Identity>>) -> Coordinator {
        const LISTENING: &str = "listening on ";
        let line = process.wait_for_words(LISTENING);
        let begin = line.find(LISTENING).expect("it was waited for") + LISTENING.len();
        let address = line[begin..].trim().to_owned();
        let client = Client::with(address.clone(), operator);
        Coordinator { process, address, client }
    }

    /// A worker for the coordinator at this address.
    pub fn worker(&self, name: &str, coordinator: &str) -> Process {
        self.worker_with(name, coordinator, &[])
    }

    pub fn worker_with(&self, name: &str, coordinator: &str, more: &[&str]) -> Process {
        self.start_worker(Command::new(binary("worker")), name, coordinator, more)
    }

    /// A worker that is started by a `wrapper`, which becomes the command behind its own arguments.
    pub fn worker_under(&self, mut wrapper: Command, name: &str, coordinator: &str) -> Process {
        wrapper.arg(binary("worker"));
        self.start_worker(wrapper, name, coordinator, &[])
    }

    fn start_worker(&self, mut command: Command, name: &str, coordinator: &str, more: &[&str]) -> Process {
        command.args(["--coordinator", coordinator, "--name", name, "--peer-listen", "127.0.0.1:0"]);
        command.args(more);
        self.start_command(name, command)
    }

    /// Whether this machine lets a test mount something for one process alone.
    pub fn can_mount() -> bool {
        let tried = Command::new("unshare").args(["--mount", "true"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    }

    /// A worker on a host where another disk is mounted at the run's directory.
    pub fn blind_worker(&self, name: &str, coordinator: &str) -> Process {
        let other = self.path(&format!("{name}-disk"));
        std::fs::create_dir_all(&other).expect("a folder can be made");
        let mut wrapper = Command::new("unshare");
        let mount = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        wrapper.args(["--mount", "sh", "-c", mount, "sh"]).args([other, self.run_dir()]);
        self.worker_under(wrapper, name, coordinator)
    }

    /// A client of the live coordinator of `run_dir`, which `lsgan up` started: its lock file says where it listens.
    #[track_caller]
    pub fn client_of(&self, run_dir: &Path, up: &mut Process) -> Client {
        let lock = run_dir.join("coordinator.lock");
        until("the coordinator's lock file names an address that answers", || {
            if let Err(status) = up.running() {
                panic!("lsgan up ended with {status} before its coordinator listened");
            }
            let text = std::fs::read_to_string(&lock).map_err(|error| error.to_string())?;
            let address = text.lines().find_map(|line| line.strip_prefix("address "));
            let client = Client::new(format!("http://{}", address.ok_or_else(|| text.clone())?));
            client.status().map(|_| client)
        })
    }

    /// A client of the coordinator of the `lsgan up` that runs here.
    #[track_caller]
    pub fn client(&self, up: &mut Process) -> Client {
        self.client_of(&self.run_dir(), up)
    }

    /// The ends of all logs: what processes printed, and what `lsgan up` kept of its children.
    fn tails(&self) -> String {
        let mut text = String::new();
        let mut tail = |title: &str, log: &str| {
            let lines: Vec<_> = log.lines().collect();
            let from = lines.len().saturating_sub(TAIL_LINES);
            writeln!(text, "---- {title}\n{}", lines[from..].join("\n")).expect("text takes text");
        };
        for (label, output) in self.logs.lock().expect("nothing panics while the logs are locked").iter() {
            tail(&format!("{label}, standard output"), &output.out());
            tail(&format!("{label}, standard error"), &output.err());
        }
        for entry in std::fs::read_dir(self.run_dir().join("logs")).into_iter().flatten().flatten() {
            tail(
                &entry.path().display().to_string(),
                &std::fs::read_to_string(entry.path()).unwrap_or_default(),
            );
        }
        text
    }
}

/// 127.a.b.c of the process and the count of labs in it; all of 127.0.0.0/8 is loopback.
fn own_host() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, lab) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{}", 1 + process / 256 % 254, process % 256, 1 + lab % 254)
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tails());
        }
        if std::env::var_os("LSGAN_KEEP").is_some_and(|keep| keep == "1")
            && let Some(dir) = self.dir.take()
        {
            eprintln!("kept: {}", dir.keep().display());
        }
    }
}
