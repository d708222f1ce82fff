//! Batches for a worker's virtual ranks, read by threads ahead of the step.
//!
//! A window of steps lies between the threads and the caller. Its front is the step that [`Loader::next`] returns next;
//! no thread begins a step that is `depth_steps` or more ahead of the front. The threads claim batches (a step of a
//! virtual rank) in order. Before it reads a batch, a thread waits until all its positions are leased. The samples are a
//! pure function of plan and source, so a loader can be dropped at any time, and another can start at any step.
//!
//! - `window`: the batches between the threads and the caller.
//! - `read`: reads one batch and replaces records that do not decode.
//! - [`WaitWatch`]: detects that training waits for data.

mod read;
mod wait;
mod window;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lsgan_plan::Plan;
use lsgan_spec::{Shard, Step, VirtualRank};

use crate::pool::Pool;
use crate::{Leases, RecordError, Source};
use read::Reader;
pub use wait::{SlowLoading, WaitWatch};
use window::Window;

#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// At least one virtual rank, none twice. A [`StepBatch`] has their order.
    pub ranks: Vec<VirtualRank>,
    /// The first step that [`Loader::next`] returns.
    pub from: Step,
    /// At least 1.
    pub threads: usize,
    /// Steps that are read ahead: at least 1. The loader raises it if some threads would have no work. Memory grows with
    /// it.
    pub depth_steps: usize,
    /// Whether batches have the classes of their records. Every record must have one.
    pub classes: bool,
}

/// The real samples of one step.
#[derive(Clone, Debug)]
pub struct StepBatch {
    pub step: Step,
    /// In the order of [`LoaderOptions::ranks`].
    pub batches: Vec<RankBatch>,
    pub replaced: Vec<Replaced>,
    /// How long the caller waited for this step.
    pub waited: Duration,
}

/// The real samples of one virtual rank in one step.
#[derive(Clone, Debug, PartialEq)]
pub struct RankBatch {
    pub virtual_rank: VirtualRank,
    /// `[per_rank, h, w, c]` or `[per_rank, 2]`.
    pub samples: Vec<f32>,
    /// The class of each, where [`LoaderOptions::classes`] asks for it; otherwise none.
    pub classes: Vec<u32>,
}

/// A record that did not decode, and its replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub virtual_rank: VirtualRank,
    /// The record that the plan names.
    pub record: u64,
    /// The replacement: the next record of the same position that decodes, in the cyclic order of the visit. If there is
    /// none, of the positions that follow in the epoch.
    pub by: u64,
    pub reason: RecordError,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoaderError {
    #[error(
        "a loader of {ranks} virtual rank(s), {threads} thread(s) and {depth_steps} step(s) ahead was asked for; \
         each has to be at least 1. Set compute.loader_threads to at least 1."
    )]
    NothingToDo { ranks: usize, threads: usize, depth_steps: usize },
    /// A virtual rank that is not in the plan, or that was given twice.
    #[error("virtual rank {rank} was given to the loader; each of 0 to {} may be given once.", virtual_ranks - 1)]
    Rank { rank: VirtualRank, virtual_ranks: u32 },
    /// The worker's data set is not that of the run.
    #[error(
        "the {kind} data set here has {found} records; the run's plan is for {expected}. Give this worker the same \
         data as the others."
    )]
    RecordCount { kind: &'static str, found: u64, expected: u64 },
    #[error(
        "a loader thread could not be started: {reason}. Raise the limit of processes, or lower compute.loader_threads."
    )]
    Thread { reason: String },
    /// A source refused a request that its contract allows.
    #[error(transparent)]
    Record(RecordError),
    /// The data set changed or is no longer readable.
    #[error(transparent)]
    Lost(RecordError),
    /// The search for a replacement found no record that decodes.
    #[error(
        "no record of shard {shard} decodes, nor {}; the first says: {first} Check the data set with `lsgan dataset \
         inspect --verify`.",
        searched(*others, *whole)
    )]
    NothingDecodes {
        shard: Shard,
        /// The number of other shards that were searched.
        others: u64,
        /// All shards of the data set were searched.
        whole: bool,
        /// The error of the record that the plan names.
        first: RecordError,
    },
    #[error("the loader was stopped")]
    Stopped,
    #[error(
        "a loader thread panicked while it read step {step} of virtual rank {rank}. This is a bug in the data source, please report it."
    )]
    Panicked { step: Step, rank: VirtualRank },
}

fn searched(others: u64, whole: bool) -> String {
    match whole {
        true => "any other of the data set".to_owned(),
        false => format!("one of the {others} shards that follow it in the epoch"),
    }
}

