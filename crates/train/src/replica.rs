//! One device's copy of the whole trainable state, and the two halves of a step on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lsgan_spec::{Half, Reduction, RunSpec, Step, VirtualRank};
use tch::Device;

use crate::adam::{AdamStep, adam_exact, adam_fast};
use crate::device;
use crate::ema::ema;
use crate::error::{NotApplied, TrainError};
use crate::flat::Layout;
use crate::lanes::{Lanes, Task};
use crate::layers::{BATCH_NORM_MOMENTUM, Network};
use crate::models::{self, SampleShape};
use crate::noise::{LatentSource, SeededLatent};
use crate::objectives;
use crate::parts::{self, Part, StateCopy};
use crate::sample::{Sampler, Weights};
use crate::state::{Networks, Regions, State};
use crate::step::{ComputeWeights, Contribution, Keep, Lane, Shared, numbers, samples};
use crate::sums::{ControlWords, Gradients, Means, Piece, Sums};

/// Kept fakes with their graphs may take this many bytes on a device; beyond it fakes are computed again.
const KEPT_BYTES_MAX: u64 = 2 << 30;

/// One virtual rank's real samples for a step.
#[derive(Clone, Copy, Debug)]
pub struct RankBatch<'a> {
    /// Whose they are.
    pub virtual_rank: VirtualRank,
    /// `per_rank` samples in −1..1: `[per_rank, height, width, channels]`, or `[per_rank, 2]` for points.
    pub samples: &'a [f32],
}

/// Whether [`Replica::apply`] reads the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// They are wanted at this step.
    Read,
    /// They are not.
    Skipped,
}

/// What every worker reads in the sum of a half step: the same values on all of them, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfMetrics {
    /// Loss, D(x) (0 in G's half) and D(G(z)), means over all virtual ranks.
    pub means: Means,
    /// Euclidean norm of the mean gradient of this half's network.
    pub gradient_norm: f64,
}

/// A reduction that was applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied {
    /// How many are applied now.
    pub reduction: Reduction,
    /// How many workers wish what.
    pub controls: ControlWords,
    /// The metrics, if they were asked for.
    pub metrics: Option<HalfMetrics>,
}

/// One device's copy of the whole trainable state with its networks. Belongs to the training thread.
///
/// A step is `compute_discriminator`, all-reduce of `sums`, `apply`, `compute_generator`, all-reduce of `sums`,
/// `apply`. A replica whose state came from a peer or a snapshot enters at either half.
pub struct Replica {
    // Lanes hold views of the state's memory and graphs over it, so they are dropped first.
    lanes: Lanes,
    compute: [ComputeWeights; 2],
    sums: [Sums; 2],
    state: State,
    networks: Arc<Networks>,
    spec: RunSpec,
    sample: SampleShape,
    kept_max: usize,
    /// D's numbers before this step's update of them, and whose step that was.
    before: (Option<Step>, Vec<f32>),
}

impl Replica {
    /// A replica at reduction 0 on `device`, with `spec.compute.threads` lanes.
    pub fn new(spec: &RunSpec, device: Device) -> Result<Self, TrainError> {
        let latent = SeededLatent { seed: spec.seed, latent: models::latent(&spec.model.generator) };
        Self::with_latent(spec, device, Arc::new(latent))
    }

    /// The same, with z from elsewhere than the run's seed.
    pub fn with_latent(
        spec: &RunSpec,
        device: Device,
        latent: Arc<dyn LatentSource>,
    ) -> Result<Self, TrainError> {
        device::one_thread();
        let networks = Arc::new(Networks::of(spec)?);
        let regions = Arc::new(Regions::new(&networks));
        let state = State::fresh(spec.seed, &networks, regions.clone());
        let shared = Arc::new(Shared {
            networks: networks.clone(),
            losses: objectives::losses(&spec.objective),
            latent,
            per_rank: spec.batch.per_rank as usize,
            device,
            precision: spec.precision,
        });
        let compute = [Half::Discriminator, Half::Generator].map(|half| {
            let at = &regions.of(half).weights;
            let master = state.tensor().narrow(0, at.start as i64, at.len() as i64);
            ComputeWeights::new(master, device, spec.precision)
        });
        let [d, g] = &compute;
        let lanes = (0..spec.compute.threads.max(1)).map(|_| Lane::new(shared.clone(), g, d)).collect();
        let sums = |half, network: &Network, passes| {
            Sums::new(half, network, passes, spec.batch.virtual_ranks, spec.reduction)
        };
        Ok(Self {
            sums: [
                sums(Half::Discriminator, &networks.discriminator, 2),
                sums(Half::Generator, &networks.generator, 1),
            ],
            lanes: Lanes::new(lanes),
            compute,
            state,
            sample: SampleShape::of(spec)?,
            kept_max: kept_max(&networks.generator, spec.batch.per_rank),
            before: (None, vec![0.0; regions.discriminator.all().len()]),
            spec: spec.clone(),
            networks,
        })
    }

