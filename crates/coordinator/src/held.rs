//! What waits for the journal: messages to workers, and facts that hold once an entry is written.
//!
//! The machine and the answers to status requests go on meanwhile. Messages stay in order behind the writes, so that workers
//! see a coordinator with a slow disk as a slow coordinator.

use std::time::{Duration, Instant};

use lsgan_control::{Entry, Event, Message, Outcome, SessionId};
use lsgan_journal::wall_ms;
use lsgan_spec::Incarnation;
use lsgan_wire::v1;

use crate::catalogue::Chore;
use crate::causes::{Cause, Lasts};
use crate::notices::Telling;
use crate::queue::News;
use crate::shell::Shell;
use crate::stopped;
use crate::tokens::TokenWaiter;

/// How long a requested end waits for a journal that cannot be written.
const STOP_WAITS: Duration = Duration::from_secs(3);
/// How long it then waits for the workers to reach a boundary and to write a snapshot.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// An action that waits for the writes before it.
#[derive(Debug)]
pub(crate) enum Held {
    /// Acts on an entry that is in the journal now.
    Written(Entry),
    /// Tells the reporter that the metrics of the steps below are stored.
    Stored(SessionId, u64),
    /// Sends a message.
    Send(SessionId, Message),
    /// Ends a stream after what was sent on it.
    Close(SessionId),
    /// Tells an operator of a join token.
    Token(TokenWaiter, v1::TokenReply),
    /// Tidies the store.
    Chore(Chore),
}

/// Whether somebody waits for it, or what happens next depends on it: the journal is copied at once, where it is copied.
fn hurries(held: &Held) -> bool {
    match held {
        Held::Send(..) | Held::Close(_) | Held::Token(..) => true,
        Held::Written(entry) => {
            matches!(entry, Entry::Ended(_) | Entry::Paused { .. } | Entry::Numerics(_) | Entry::Differs(_))
        }
        Held::Stored(..) | Held::Chore(_) => false,
    }
}

impl Shell {
    /// Does it now, or once the writes before it are done.
    pub(crate) fn hold(&mut self, held: Held) {
        if hurries(&held) {
            self.journal.hurry(self.depends_on);
        }
        self.held.push_back((self.depends_on, held));
        self.release()
    }

    /// Tells the reporter that its metrics are stored, once write `number` is done.
    pub(crate) fn hold_stored(&mut self, number: u64, session: SessionId, until: u64) {
        // The newest is enough. Thousands of them at once would not fit into the worker's stream.
        self.held.retain(|(_, held)| !matches!(held, Held::Stored(of, _) if *of == session));
        self.held.push_back((number, Held::Stored(session, until)));
        self.release()
    }

    /// Does a chore that follows from write `number`. Where the journal is copied, not before the copy has that, and so with each
    /// snapshot: a coordinator that stood still while another one took over deletes none of what is the other's by now.
    pub(crate) fn hold_chore(&mut self, number: u64, chore: Chore) {
        if !self.journal.is_copied() {
            // A full disk is the journal's too, and what is deleted makes room for it.
            return self.start_chore(chore);
        }
        self.journal.hurry(number);
        self.held.push_back((number, Held::Chore(chore)));
        self.release()
    }

    /// Whether the store is still this coordinator's to tidy. Without its copy it does not know who leads.
    pub(crate) fn may_tidy(&self) -> bool {
        self.abandoned.is_none() || !self.journal.is_copied()
    }

    /// Does all that need not wait any longer.
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
                // A restarted coordinator would give out again a number that is not in the journal.
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
                Held::Close(session) => self.close(session),
                Held::Chore(chore) => self.start_chore(chore),
                Held::Token(answer, reply) => {
                    let lost = "the journal cannot be written, and the run ends".to_owned();
                    // The operator may have gone.
                    let _ = answer.send(if self.abandoned.is_some() { Err(lost) } else { Ok(reply) });
                }
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

    /// A run that was stopped because its journal is broken counts as failed.
    fn with_what_broke(&self, outcome: Outcome) -> Outcome {
        match (outcome, &self.broken) {
            (Outcome::Stopped { step }, Some(why)) => {
                Outcome::Failed { why: format!("{why} The run was {}.", stopped(step)) }
            }
            (outcome, _) => outcome,
        }
    }

    /// A warning for the status only: the journal cannot take it.
    fn journal_warning(&mut self, text: String) {
        let lasts = Lasts::Until(Cause::Journal);
        let telling = Telling { warning: true, worker: String::new(), lasts, text };
        self.notices.add(telling, Incarnation::default());
    }

    /// Handles news of the journal's thread.
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
            News::GoesOn => self.journal_goes_on(Cause::Journal, "the journal can be written again"),
            News::Dropped(error) => {
                let text = format!("a row that a worker reported is left out of the journal: {error}");
                tracing::error!("{text}");
                self.journal_warning(text)
            }
            News::CopyWaits(why) => {
                tracing::error!("the journal cannot be copied; trying again until it can: {why}");
                self.warn_until(
                    Cause::Copy,
                    format!(
                        "the journal cannot be copied, and the workers go on for their leases only: {why}"
                    ),
                );
                self.stop_without_journal()
            }
            News::CopyGoesOn => self.journal_goes_on(Cause::Copy, "the journal can be copied again"),
            News::Deposed(why) => {
                self.goes = true;
                self.deposed.get_or_insert(why);
            }
            // The run ends already, with the first reason.
            News::Broken(_) if self.broken.is_some() => {}
            News::Broken(error) => {
                let text = format!("the journal cannot be written any more: {error}");
                tracing::error!("{text}");
                self.journal_warning(text.clone());
                self.broken.get_or_insert(text);
                self.abandon();
                // The workers' state can still be kept.
                self.apply(Event::StopRequested)
            }
        }
    }

    /// What the journal waited for is over.
    fn journal_goes_on(&mut self, cause: Cause, text: &str) {
        self.abandon_at = None;
        self.notices.end(&cause);
        self.notice(false, text.to_owned())
    }

    /// After a requested end, goes on without a journal that cannot be written for [`STOP_WAITS`].
    pub(crate) fn stop_without_journal(&mut self) {
        if self.run.stops() && self.journal.waits() && self.abandoned.is_none() {
            self.abandon_at.get_or_insert_with(|| Instant::now() + STOP_WAITS);
        }
    }

    /// Goes on without the journal when that is due, and ends the run as failed if it does not end by itself then.
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

    /// From now on nothing waits for the journal. The run ends with a snapshot if the workers can write one.
    fn abandon(&mut self) {
        self.abandon_at = None;
        if self.abandoned.is_none() {
            let text = "the journal still cannot be written or copied: the run ends without it";
            tracing::error!("{text}");
            self.journal_warning(text.to_owned());
            self.abandoned = Some(Instant::now() + STOP_WITHIN);
        }
        self.release()
    }
}
