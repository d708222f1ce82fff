//! Messages of workers on their way to the gate ([`lsgan_control::gate`]): what does not pass is dropped, counted, and told
//! once for each stream. What a stream left in the queue when it was closed here is not looked at.

use std::time::Instant;

use lsgan_control::gate::{Rejection, clean};
use lsgan_control::{Event, Report, SessionId};
use lsgan_spec::{Step, VirtualRank};
use lsgan_wire::convert;
use lsgan_wire::v1::{self, worker_message::Kind};

use crate::causes::{Cause, Lasts};
use crate::notices::Telling;
use crate::shell::Shell;
use crate::stream::Stream;

/// A stream that is open.
#[derive(Debug)]
pub struct Session {
    /// The way to the worker and back.
    pub stream: Stream,
    /// It has said Hello.
    greeted: bool,
    /// Messages that were dropped.
    dropped: u64,
    /// What the worker takes of its host's memory, as it said last.
    pub(crate) memory_bytes: Option<u64>,
}

impl Session {
    /// A stream that was just opened.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, greeted: false, dropped: 0, memory_bytes: None }
    }
}

impl Shell {
    /// A message came on a stream.
    pub(crate) fn message(&mut self, session: SessionId, kind: Kind) {
        let Some(open) = self.sessions.get(&session) else { return };
        let greeted = open.greeted;
        if let Kind::Heartbeat(_) = kind {
            open.stream.heartbeat_handled();
        }
        let kind = match kind {
            Kind::Metrics(metrics) => {
                let steps = || metrics.rows.iter().map(|row| Step(row.step));
                let admission = self.run.admits_metrics(session, steps());
                return match admission.and_then(|()| self.rows_were_done(steps().max())) {
                    Ok(()) => self.metrics(session, &metrics.rows),
                    Err(rejection) => self.reject(session, &rejection),
                };
            }
            // Its incarnation is over, and the word of that is on its way.
            Kind::LogLines(_) | Kind::Load(_) if greeted && self.worker_on(session).is_none() => return,
            Kind::LogLines(sent) => return self.log_lines(session, &sent),
            Kind::Scored(scored) => return self.scored(session, &scored),
            Kind::Load(load) => return self.load(session, &load),
            Kind::Spans(sent) => return self.recorded(session, sent),
            kind => kind,
        };
        let report = match convert::report(kind) {
            Ok(Some(report)) => clean(report),
            Ok(None) => return,
            Err(why) => return self.drop_message(session, &why),
        };
        let admission = match report {
            Report::Hello(_) if greeted => Err(Rejection::SecondHello),
            _ => self.run.admits(session, &report).and_then(|()| self.was_done(&report)),
        };
        match admission {
            Ok(()) => {
                let says_hello = matches!(report, Report::Hello(_));
                self.act(session, report);
                if let Some(open) = self.sessions.get_mut(&session) {
                    open.greeted |= says_hello;
                }
            }
            // Its incarnation is over, and the word of that is on its way.
            Err(Rejection::NoHello) if greeted => {}
            Err(rejection @ Rejection::OutOfBounds { .. }) => match report {
                Report::Hello(hello) => self.refuse(session, &hello.name, &rejection.to_string()),
                _ => self.reject(session, &rejection),
            },
            Err(rejection) => self.reject(session, &rejection),
        }
    }

    /// A worker that has sent a heartbeat is not silent, whatever is before it in the queue.
    pub(crate) fn hear_who_waits(&mut self) {
        let waits = self.sessions.iter().filter(|(_, open)| open.stream.heartbeat_waits());
        let waiting: Vec<_> = waits.map(|(session, _)| *session).collect();
        for session in waiting {
            self.apply(Event::Alive { session });
        }
    }

    /// A stream says too much. What is too much does not come here.
    pub(crate) fn floods(&mut self, session: SessionId) {
        self.drop_message(session, "no worker has so much to say in so short a time");
    }

    /// A stream ended or broke; so many of its messages were too many.
    pub(crate) fn closed(&mut self, session: SessionId, dropped: u64) {
        if let Some(open) = self.sessions.get_mut(&session) {
            // The first one was counted when it was told.
            open.dropped += dropped.saturating_sub(1);
        }
        self.close(session);
        self.apply(Event::Closed { session })
    }

    /// Tells a worker that it cannot take part, and why.
    pub(crate) fn refuse(&mut self, session: SessionId, name: &str, why: &str) {
        let cause = Cause::CannotStart { name: name.to_owned() };
        if self.notices.stands(&cause) || self.trouble_rate.takes(1, Instant::now()) {
            let text = format!("{name} was refused: {why}");
            let lasts = Lasts::Until(cause);
            self.tell(Telling { warning: true, worker: name.to_owned(), lasts, text });
        }
        self.send(session, v1::Refused { why: why.to_owned() }.into());
        self.close(session)
    }

    /// Whether a report is of a state that somebody can have. A picture of a later one would take a place among those that are kept,
    /// and a hash that of one which is compared.
    fn was_done(&self, report: &Report) -> Result<(), Rejection> {
        let (field, done) = match report {
            Report::Sample { step, .. } => ("the step of a picture", step),
            Report::StateHash { step, .. } => ("the step of a hash", step),
            _ => return Ok(()),
        };
        self.reached_by_leases(field, *done, done.0)
    }

    /// The same for rows of metrics, of which this step is the last.
    fn rows_were_done(&self, last: Option<Step>) -> Result<(), Rejection> {
        let Some(last) = last else { return Ok(()) };
        self.reached_by_leases("the step of a row of metrics", last, last.0 + 1)
    }

    /// Whether the leases that are given reach to the end of so many steps: otherwise nobody can have `done` them.
    fn reached_by_leases(&self, field: &'static str, step: Step, done: u64) -> Result<(), Rejection> {
        let reached = |rank| self.plan.completed_ordinals(rank, done) <= self.run.leased(rank);
        if (0..self.spec.batch.virtual_ranks).map(VirtualRank).all(reached) {
            return Ok(());
        }
        let accepted = "a step whose data the members may read by now".to_owned();
        Err(Rejection::OutOfBounds { field, value: step.to_string(), accepted })
    }

    pub(crate) fn reject(&mut self, session: SessionId, rejection: &Rejection) {
        match rejection {
            Rejection::Late => tracing::debug!(session = session.0, "a message came too late"),
            rejection => self.drop_message(session, &rejection.to_string()),
        }
    }

    /// Drops a message. A person is told of the first one of a stream.
    fn drop_message(&mut self, session: SessionId, why: &str) {
        let Some(open) = self.sessions.get_mut(&session) else { return };
        open.dropped += 1;
        if open.dropped > 1 {
            return;
        }
        let (who, worker) = match self.worker_on(session) {
            Some(worker) => {
                (format!("worker {} ({})", worker.rights.incarnation, worker.name), worker.name.clone())
            }
            None => ("a program that is no worker of this run".to_owned(), String::new()),
        };
        let cause = Cause::Dropped { who: who.clone() };
        if self.notices.stands(&cause) || self.trouble_rate.takes(1, Instant::now()) {
            let text =
                format!("a message of {who} is ignored: {why}. More of the same stream are only counted");
            self.tell(Telling { warning: true, worker, lasts: Lasts::Until(cause), text });
        }
    }

    /// Ends a stream from here.
    pub(crate) fn close(&mut self, session: SessionId) {
        let Some(Session { dropped, .. }) = self.sessions.remove(&session) else { return };
        if dropped > 0 {
            tracing::warn!(session = session.0, dropped, "messages of this stream were ignored");
        }
    }
}
