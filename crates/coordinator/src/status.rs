//! The run at this moment, for tools and progress bars.

use std::path::Path;
use std::time::Duration;

use lsgan_control::{Aside, Keeps, Phase, Run, Worker};
use lsgan_spec::{Incarnation, RunSpec, Step, scalars};
use lsgan_wire::v1;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::service::Input;
use crate::shell::Shell;

/// The longest time between two publications of the status.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// How long a reader waits for a busy shell before it reads what was published last.
const FRESH_WITHIN: Duration = Duration::from_millis(250);

/// The status as a value: the shell publishes it, and any task reads it at any time.
#[derive(Clone, Debug)]
pub struct StatusFeed {
    published: watch::Receiver<v1::RunStatus>,
    shell: mpsc::Sender<Input>,
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
    #[must_use]
    pub fn new(published: watch::Receiver<v1::RunStatus>, shell: mpsc::Sender<Input>) -> Self {
        Self { published, shell }
    }

    /// The status of this moment; the newest one that is known where the shell is busy, or has ended.
    pub async fn read(&self) -> v1::RunStatus {
        let (done, published) = oneshot::channel();
        if self.shell.try_send(Input::Publish(done)).is_ok() {
            // A late answer is not awaited: what was published last is read.
            let _ = timeout(FRESH_WITHIN, published).await;
        }
        self.published.borrow().clone()
    }

    /// Waits for the next status that the shell publishes, for `most` at most.
    pub async fn next_within(&mut self, most: Duration) -> Heard {
        match timeout(most, self.published.changed()).await {
            Ok(Ok(())) if self.published.borrow_and_update().outcome.is_none() => Heard::Status,
            Ok(Ok(())) => Heard::End,
            Ok(Err(_)) => Heard::End,
            Err(_) => Heard::Nothing,
        }
    }

    /// The shell has ended, so that no other status comes.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.shell.is_closed()
    }

    /// The status once the run has an outcome; none if the coordinator ends before it.
    pub async fn ended(&self) -> Option<v1::RunStatus> {
        let mut published = self.published.clone();
        published.wait_for(|status| status.outcome.is_some()).await.ok().map(|status| status.clone())
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
        workers: run.workers().iter().map(|(i, w)| worker(run, *i, w, now.0)).collect(),
        snapshot_step: run.snapshot().map(|step| step.0),
        outcome: shell.outcome.as_ref().map(v1::Shutdown::from),
        final_files: shell.final_files.clone(),
        notices: shell.notices.all(),
        workers_wanted: shell.workers_wanted,
        corrupt_count: shell.data.count(),
        corrupt_count_max: shell.data.count_max(),
        corrupt_records: shell.data.newest(),
        paused: shell.paused.clone(),
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

fn worker(run: &Run, incarnation: Incarnation, worker: &Worker, now_ms: u64) -> v1::WorkerStatus {
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
    }
}
