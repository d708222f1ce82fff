//! One device's copy of the whole trainable state, and the two halves of a step on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lsgan_spec::scalars::{self, MEANS_MAX, Scalar};
use lsgan_spec::{Half, Part, Reduction, RunSpec, Step, VirtualRank};
use tch::Device;

use crate::batch::RankBatch;
use crate::beside::Beside;
use crate::builder::Builder;
use crate::engine::{Engine, Update};
use crate::error::{NotApplied, TrainError};
use crate::graphs::Notice;
use crate::header::ControlWords;
use crate::lane::{Kept, Real, Task};
use crate::lanes::Lanes;
use crate::memory::{self, TooLittle};
use crate::models::SampleShape;
use crate::parts::{self, StateCopy};
use crate::queue::Queue;
use crate::sample::{FrozenGenerator, Weights};
use crate::state::{Networks, State};
use crate::step::{Keep, Work};
use crate::tensors::{samples, samples_in_place};
use crate::word::Words;

/// Whether [`Replica::apply`] reads the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    Read,
    Skipped,
}

/// The metrics of a half step, which have the same bits on all workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfMetrics {
    /// Of which half.
    pub half: Half,
    /// Its means over all virtual ranks, in the order of [`scalars::means_of`].
    pub means: [f64; MEANS_MAX],
    /// Euclidean norm of the mean gradient of this half's network.
    pub gradient_norm: f64,
}

impl HalfMetrics {
    /// All scalars of the half.
    pub fn scalars(&self) -> impl Iterator<Item = (Scalar, f64)> {
        let norm = match self.half {
            Half::Discriminator => scalars::GRAD_NORM_D,
            Half::Generator => scalars::GRAD_NORM_G,
        };
        scalars::means_of(self.half).zip(self.means).chain([(norm, self.gradient_norm)])
    }

    /// One of them; not a number if it is of the other half.
    #[must_use]
    pub fn get(&self, scalar: Scalar) -> f64 {
        self.scalars().find(|(of, _)| *of == scalar).map_or(f64::NAN, |(_, value)| value)
    }
}

/// A reduction that was applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied {
    /// How many are applied now.
    pub reduction: Reduction,
    /// The wishes of all workers.
    pub controls: ControlWords,
    /// The metrics, if they were asked for.
    pub metrics: Option<HalfMetrics>,
    /// Parts of the gradients that travelled again in 64 bits, since they did not fit into 32.
    pub repeated: u32,
}

/// One device's copy of the whole trainable state with its networks. Belongs to the training thread.
///
/// A step is `compute_discriminator`, all-reduce of its words, `apply`, `compute_generator`, all-reduce of its words,
/// `apply`. A replica whose state came from a peer or a snapshot enters at either half.
///
/// On a GPU updates can be queued ([`Self::queue`]), so that the device never waits for the host.
pub struct Replica {
    pub(crate) lanes: Lanes,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) networks: Arc<Networks>,
    pub(crate) device: Device,
    pub(crate) spec: RunSpec,
    pub(crate) sample: SampleShape,
    pub(crate) kept_max: usize,
    /// For so many virtual ranks real terms may be kept.
    pub(crate) ahead_max: usize,
    /// The step whose D update can be taken back.
    pub(crate) before: Option<Step>,
    pub(crate) notice: Option<Notice>,
}

