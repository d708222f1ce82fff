//! The run at this moment, for tools and progress bars.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lsgan_control::{Aside, Keeps, Phase, Worker};
use lsgan_spec::{Incarnation, RunSpec, Step, scalars};
use lsgan_wire::v1;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::shell::Shell;

/// The longest time between two publications of the status.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// The shortest, so that readers without end cost the shell little. A reader waits so long for inputs that came before it.
const PUBLISH_APART: Duration = Duration::from_millis(20);
/// How long a reader waits for a busy shell before it reads what was published last.
const FRESH_WITHIN: Duration = Duration::from_millis(250);

/// A status, and how many had asked for one before it was made.
#[derive(Debug)]
struct Published {
    status: v1::RunStatus,
    asked: u64,
}

/// Who asks for a status, beside all that waits for the shell.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    count: AtomicU64,
    news: Notify,
}

impl Asked {
    fn ask(&self) -> u64 {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.news.notify_one();
        number
    }

    /// A reader has asked.
    pub async fn notified(&self) {
        self.news.notified().await
    }
}

/// The status as a value: the shell publishes it, and any task reads it at any time.
#[derive(Clone, Debug)]
pub struct StatusFeed {
    published: watch::Receiver<Published>,
    asked: Arc<Asked>,
}

/// The shell's side of it.
#[derive(Debug)]
pub struct Publisher {
    published: watch::Sender<Published>,
    asked: Arc<Asked>,
    last: Instant,
    next: Instant,
    /// A reader waits.
    hurries: bool,
}

/// A feed that begins with a status.
#[must_use]
pub fn feed(status: v1::RunStatus) -> (Publisher, StatusFeed) {
    let (sender, published) = watch::channel(Published { status, asked: 0 });
    let (asked, now) = (Arc::<Asked>::default(), Instant::now());
    let feed = StatusFeed { published, asked: asked.clone() };
    (Publisher { published: sender, asked, last: now, next: now, hurries: false }, feed)
}

/// What was heard of the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has published a status.
    Status,
    /// Nothing.
    Nothing,
    /// The run has an outcome, or the shell has ended: what follows may take long, as a store does that is asked last.
    End,
}

impl StatusFeed {
    /// The status of this moment; the newest one that is known where the shell is busy, or has ended.
    pub async fn read(&self) -> v1::RunStatus {
        let number = self.asked.ask();
        let mut published = self.published.clone();
        let fresh = published.wait_for(|published| published.asked >= number);
        // A late answer is not awaited: what was published last is read.
        let _ = timeout(FRESH_WITHIN, fresh).await;
        self.newest()
    }

    /// What the shell has published last, which does not hear of it.
    #[must_use]
    pub fn newest(&self) -> v1::RunStatus {
        self.published.borrow().status.clone()
    }

    /// Waits for the next status that the shell publishes, for `most` at most.
    pub async fn next_within(&mut self, most: Duration) -> Heard {
        match timeout(most, self.published.changed()).await {
            Ok(Ok(())) if self.published.borrow_and_update().status.outcome.is_none() => Heard::Status,
            Ok(Ok(())) => Heard::End,
            Ok(Err(_)) => Heard::End,
            Err(_) => Heard::Nothing,
        }
    }

    /// The shell has ended, so that no other status comes.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.published.has_changed().is_err()
    }

    /// Waits until somebody asks for the status from now on, for `most` at most.
    pub async fn asked_within(&self, most: Duration) {
        let count = || self.asked.count.load(Ordering::Relaxed);
        let before = count();
        let asked = async {
            while count() == before {
                self.asked.notified().await;
            }
        };
        let _ = timeout(most, asked).await;
    }

    /// Waits until the shell has ended; by then the journal is written and closed.
    pub async fn over(&self) {
        let mut published = self.published.clone();
        // It fails when no other status comes.
        let _ = published.wait_for(|_| false).await;
    }

    /// The status once the run has an outcome; none if the coordinator ends before it.
    pub async fn ended(&self) -> Option<v1::RunStatus> {
        let mut published = self.published.clone();
        let ended = published.wait_for(|published| published.status.outcome.is_some()).await;
        ended.ok().map(|published| published.status.clone())
    }
}

impl Publisher {
    pub(crate) fn asked(&self) -> Arc<Asked> {
        self.asked.clone()
    }

    /// How many readers have asked so far.
    #[must_use]
    pub fn count_asked(&self) -> u64 {
        self.asked.count.load(Ordering::Relaxed)
    }

    /// A reader waits.
    pub fn hurry(&mut self) {
        self.hurries = true;
        self.next = self.next.min(Instant::now() + PUBLISH_APART);
    }

    /// Whether a status is to be published now. A shell that is `idle` has handled all that came before the reader.
    #[must_use]
    pub fn is_due(&self, idle: bool) -> bool {
        let now = Instant::now();
        now >= self.next || self.hurries && idle && now >= self.last + PUBLISH_APART
    }

