//! What operators ask for (`lsgan stop` and its like), and who waits for the run's end.

use lsgan_control::Event;
use lsgan_spec::is_printable;
use lsgan_wire::v1;
use tokio::sync::oneshot;

use crate::shell::Shell;

/// The longest name of an operator that is shown. Any process that reaches the port can send one.
const BY_CHARS_MAX: usize = 80;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// End the run at the next step boundary, with a snapshot.
    Stop {
        /// Who asks.
        by: String,
    },
    /// Hold the run at the next step boundary, with a snapshot.
    Pause {
        /// Who asks.
        by: String,
    },
    /// Go on with a run that is held.
    Resume {
        /// Who asks.
        by: String,
    },
}

/// Told of a snapshot that was asked for, or why there will be none.
pub type SnapshotWaiter = oneshot::Sender<Result<v1::SnapshotReply, String>>;

impl Order {
    /// End the run at the next step boundary, with a snapshot.
    #[must_use]
    pub fn stop(by: &str) -> Self {
        Self::Stop { by: name(by) }
    }

    /// Hold the run at the next step boundary, with a snapshot.
    #[must_use]
    pub fn pause(by: &str) -> Self {
        Self::Pause { by: name(by) }
    }

    /// Go on with a run that is held.
    #[must_use]
    pub fn resume(by: &str) -> Self {
        Self::Resume { by: name(by) }
    }
}

/// What is shown of an operator's name: one short line of what can be printed.
pub(crate) fn name(by: &str) -> String {
    let shown: String = by.chars().filter(|c| is_printable(*c)).take(BY_CHARS_MAX).collect();
    if shown.trim().is_empty() { "an operator".to_owned() } else { shown }
}

impl Shell {
    /// Does what an operator asks for.
    pub(crate) fn obey(&mut self, order: Order) {
        match order {
            Order::Stop { by } => {
                // Asked again, it is no news.
                if self.outcome.is_none() && !self.run.stops() {
                    self.notice(false, format!("{by} asks the run to stop"));
                }
                self.apply(Event::StopRequested)
            }
            Order::Pause { by } => self.apply(Event::PauseRequested { by }),
            Order::Resume { by } => self.apply(Event::ResumeRequested { by }),
        }
    }

    /// An operator wants a snapshot of the next step boundary.
    pub(crate) fn snapshot_asked(&mut self, by: &str, answer: SnapshotWaiter) {
        if self.outcome.is_none() && !self.run.wants_snapshot() {
            self.notice(false, format!("{} asks for a snapshot", name(by)));
        }
        // Of callers that have gone nothing is kept.
        self.await_snapshot.retain(|waiter| !waiter.is_closed());
        self.await_snapshot.push(answer);
        self.apply(Event::SnapshotRequested)
    }

    /// Answers those who wait for what they asked for, if it is there.
    pub(crate) fn tell_operators(&mut self) {
        self.tell_snapshot();
        self.tell_profile();
    }

    /// Tells those who asked for a snapshot that it is there, or that the run has ended without it.
    fn tell_snapshot(&mut self) {
        if self.await_snapshot.is_empty() || self.run.wants_snapshot() && self.outcome.is_none() {
            return;
        }
        let reply = match self.run.snapshot() {
            Some(step) if !self.run.wants_snapshot() => {
                Ok(v1::SnapshotReply { step: step.0, url: self.store.snapshot_path(step) })
            }
            _ => Err("the run has ended without another snapshot".to_owned()),
        };
        for answer in std::mem::take(&mut self.await_snapshot) {
            // The operator may have gone.
            let _ = answer.send(reply.clone());
        }
    }

    /// A snapshot could not be written: tells the operators that wait for one.
    pub(crate) fn snapshot_failed(&mut self, why: &str) {
        for answer in std::mem::take(&mut self.await_snapshot) {
            // The operator may have gone.
            let _ = answer.send(Err(format!("the snapshot could not be written: {why}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn an_operators_name_is_one_short_line() {
        assert_eq!(name("anna@box"), "anna@box");
        assert_eq!(name("anna\n\u{1b}[31m@box"), "anna[31m@box");
        assert_eq!(name("anna\u{202e}xob"), "annaxob");
        assert_eq!(name(" \t"), "an operator");
        assert_eq!(name(&"x".repeat(1_000)).len(), 80);
    }
}
