//! Events become spans: [`Spans`].
//!
//! A trace is the life of a generation: its root from when it is formed to when the next one is, or the run ends; below it
//! `forming`, `stepping` and `halted`, one after the other, and what happens meanwhile. Before the first generation there is
//! `gathering`, a trace of its own. A span is sent when it ends, the root last; each root is linked to the one before.
//!
//! Identifiers are made of the run's secret and the generation's number: a coordinator that is started again goes on in the
//! trace of the generation that it finds.

use lsgan_control::{Entry, Start};
use lsgan_journal::Snapshot;
use lsgan_spec::{Incarnation, scalars};
use lsgan_wire::v1;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::{About, Queue, attribute, number, text};

/// It is sampled (bit 0), and it is known (bit 8) that its parent is of this process. W3C Trace Context, and trace.proto.
const FLAGS: u32 = 0x101;
const NANOS_PER_MS: u64 = 1_000_000;

/// Makes spans of what happens to a run.
#[derive(Debug)]
pub struct Spans {
    queue: Queue,
    ids: Ids,
    root: Span,
    /// What the generation does at the moment.
    stage: Option<Span>,
    step_every: u64,
    /// So many times as many steps were done when a step was shown last.
    shown: Option<u64>,
}

/// Makes identifiers.
#[derive(Debug)]
struct Ids {
    key: [u8; 32],
    /// When this life of the coordinator began. Another one gives out other identifiers of spans.
    life_ms: u64,
    spans: u64,
}

impl Ids {
    fn trace(&self, of: &str, number: u64) -> Vec<u8> {
        let hash = blake3::keyed_hash(&self.key, format!("{of} {number}").as_bytes());
        hash.as_bytes()[..16].to_vec()
    }

    fn span(&mut self) -> Vec<u8> {
        self.spans += 1;
        let life = format!("span {} of {} {}", self.spans, self.life_ms, std::process::id());
        blake3::keyed_hash(&self.key, life.as_bytes()).as_bytes()[..8].to_vec()
    }
}

impl Spans {
    /// Spans of this run, from `now_ms` on. One row of metrics in `step_every` steps is one, none with 0.
    #[must_use]
    pub fn new(queue: Queue, step_every: u64, about: &About<'_>, now_ms: u64) -> Self {
        let key = blake3::derive_key("lsgan: identifiers of a run's spans", about.secret.as_bytes());
        let mut ids = Ids { key, life_ms: now_ms, spans: 0 };
        let (trace_id, name, attributes) = match about.adopts {
            Some(generation) => (
                ids.trace("generation", generation),
                "adopted generation",
                vec![number("lsgan.generation", generation)],
            ),
            None => (ids.trace("gathering", now_ms), "gathering", Vec::new()),
        };
        let root = Span { attributes, ..root(trace_id, ids.span(), name, now_ms) };
        Self { queue, ids, root, stage: None, step_every, shown: None }
    }

    /// Something is journaled. `told` is what people hear of it, and whether it is a warning.
    pub fn entry(&mut self, entry: &Entry, told: Option<&(bool, String)>, now_ms: u64) {
        match entry {
            Entry::Generation { generation, members, from, start } => {
                let attributes = vec![
                    number("lsgan.generation", generation.0),
                    number("lsgan.workers", members.len() as u64),
                    number("lsgan.from_step", from.step().0),
                    text("lsgan.start", word(start)),
                ];
                self.begin(generation.0, attributes, now_ms);
                self.enter("forming", now_ms)
            }
            Entry::Stepping(_) => self.enter("stepping", now_ms),
            Entry::Halting { why, .. } => {
                self.root.attributes.push(text("lsgan.halted_because", why));
                self.enter("halted", now_ms)
            }
            other => {
                if let (Some((name, attributes)), Some((warning, said))) = (moment(other), told) {
                    self.moment(name, attributes, (*warning, said.as_str()), now_ms);
                }
            }
        }
    }

    /// A snapshot is there.
    pub fn snapshot(&mut self, snapshot: &Snapshot, now_ms: u64) {
        let attributes = vec![
            number("lsgan.step", snapshot.step),
            number("lsgan.len_bytes", snapshot.len_bytes),
            attribute("lsgan.blocked_ms", Value::DoubleValue(snapshot.blocked_ms)),
        ];
        let said = format!("the snapshot of step {} is at {}", snapshot.step, snapshot.url);
        self.moment("snapshot", attributes, (false, said.as_str()), now_ms);
    }

    /// Whether the row of this step is to be a span.
    #[must_use]
    pub fn wants(&self, step: u64) -> bool {
        (step + 1).checked_div(self.step_every).is_some_and(|times| self.shown != Some(times))
    }

    /// A row of metrics: a step that has ended, by the clock of the worker that did it.
    pub fn step(&mut self, row: &v1::StepMetrics, now_ms: u64) {
        self.shown = (row.step + 1).checked_div(self.step_every);
        let end = nanos(row.wall_ms.min(now_ms));
        let root = self.root.start_time_unix_nano;
        // It is of the generation before, or of a host whose clock is behind: it would lie outside of its parent.
        if end < root {
            return;
        }
        let took = (row.scalar(scalars::STEP_MS.name).max(0.0) * NANOS_PER_MS as f64) as u64;
        let mut span = self.child("step", root.max(end.saturating_sub(took)));
        span.attributes = row
            .scalars
            .iter()
            .map(|(name, value)| attribute(&format!("lsgan.{name}"), Value::DoubleValue(*value)))
            .chain([number("lsgan.step", row.step)])
            .collect();
        self.finish(span, end)
    }

