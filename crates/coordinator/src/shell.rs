//! The shell around the control machine: receive, convert, `apply`, perform.
//!
//! One task owns everything. It handles an input, performs the effects in order, and sleeps until the next input
//! or the machine's next deadline. What is sent waits until what stands before it is in the journal ([`held`](crate::held)).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsgan_control::{Effect, Entry, Event, Hello, Message, Outcome, Phase, Report, Run, SessionId};
use lsgan_journal::wall_ms;
use lsgan_plan::Plan;
use lsgan_snapshots::Store;
use lsgan_spec::{Millis, RunSpec};
use lsgan_wire::v1;
use tokio::sync::{mpsc, watch};

use crate::allowance::Bucket;
use crate::bounded::Sender;
use crate::catalogue::Catalogue;
use crate::causes::{self, Cause, Lasts};
use crate::clock::Clock;
use crate::confirm::Confirming;
use crate::counts::Counts;
use crate::data_set::DataSet;
use crate::entrance::Session;
use crate::held::Held;
use crate::logs::LogBook;
use crate::notices::{Heard, Notices, Telling, sentence};
use crate::operate::SnapshotWaiter;
use crate::profile::Profiles;
use crate::queue::Queue;
use crate::scoring::Scoring;
use crate::seen::Claim;
use crate::service::Input;
use crate::spans::Spans;
use crate::status::{self, Publisher};
use crate::tokens::Tokens;

/// How long workers get to end after the run has ended, before their streams are cut.
const GOODBYE: Duration = Duration::from_secs(10);

/// How many inputs are handled before what is due, where both are there: a heartbeat may be among them.
const OVERTAKEN_MAX: u32 = 64;

/// The most workers that one `lsgan up` runs, as its command line says.
const WORKERS_WANTED_MAX: u32 = 1024;

/// The state of the shell.
pub struct Shell {
    pub(crate) spec: RunSpec,
    pub(crate) identity: String,
    pub(crate) run_dir: std::path::PathBuf,
    pub(crate) run: Run,
    pub(crate) plan: Plan,
    pub(crate) journal: Queue,
    /// What waits for the journal, each with the number of the write that it waits for.
    pub(crate) held: VecDeque<(u64, Held)>,
    /// The newest write that sends depend on.
    pub(crate) depends_on: u64,
    /// When to go on without the journal: an end was requested, and it cannot be written.
    pub(crate) abandon_at: Option<Instant>,
    /// Set once nothing waits for the journal any more: when the run is ended as failed if it has not ended by itself.
    pub(crate) abandoned: Option<Instant>,
    /// Why the journal cannot be written any more, which ends the run.
    pub(crate) broken: Option<String>,
    pub(crate) store: Store,
    /// Where that is, as workers are told.
    pub(crate) place: String,
    /// The secret in the store that workers must find.
    pub(crate) secret: String,
    /// Snapshots that workers have reported, to be looked for in order.
    pub(crate) claims: mpsc::Sender<(SessionId, Claim)>,
    /// This process ends, and the run goes on without it.
    pub(crate) goes: bool,
    /// Another coordinator leads the run, as the sentence says.
    pub(crate) deposed: Option<String>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) notices: Notices,
    /// Bounds the reports of workers that cannot start.
    pub(crate) trouble_rate: Bucket,
    pub(crate) metrics: Option<v1::StepMetrics>,
    pub(crate) metrics_until: u64,
    pub(crate) data: DataSet,
    /// Records that workers say do not decode, to be read here.
    pub(crate) confirming: Confirming,
    pub(crate) final_files: Vec<v1::FinalFile>,
    pub(crate) outcome: Option<Outcome>,
    /// Operators that wait for a snapshot.
    pub(crate) await_snapshot: Vec<SnapshotWaiter>,
    /// An operator holds the run.
    pub(crate) paused: Option<v1::Paused>,
    pub(crate) publisher: Publisher,
    pub(crate) clock: Clock,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) catalogue: Catalogue,
    pub(crate) scoring: Scoring,
    /// What the snapshots score.
    pub(crate) scores: watch::Receiver<Option<v1::SnapshotScore>>,
    /// What the journal has, for workers that come back.
    pub(crate) counts: Arc<Counts>,
    /// How many workers `lsgan up` is to run, if it runs them.
    pub(crate) workers_wanted: Option<u32>,
    pub(crate) tokens: Arc<Tokens>,
    /// The newest lines of all logs.
    pub(crate) logs: LogBook,
    /// What happens, for OpenTelemetry, where that is asked for.
    pub(crate) spans: Option<Spans>,
    pub(crate) profiles: Profiles,
}