    /// When one is due whatever happens.
    #[must_use]
    pub fn due_in(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Publishes a status; so many had asked for it before it was made.
    pub fn publish(&mut self, status: v1::RunStatus, asked: u64) {
        self.published.send_replace(Published { status, asked });
        self.last = Instant::now();
        (self.next, self.hurries) = (self.last + PUBLISH_EVERY, false);
    }
}

/// The status of the run that `shell` holds.
pub fn of(shell: &Shell) -> v1::RunStatus {
    let run = &shell.run;
    let now = shell.clock.now();
    let held = run.committed().map(|r| r.step()).max(run.snapshot());
    v1::RunStatus {
        run: shell.spec.run.clone(),
        identity: shell.identity.clone(),
        run_dir: shell.run_dir.display().to_string(),
        phase: if run.rests() { v1::Phase::Paused } else { phase(run.phase()) }.into(),
        generation: run.generation().0,
        step: held.unwrap_or(Step(0)).0,
        steps: shell.spec.steps,
        global_batch: shell.global_batch(),
        metrics: shell.metrics.clone(),
        images_per_s: shell.metrics.as_ref().map_or(0.0, |row| row.scalar(scalars::IMAGES_PER_S.name)),
        workers: run.workers().iter().map(|(i, w)| worker(shell, *i, w, now.0)).collect(),
        snapshot_step: run.snapshot().map(|step| step.0),
        outcome: shell.outcome.as_ref().map(v1::Shutdown::from),
        final_files: shell.final_files.clone(),
        notices: shell.notices.all(),
        workers_wanted: shell.workers_wanted,
        corrupt_count: shell.data.count(),
        corrupt_count_max: shell.data.count_max(),
        corrupt_records: shell.data.newest(),
        paused: shell.paused.clone(),
        store: shell.place.clone(),
        score: shell.scores.borrow().clone(),
    }
}

/// The status of a run whose coordinator is making it ready.
pub fn starting(spec: &RunSpec, run_dir: &Path) -> v1::RunStatus {
    v1::RunStatus {
        run: spec.run.clone(),
        identity: spec.identity().to_string(),
        run_dir: run_dir.display().to_string(),
        phase: v1::Phase::Starting.into(),
        steps: spec.steps,
        global_batch: spec.batch.virtual_ranks * spec.batch.per_rank,
        ..v1::RunStatus::default()
    }
}

fn phase(phase: &Phase) -> v1::Phase {
    match phase {
        Phase::Gathering => v1::Phase::Gathering,
        Phase::Adopting => v1::Phase::Adopting,
        Phase::Forming { .. } => v1::Phase::Forming,
        Phase::Stepping => v1::Phase::Stepping,
        Phase::Halting { .. } => v1::Phase::Halting,
        Phase::Closing { .. } => v1::Phase::Closing,
        Phase::Ended(_) => v1::Phase::Ended,
    }
}

fn worker(shell: &Shell, incarnation: Incarnation, worker: &Worker, now_ms: u64) -> v1::WorkerStatus {
    let run = &shell.run;
    let member = run.members().iter().find(|m| m.incarnation == incarnation && worker.computing);
    let role = match (worker.leaving, worker.computing, member) {
        (true, _, _) => v1::Role::Leaving,
        (false, false, _) if worker.aside == Some(Aside::Slow) => v1::Role::Evicted,
        (false, false, _) if worker.aside == Some(Aside::CutOff) => v1::Role::CutOff,
        (false, false, _) if worker.aside == Some(Aside::LeftBehind) => v1::Role::LeftBehind,
        (false, false, _) if worker.aside == Some(Aside::Faulty) => v1::Role::Faulty,
        (false, true, Some(_)) => v1::Role::Member,
        (false, true, None) | (false, false, _) if worker.holds.is_some() => v1::Role::Parked,
        (false, _, _) => v1::Role::Standby,
    };
    v1::WorkerStatus {
        incarnation: incarnation.0,
        name: worker.name.clone(),
        address: worker.address.clone(),
        role: role.into(),
        virtual_ranks: member.into_iter().flat_map(|m| m.virtual_ranks()).map(|v| v.0).collect(),
        applied: worker.holds.map(|r| r.0),
        heard_ms_ago: now_ms.saturating_sub(worker.heard.0),
        pace_us: worker.pace_us,
        straggles: worker.straggles(),
        cannot_keep: match &worker.keeps {
            Keeps::No(why) => why.clone(),
            Keeps::Yes | Keeps::Unknown => String::new(),
        },
        writes: worker.computing && run.writer() == Some(incarnation),
        memory_bytes: shell.sessions.get(&worker.session).and_then(|open| open.memory_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_last_is_awaited_and_not_for_long() {
        let (_publisher, feed) = feed(v1::RunStatus::default());
        feed.read().await;
        let begin = Instant::now();
        feed.asked_within(Duration::from_millis(5)).await;
        assert!(begin.elapsed() >= Duration::from_millis(5), "it was asked before");
        let reader = feed.clone();
        let (asked, _) =
            tokio::join!(timeout(Duration::from_secs(30), feed.asked_within(Duration::MAX)), reader.read());
        asked.expect("it was asked");
    }
}
