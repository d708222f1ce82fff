//! Where the state and the sums of a replica lie, and how they are updated.
//!
//! - `host`: in the host's memory; an update is made at once. `device`: in a device's; an update is queued behind
//!   its all-reduce. [`crate::graphs`]: a device's, whose halves are recorded and replayed.
//! - [`contract`](mod@contract) holds all of them to the same bits.
//!
//! [`Engine`] is what a replica sees, [`Arithmetic`] what a step ([`crate::step`]) is made of.

pub mod contract;
pub(crate) mod device;
mod device_fingerprint;
mod device_narrow;
mod device_pieces;
mod device_scales;
mod device_sum;
mod device_travel;
pub(crate) mod host;

pub use contract::contract;
use lsgan_spec::{Half, OptimizersSpec, Reduction, RunSpec};

use crate::contribution::Contribution;
use crate::error::NotApplied;
use crate::graphs::Notice;
use crate::header::{ControlWords, Reading};
use crate::lane::Task;
use crate::lanes::Lanes;
use crate::optimizers::OptimizerStep;
use crate::replica::{Applied, HalfMetrics, Metrics};
use crate::state::State;
use crate::step::Work;
use crate::word::Words;

/// Sums of an engine: D's, G's, and that of idle halves, which is a header alone.
pub(crate) const SUMS: usize = 3;
/// The place of the last.
const IDLE: usize = SUMS - 1;

/// Which of an engine's sums a reduction is.
pub(crate) fn sum_of(optimizers: &OptimizersSpec, reduction: Reduction) -> usize {
    if optimizers.is_idle(reduction) { IDLE } else { reduction.half() as usize }
}

/// A replica's state and sums. Its sum is that of the half that comes next, [`Self::next_reduction`].
pub(crate) trait Engine: Send {
    /// Computes this worker's part of a half; its sum is then in [`Self::take_words`].
    fn compute(&mut self, lanes: &mut Lanes, work: &mut Work);

    /// Computes what D's half needs of real samples and keeps it until then.
    fn compute_ahead(&mut self, lanes: &mut Lanes, tasks: &[Task]) {
        lanes.run_ahead(tasks);
    }

    /// The words of the sum that are to be added up over all workers next; none where the sum is whole.
    fn take_words(&mut self) -> Vec<Words>;

    /// The words that were taken, added up.
    fn put_words(&mut self, words: Vec<Words>);

    /// Updates the state with the all-reduced sum, or changes nothing. Returns when that is done.
    fn apply(&mut self, update: &Update) -> Result<Applied, NotApplied>;

    /// The queue of updates, where there is one.
    fn queue(&mut self) -> Option<&mut dyn UpdateQueue> {
        None
    }

    /// D's numbers are again those before this step's update of them, and so is the reduction.
    fn step_back(&mut self);

    /// How many reductions are applied.
    fn reduction(&self) -> Reduction;

    /// The same, as if the update that is queued were applied.
    fn next_reduction(&self) -> Reduction {
        self.reduction()
    }

    /// Whether words travel from the host's memory from now on, to which they are copied where they lie on a device.
    fn travel_from_host(&mut self, _from_host: bool) {}

    /// What tells the state's numbers apart, where they lie on a device.
    fn fingerprint(&self) -> Option<u64> {
        None
    }

    /// The state on the host, up to date.
    fn state(&self) -> &State;

    /// The state on the host, to be changed. [`Self::state_changed`] must follow, unless only the reduction changes.
    fn state_mut(&mut self) -> &mut State;

    /// The state on the host is another one.
    fn state_changed(&mut self);

    /// Drops fakes that were kept outside of the lanes.
    fn forget_fakes(&mut self) {}

    /// What to tell the user of how it computes; each notice once.
    fn take_notice(&mut self) -> Option<Notice> {
        None
    }
}