impl Replica {
    /// Begins to build a replica, at reduction 0 and on the CPU unless the builder is told otherwise.
    pub fn builder(spec: &RunSpec) -> Builder<'_> {
        Builder::new(spec)
    }

    /// How many reductions are applied.
    #[must_use]
    pub fn reduction(&self) -> Reduction {
        self.engine.reduction()
    }

    /// The same, as if the update that is queued were applied: what can be computed next.
    #[must_use]
    pub fn next_reduction(&self) -> Reduction {
        self.engine.next_reduction()
    }

    /// What to tell the user of how it computes; each notice once.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take().or_else(|| self.engine.take_notice())
    }

    /// How many numbers a [`RankBatch`] has.
    #[must_use]
    pub fn batch_len(&self) -> usize {
        self.spec.batch.per_rank as usize * self.sample.len()
    }

    /// How many fakes with their graphs are kept from D's half to G's; those beyond are computed again.
    pub fn keep_fakes_at_most(&mut self, count: usize) {
        self.kept_max = count;
    }

    /// Computes D's half of `step` for the given virtual ranks; their sum is then in [`Self::take_words`].
    pub fn compute_discriminator(
        &mut self,
        step: Step,
        work: &[RankBatch],
        controls: ControlWords,
    ) -> Result<(), TrainError> {
        self.compute_discriminator_with(step, work, controls, &mut ())
    }

    /// The same; `beside` is told how far it is.
    pub fn compute_discriminator_with(
        &mut self,
        step: Step,
        work: &[RankBatch],
        controls: ControlWords,
        beside: &mut dyn Beside,
    ) -> Result<(), TrainError> {
        let half = Half::Discriminator;
        self.check(step, half, self.next_reduction(), &ranks_of(work))?;
        let tasks = self.tasks(step, work)?;
        self.compute_half(step, Work { half, is_idle: false, tasks, controls, beside })
    }

    /// Computes what D's half of `step` needs of real samples, while the sum of G's half before it still travels: G has no
    /// part in it. [`Self::compute_discriminator`] then needs the same batches and is faster; its bits are the same.
    pub fn compute_ahead(&mut self, step: Step, work: &[RankBatch]) -> Result<(), TrainError> {
        self.check(step, Half::Discriminator, self.next_reduction().next(), &ranks_of(work))?;
        if work.len() > self.ahead_max {
            return Ok(());
        }
        let tasks = self.tasks(step, work)?;
        self.compute(step, tasks.len(), |replica| {
            replica.engine.compute_ahead(&mut replica.lanes, &tasks);
        })
    }

    /// D's tasks.
    fn tasks(&self, step: Step, work: &[RankBatch]) -> Result<Vec<Task>, TrainError> {
        work.iter().try_for_each(|batch| batch.check(&self.spec, self.sample))?;
        let size = self.sample.size(self.spec.batch.per_rank as usize);
        // Nobody looks at the fakes again where G's half is idle.
        let kept_max = if self.spec.optimizer.updates_generator(step) { self.kept_max } else { 0 };
        let task = |(index, batch): (usize, &RankBatch)| {
            let samples = match self.device {
                // SAFETY: a GPU's tasks run on this thread and are dropped before this returns; `work` outlives them.
                Device::Cuda(_) => unsafe { samples_in_place(batch.samples, &size) },
                Device::Cpu | Device::Mps | Device::Vulkan => samples(batch.samples, &size),
            };
            let keep = if index < kept_max { Keep::Kept } else { Keep::ComputedAgain };
            Task {
                step,
                rank: batch.virtual_rank,
                real: Some(Real { samples, classes: batch.classes.into(), keep }),
            }
        };
        Ok(work.iter().enumerate().map(task).collect())
    }

    /// Computes G's half of `step` for the given virtual ranks, which may be idle; their sum is then in [`Self::take_words`].
    ///
    /// Works also where another worker did D's half for these ranks.
    pub fn compute_generator(
        &mut self,
        step: Step,
        ranks: &[VirtualRank],
        controls: ControlWords,
    ) -> Result<(), TrainError> {
        self.compute_generator_with(step, ranks, controls, &mut ())
    }

    /// The same; `beside` is told how far it is.
    pub fn compute_generator_with(
        &mut self,
        step: Step,
        ranks: &[VirtualRank],
        controls: ControlWords,
        beside: &mut dyn Beside,
    ) -> Result<(), TrainError> {
        let half = Half::Generator;
        self.check(step, half, self.next_reduction(), ranks)?;
        let tasks = ranks.iter().map(|&rank| Task { step, rank, real: None }).collect();
        let is_idle = !self.spec.optimizer.updates_generator(step);
        self.compute_half(step, Work { half, is_idle, tasks, controls, beside })
    }

    fn compute_half(&mut self, step: Step, mut work: Work) -> Result<(), TrainError> {
        let ranks = work.tasks.len();
        self.compute(step, ranks, |replica| replica.engine.compute(&mut replica.lanes, &mut work))
    }

    /// Lets `work` compute so many virtual ranks.
    fn compute(&mut self, step: Step, ranks: usize, work: impl FnOnce(&mut Self)) -> Result<(), TrainError> {
        // The next half step begins its sum anew, whatever a panic left of this one.
        let Err(TooLittle { words }) = memory::caught(|| work(self)) else { return Ok(()) };
        self.forget_fakes();
        let device = match self.device {
            Device::Cuda(index) => format!("cuda:{index}"),
            Device::Cpu | Device::Mps | Device::Vulkan => "the CPU".to_owned(),
        };
        let per_rank = self.spec.batch.per_rank;
        Err(TrainError::OutOfMemory { step, device, ranks, per_rank, words })
    }

    /// Samples of a virtual rank, and how many classes there are; 0 where the networks are told none.
    pub(crate) fn classes(&self) -> (u32, u32) {
        (self.spec.batch.per_rank, self.spec.model.classes.count)
    }

    /// Whether `reduction` stands before this half, whose ranks are good.
    fn check(
        &self,
        step: Step,
        half: Half,
        reduction: Reduction,
        ranks: &[VirtualRank],
    ) -> Result<(), TrainError> {
        if (reduction.step(), reduction.half()) != (step, half) {
            return Err(TrainError::WrongHalf { step, half, reduction });
        }
        let count = self.spec.batch.virtual_ranks;
        let refused = |virtual_rank, problem| Err(TrainError::VirtualRank { virtual_rank, problem, count });
        let mut seen = BTreeSet::new();
        for &rank in ranks {
            if rank.0 >= count {
                return refused(rank, "though the run does not have it");
            }
            if !seen.insert(rank) {
                return refused(rank, "twice");
            }
        }
        Ok(())
    }

    /// The words of the half that comes next that are to be added up over all workers now: one call each, in this order.
    /// They are given back by [`Self::put_words`]; then, on all workers, either some are left or none. Where one worker has all
    /// virtual ranks, none need be taken.
    pub fn take_words(&mut self) -> Vec<Words> {
        self.engine.take_words()
    }

    /// Gives back the words that were taken, added up. Where that failed, nothing is given back: the half can be computed
    /// again.
    pub fn put_words(&mut self, words: Vec<Words>) {
        self.engine.put_words(words);
    }

    /// Whether the words of a GPU are copied to the host, to be added up there, from now on. Updates can then not be queued
    /// behind their sum; call [`Self::apply`].
    pub fn sums_travel_from_host(&mut self, from_host: bool) {
        self.engine.travel_from_host(from_host);
    }

    /// Applies the all-reduced sum: Adam, running statistics, after G's half the moving average. That of an idle half is counted,
    /// and has no metrics.
    ///
    /// Where a virtual rank's numbers are bad or missing, nothing changes and the error names it.
    pub fn apply(&mut self, metrics: Metrics) -> Result<Applied, NotApplied> {
        let update = Update::new(&self.spec, self.reduction(), metrics);
        let applied = self.engine.apply(&update);
        if applied.is_ok() && !update.is_idle {
            self.lanes.updated(update.half());
        }
        self.finished(applied)
    }

    /// The queue of updates, where the device has one: a GPU.
    pub fn queue(&mut self) -> Option<Queue<'_>> {
        self.engine.queue().is_some().then(|| Queue::of(self))
    }

    pub(crate) fn finished(&mut self, applied: Result<Applied, NotApplied>) -> Result<Applied, NotApplied> {
        match &applied {
            Ok(Applied { reduction, .. }) if reduction.half() == Half::Generator => {
                self.before = Some(reduction.step());
            }
            Ok(_) => {}
            // Fakes that were made since, from weights that the update was to make, are void.
            Err(_) => self.forget_fakes(),
        }
        applied
    }

    /// Goes back from the middle of a step to its beginning, for a step whose second half cannot be applied. Returns
    /// whether that was possible: not where the state came from a peer in the middle of this step.
    pub fn step_back(&mut self) -> bool {
        let reduction = self.reduction();
        if reduction.half() != Half::Generator || self.before != Some(reduction.step()) {
            return false;
        }
        self.engine.step_back();
        self.forget();
        true
    }

    /// The state as it is at the start of the run, at reduction 0.
    pub fn reset(&mut self) {
        let (seed, networks) = (self.spec.seed, self.networks.clone());
        self.overwrite_state(|state| state.reset(seed, &networks));
    }

    /// The whole state as bytes, to be sent to a peer.
    #[must_use]
    pub fn state_bytes(&self) -> &[u8] {
        self.engine.state().bytes()
    }

    /// Lets `receive` overwrite the state with a peer's bytes.
    ///
    /// If that fails, or the bytes are another model's, the replica is as new, at reduction 0: half a state may have
    /// arrived. The error is returned.
    pub fn receive_state<E: From<TrainError>>(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (seed, networks) = (self.spec.seed, self.networks.clone());
        self.forget_fakes();
        self.overwrite_state(|state| {
            let accepted = state.layout_fingerprint();
            let received = receive(state.bytes_mut()).and_then(|()| match state.layout_fingerprint() {
                found if found == accepted => Ok(()),
                found => Err(TrainError::PeerLayout { found, accepted }.into()),
            });
            if received.is_err() {
                state.reset(seed, &networks);
            }
            received
        })
    }

    /// BLAKE3 of the whole state, the number of applied reductions included.
    #[must_use]
    pub fn state_hash(&self) -> blake3::Hash {
        blake3::hash(self.state_bytes())
    }

    /// A copy of the state, to be written elsewhere while training goes on.
    #[must_use]
    pub fn copy_state(&self) -> StateCopy {
        StateCopy::of(self.engine.state(), &self.networks, &self.spec.optimizer)
    }

    /// The same into the memory of an older copy of this replica, which is faster.
    pub fn copy_state_into(&self, copy: &mut StateCopy) {
        copy.refill(self.engine.state());
    }

    /// The state as named parts.
    #[must_use]
    pub fn export(&self) -> Vec<Part> {
        self.copy_state().parts()
    }

    /// Overwrites the state with saved parts, or refuses and changes nothing.
    pub fn import(&mut self, parts: &[Part], reduction: Reduction) -> Result<(), TrainError> {
        let (networks, optimizers) = (&self.networks, &self.spec.optimizer);
        parts::import(self.engine.state_mut(), networks, optimizers, (parts, reduction))?;
        self.overwrite_state(|_| ());
        Ok(())
    }

    /// Changes parts of the state on the host.
    pub(crate) fn change_state(&mut self, change: impl FnOnce(&mut State)) {
        self.engine.state(); // copies a device's
        self.overwrite_state(change);
    }

    fn overwrite_state<T>(&mut self, overwrite: impl FnOnce(&mut State) -> T) -> T {
        let done = overwrite(self.engine.state_mut());
        self.engine.state_changed();
        self.forget();
        done
    }

    /// Drops what was made from the old state.
    fn forget(&mut self) {
        self.before = None;
        self.lanes.state_changed();
        self.engine.forget_fakes();
    }

    pub(crate) fn forget_fakes(&mut self) {
        self.lanes.forget(Kept::All);
        self.engine.forget_fakes();
    }

    /// A picture of what G makes of the run's fixed z, as PNG.
    pub fn sample_picture(&self) -> Result<Vec<u8>, TrainError> {
        self.freeze_generator().picture()
    }

    /// G as it is now, to make that picture while training goes on.
    #[must_use]
    pub fn freeze_generator(&self) -> FrozenGenerator {
        let state = self.engine.state();
        let (regions, numbers) = (state.regions(), state.numbers());
        let (weights, statistics) = match self.spec.samples.weights {
            lsgan_spec::SampleWeights::Ema => (&regions.average_weights, &regions.average_statistics),
            lsgan_spec::SampleWeights::Raw => (&regions.generator.weights, &regions.generator.statistics),
        };
        let weights =
            Weights { weights: &numbers[weights.clone()], statistics: &numbers[statistics.clone()] };
        FrozenGenerator::new(&self.spec, weights)
    }

    #[must_use]
    pub fn networks(&self) -> &Arc<Networks> {
        &self.networks
    }
}

fn ranks_of(work: &[RankBatch]) -> Vec<VirtualRank> {
    work.iter().map(|batch| batch.virtual_rank).collect()
}