impl Shell {
    /// Runs until the run has ended and every worker was told, or `inputs` closes.
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) -> Ended {
        self.apply(Event::Tick);
        // The coordinator before may have been killed before it acted on the records that it knew.
        self.check_data();
        self.want_scores();
        let asked = self.publisher.asked();
        let (mut goodbye, mut overtaken) = (None, 0);
        while !self.goes || self.outcome.is_some() && self.deposed.is_none() {
            self.tell_operators();
            self.see_to_scores();
            if self.publisher.is_due(inputs.is_empty()) || self.outcome.is_some() && goodbye.is_none() {
                self.publish();
            }
            if self.outcome.is_some() {
                let until = *goodbye.get_or_insert_with(|| Instant::now() + GOODBYE);
                if self.sessions.is_empty() && !self.is_busy() || Instant::now() >= until {
                    break;
                }
            }
            self.end_stuck();
            if self.journal.waits() {
                // The workers may wait for leases that are held back.
                self.run.hold_still(self.clock.now());
            }
            let deadline = self.run.next_deadline();
            let publish = self.publisher.due_in();
            let wait = deadline.map_or(publish, |then| self.clock.until(then).min(publish));
            let is_due = deadline.is_some_and(|then| then <= self.clock.now());
            overtaken = if is_due { overtaken + 1 } else { 0 };
            let input = tokio::select! {
                biased;
                news = self.journal.news() => {
                    self.journal_news(news);
                    continue;
                }
                () = asked.notified() => {
                    self.publisher.hurry();
                    continue;
                }
                // Inputs that do not end must not hold up what is due.
                () = std::future::ready(()), if overtaken > OVERTAKEN_MAX => Err(()),
                input = tokio::time::timeout(wait, inputs.recv()) => input.map_err(drop),
            };
            match (input, deadline.filter(|then| *then <= self.clock.now())) {
                (Ok(Some(input)), _) => self.handle(input),
                (Ok(None), _) => break,
                (Err(()), Some(then)) => self.wake(then),
                // The status is due.
                (Err(()), None) => {}
            }
        }
        if self.deposed.is_none() {
            self.clean().await;
            if !self.journal.drain().await {
                tracing::error!("the end of the journal could not be written or copied, and may be lost");
            }
        }
        if let Some(spans) = self.spans.take() {
            spans.end(wall_ms());
        }
        Ended { outcome: self.outcome, deposed: self.deposed, final_files: self.final_files }
    }

    /// Whether something is under way beside the shell that a run that has ended still waits for.
    fn is_busy(&self) -> bool {
        self.catalogue.is_busy() || self.confirming.is_busy()
    }

    /// Lets the machine do what is due since `then`.
    fn wake(&mut self, then: Millis) {
        if !self.clock.forgive(then) {
            self.hear_who_waits();
            self.apply(Event::Tick);
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Opened(session, stream) => {
                self.sessions.insert(session, Session::new(stream));
            }
            Input::Message { session, kind, room: _room } => self.message(session, kind),
            Input::Floods(session) => self.floods(session),
            Input::Closed { session, dropped } => self.closed(session, dropped),
            Input::Stop => self.apply(Event::StopRequested),
            Input::Order(order) => self.obey(order),
            Input::Snapshot { by, answer } => self.snapshot_asked(&by, answer),
            Input::Go => {
                self.goes = true;
            }
            Input::Trouble { name, why } => self.trouble(&name, &why),
            Input::Scale(workers, answer) => {
                let result = self.scale(workers);
                // The caller may have gone.
                let _ = answer.send(result);
            }
            Input::Profile(asked, answer) => self.profile_asked(&asked, answer),
            Input::Token(order, answer) => self.token_ordered(order, answer),
            Input::Score { by, row, answer } => {
                let result = self.score_reported(&by, &row);
                // The caller may have gone.
                let _ = answer.send(result);
            }
            Input::StoreProved(session, why_not) => self.apply(Event::StoreProved { session, why_not }),
            Input::Found(found) => self.found(found),
            Input::ReadAgain(read) => self.records_read(read),
            Input::ChoreDone(chore, result) => self.chore_done(chore, result),
            Input::Alerts(turned) => self.alerts_turned(turned),
        }
    }

    /// Acts upon a message that has passed the gate.
    pub(crate) fn act(&mut self, session: SessionId, report: Report) {
        match report {
            Report::Hello(hello) => self.hello(session, hello),
            Report::StoreProof(proof) => self.look_for_answer(session, proof),
            Report::SnapshotWritten(written) => self.look_for(session, Claim::Snapshot(written)),
            Report::TaskDone { files } => self.look_for(session, Claim::Task(files)),
            Report::SnapshotFailed { step, why } => self.snapshot_not_written(session, step, &why),
            Report::CorruptRecords(records) => self.corrupt_records(session, records),
            Report::Warning { text } => self.warning(session, &text),
            Report::Sample { step, png } => self.sample(step, &png),
            report => {
                if let Some(event) = report.into_event(session) {
                    self.apply(event);
                }
            }
        }
    }

    /// A worker attaches, if it reads the same data.
    fn hello(&mut self, session: SessionId, hello: Hello) {
        if let Some(why) = self.data.differs_from(&hello.data_fingerprint) {
            return self.refuse(session, &hello.name, &why);
        }
        self.apply(Event::Joined { session, hello })
    }

    /// Lets the machine handle an event, and does what it asks for, in order.
    pub(crate) fn apply(&mut self, event: Event) {
        let mut effects = Vec::new();
        // All workers go when the run ends: that is not worth a notice.
        let ended = matches!(self.run.phase(), Phase::Ended(_));
        let stops = event == Event::StopRequested;
        self.run.apply(self.clock.now(), event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Journal(entry) => {
                    self.journal(entry, ended);
                }
                Effect::Send { session, message } => {
                    match &message {
                        Message::Refused { why } => self.notice(true, format!("a worker was refused: {why}")),
                        Message::Welcome { pass, .. } => self.trust(session, pass.rights.led),
                        Message::Form(form) => self.trust(session, form.pass.rights.led),
                        Message::Abort(_) | Message::Lease { .. } | Message::Wish { .. } => {}
                        Message::Try { .. } | Message::Task(_) => {}
                        Message::Retired { .. } | Message::Shutdown(_) => {}
                    }
                    self.hold(Held::Send(session, message));
                }
                Effect::Close { session } => self.hold(Held::Close(session)),
            }
        }
        if stops {
            self.stop_without_journal();
        }
    }

    /// Queues an entry. What follows from it waits until it is written.
    fn journal(&mut self, entry: Entry, ended: bool) {
        let (written, plan, now_ms) = (entry.clone(), self.plan, wall_ms());
        self.depends_on = self.journal.write(move |journal| journal.record(&written, &plan, now_ms));
        let quietly = ended && matches!(entry, Entry::Gone { .. });
        let told = sentence(&entry, &self.run).filter(|_| !quietly);
        if let Some(spans) = &mut self.spans {
            spans.entry(&entry, told.as_ref(), now_ms);
        }
        if let Some((warning, text)) = told {
            let (lasts, worker) = causes::of(&entry, &self.run);
            self.tell(Telling { warning, worker, lasts, text });
        }
        self.hold(Held::Written(entry))
    }

    /// A worker is on this stream, which may send longer messages from now on.
    fn trust(&self, session: SessionId, has_led: bool) {
        if let Some(open) = self.sessions.get(&session) {
            open.stream.raise_limit(if has_led { Sender::Leader } else { Sender::Worker });
        }
    }

    pub(crate) fn send(&mut self, session: SessionId, message: v1::CoordinatorMessage) {
        let Some(to) = self.sessions.get(&session) else { return };
        if to.stream.outbound.try_send(Ok(message)).is_err() {
            // It does not read, or it is gone: without our half its inbound task ends too.
            self.close(session);
        }
    }

    fn publish(&mut self) {
        let asked = self.publisher.count_asked();
        self.notices.refresh(&self.run);
        for (cause, at_ms) in self.notices.take_ended() {
            self.journal.end_warnings(at_ms, cause);
        }
        let status = status::of(self);
        self.publisher.publish(status, asked);
    }

    /// Sets how many workers `lsgan up` is to run.
    fn scale(&mut self, workers: u32) -> Result<(), String> {
        if !(1..=WORKERS_WANTED_MAX).contains(&workers) {
            return Err(format!("{workers} workers are asked for; accepted are 1 to {WORKERS_WANTED_MAX}"));
        }
        match &mut self.workers_wanted {
            Some(wanted) => {
                *wanted = workers;
                Ok(())
            }
            None => Err(
                "nobody supervises this run's workers: it was not started by `lsgan up`. Start more with \
                         `worker` or `lsgan node`, or end some with SIGTERM."
                    .to_owned(),
            ),
        }
    }

    /// Adds a notice about a moment to log, journal and status.
    pub(crate) fn notice(&mut self, warning: bool, text: String) {
        self.tell(Telling { warning, worker: String::new(), lasts: Lasts::AWhile, text })
    }

    /// Adds a warning that stands until its cause has ended.
    pub(crate) fn warn_until(&mut self, cause: Cause, text: String) {
        self.tell(Telling { warning: true, worker: String::new(), lasts: Lasts::Until(cause), text })
    }

    /// Adds a notice to log, journal and status.
    pub(crate) fn tell(&mut self, telling: Telling) {
        let (warning, text, cause) = (telling.warning, telling.text.clone(), telling.lasts.cause());
        // Any process that reaches the port can send these reports: repeated ones are only counted.
        let counted =
            matches!(telling.lasts, Lasts::Until(Cause::CannotStart { .. } | Cause::Dropped { .. }));
        let newest = self.run.workers().keys().next_back().copied().unwrap_or_default();
        let heard = self.notices.add(telling, newest);
        if counted && heard == Heard::Again {
            return;
        }
        if warning {
            tracing::warn!(generation = self.run.generation().0, "{text}");
        } else {
            tracing::info!(generation = self.run.generation().0, "{text}");
        }
        match cause.filter(|_| warning) {
            Some(cause) => self.journal.add_standing(wall_ms(), cause, text),
            None => self.journal.add_event(wall_ms(), warning, text),
        }
    }

    pub(crate) fn global_batch(&self) -> u32 {
        self.spec.batch.virtual_ranks * self.spec.batch.per_rank
    }
}

/// How the shell ended.
#[derive(Debug)]
pub struct Ended {
    /// None if this process ends and the run does not.
    pub outcome: Option<Outcome>,
    /// Why this process may not go on, where another coordinator leads the run.
    pub deposed: Option<String>,
    /// What a finished run wrote.
    pub final_files: Vec<v1::FinalFile>,
}