/// Updates that are queued on a device behind their all-reduce, before it is known how that one ends.
pub(crate) trait UpdateQueue {
    /// Queues an update, which does nothing if `abort_flag` is set when its turn comes. Waits for nothing.
    ///
    /// # Safety
    /// `abort_flag` points to a u32 that lives until the device has come past the update; on a GPU, in pinned memory.
    unsafe fn push(&mut self, update: &Update, abort_flag: Option<*const u32>);

    /// Reads whether the update was made. The device must have come past it.
    fn finish(&mut self) -> Result<Finished, NotApplied>;
}

/// How an update ends that was queued.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finished {
    Applied(Applied),
    /// It was not made, on any worker: the sum does not fit into 32 bits. Its words are to be taken once more, and the update is
    /// to be queued behind them again.
    TravelsAgain,
}

/// The arithmetic of a step in one kind of memory; `step` says in which order. The sum is that of the half that comes next.
pub(crate) trait Arithmetic {
    /// Begins the sum, with this worker's wishes.
    fn begin(&mut self, controls: ControlWords);
    /// Adds the numbers of one virtual rank.
    fn add(&mut self, contribution: &Contribution);
    /// Whether the last contribution may come in pieces.
    fn takes_pieces(&self) -> bool {
        false
    }
    /// The words that need nothing more of the last virtual rank, whose pieces have come down to parameter `first`.
    fn take_ready(&mut self, _first: usize) -> Vec<Words> {
        vec![]
    }
    /// Ends this worker's part of the sum.
    fn end(&mut self);
}

/// An update in the steps that [`crate::step::update`] has.
pub(crate) trait UpdateSteps {
    /// Copies D's numbers, for [`Engine::step_back`].
    fn keep_discriminator(&mut self);
    /// Updates weights and moments by the mean gradient, clipped where `norm_max` says so.
    fn optimize(&mut self, half: Half, step: OptimizerStep, norm_max: Option<f64>);
    /// Updates the running statistics by the mean batch-norm statistics of each pass.
    fn running_statistics(&mut self, half: Half);
    /// Updates the moving average of G.
    fn average(&mut self, decay: f32);
    /// Keeps D's weights for the next step's G half, where the updates are simultaneous.
    fn hold_discriminator(&mut self);
}

/// The update that a reduction's sum feeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// Reductions applied before it.
    pub reduction: Reduction,
    /// It counts the reduction, and changes nothing else: [`OptimizersSpec::is_idle`].
    pub is_idle: bool,
    pub optimizer: OptimizerStep,
    /// The largest norm of a gradient, where it is clipped.
    pub norm_max: Option<f64>,
    /// Of the moving average, which G's half updates.
    pub decay: f32,
    pub metrics: Metrics,
}

impl Update {
    pub fn new(spec: &RunSpec, reduction: Reduction, metrics: Metrics) -> Self {
        let (optimizers, step) = (&spec.optimizer, reduction.step());
        let is_idle = optimizers.is_idle(reduction);
        Self {
            reduction,
            is_idle,
            optimizer: OptimizerStep::new(optimizers, reduction.half(), step),
            norm_max: Some(optimizers.clip_norm).filter(|norm| *norm > 0.0 && !is_idle),
            decay: spec.ema.decay_at(optimizers.own_step(Half::Generator, step)) as f32,
            // There is nothing that they could be of.
            metrics: if is_idle { Metrics::Skipped } else { metrics },
        }
    }

    pub fn half(&self) -> Half {
        self.reduction.half()
    }

    /// What the caller is told once it is applied. `gradient_norm` is called where metrics are wanted.
    fn applied(&self, reading: &Reading, repeated: u32, gradient_norm: impl FnOnce() -> f64) -> Applied {
        let half = self.half();
        let metrics = || HalfMetrics { half, means: reading.means, gradient_norm: gradient_norm() };
        Applied {
            reduction: self.reduction.next(),
            controls: reading.controls,
            metrics: (self.metrics == Metrics::Read).then(metrics),
            repeated,
        }
    }
}
