//! One process with its output. It is ended by its id, and does not outlive the test.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::wait::until;

/// What a process has printed so far.
#[derive(Clone, Default)]
pub struct Output(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    out: Vec<String>,
    err: Vec<String>,
}

impl Output {
    pub fn out(&self) -> String {
        self.0.lock().expect("readers do not panic").out.join("\n")
    }

    pub fn err(&self) -> String {
        self.0.lock().expect("readers do not panic").err.join("\n")
    }
}

/// A process under test. Dropping it kills it and waits for its end.
pub struct Process {
    label: String,
    child: Child,
    output: Output,
    readers: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

/// How a process ended, and all that it printed.
#[derive(Clone)]
pub struct Ended {
    pub label: String,
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub err: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, code, signal, out, err } = self;
        write!(f, "{label} ended with code {code:?}, signal {signal:?}\n-- stdout:\n{out}\n-- stderr:\n{err}")
    }
}

impl Ended {
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    #[track_caller]
    pub fn expect_err(self, words: &[&str]) -> Self {
        self.expect_words("standard error", &self.err, words);
        self
    }

    #[track_caller]
    pub fn expect_out(self, words: &[&str]) -> Self {
        self.expect_words("standard output", &self.out, words);
        self
    }

    #[track_caller]
    fn expect_words(&self, stream: &str, text: &str, words: &[&str]) {
        for word in words {
            assert!(text.contains(word), "`{word}` is not on {stream}; {self}");
        }
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Asserts what holds for every mistake of a user: one error, no panic text, no backtrace, no `Debug` of ours.
    #[track_caller]
    pub fn expect_one_error(self) -> Self {
        let errors = self.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "one line should begin with `error: `; {self}");
        for ours in ["panicked", "RUST_BACKTRACE", "stack backtrace", "Error {", "Os {", "Err("] {
            assert!(!self.err.contains(ours), "`{ours}` is no word for a user; {self}");
        }
        self
    }
}

impl Process {
    /// Starts it. It is killed when the thread that started it ends, so that a test run that is killed leaves none.
    pub fn start(label: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: prctl is async-signal-safe, and nothing else happens between fork and exec.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{label} cannot be started: {error}"));
        let output = Output::default();
        let (out, err) =
            (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
        let (to_out, to_err) = (output.clone(), output.clone());
        let readers = vec![
            read(out, move |line| to_out.0.lock().expect("readers do not panic").out.push(line)),
            read(err, move |line| to_err.0.lock().expect("readers do not panic").err.push(line)),
        ];
        Self { label: label.to_owned(), child, output, readers, status: None }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn output(&self) -> Output {
        self.output.clone()
    }

    /// Sends it a signal. Panics if it was waited for: its id may be another's by then.
    pub fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "{} has ended", self.label);
        send(self.id(), signal);
    }

    /// Kills it as `kill -9` does, and waits for its end.
    pub fn kill(mut self) -> Ended {
        self.signal(Signal::SIGKILL);
        self.wait()
    }

    /// Kills it if it has not ended by itself.
    pub fn kill_if_it_runs(mut self) -> Ended {
        if self.running().is_ok() {
            self.signal(Signal::SIGKILL);
        }
        self.wait()
    }

    /// Whether it runs; as an error, how it ended.
    pub fn running(&mut self) -> Result<(), ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child can be asked");
        }
        self.status.map_or(Ok(()), Err)
    }

    /// Waits for its end and for all of its output.
    #[track_caller]
    pub fn wait(&mut self) -> Ended {
        let label = self.label.clone();
        let status = until(&format!("{label} ends"), || match self.running() {
            Ok(()) => Err("it runs"),
            Err(status) => Ok(status),
        });
        until(&format!("{label}'s output ends with it"), || {
            if self.readers.iter().all(JoinHandle::is_finished) { Ok(()) } else { Err("a pipe is open") }
        });
        let (out, err) = (self.output.out(), self.output.err());
        Ended { label, code: status.code(), signal: status.signal(), out, err }
    }

    /// Waits for its end, and asserts that it succeeds.
    #[track_caller]
    pub fn succeeds(&mut self) -> Ended {
        self.wait().expect_code(0)
    }

    /// Waits for its end, and asserts that it fails with this exit code and one error that has these words.
    #[track_caller]
    pub fn fails(&mut self, code: i32, words: &[&str]) -> Ended {
        self.wait().expect_code(code).expect_one_error().expect_err(words)
    }

    /// Waits until standard output or standard error has these words; returns the line.
    #[track_caller]
    pub fn wait_for_words(&mut self, words: &str) -> String {
        let label = self.label.clone();
        until(&format!("{label} prints `{words}`"), || {
            let ended = self.running().is_err() && self.readers.iter().all(JoinHandle::is_finished);
            let (out, err) = (self.output.out(), self.output.err());
            let found = out.lines().chain(err.lines()).find(|line| line.contains(words)).map(str::to_owned);
            assert!(found.is_some() || !ended, "{label} ended without `{words}`:\n{out}\n{err}");
            found.ok_or((out, err))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.running().is_ok() {
            // It may end at this very moment; the wait is what counts.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read(stream: impl Read + Send + 'static, take: impl Fn(String) + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).for_each(take))
}

/// Sends a signal to a process by its id.
pub fn send(id: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(id).expect("ids fit"));
    kill(pid, signal).unwrap_or_else(|error| panic!("{signal} cannot be sent to process {id}: {error}"));
}

/// A process as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: u32,
    pub arguments: Vec<String>,
}

/// The living children of a process. A zombie does not live.
pub fn children_of(parent: u32) -> Vec<Seen> {
    let ids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = ids.filter(|&id| parent_of(id) == Some(parent));
    children.filter_map(|id| Some(Seen { id, arguments: arguments_of(id)? })).collect()
}

impl Seen {
    pub fn is(&self, name: &str) -> bool {
        self.arguments[0].ends_with(&format!("/{name}"))
    }
}

/// The ids of the children that run one of our binaries.
pub fn children_named(parent: u32, name: &str) -> Vec<u32> {
    children_of(parent).into_iter().filter(|seen| seen.is(name)).map(|seen| seen.id).collect()
}

#[track_caller]
pub fn all_gone(processes: &[Seen]) {
    until("all processes are gone", || {
        let left: Vec<_> = processes.iter().filter(|seen| lives(seen)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

/// Whether a process with this id and these arguments lives.
pub fn lives(seen: &Seen) -> bool {
    arguments_of(seen.id).as_ref() == Some(&seen.arguments)
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // "id (name) state parent …", and a name may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// None for a process that is gone, or a zombie, which has none.
fn arguments_of(id: u32) -> Option<Vec<String>> {
    let line = std::fs::read_to_string(format!("/proc/{id}/cmdline")).ok().filter(|line| !line.is_empty())?;
    Some(line.trim_end_matches('\0').split('\0').map(str::to_owned).collect())
}
