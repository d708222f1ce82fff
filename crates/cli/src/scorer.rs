//! The process that scores snapshots beside a run of `lsgan up`: `lsgan eval --follow`, at the lowest priority. Where the run's
//! workers do that, it scores at the end what they have left.

use std::path::{Path, PathBuf};

use lsgan_console::{Failure, Interrupt, announce, say};
use lsgan_launch::{best_score, read_scores, sibling};
use lsgan_spec::{EvaluateSpec, ScoringPlace};
use tokio::sync::mpsc;

use crate::children::{Log, Recipe, Running};

/// The process, where the run's file asks for scores.
#[derive(Default)]
pub struct Scorer(State);

#[derive(Default)]
enum State {
    #[default]
    Off,
    /// The run's workers score. Its directory, and that of its logs.
    AtTheEnd(PathBuf, PathBuf),
    Runs(Box<Process>),
}

struct Process {
    child: Running,
    /// A line for each snapshot that was scored.
    lines: mpsc::Receiver<String>,
    run_dir: PathBuf,
}

impl Scorer {
    /// Starts it, if the run's file asks for it.
    ///
    /// # Errors
    /// The operating system does not start it.
    pub fn start(spec: &EvaluateSpec, run_dir: &Path, logs: &Path) -> Result<Self, Failure> {
        Ok(Self(match spec.r#where {
            _ if spec.every == 0 => State::Off,
            ScoringPlace::Off => State::Off,
            ScoringPlace::Standby | ScoringPlace::Writer => {
                State::AtTheEnd(run_dir.to_owned(), logs.to_owned())
            }
            ScoringPlace::Beside => State::Runs(Box::new(Process::start(run_dir, logs)?)),
        }))
    }

    /// The next scores, as a line, or that there are none to come; never where there is nothing to say.
    pub async fn line(&mut self) -> String {
        if let State::Runs(process) = &mut self.0 {
            if let Some(line) = process.lines.recv().await {
                return line;
            }
            // It ends by itself when the run has ended, which its supervisor may notice a moment later.
            if process.child.ended().await.is_some_and(|status| !status.success()) {
                let why = why(&mut process.child).await;
                self.0 = State::Off;
                return format!("warning: snapshots are not scored any more: {why}");
            }
        }
        std::future::pending().await
    }

    /// After the run's end: waits for the last scores, unless the user interrupts, and prints the best.
    pub async fn finish(self, interrupts: &mut mpsc::Receiver<Interrupt>) {
        let process = match self.0 {
            State::Off => return,
            State::Runs(process) => *process,
            State::AtTheEnd(run_dir, logs) => match Process::start(&run_dir, &logs) {
                Ok(process) => process,
                Err(failure) => return say!("warning: not all snapshots were scored: {}", failure.text),
            },
        };
        process.finish(interrupts).await
    }
}

impl Process {
    fn start(run_dir: &Path, logs: &Path) -> Result<Self, Failure> {
        let log = Log::default();
        log.open(&logs.join("eval.log"))?;
        let run = run_dir.display().to_string();
        // Its scores do not depend on its threads; training has the others.
        let arguments = ["eval", "--run", &run, "--follow", "--beside", "--threads", "1"];
        let recipe = Recipe {
            label: "evaluation".to_owned(),
            program: sibling("lsgan")?,
            arguments: arguments.map(str::to_owned).to_vec(),
            secrets: Vec::new(),
            log,
        };
        let (to_lines, lines) = mpsc::channel(64);
        let child = Running::start(recipe, to_lines)?;
        Ok(Self { child, lines, run_dir: run_dir.to_owned() })
    }

    async fn finish(self, interrupts: &mut mpsc::Receiver<Interrupt>) {
        let Self { mut child, mut lines, run_dir } = self;
        say!("scoring the last snapshots; Ctrl-C leaves them out");
        let status = loop {
            tokio::select! {
                Some(line) = lines.recv() => say!("{line}"),
                status = child.ended() => break status,
                _ = interrupts.recv() => break None,
            }
        };
        if let Some(status) = status
            && !status.success()
        {
            let why = why(&mut child).await;
            say!("warning: not all snapshots were scored: {why}");
        }
        while let Ok(line) = lines.try_recv() {
            say!("{line}");
        }
        match read_scores(&run_dir) {
            Ok(rows) => {
                if let Some(best) = best_score(&rows, |_| true) {
                    announce!("the best score: {best}");
                }
            }
            Err(failure) => say!("warning: {}", failure.text),
        }
    }
}

/// What it said last.
async fn why(child: &mut Running) -> String {
    child.last_error().await.unwrap_or_else(|| "its log, eval.log, says no more".to_owned())
}