/// Reads ahead until it is dropped. Dropping it stops the threads and waits for their current records.
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Stops a loader from another thread.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

/// Shared by the caller, the threads and the stoppers.
struct Shared {
    reader: Reader,
    window: Window,
    leases: Arc<Leases>,
}

impl Loader {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// Invalid options, a source with another number of records than the plan, a thread that does not start.
    pub fn start(
        source: Arc<dyn Source>,
        plan: Plan,
        leases: Arc<Leases>,
        options: LoaderOptions,
    ) -> Result<Self, LoaderError> {
        check(&*source, &plan, &options)?;
        let LoaderOptions { ranks, from, threads, depth_steps, classes } = options;
        // Each thread has a batch beside the front, so that none is idle.
        let depth_steps = depth_steps.max(threads.div_ceil(ranks.len()) + 1);
        let batch_len = source.sample_len() * plan.geometry().per_rank() as usize;
        // The batches of the window, of the caller's step, and of a step that is being recycled.
        let pool = Pool::new(batch_len, ranks.len() * (depth_steps + 2));
        let shared = Arc::new(Shared {
            reader: Reader::new(source, plan, pool, classes),
            window: Window::new(ranks, from, depth_steps),
            leases,
        });
        let mut loader = Self { shared, threads: Vec::with_capacity(threads) };
        for index in 0..threads {
            let shared = Arc::clone(&loader.shared);
            let thread = std::thread::Builder::new().name(format!("loader-{index}"));
            // An error drops the loader, which ends the threads that did start.
            let handle = thread
                .spawn(move || shared.work())
                .map_err(|error| LoaderError::Thread { reason: error.to_string() })?;
            loader.threads.push(handle);
        }
        Ok(loader)
    }

    /// Waits for the samples of the next step.
    ///
    /// # Errors
    ///
    /// The error that ended the loading of this step; every later call returns it again.
    #[allow(
        clippy::should_implement_trait,
        reason = "an error does not end the sequence, and the caller recycles batches"
    )]
    pub fn next(&mut self) -> Result<StepBatch, LoaderError> {
        let begin = Instant::now();
        let taken = self.shared.window.take_front();
        let waited = begin.elapsed();
        let (step, batches) = taken?;
        let mut step_batch =
            StepBatch { step, batches: Vec::with_capacity(batches.len()), replaced: vec![], waited };
        for (batch, replaced) in batches {
            step_batch.batches.push(batch);
            step_batch.replaced.extend(replaced);
        }
        Ok(step_batch)
    }

    /// Whether [`next`](Self::next) returns without waiting.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.shared.window.front_is_decided()
    }

    /// Returns the buffers of a batch, so that later steps need no new memory.
    pub fn recycle(&self, batch: StepBatch) {
        for batch in batch.batches {
            self.shared.reader.pool.give_back(batch.samples);
        }
    }

    /// A handle that stops this loader from another thread, even while [`next`](Self::next) waits.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // A panic was reported to the caller.
        }
    }
}

impl Stopper {
    /// Makes [`Loader::next`] return [`LoaderError::Stopped`], also while it waits. May be called repeatedly.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Shared {
    fn stop(&self) {
        self.window.stop();
        self.leases.wake_all();
    }

    /// The loop of a loader thread.
    fn work(&self) {
        while let Some(claim) = self.window.claim() {
            let (step, rank) = (claim.0, self.window.rank(claim.1));
            let read = || self.reader.read(step, rank, &self.leases, || self.window.is_stopped());
            // The error of a panic wakes the caller, who would wait forever otherwise.
            let filled = catch_unwind(AssertUnwindSafe(read));
            self.window.fill(claim, filled.unwrap_or(Err(LoaderError::Panicked { step, rank })));
        }
    }
}

fn check(source: &dyn Source, plan: &Plan, options: &LoaderOptions) -> Result<(), LoaderError> {
    let &LoaderOptions { ref ranks, threads, depth_steps, .. } = options;
    if ranks.is_empty() || threads == 0 || depth_steps == 0 {
        return Err(LoaderError::NothingToDo { ranks: ranks.len(), threads, depth_steps });
    }
    let virtual_ranks = plan.geometry().virtual_ranks();
    for (index, &rank) in ranks.iter().enumerate() {
        if rank.0 >= virtual_ranks || ranks[..index].contains(&rank) {
            return Err(LoaderError::Rank { rank, virtual_ranks });
        }
    }
    let (found, expected) = (source.len(), plan.geometry().records());
    if found != expected {
        return Err(LoaderError::RecordCount { kind: source.kind(), found, expected });
    }
    Ok(())
}
