//! The worker's machine ([`Participant`]), shared by the session and the training thread, and the rows of metrics.
//!
//! The training thread never waits for the coordinator: what it says goes into the machine, and the session performs what
//! follows and sends what is to be sent.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lsgan_console::recent;
use lsgan_control::Report;
use lsgan_control::member::{Effect, Event, Participant, Wishes};
use lsgan_spec::{Generation, Incarnation, Reduction};
use lsgan_wire::v1;
use tokio::sync::Notify;

use crate::metric_rows::MetricRows;
use crate::profiling::Profiling;

/// Between two messages with lines of the log, and how many lines there are in one.
const LINES_EVERY: Duration = Duration::from_secs(1);
const LINES_MAX: usize = 64;

/// See the module.
pub struct Outbox {
    inner: Mutex<Inner>,
    /// An effect is to be performed or a message to be sent.
    pub news: Notify,
    /// What the training thread is to record of its steps.
    pub profiling: Profiling,
}

struct Inner {
    participant: Participant,
    /// What the session has to perform, in order.
    effects: Vec<Effect>,
    metrics: MetricRows,
    /// What steps take lately, where that was not sent yet. A newer one takes its place.
    load: Option<v1::Load>,
    /// When lines of the log were sent last.
    lines_sent: Option<Instant>,
}

/// How far the journal was, as this worker was told.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The newest generation.
    pub generation: Generation,
    /// This worker's incarnation, if it has one.
    pub incarnation: Option<Incarnation>,
    /// The metrics of the steps below are stored.
    pub metrics_until: u64,
}

impl Outbox {
    /// An outbox of a worker that starts.
    #[must_use]
    pub fn new(participant: Participant) -> Self {
        let metrics = MetricRows::default();
        let inner = Inner { participant, effects: Vec::new(), metrics, load: None, lines_sent: None };
        Self { inner: Mutex::new(inner), news: Notify::new(), profiling: Profiling::default() }
    }

    /// Something happened.
    pub fn apply(&self, event: Event) {
        let mut inner = self.lock();
        let Inner { participant, effects, metrics, .. } = &mut *inner;
        if let Event::Connected { .. } = event {
            metrics.begin_stream();
            self.profiling.forget();
        }
        participant.apply(event, effects);
        if !effects.is_empty() || participant.has_urgent_mail() {
            self.news.notify_one();
        }
    }

    /// The training thread, or a helper beside it, has this to say.
    pub fn say(&self, report: Report) {
        self.apply(Event::Said(report));
    }

    /// The training thread has applied so many reductions.
    pub fn applied(&self, applied: Reduction) {
        self.apply(Event::Applied(applied));
    }

    /// What this worker wishes for in the header of this generation's reductions.
    pub fn wishes(&self, generation: Generation) -> Wishes {
        self.lock().participant.wishes(generation)
    }

    /// How far the journal was, as this worker was told.
    pub fn known(&self) -> Known {
        let inner = self.lock();
        Known {
            generation: inner.participant.generation(),
            incarnation: inner.participant.incarnation(),
            metrics_until: inner.metrics.stored_until(),
        }
    }

    /// What is to be performed now, in order.
    pub fn take_effects(&self) -> Vec<Effect> {
        std::mem::take(&mut self.lock().effects)
    }

    /// What is to be sent now, in order. Metrics and spans come first, so that they are there before a Parked ends the stream.
    pub fn take_mail(&self) -> Vec<v1::WorkerMessage> {
        let mut inner = self.lock();
        if !inner.participant.sends_mail() {
            return Vec::new();
        }
        let metrics = inner.metrics.take().map(v1::WorkerMessage::from);
        let load = inner.load.take().map(v1::WorkerMessage::from);
        let lines = inner.log_lines(Instant::now()).map(v1::WorkerMessage::from);
        let spans = self.profiling.take().into_iter().map(v1::WorkerMessage::from);
        metrics
            .into_iter()
            .chain(load)
            .chain(lines)
            .chain(spans)
            .chain(inner.participant.take_mail().into_iter().map(Into::into))
            .collect()
    }

    /// A generation begins, in which the first rank reports the metrics.
    pub fn begin_generation(&self, first_rank: bool) {
        self.lock().metrics.begin_generation(first_rank);
    }

    /// A row of metrics.
    pub fn metrics(&self, row: v1::StepMetrics) {
        self.lock().metrics.add(row);
        self.news.notify_one();
    }

    /// What steps take lately. It is no news: it goes with what is sent next, a heartbeat at the latest.
    pub fn load(&self, load: v1::Load) {
        self.lock().load = Some(load);
    }

    /// The training thread has recorded a profile.
    pub fn recorded(&self, profile: u64, spans: &[v1::Span], end: v1::Recorded) {
        self.profiling.deliver(profile, spans, end);
        self.news.notify_one();
    }

    /// The coordinator has stored the metrics of the steps below.
    pub fn metrics_stored(&self, until: u64) {
        self.lock().metrics.stored(until);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while the outbox is locked")
    }
}

impl Inner {
    /// Lines of the log that were not sent yet, if it is time for some.
    fn log_lines(&mut self, now: Instant) -> Option<v1::LogLines> {
        if self.lines_sent.is_some_and(|sent| now < sent + LINES_EVERY) {
            return None;
        }
        let (lost, lines) = recent::take(LINES_MAX);
        (!lines.is_empty()).then(|| {
            self.lines_sent = Some(now);
            v1::LogLines { lines, lost }
        })
    }
}