    /// The coordinator ends. Nothing comes after it.
    pub fn end(mut self, now_ms: u64) {
        self.end_root(now_ms);
        self.queue.close();
    }

    /// Begins the trace of a generation.
    fn begin(&mut self, generation: u64, attributes: Vec<KeyValue>, now_ms: u64) {
        let trace_id = self.ids.trace("generation", generation);
        let next = root(trace_id, self.ids.span(), "generation", now_ms);
        let (trace_id, span_id) = (self.root.trace_id.clone(), self.root.span_id.clone());
        let links = vec![Link { trace_id, span_id, flags: FLAGS, ..Link::default() }];
        self.end_root(now_ms);
        self.root = Span { attributes, links, ..next };
    }

    /// Ends what the generation does, and begins something else.
    fn enter(&mut self, name: &str, now_ms: u64) {
        let stage = self.child(name, nanos(now_ms));
        if let Some(before) = self.stage.replace(stage) {
            self.finish(before, nanos(now_ms));
        }
    }

    fn end_root(&mut self, now_ms: u64) {
        if let Some(stage) = self.stage.take() {
            self.finish(stage, nanos(now_ms));
        }
        self.finish(self.root.clone(), nanos(now_ms))
    }

    /// A span without length.
    fn moment(&mut self, name: &str, attributes: Vec<KeyValue>, (warning, said): (bool, &str), now_ms: u64) {
        let mut span = self.child(name, nanos(now_ms));
        span.attributes = attributes;
        span.attributes.push(text("lsgan.text", said));
        if warning {
            span.status = Some(Status { message: said.to_owned(), code: StatusCode::Error.into() });
        }
        self.finish(span, nanos(now_ms))
    }

    fn child(&mut self, name: &str, begin: u64) -> Span {
        Span {
            trace_id: self.root.trace_id.clone(),
            span_id: self.ids.span(),
            parent_span_id: self.root.span_id.clone(),
            flags: FLAGS,
            name: name.to_owned(),
            kind: SpanKind::Internal.into(),
            // The clock of this host may have been set back.
            start_time_unix_nano: begin.max(self.root.start_time_unix_nano),
            ..Span::default()
        }
    }

    fn finish(&self, mut span: Span, end: u64) {
        span.end_time_unix_nano = end.max(span.start_time_unix_nano);
        self.queue.push(span);
    }
}

fn root(trace_id: Vec<u8>, span_id: Vec<u8>, name: &str, now_ms: u64) -> Span {
    Span {
        trace_id,
        span_id,
        flags: FLAGS,
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanos(now_ms),
        ..Span::default()
    }
}

fn nanos(ms: u64) -> u64 {
    ms.saturating_mul(NANOS_PER_MS)
}

fn word(start: &Start) -> &'static str {
    match start {
        Start::Fresh => "fresh",
        Start::Snapshot(_) => "snapshot",
        Start::Held => "held",
    }
}

/// The name of a span without length, and the worker that it is about; none for what has another span or none.
fn moment(entry: &Entry) -> Option<(&'static str, Vec<KeyValue>)> {
    let about = |incarnation: &Incarnation| vec![number("lsgan.incarnation", incarnation.0)];
    Some(match entry {
        Entry::Admitted { incarnation, name, .. } => {
            ("worker joined", [about(incarnation), vec![text("lsgan.worker", name)]].concat())
        }
        Entry::Gone { incarnation, name, .. } => {
            ("worker gone", [about(incarnation), vec![text("lsgan.worker", name)]].concat())
        }
        Entry::OtherNumerics { incarnation, .. } => ("worker has other numerics", about(incarnation)),
        Entry::Straggles { incarnation, .. } => ("worker straggles", about(incarnation)),
        Entry::CannotKeep { incarnation, .. } => ("worker cannot write snapshots", about(incarnation)),
        Entry::CutOff { incarnation, .. } => ("worker cut off", about(incarnation)),
        Entry::ReachedAgain { incarnation } => ("worker reached again", about(incarnation)),
        Entry::LeftBehind { incarnation, .. } => ("worker left behind", about(incarnation)),
        Entry::Faulty { incarnation, .. } => ("worker faulty", about(incarnation)),
        Entry::NoKeeper { .. } => ("no worker can write snapshots", Vec::new()),
        Entry::Stands { .. } => ("generation stands still", Vec::new()),
        Entry::NoProgress { .. } => ("no progress", Vec::new()),
        Entry::StopRequested => ("stop requested", Vec::new()),
        Entry::Paused { .. } => ("paused", Vec::new()),
        Entry::Resumed { .. } => ("resumed", Vec::new()),
        Entry::DataUnfit(_) => ("data unfit", Vec::new()),
        Entry::Numerics(_) => ("numerics known", Vec::new()),
        Entry::Ended(_) => ("run ended", Vec::new()),
        Entry::Generation { .. } | Entry::Stepping(_) | Entry::Halting { .. } => return None,
        Entry::Base(_) | Entry::Consumed { .. } | Entry::Differs(_) => return None,
    })
}
