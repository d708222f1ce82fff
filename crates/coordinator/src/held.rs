//! What waits for the journal: sends, and what is known once an entry is written.
//!
//! The machine goes on meanwhile, and so do answers to whoever asks; what it wants to be sent stays in order behind the
//! writes. To workers a coordinator whose disk is slow is one that is slow to speak.

use std::time::{Duration, Instant};

use lsgan_control::{Entry, Event, Message, Outcome, SessionId};
use lsgan_journal::wall_ms;
use lsgan_spec::Incarnation;
use lsgan_wire::v1;

use crate::causes::{Cause, Lasts};
use crate::notices::Telling;
use crate::queue::News;
use crate::shell::Shell;
use crate::stopped;

/// An end that was asked for waits so long for a journal that cannot be written.
const STOP_WAITS: Duration = Duration::from_secs(3);
/// And then so long for the workers to come to a boundary and to write what they can.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What is done once the writes before it are done.
#[derive(Debug)]
pub(crate) enum Held {
    /// An entry is in the journal.
    Written(Entry),
    /// The metrics of the steps below are, and their reporter is to know.
    Stored(SessionId, u64),
    /// A message is sent.
    Send(SessionId, Message),
    /// A stream is ended after what was sent on it.
    Close(SessionId),
}

impl Shell {
    /// Does it now, or when what stands before it is written.
    pub(crate) fn hold(&mut self, held: Held) {
        self.held.push_back((self.depends_on, held));
        self.release()
    }

    /// Tells the reporter that its metrics are stored, once write `number` is done.
    pub(crate) fn hold_stored(&mut self, number: u64, session: SessionId, until: u64) {
        // The newest says it all; a word for each of thousands at once would not fit into the worker's stream.
        self.held.retain(|(_, held)| !matches!(held, Held::Stored(of, _) if *of == session));
        self.held.push_back((number, Held::Stored(session, until)));
        self.release()
    }

    /// Does what need not wait any longer.
    fn release(&mut self) {
        while self
            .held
            .front()
            .is_some_and(|(number, _)| self.abandoned.is_some() || self.journal.is_done(*number))
        {
            let Some((_, held)) = self.held.pop_front() else { break };
            match held {
                Held::Written(entry) => self.written(&entry),
                Held::Stored(session, until) => {
                    self.metrics_until = self.metrics_until.max(until);
                    self.counts.metrics_until(self.metrics_until);
                    self.send(session, v1::MetricsStored { until }.into());
                }
                // A generation or an incarnation that is not in the journal would be given again.
                Held::Send(_, Message::Form(_) | Message::Welcome { .. }) if self.abandoned.is_some() => {}
                Held::Send(session, message) => {
                    let message = match message {
                        Message::Shutdown(outcome) => Message::Shutdown(self.with_what_broke(outcome)),
                        message => message,
                    };
                    if let Message::Form(_) = &message {
                        // Its first rank reports the metrics of the steps from here on.
                        self.send(session, v1::MetricsStored { until: self.metrics_until }.into());
                    }
                    self.send(session, message.into());
                }
                Held::Close(session) => drop(self.sessions.remove(&session)),
            }
        }
    }

    fn written(&mut self, entry: &Entry) {
        match entry {
            Entry::Ended(outcome) => {
                let outcome = self.with_what_broke(outcome.clone());
                // What this shell found first stands: a machine whose workers were sent away has only their snapshot.
                self.outcome.get_or_insert(outcome);
                self.paused = None;
            }
            Entry::Generation { generation, .. } => self.counts.generation(generation.0),
            Entry::Admitted { incarnation, .. } => self.counts.incarnation(incarnation.0),
            Entry::Differs(difference) => {
                let chore = self.catalogue.differ(difference.equal);
                self.start_chore(chore);
            }
            Entry::Paused { by } => {
                self.paused = Some(v1::Paused { wall_ms: wall_ms(), by: by.clone() });
            }
            Entry::Resumed { .. } => self.paused = None,
            _ => {}
        }
    }

    /// A run that was stopped because its journal is broken has failed for that.
    fn with_what_broke(&self, outcome: Outcome) -> Outcome {
        match (outcome, &self.broken) {
            (Outcome::Stopped { step }, Some(why)) => {
                Outcome::Failed { why: format!("{why} The run was {}.", stopped(step)) }
            }
            (outcome, _) => outcome,
        }
    }

    /// For the status and who watches it; the journal is what cannot have it.
    fn journal_warning(&mut self, text: String) {
        let lasts = Lasts::Until(Cause::Journal);
        let telling = Telling { warning: true, worker: String::new(), lasts, text };
        self.notices.add(telling, Incarnation::default());
    }

    /// Something has come of writing.
    pub(crate) fn journal_news(&mut self, news: News) {
        match news {
            News::Written => self.release(),
            News::Waits(error) => {
                tracing::error!("the journal cannot be written; trying again until it can: {error}");
                self.journal_warning(format!(
                    "the journal cannot be written, and the run waits for it: {error}"
                ));
                self.stop_without_journal()
            }
            News::GoesOn => {
                self.abandon_at = None;
                self.notices.end(&Cause::Journal);
                self.notice(false, "the journal can be written again".to_owned())
            }
            // One reason is enough, and the run ends already.
            News::Broken(_) if self.broken.is_some() => {}
            News::Broken(error) => {
                let text = format!("the journal cannot be written any more: {error}");
                tracing::error!("{text}");
                self.journal_warning(text.clone());
                self.broken.get_or_insert(text);
                self.abandon();
                // With what can be kept: the workers' state.
                self.apply(Event::StopRequested)
            }
        }
    }

    /// Where an end is asked for and the journal cannot be written, the end comes first, in a while.
    pub(crate) fn stop_without_journal(&mut self) {
        if self.run.stops() && self.journal.waits() && self.abandoned.is_none() {
            self.abandon_at.get_or_insert_with(|| Instant::now() + STOP_WAITS);
        }
    }

    /// Goes on without the journal when it is time to, and ends the run where even that comes to nothing.
    pub(crate) fn end_stuck(&mut self) {
        if self.abandon_at.is_some_and(|at| at <= Instant::now()) {
            self.abandon();
        }
        if self.outcome.is_some() || self.abandoned.is_none_or(|until| until > Instant::now()) {
            return;
        }
        let why = "the journal cannot be written, and no worker could keep what was trained since the newest snapshot: \
                   it is lost. Free the disk, and run the same command again."
            .to_owned();
        let outcome = Outcome::Failed { why };
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            let message = Message::Shutdown(outcome.clone());
            self.send(session, message.into());
        }
        self.outcome = Some(outcome);
    }

    /// From now on nothing waits for the journal: the run ends with what can be kept.
    fn abandon(&mut self) {
        self.abandon_at = None;
        if self.abandoned.is_none() {
            let text = "the journal still cannot be written: the run ends without it";
            tracing::error!("{text}");
            self.journal_warning(text.to_owned());
            self.abandoned = Some(Instant::now() + STOP_WITHIN);
        }
        self.release()
    }
}