    /// How many reductions are applied.
    #[must_use]
    pub fn reduction(&self) -> Reduction {
        self.state.reduction()
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

    /// Computes D's half of `step` for the given virtual ranks; their sum is then in [`Self::sums`].
    pub fn compute_discriminator(
        &mut self,
        step: Step,
        work: &[RankBatch],
        controls: ControlWords,
    ) -> Result<(), TrainError> {
        let ranks: Vec<_> = work.iter().map(|batch| batch.virtual_rank).collect();
        self.check(step, Half::Discriminator, &ranks)?;
        work.iter().try_for_each(|batch| self.check_batch(batch))?;
        let size = self.sample.size(self.spec.batch.per_rank as usize);
        let task = |(index, batch): (usize, &RankBatch)| Task::Discriminator {
            step,
            rank: batch.virtual_rank,
            real: samples(batch.samples, &size),
            keep: if index < self.kept_max { Keep::Kept } else { Keep::ComputedAgain },
        };
        let tasks = work.iter().enumerate().map(task).collect();
        self.compute(Half::Discriminator, tasks, controls);
        Ok(())
    }

    /// Computes G's half of `step` for the given virtual ranks; their sum is then in [`Self::sums`].
    ///
    /// Works also where somebody else did D's half for these ranks.
    pub fn compute_generator(
        &mut self,
        step: Step,
        ranks: &[VirtualRank],
        controls: ControlWords,
    ) -> Result<(), TrainError> {
        self.check(step, Half::Generator, ranks)?;
        let tasks = ranks.iter().map(|&rank| Task::Generator { step, rank }).collect();
        self.compute(Half::Generator, tasks, controls);
        Ok(())
    }

    fn compute(&mut self, half: Half, tasks: Vec<Task>, controls: ControlWords) {
        let sums = &mut self.sums[half as usize];
        let network = match half {
            Half::Discriminator => &self.networks.discriminator,
            Half::Generator => &self.networks.generator,
        };
        sums.begin(controls);
        self.lanes.run(tasks, |contribution| add(sums, network, &contribution));
        sums.end();
    }

    fn check(&self, step: Step, half: Half, ranks: &[VirtualRank]) -> Result<(), TrainError> {
        let reduction = self.reduction();
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

    fn check_batch(&self, batch: &RankBatch) -> Result<(), TrainError> {
        let (found, accepted) = (batch.samples.len(), self.batch_len());
        if found == accepted {
            return Ok(());
        }
        let shape = format!("{} samples of {}", self.spec.batch.per_rank, self.sample);
        Err(TrainError::BatchLength { virtual_rank: batch.virtual_rank, found, accepted, shape })
    }

    /// The buffer of the half that comes next: this worker's sum, to be all-reduced in place.
    pub fn sums(&mut self) -> &mut Sums {
        &mut self.sums[self.state.reduction().half() as usize]
    }

    /// Applies the all-reduced sum: Adam, running statistics, after G's half the moving average.
    ///
    /// Where a virtual rank's numbers are bad or missing, nothing changes and the error names it.
    pub fn apply(&mut self, metrics: Metrics) -> Result<Applied, NotApplied> {
        let before = self.reduction();
        let (step, half) = (before.step(), before.half());
        let sums = &self.sums[half as usize];
        refuse_bad_marks(sums, before)?;
        let metrics = (metrics == Metrics::Read)
            .then(|| HalfMetrics { means: sums.means(), gradient_norm: sums.gradient_norm() });
        let controls = sums.controls();
        if half == Half::Discriminator {
            let (of, numbers) = &mut self.before;
            *of = Some(step);
            numbers.copy_from_slice(&self.state.numbers()[self.state.regions().discriminator.all()]);
        }
        self.update_weights(step, half);
        self.update_statistics(half);
        if half == Half::Generator {
            self.update_average();
            self.lanes.forget();
        }
        self.state.set_reduction(before.next());
        self.compute[half as usize].refresh();
        self.sums[half as usize].clear_header();
        Ok(Applied { reduction: self.reduction(), controls, metrics })
    }

    /// Goes back from the middle of a step to its beginning; returns whether that could be done: not where the state
    /// came from a peer in the middle of this step. For a step whose second half cannot be applied.
    pub fn step_back(&mut self) -> bool {
        let reduction = self.reduction();
        let (of, numbers) = &self.before;
        if reduction.half() != Half::Generator || *of != Some(reduction.step()) {
            return false;
        }
        let at = self.state.regions().discriminator.all();
        self.state.numbers_mut()[at].copy_from_slice(numbers);
        self.state.set_reduction(reduction.step().first_reduction());
        self.state_changed();
        true
    }

    fn update_weights(&mut self, step: Step, half: Half) {
        let optimizer = match half {
            Half::Discriminator => &self.spec.optimizer.discriminator,
            Half::Generator => &self.spec.optimizer.generator,
        };
        let adam = AdamStep::new(optimizer, step.0 + 1);
        let at = self.state.regions().of(half).clone();
        let regions = [at.weights, at.first_moments, at.second_moments];
        let disjoint = self.state.numbers_mut().get_disjoint_mut(regions);
        let [w, m, v] = disjoint.expect("the regions of a state are disjoint");
        match self.sums[half as usize].gradients() {
            Gradients::Exact(sum) => adam_exact(adam, sum, m, v, w),
            Gradients::Fast(mean) => adam_fast(adam, mean, m, v, w),
        }
    }

    /// r = 0.9·r + 0.1·batch, once for each pass, in the order of the passes: D's real, then its fake.
    fn update_statistics(&mut self, half: Half) {
        let (layout, passes): (&Layout, _) = match half {
            Half::Discriminator => (&self.networks.discriminator.statistics, 2),
            Half::Generator => (&self.networks.generator.statistics, 1),
        };
        let batches: Vec<_> =
            (0..passes).map(|pass| self.sums[half as usize].statistics(pass, layout)).collect();
        let at = self.state.regions().of(half).statistics.clone();
        let running = &mut self.state.numbers_mut()[at];
        for batch in batches {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - BATCH_NORM_MOMENTUM) * *running + BATCH_NORM_MOMENTUM * batch;
            }
        }
    }

