//! Batches for a worker's virtual ranks, read by threads ahead of the step.
//!
//! A window of steps lies between the threads and the caller: the front is the step that [`Loader::next`] gives out
//! next, and no thread begins a step that is `depth_steps` or more behind the front. The threads take one batch (a
//! step's virtual rank) after another, in order; before it reads, a thread waits until all positions that the batch
//! touches are leased. What is read is a pure function of plan and source, so a loader can be dropped at any time
//! and another be started at any step.
//!
//! - [`window`](self): the batches between the threads and the caller, with who waits for whom.
//! - [`WaitWatch`]: whether the steps wait for data.
//! - [`read`](self): one batch, with the records that do not decode replaced.

mod read;
mod wait;
mod window;

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

/// Whose batches, from when on, and how far ahead.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// The virtual ranks, in the order in which a [`StepBatch`] holds them; at least one, none twice.
    pub ranks: Vec<VirtualRank>,
    /// The first step that [`Loader::next`] gives.
    pub from: Step,
    /// Threads that read: at least 1.
    pub threads: usize,
    /// Steps that are read or being read ahead of the caller: at least 1, and more where the threads would else have
    /// nothing to do. Memory grows with it.
    pub depth_steps: usize,
}

/// The real samples of one step.
#[derive(Clone, Debug)]
pub struct StepBatch {
    pub step: Step,
    /// One for each virtual rank, in the order of [`LoaderOptions::ranks`].
    pub batches: Vec<RankBatch>,
    /// Records that did not decode, with those that took their places.
    pub replaced: Vec<Replaced>,
    /// How long the caller waited for it: long means that loading, and not the device, is what is slow.
    pub waited: Duration,
}

/// The real samples of one virtual rank in one step.
#[derive(Clone, Debug, PartialEq)]
pub struct RankBatch {
    pub virtual_rank: VirtualRank,
    /// `per_rank` samples after one another, `[per_rank, h, w, c]` or `[per_rank, 2]`.
    pub samples: Vec<f32>,
}

/// A record that did not decode, and the one that took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Whose batch.
    pub virtual_rank: VirtualRank,
    /// The record that the plan names.
    pub record: u64,
    /// The one that was taken: the next that decodes of the same position, in the order of the visit and from its end on
    /// from its start; where none of that position does, of the positions that follow in its epoch.
    pub by: u64,
    /// What is wrong with it; names the record by its key.
    pub reason: RecordError,
}

/// Why there is no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoaderError {
    /// No virtual ranks, no threads, or no room.
    #[error(
        "a loader of {ranks} virtual rank(s), {threads} thread(s) and {depth_steps} step(s) ahead was asked for; \
         each has to be at least 1. Set compute.loader_threads to at least 1."
    )]
    NothingToDo {
        /// Virtual ranks.
        ranks: usize,
        threads: usize,
        /// Steps ahead.
        depth_steps: usize,
    },
    /// A virtual rank that the plan does not have, or one that came twice.
    #[error("virtual rank {rank} was given to the loader; each of 0 to {} may be given once.", virtual_ranks - 1)]
    Rank {
        rank: VirtualRank,
        /// V.
        virtual_ranks: u32,
    },
    /// The worker's data are not those of the run.
    #[error(
        "the {kind} data set here has {found} records; the run's plan is for {expected}. Give this worker the same \
         data as the others."
    )]
    RecordCount {
        /// The source's kind.
        kind: &'static str,
        /// Records of the source.
        found: u64,
        /// Records of the plan.
        expected: u64,
    },
    /// The operating system gave no thread.
    #[error(
        "a loader thread could not be started: {reason}. Raise the limit of processes, or lower compute.loader_threads."
    )]
    Thread {
        /// What the operating system said.
        reason: String,
    },
    /// A source refused a request that its contract allows.
    #[error(transparent)]
    Record(RecordError),
    /// The data set changed or went away.
    #[error(transparent)]
    Lost(RecordError),
    /// So many records do not decode that nothing can take a bad one's place.
    #[error(
        "no record of shard {shard} decodes, nor {}; the first says: {first} Check the data set with `lsgan dataset \
         inspect --verify`.",
        searched(*others, *whole)
    )]
    NothingDecodes {
        shard: Shard,
        /// Other shards that were searched.
        others: u64,
        /// They were all that the data set has.
        whole: bool,
        /// What is wrong with the record that the plan names.
        first: RecordError,
    },
    /// [`Stopper::stop`] was called.
    #[error("the loader was stopped")]
    Stopped,
    /// A loader thread panicked.
    #[error(
        "a loader thread panicked while it read step {step} of virtual rank {rank}. This is a bug in the data source, please report it."
    )]
    Panicked {
        /// What it read.
        step: Step,
        /// For whom.
        rank: VirtualRank,
    },
}

