//! What the training thread has to say, kept until the coordinator is there to hear it.
//!
//! The training thread never waits for the coordinator: what is superseded by newer words is replaced, metrics are
//! kept until the coordinator has stored them, and everything else is rare.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use lsgan_wire::v1;
use tokio::sync::Notify;

/// Rows of metrics that are kept for a coordinator that is away; the oldest go first. At a row every ten steps of
/// 10 ms this is more than an hour.
const METRICS_ROWS_MAX: usize = 1 << 16;

/// Rows in one message.
const METRICS_ROWS_SENT: usize = 512;

/// Corrupt records in one message.
const CORRUPT_RECORDS_SENT: usize = 512;

/// See the module.
#[derive(Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    /// Something new is to be said.
    pub news: Notify,
}

#[derive(Default)]
struct Inner {
    life: Life,
    messages: Vec<v1::WorkerMessage>,
    consumed: BTreeMap<u32, u64>,
    consumed_unsent: bool,
    metrics: VecDeque<v1::StepMetrics>,
    /// Only the first rank reports metrics, which are the same on all.
    reports_metrics: bool,
    /// Steps below are on their way.
    metrics_sent_until: u64,
    metrics_stored_until: u64,
    /// By record. They are said again after every attach: the coordinator knows which are news.
    corrupt: BTreeMap<u64, v1::CorruptRecord>,
    corrupt_unsent: BTreeSet<u64>,
}

/// Where the training thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// The generation that it is in or was in last; 0 before the first.
    pub generation: u64,
    /// It has not parked.
    pub stepping: bool,
    /// Reductions applied in the state that it holds.
    pub applied: Option<u64>,
    /// What it lately needed by itself for one virtual rank in a step of this generation.
    pub pace_us: Option<u64>,
}

impl Outbox {
    /// The training thread takes up a generation.
    pub fn enter(&self, generation: u64, first_rank: bool) {
        let mut inner = self.lock();
        inner.life.generation = generation;
        inner.life.stepping = true;
        inner.life.pace_us = None;
        inner.reports_metrics = first_rank;
        inner.metrics_sent_until = 0;
    }

    /// It is connected to its peers and holds this state.
    pub fn ready(&self, applied: u64) {
        let mut inner = self.lock();
        inner.life.applied = Some(applied);
        let generation = inner.life.generation;
        inner.messages.push(v1::Ready { generation, applied }.into());
        drop(inner);
        self.news.notify_one();
    }

    /// It has applied so many reductions. The next heartbeat says it.
    pub fn applied(&self, applied: u64) {
        self.lock().life.applied = Some(applied);
    }

    /// It needs so much for one virtual rank in a step. The next heartbeat says it.
    pub fn pace(&self, pace_us: Option<u64>) {
        self.lock().life.pace_us = pace_us;
    }

    /// It computes no more in its generation.
    pub fn parked(&self, applied: Option<u64>, reason: v1::ParkReason, why: String) {
        let mut inner = self.lock();
        inner.life.stepping = false;
        inner.life.pace_us = None;
        inner.life.applied = applied;
        let generation = inner.life.generation;
        inner.messages.push(v1::Parked { generation, applied, reason: reason.into(), why }.into());
        drop(inner);
        self.news.notify_one();
    }

    /// A virtual rank has wholly consumed so many of its positions.
    pub fn consumed(&self, virtual_rank: u32, ordinals: u64) {
        let mut inner = self.lock();
        let known = inner.consumed.entry(virtual_rank).or_default();
        if ordinals > *known {
            *known = ordinals;
            inner.consumed_unsent = true;
        }
    }

    /// A row of metrics.
    pub fn metrics(&self, row: v1::StepMetrics) {
        let mut inner = self.lock();
        // A step that was done again after a restore gives the same numbers.
        inner.metrics.retain(|known| known.step < row.step);
        if inner.metrics.len() == METRICS_ROWS_MAX {
            inner.metrics.pop_front();
        }
        inner.metrics.push_back(row);
        drop(inner);
        self.news.notify_one();
    }

    /// The coordinator has stored the metrics of the steps below.
    pub fn metrics_stored(&self, until: u64) {
        let mut inner = self.lock();
        inner.metrics.retain(|row| row.step >= until);
        inner.metrics_stored_until = inner.metrics_stored_until.max(until);
    }

    /// The metrics of the steps below were stored, as far as the coordinator has said.
    pub fn metrics_stored_until(&self) -> u64 {
        self.lock().metrics_stored_until
    }

    /// A record does not decode. It is met again in every epoch, and said once.
    pub fn corrupt(&self, record: v1::CorruptRecord) {
        let mut inner = self.lock();
        let number = record.record;
        if inner.corrupt.contains_key(&number) {
            return;
        }
        inner.corrupt.insert(number, record);
        inner.corrupt_unsent.insert(number);
        drop(inner);
        self.news.notify_one();
    }

    /// What came of the last task, if that is not sent yet. For a worker whose coordinator is away.
    pub fn task_result(&self) -> Option<Result<(), String>> {
        use v1::worker_message::Kind;
        self.lock().messages.iter().rev().find_map(|message| match &message.kind {
            Some(Kind::TaskDone(_)) => Some(Ok(())),
            Some(Kind::TaskFailed(failed)) => Some(Err(failed.why.clone())),
            _ => None,
        })
    }

    /// Anything else.
    pub fn say(&self, message: impl Into<v1::WorkerMessage>) {
        self.lock().messages.push(message.into());
        self.news.notify_one();
    }

    /// Where the training thread is. What it says from now on is sent after the Hello that is made of this, and
    /// what it had said of its life before is in it.
    pub fn attach(&self) -> Life {
        use v1::worker_message::Kind;
        let mut inner = self.lock();
        inner.messages.retain(|m| !matches!(m.kind, Some(Kind::Ready(_) | Kind::Parked(_))));
        inner.consumed_unsent = !inner.consumed.is_empty();
        inner.metrics_sent_until = 0;
        inner.corrupt_unsent = inner.corrupt.keys().copied().collect();
        inner.life
    }

    /// Where the training thread is.
    pub fn life(&self) -> Life {
        self.lock().life
    }

    /// What is to be sent now, in order.
    pub fn take(&self) -> Vec<v1::WorkerMessage> {
        let mut inner = self.lock();
        let mut messages = Vec::new();
        if inner.consumed_unsent {
            inner.consumed_unsent = false;
            let consumed = inner.consumed.iter();
            let word = |(&virtual_rank, &ordinals)| v1::Consumed { virtual_rank, ordinals }.into();
            messages.extend(consumed.map(word));
        }
        if inner.reports_metrics {
            let unsent = inner.metrics.iter().filter(|row| row.step >= inner.metrics_sent_until);
            let rows: Vec<_> = unsent.take(METRICS_ROWS_SENT).cloned().collect();
            if let Some(last) = rows.last() {
                inner.metrics_sent_until = last.step + 1;
                messages.push(v1::Metrics { rows }.into());
            }
        }
        let unsent: Vec<_> = std::mem::take(&mut inner.corrupt_unsent).into_iter().collect();
        for numbers in unsent.chunks(CORRUPT_RECORDS_SENT) {
            let records = numbers.iter().filter_map(|number| inner.corrupt.get(number).cloned()).collect();
            messages.push(v1::CorruptRecords { records }.into());
        }
        // Last, so that a Parked comes after what was consumed before it.
        messages.append(&mut inner.messages);
        messages
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while the outbox is locked")
    }
}