    fn update_average(&mut self) {
        let decay = self.spec.ema.decay as f32;
        let regions = self.state.regions().clone();
        for (average, current) in [
            (&regions.average_weights, &regions.generator.weights),
            (&regions.average_statistics, &regions.generator.statistics),
        ] {
            let disjoint = self.state.numbers_mut().get_disjoint_mut([average.clone(), current.clone()]);
            let [average, current] = disjoint.expect("the regions of a state are disjoint");
            ema(decay, average, current);
        }
    }

    /// The state as it is at the start of the run, at reduction 0.
    pub fn reset(&mut self) {
        self.state.reset(self.spec.seed, &self.networks);
        self.state_changed();
    }

    /// The whole state as bytes, to be sent to a peer.
    #[must_use]
    pub fn state_bytes(&self) -> &[u8] {
        self.state.bytes()
    }

    /// Lets `receive` overwrite the state with a peer's bytes.
    ///
    /// Where it fails, or the bytes are another model's, half a state may have come: the replica is then as new,
    /// at reduction 0, and the error is handed on.
    pub fn receive_state<E: From<TrainError>>(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.lanes.forget();
        let accepted = self.state.layout_fingerprint();
        let received = receive(self.state.bytes_mut()).and_then(|()| match self.state.layout_fingerprint() {
            found if found == accepted => Ok(()),
            found => Err(TrainError::PeerLayout { found, accepted }.into()),
        });
        if received.is_err() {
            self.state.reset(self.spec.seed, &self.networks);
        }
        self.state_changed();
        received
    }

