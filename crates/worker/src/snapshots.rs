//! Writes snapshots on a thread of its own; the training thread stands still only for the copy of the state.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lsgan_console::{exit::chain, vital};
use lsgan_control::report::{FinalFile, PublishedSnapshot};
use lsgan_control::{Report, Task};
use lsgan_snapshots::{self as snapshots, Manifest, Snapshot, Store};
use lsgan_spec::Step;
use lsgan_train::StateCopy;

use crate::outbox::Outbox;
use crate::store::RunStore;

/// How long a store may be away when a run closes: no later snapshot makes up for the last one.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// The same when a person stops the run, or a worker leaves: they wait at a terminal, or for a grace period.
const STOPPING_PATIENCE: Duration = Duration::from_secs(10);
/// Before it is asked again, where it says at once that it is away.
const CLOSING_PAUSE: Duration = Duration::from_secs(1);

/// What is the same in all snapshots of a run.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Hash of what decides the mathematics.
    pub identity: String,
    /// Hash of the data.
    pub data_fingerprint: String,
    /// What the arithmetic is done with.
    pub numerics: String,
}

/// The writer. Dropping it waits for what it was given.
pub struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    back: Receiver<StateCopy>,
    spare: Option<StateCopy>,
    writing: usize,
}

enum Job {
    Snapshot { state: State, blocked: Duration },
    Close { state: State, task: Task },
}

/// A state to write.
struct State {
    copy: StateCopy,
    /// The run's file, as it was when the state was reached.
    spec_yaml: String,
}

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("{0}")]
    NoStore(String),
    #[error(transparent)]
    Store(#[from] snapshots::Error),
}

impl WriteError {
    /// Another try may succeed without a person's help.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoStore(_) => false,
            Self::Store(error) => error.is_away() || matches!(error, snapshots::Error::Full { .. }),
        }
    }
}

impl Writer {
    /// A writer into `store`, which tells `outbox` what it wrote.
    pub fn start(store: Arc<RunStore>, origin: Origin, outbox: Arc<Outbox>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, queue) = sync_channel::<Job>(1);
        let (give_back, back) = sync_channel(2);
        let thread = vital::thread("snapshots", move || {
            for job in queue {
                let state = match job {
                    Job::Snapshot { state, blocked } => {
                        // What it wrote or why not is in the outbox.
                        let _ = runtime.block_on(snapshot(&store, &origin, &state, blocked, &outbox));
                        state.copy
                    }
                    Job::Close { state, task } => {
                        runtime.block_on(close(&store, &origin, &state, task, &outbox));
                        state.copy
                    }
                };
                // The training thread may have ended.
                let _ = give_back.send(state);
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), back, spare: None, writing: 0 })
    }

    /// Memory of an older copy, if one is free. Waits while two copies are being written, so that snapshots that
    /// come faster than the store takes them slow the run down instead of filling the memory.
    pub fn spare(&mut self) -> Option<StateCopy> {
        if let Some(spare) = self.spare.take() {
            return Some(spare);
        }
        let back = if self.writing < 2 { self.back.try_recv().ok() } else { self.back.recv().ok() };
        if back.is_some() {
            self.writing -= 1;
        }
        back
    }

    /// Writes a snapshot of `copy`. `blocked`: how long the training thread stood still for the copy.
    pub fn snapshot(&mut self, copy: StateCopy, spec_yaml: String, blocked: Duration) {
        self.send(Job::Snapshot { state: State { copy, spec_yaml }, blocked });
    }

    /// Writes what closes a run.
    pub fn close(&mut self, copy: StateCopy, spec_yaml: String, task: Task) {
        self.send(Job::Close { state: State { copy, spec_yaml }, task });
    }

    fn send(&mut self, job: Job) {
        self.writing += 1;
        let jobs = self.jobs.as_ref().expect("the queue is open until the writer is dropped");
        jobs.send(job).expect("the writer's thread takes jobs until the queue closes");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // What comes back is not read any more, and fits into the channel.
        if let Some(thread) = self.thread.take() {
            // A panic has ended the process.
            let _ = thread.join();
        }
    }
}

async fn snapshot(
    store: &RunStore,
    origin: &Origin,
    state: &State,
    blocked: Duration,
    outbox: &Outbox,
) -> Result<Snapshot, WriteError> {
    let step = state.copy.reduction().step();
    let snapshot = Snapshot {
        step,
        identity: origin.identity.clone(),
        data_fingerprint: origin.data_fingerprint.clone(),
        numerics: origin.numerics.clone(),
        spec_yaml: state.spec_yaml.clone(),
        parts: state.copy.parts().into_iter().map(Arc::new).collect(),
    };
    let write = async {
        let store = store.open().map_err(WriteError::NoStore)?;
        Ok(published(store, step, &store.write(&snapshot).await?, blocked))
    };
    match write.await {
        Ok(published) => {
            outbox.say(Report::SnapshotWritten(published));
            Ok(snapshot)
        }
        Err(error) => {
            let why = chain(&error);
            tracing::error!(step = step.0, "the snapshot could not be written: {why}");
            outbox.say(Report::SnapshotFailed { step, why });
            Err(error)
        }
    }
}

async fn close(store: &RunStore, origin: &Origin, state: &State, task: Task, outbox: &Outbox) {
    let begin = Instant::now();
    let files = loop {
        let patience = match task {
            Task::Final => CLOSING_PATIENCE,
            Task::Snapshot => STOPPING_PATIENCE,
        };
        match write_all(store, origin, state, task, outbox).await {
            Err(error) if error.may_pass() && begin.elapsed() < patience => {
                tracing::warn!("the store does not take it, and the run waits for it: {}", chain(&error));
                tokio::time::sleep(CLOSING_PAUSE).await;
            }
            files => break files.map_err(|error| chain(&error)),
        }
    };
    match files {
        Ok(files) => {
            let file = |f: snapshots::FinalPart| FinalFile { name: f.name, url: f.path, blake3: f.blake3 };
            outbox.say(Report::TaskDone { files: files.into_iter().map(file).collect() });
        }
        Err(why) => outbox.say(Report::TaskFailed { why }),
    }
}

/// A snapshot, and at the end of a run the final weights.
async fn write_all(
    store: &RunStore,
    origin: &Origin,
    state: &State,
    task: Task,
    outbox: &Outbox,
) -> Result<Vec<snapshots::FinalPart>, WriteError> {
    let snapshot = snapshot(store, origin, state, Duration::ZERO, outbox).await?;
    if task == Task::Snapshot {
        return Ok(Vec::new());
    }
    let weights = ["generator", "generator_ema", "discriminator"];
    let parts: Vec<_> = weights.iter().filter_map(|name| snapshot.part(name).cloned()).collect();
    Ok(store.open().map_err(WriteError::NoStore)?.write_final(&parts).await?)
}

fn published(store: &Store, step: Step, manifest: &Manifest, blocked: Duration) -> PublishedSnapshot {
    PublishedSnapshot {
        step,
        url: store.snapshot_path(step),
        len_bytes: manifest.parts.iter().map(|part| part.len_bytes).sum(),
        blake3: manifest.blake3(),
        blocked_us: u64::try_from(blocked.as_micros()).unwrap_or(u64::MAX),
    }
}
