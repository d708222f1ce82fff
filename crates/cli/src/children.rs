//! Child processes: started again when they die, their output kept in files, and none outlives this process.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lsgan_console::{Failure, vital};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// A child that dies so often in so short a time is not started again.
const DEATHS_MAX: usize = 5;
const DEATHS_WITHIN: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// A label for people: `coordinator`, `worker 2`.
    pub label: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables that it has beside those of this process: what no other user may read.
    pub secrets: Vec<(&'static str, String)>,
    /// Where its standard error goes, added at the end.
    pub log: Log,
}

/// A log file that is opened once its directory is known; until then lines are kept.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<LogState>>);

#[derive(Debug, Default)]
struct LogState {
    file: Option<File>,
    early: Vec<String>,
    /// The newest line that says `error:`.
    error: Option<String>,
    /// Lines that follow it, of an error with several.
    inside_error: bool,
}

impl Log {
    /// From now on lines go to this file, and so do those that were kept.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn open(&self, path: &Path) -> Result<(), Failure> {
        let open = || {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            let mut state = self.0.lock().expect("nothing panics while the log is locked");
            for line in state.early.drain(..) {
                // A full disk must not keep the run from starting.
                let _ = writeln!(file, "{line}");
            }
            state.file = Some(file);
            Ok(())
        };
        open().map_err(|error: std::io::Error| Failure::failed(format!("{}: {error}", path.display())))
    }

    /// The last error that the child printed, without the word.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.0.lock().expect("nothing panics while the log is locked").error.clone()
    }

    /// What is printed from now on comes from a new process.
    fn forget_error(&self) {
        let mut state = self.0.lock().expect("nothing panics while the log is locked");
        (state.error, state.inside_error) = (None, false);
    }

    fn line(&self, line: String) {
        let mut state = self.0.lock().expect("nothing panics while the log is locked");
        if let Some(error) = line.strip_prefix("error: ") {
            state.error = Some(error.to_owned());
            state.inside_error = true;
        } else if state.inside_error
            && let Some(error) = &mut state.error
        {
            error.push('\n');
            error.push_str(&line);
        }
        match &mut state.file {
            // A full disk must not end the training.
            Some(file) => drop(writeln!(file, "{line}")),
            None => state.early.push(line),
        }
    }
}

/// A child that runs.
pub struct Running {
    /// What it was started from.
    pub recipe: Recipe,
    /// It was told to end, and is not started again.
    pub leaving: bool,
    child: Child,
    deaths: Vec<Instant>,
    reading: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts a child; each line of its standard output goes to `lines`.
    ///
    /// # Errors
    /// The operating system does not start it.
    pub fn start(recipe: Recipe, lines: mpsc::Sender<String>) -> Result<Self, Failure> {
        let (child, reading) = spawn(&recipe, lines)?;
        Ok(Self { recipe, leaving: false, child, deaths: Vec::new(), reading })
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// The last error that it printed, after all of its output was read.
    pub async fn last_error(&mut self) -> Option<String> {
        // A second call must not wait for output that has ended.
        if !self.reading.is_finished() {
            // The pipe closes with the process; a grandchild that held it open would only delay the message.
            let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.reading).await;
        }
        self.recipe.log.error()
    }

    /// Starts it again after it has died.
    ///
    /// # Errors
    /// It dies too often, or cannot be started.
    pub async fn restart(&mut self, lines: mpsc::Sender<String>) -> Result<(), Failure> {
        self.deaths.retain(|at| at.elapsed() < DEATHS_WITHIN);
        self.deaths.push(Instant::now());
        if self.deaths.len() >= DEATHS_MAX {
            let why = self.last_error().await.unwrap_or_else(|| "its log says no more".to_owned());
            return Err(Failure::failed(format!(
                "the {} died {DEATHS_MAX} times in {} s: {why}",
                self.recipe.label,
                DEATHS_WITHIN.as_secs()
            )));
        }
        self.start_again(lines)
    }

    /// Starts it again, however often it has died.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_again(&mut self, lines: mpsc::Sender<String>) -> Result<(), Failure> {
        self.recipe.log.forget_error();
        (self.child, self.reading) = spawn(&self.recipe, lines)?;
        Ok(())
    }

    /// Sends a signal; nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // It may end at this very moment.
            let _ = kill(Pid::from_raw(id), signal);
        }
    }
}

/// The first of the children to end: its index and exit status.
pub async fn first_end(children: &mut [Running]) -> (usize, Option<ExitStatus>) {
    if children.is_empty() {
        return std::future::pending().await;
    }
    let ends = children.iter_mut().map(|child| Box::pin(child.ended()));
    let (status, index, _) = futures::future::select_all(ends).await;
    (index, status)
}

fn spawn(
    recipe: &Recipe,
    lines: mpsc::Sender<String>,
) -> Result<(Child, tokio::task::JoinHandle<()>), Failure> {
    let mut command = Command::new(&recipe.program);
    command.args(&recipe.arguments).envs(recipe.secrets.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: Ctrl-C on the terminal reaches this process alone, which ends the children in order.
    command.process_group(0).kill_on_drop(true);
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are made (prctl, getppid, _exit).
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            if nix::unistd::getppid() != parent {
                nix::libc::_exit(1); // the parent died before the line above
            }
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(|error| {
        Failure::failed(format!("{} cannot be started: {error}", recipe.program.display()))
    })?;
    let (out, err) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
    let log = recipe.log.clone();
    let reading = vital::task("log task", async move {
        let to_log = each_line(err, |line| log.line(line));
        // A child prints a handful of lines; more than the channel holds are of no interest.
        let to_lines = each_line(out, |line| drop(lines.try_send(line)));
        tokio::join!(to_log, to_lines);
    });
    Ok((child, reading))
}

/// Reads to the end: a pipe that is not read would fail or block the child.
async fn each_line(stream: impl AsyncRead + Unpin, take: impl Fn(String)) {
    let (mut stream, mut line) = (BufReader::new(stream), Vec::new());
    while stream.read_until(b'\n', &mut line).await.is_ok_and(|len| len > 0) {
        take(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned());
        line.clear();
    }
}