    /// BLAKE3 of the whole state, the number of applied reductions included.
    #[must_use]
    pub fn state_hash(&self) -> blake3::Hash {
        blake3::hash(self.state.bytes())
    }

    /// Flips the lowest bit of G's first weight, as bad memory may. For tests of what finds that.
    #[doc(hidden)]
    pub fn flip_a_bit(&mut self) {
        let at = self.state.regions().generator.weights.start;
        let weight = &mut self.state.numbers_mut()[at];
        *weight = f32::from_bits(weight.to_bits() ^ 1);
        self.compute.iter_mut().for_each(ComputeWeights::refresh);
    }

    /// A copy of the state, to be written elsewhere while training goes on.
    #[must_use]
    pub fn copy_state(&self) -> StateCopy {
        StateCopy::of(&self.state, &self.networks)
    }

    /// The same into the memory of an older copy of this replica, which is faster.
    pub fn copy_state_into(&self, copy: &mut StateCopy) {
        copy.refill(&self.state);
    }

    /// The state as named parts.
    #[must_use]
    pub fn export(&self) -> Vec<Part> {
        self.copy_state().parts()
    }

    /// Overwrites the state with saved parts, or refuses and changes nothing.
    pub fn import(&mut self, parts: &[Part], reduction: Reduction) -> Result<(), TrainError> {
        parts::import(&mut self.state, &self.networks, parts, reduction)?;
        self.state_changed();
        Ok(())
    }

    fn state_changed(&mut self) {
        self.before.0 = None;
        self.lanes.forget();
        self.compute.iter_mut().for_each(ComputeWeights::refresh);
        self.sums.iter_mut().for_each(Sums::clear_header);
    }

    /// A picture of what G makes of the run's fixed z, as PNG.
    pub fn sample_picture(&self) -> Result<Vec<u8>, TrainError> {
        let regions = self.state.regions();
        let (weights, statistics) = match self.spec.samples.weights {
            lsgan_spec::SampleWeights::Ema => (&regions.average_weights, &regions.average_statistics),
            lsgan_spec::SampleWeights::Raw => (&regions.generator.weights, &regions.generator.statistics),
        };
        let numbers = self.state.numbers();
        let weights =
            Weights { weights: &numbers[weights.clone()], statistics: &numbers[statistics.clone()] };
        Sampler::new(&self.spec)?.picture(&weights, self.spec.samples.grid)
    }

    /// The networks with their layouts.
    #[must_use]
    pub fn networks(&self) -> &Arc<Networks> {
        &self.networks
    }
}

/// Puts what one virtual rank adds into the sums.
fn add(sums: &mut Sums, network: &Network, contribution: &Contribution) {
    let parameters = network.parameters.entries();
    let piece = |offset, tensor| Piece { offset, values: numbers(tensor) };
    let gradients: Vec<_> = parameters
        .iter()
        .zip(&contribution.gradients)
        .map(|(entry, tensor)| piece(entry.offset, tensor))
        .collect();
    let layout = &network.statistics;
    let mut statistics = vec![];
    for (pass, tensors) in contribution.statistics.iter().enumerate() {
        let at =
            |(entry, tensor): (&crate::flat::Entry, _)| piece(pass * layout.len() + entry.offset, tensor);
        statistics.extend(layout.entries().iter().zip(tensors).map(at));
    }
    sums.add(contribution.rank, &gradients, &statistics, contribution.means);
}

fn refuse_bad_marks(sums: &Sums, reduction: Reduction) -> Result<(), NotApplied> {
    let (step, half) = (reduction.step(), reduction.half());
    let marks = sums.marks_read();
    if !marks.blamed.is_empty() {
        return Err(NotApplied::NotFinite { step, half, reduction, blamed: marks.blamed });
    }
    if !marks.missing.is_empty() || !marks.twice.is_empty() {
        return Err(NotApplied::Incomplete { step, half, missing: marks.missing, twice: marks.twice });
    }
    Ok(())
}

/// How many fakes with their graphs fit into [`KEPT_BYTES_MAX`]; one always does.
fn kept_max(generator: &Network, per_rank: u32) -> usize {
    let bytes_per_rank = generator.graph_numbers() * u64::from(per_rank) * size_of::<f32>() as u64;
    (KEPT_BYTES_MAX / bytes_per_rank.max(1)).max(1) as usize
}