fn searched(others: u64, whole: bool) -> String {
    match whole {
        true => "any other of the data set".to_owned(),
        false => format!("one of the {others} shards that follow it in the epoch"),
    }
}

/// Reads ahead for as long as it lives; dropping it stops the threads and waits for their end, which is at most one
/// record away.
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    waited: Duration,
}

/// Ends a loader from another thread.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

/// What the caller, the threads and the stoppers hold together.
struct Shared {
    reader: Reader,
    window: Window,
    leases: Arc<Leases>,
}

impl Loader {
    /// Starts to read. Cheap: a few threads, and buffers on first use.
    ///
    /// # Errors
    ///
    /// Options that make no sense, a source with another number of records than the plan, no threads.
    pub fn start(
        source: Arc<dyn Source>,
        plan: Plan,
        leases: Arc<Leases>,
        options: LoaderOptions,
    ) -> Result<Self, LoaderError> {
        check(&*source, &plan, &options)?;
        let LoaderOptions { ranks, from, threads, depth_steps } = options;
        // So that no thread idles: a batch each, beside the step that is being given out.
        let depth_steps = depth_steps.max(threads.div_ceil(ranks.len()) + 1);
        let batch_len = source.sample_len() * plan.geometry().per_rank() as usize;
        // As many as can be in use: those of the window, one step with the caller, one on its way back.
        let pool = Pool::new(batch_len, ranks.len() * (depth_steps + 2));
        let shared = Arc::new(Shared {
            reader: Reader::new(source, plan, pool),
            window: Window::new(ranks, from, depth_steps),
            leases,
        });
        let mut loader = Self { shared, threads: Vec::with_capacity(threads), waited: Duration::ZERO };
        for index in 0..threads {
            let shared = Arc::clone(&loader.shared);
            let thread = std::thread::Builder::new().name(format!("loader-{index}"));
            // On an error the loader is dropped, and with it the threads that did start.
            let handle = thread
                .spawn(move || shared.work())
                .map_err(|error| LoaderError::Thread { reason: error.to_string() })?;
            loader.threads.push(handle);
        }
        Ok(loader)
    }

    /// The samples of the next step, for all virtual ranks; waits for them.
    ///
    /// # Errors
    ///
    /// What ended the loading of this step, again and again; earlier steps are still given out before.
    #[allow(clippy::should_implement_trait, reason = "an error is no end, and batches are given back")]
    pub fn next(&mut self) -> Result<StepBatch, LoaderError> {
        let begin = Instant::now();
        let taken = self.shared.window.take_front();
        let waited = begin.elapsed();
        self.waited += waited;
        let (step, batches) = taken?;
        let mut step_batch =
            StepBatch { step, batches: Vec::with_capacity(batches.len()), replaced: vec![], waited };
        for (batch, replaced) in batches {
            step_batch.batches.push(batch);
            step_batch.replaced.extend(replaced);
        }
        Ok(step_batch)
    }

    /// Whether [`next`](Self::next) would not wait.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.shared.window.front_is_decided()
    }

    /// Takes a batch's buffers back, so that no step needs new memory.
    pub fn recycle(&self, batch: StepBatch) {
        for batch in batch.batches {
            self.shared.reader.pool.give_back(batch.samples);
        }
    }

    /// How long [`next`](Self::next) has waited, all steps together.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// A handle that ends this loader from another thread, even while [`next`](Self::next) waits.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so through the window.
            let _ = thread.join();
        }
    }
}

impl Stopper {
    /// From here on [`Loader::next`] gives [`LoaderError::Stopped`], at once where it waits. May be called often.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Shared {
    fn stop(&self) {
        self.window.stop();
        self.leases.wake_all();
    }

    /// What a thread does until the loader is stopped.
    fn work(&self) {
        while let Some(claim) = self.window.claim() {
            let (step, rank) = (claim.step(), claim.rank());
            let result = self.reader.read(step, rank, &self.leases, || self.window.is_stopped());
            claim.fill(result);
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
