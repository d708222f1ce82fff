//! One device's copy of the whole trainable state, and the two halves of a step on it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use lsgan_spec::{CudaGraphs, Half, Reduction, RunSpec, Step, VirtualRank};
use tch::Device;

use crate::adam::AdamStep;
use crate::device;
use crate::error::{NotApplied, TrainError};
use crate::graphs::{self, Graphs, Notice, Proof, Recorder, rehearsal::Rehearsal};
use crate::lanes::{Lanes, Task};
use crate::layers::Network;
use crate::memory;
use crate::models::{self, SampleShape};
use crate::noise::{LatentSource, SeededLatent};
use crate::objectives;
use crate::on_device::{OnDevice, Outcome};
use crate::on_host::OnHost;
use crate::parts::{self, Part, StateCopy};
use crate::sample::{Sampler, Weights};
use crate::state::{Networks, Regions, State};
use crate::step::{ComputeWeights, Keep, Lane, Shared, samples, samples_in_place};
use crate::sums::{ControlWords, Means, Sums, WordsMut};

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
/// A step is `compute_discriminator`, all-reduce of `words`, `apply`, `compute_generator`, all-reduce of `words`,
/// `apply`. A replica whose state came from a peer or a snapshot enters at either half.
///
/// On a GPU an update is queued ([`Self::queue_update`]) and looked at later ([`Self::finish_update`]); in between the
/// next half may be computed already, which changes nothing of the state, and is void if the update was not made.
pub struct Replica {
    // Lanes hold views of the state's memory and graphs over it, so they are dropped first.
    lanes: Lanes,
    graphs: Option<Graphs>,
    compute: [ComputeWeights; 2],
    memory: Memory,
    /// The whole state where it is on the host; elsewhere its reduction, and the rest as it was copied last.
    state: State,
    networks: Arc<Networks>,
    device: Device,
    spec: RunSpec,
    sample: SampleShape,
    kept_max: usize,
    /// The step whose D update can be taken back.
    before: Option<Step>,
    /// An update was queued and has not been looked at; whether its metrics are wanted.
    queued: Option<Metrics>,
    notice: Option<Notice>,
}

/// What a sum that was applied said.
type Read = (ControlWords, Option<HalfMetrics>);

/// Where sums are made and the state is updated.
enum Memory {
    Host(OnHost),
    Device(Box<OnDevice>),
}

/// How a replica's device is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A CPU's state is updated by loops over its memory, another device's by operations on the device.
    Usual,
    /// By operations on the device, also on a CPU: slower there, and the same bits. For tests.
    Device,
    /// The same, and halves are recorded and replayed by a stand-in. For tests.
    Rehearsed(Rehearsal),
}

impl Replica {
    /// A replica at reduction 0 on `device`, with `spec.compute.threads` lanes.
    pub fn new(spec: &RunSpec, device: Device) -> Result<Self, TrainError> {
        let latent = SeededLatent { seed: spec.seed, latent: models::latent(&spec.model.generator) };
        Self::with_latent(spec, device, Placement::Usual, Arc::new(latent))
    }

    /// The same with another [`Placement`].
    pub fn placed(spec: &RunSpec, device: Device, placement: Placement) -> Result<Self, TrainError> {
        let latent = SeededLatent { seed: spec.seed, latent: models::latent(&spec.model.generator) };
        Self::with_latent(spec, device, placement, Arc::new(latent))
    }

    /// The same, with z from elsewhere than the run's seed.
    pub fn with_latent(
        spec: &RunSpec,
        device: Device,
        placement: Placement,
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
        let (ranks, mode) = (spec.batch.virtual_ranks, spec.reduction);
        let memory = if device == Device::Cpu && placement == Placement::Usual {
            Memory::Host(OnHost::new(&networks, &state, ranks, mode))
        } else {
            let mut on_device = OnDevice::new(&networks, regions.clone(), device, ranks, mode);
            on_device.upload(&state);
            Memory::Device(Box::new(on_device))
        };
        let compute = [Half::Discriminator, Half::Generator].map(|half| {
            let at = &regions.of(half).weights;
            let all = match &memory {
                Memory::Host(_) => state.tensor(),
                Memory::Device(on_device) => on_device.numbers(),
            };
            ComputeWeights::new(all.narrow(0, at.start as i64, at.len() as i64), spec.precision)
        });
        let [d, g] = &compute;
        let lane = || Lane::new(shared.clone(), g, d);
        let (recorder, notice) = recorder(spec, device, placement);
        let proof = if spec.compute.deterministic { Proof::SameBits } else { Proof::Close };
        let graphs = recorder.map(|recorder| Graphs::new(recorder, lane(), proof));
        // A GPU computes one virtual rank after another: each fills it.
        let alone = device != Device::Cpu || graphs.is_some();
        let lanes = if alone { 1 } else { spec.compute.threads.max(1) };
        Ok(Self {
            lanes: Lanes::new((0..lanes).map(|_| lane()).collect()),
            graphs,
            notice,
            compute,
            memory,
            state,
            sample: SampleShape::of(spec)?,
            kept_max: kept_max(&networks.generator, spec.batch.per_rank),
            before: None,
            queued: None,
            device,
            spec: spec.clone(),
            networks,
        })
    }

    /// How many reductions are applied.
    #[must_use]
    pub fn reduction(&self) -> Reduction {
        self.state.reduction()
    }

    /// How many there are if the update that is queued, if one is, comes to be applied: what can be computed next.
    #[must_use]
    pub fn next_reduction(&self) -> Reduction {
        match self.queued {
            Some(_) => self.reduction().next(),
            None => self.reduction(),
        }
    }

    /// What a person is to be told of how it computes; each is given once.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take().or_else(|| self.graphs.as_mut()?.take_notice())
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

    /// Computes D's half of `step` for the given virtual ranks; their sum is then in [`Self::words`].
    pub fn compute_discriminator(
        &mut self,
        step: Step,
        work: &[RankBatch],
        controls: ControlWords,
    ) -> Result<(), TrainError> {
        self.compute_discriminator_with(step, work, controls, &mut || {})
    }

    /// The same; calls `after_first` when the first virtual rank is computed, or queued on a GPU. There the caller
    /// may have to wait, lest too much is queued behind what may not come to an end.
    pub fn compute_discriminator_with(
        &mut self,
        step: Step,
        work: &[RankBatch],
        controls: ControlWords,
        after_first: &mut dyn FnMut(),
    ) -> Result<(), TrainError> {
        let ranks: Vec<_> = work.iter().map(|batch| batch.virtual_rank).collect();
        self.check(step, Half::Discriminator, &ranks)?;
        work.iter().try_for_each(|batch| self.check_batch(batch))?;
        let size = self.sample.size(self.spec.batch.per_rank as usize);
        let task = |(index, batch): (usize, &RankBatch)| Task::Discriminator {
            step,
            rank: batch.virtual_rank,
            real: match self.device {
                // SAFETY: a GPU's tasks run on this thread, and are dropped when this returns, as `work` outlives.
                Device::Cuda(_) => unsafe { samples_in_place(batch.samples, &size) },
                Device::Cpu | Device::Mps | Device::Vulkan => samples(batch.samples, &size),
            },
            keep: if index < self.kept_max { Keep::Kept } else { Keep::ComputedAgain },
        };
        let tasks = work.iter().enumerate().map(task).collect();
        self.compute(step, Half::Discriminator, tasks, controls, after_first)
    }

    /// Computes G's half of `step` for the given virtual ranks; their sum is then in [`Self::words`].
    ///
    /// Works also where somebody else did D's half for these ranks.
    pub fn compute_generator(
        &mut self,
        step: Step,
        ranks: &[VirtualRank],
        controls: ControlWords,
    ) -> Result<(), TrainError> {
        self.compute_generator_with(step, ranks, controls, &mut || {})
    }

    /// The same; `after_first` as in [`Self::compute_discriminator_with`].
    pub fn compute_generator_with(
        &mut self,
        step: Step,
        ranks: &[VirtualRank],
        controls: ControlWords,
        after_first: &mut dyn FnMut(),
    ) -> Result<(), TrainError> {
        self.check(step, Half::Generator, ranks)?;
        let tasks = ranks.iter().map(|&rank| Task::Generator { step, rank }).collect();
        self.compute(step, Half::Generator, tasks, controls, after_first)
    }

    fn compute(
        &mut self,
        step: Step,
        half: Half,
        tasks: Vec<Task>,
        controls: ControlWords,
        after_first: &mut dyn FnMut(),
    ) -> Result<(), TrainError> {
        let ranks = tasks.len();
        // What a panic leaves behind is begun anew by the next half step.
        let computed =
            catch_unwind(AssertUnwindSafe(|| self.try_compute(half, tasks, controls, after_first)));
        let Err(panic) = computed else { return Ok(()) };
        let Some(words) = memory::too_little(&*panic) else { resume_unwind(panic) };
        self.forget_fakes();
        let device = match self.device {
            Device::Cuda(index) => format!("cuda:{index}"),
            Device::Cpu | Device::Mps | Device::Vulkan => "the CPU".to_owned(),
        };
        Err(TrainError::OutOfMemory { step, device, ranks, per_rank: self.spec.batch.per_rank, words })
    }

    fn try_compute(
        &mut self,
        half: Half,
        tasks: Vec<Task>,
        controls: ControlWords,
        after_first: &mut dyn FnMut(),
    ) {
        let network = network_of(&self.networks, half);
        let mut first = Some(after_first);
        let mut call_after_first = || {
            if let Some(call) = first.take() {
                call();
            }
        };
        match &mut self.memory {
            Memory::Host(on_host) => {
                on_host.sums(half).begin(controls);
                self.lanes.run(tasks, |contribution| {
                    on_host.add(half, network, &contribution);
                    call_after_first();
                });
                on_host.sums(half).end();
            }
            Memory::Device(on_device) => match &mut self.graphs {
                Some(graphs) => {
                    let mut place = graphs::Place { lanes: &mut self.lanes, on_device, half, controls };
                    graphs.compute(&mut place, &tasks, &mut call_after_first);
                }
                None => {
                    on_device.begin(half, controls);
                    self.lanes.run(tasks, |contribution| {
                        on_device.add(half, &contribution);
                        call_after_first();
                    });
                    on_device.end(half);
                }
            },
        }
    }

    fn check(&self, step: Step, half: Half, ranks: &[VirtualRank]) -> Result<(), TrainError> {
        let reduction = self.next_reduction();
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

    /// The words of the half that comes next: this worker's sum, to be all-reduced in place.
    pub fn words(&mut self) -> WordsMut<'_> {
        let half = self.next_reduction().half();
        match &mut self.memory {
            Memory::Host(on_host) => on_host.sums(half).words_mut(),
            Memory::Device(on_device) => on_device.words(half),
        }
    }

    /// Applies the all-reduced sum: Adam, running statistics, after G's half the moving average.
    ///
    /// Where a virtual rank's numbers are bad or missing, nothing changes and the error names it.
    pub fn apply(&mut self, metrics: Metrics) -> Result<Applied, NotApplied> {
        // SAFETY: there is no flag.
        unsafe { self.queue_update(metrics, None) };
        if let Memory::Device(on_device) = &self.memory {
            on_device.rest();
        }
        self.finish_update()
    }

    /// The first half of [`Self::apply`], for a sum that a collective queued on the device: queues the update behind it,
    /// which does nothing if `abort_flag` is set when its turn comes. On a CPU the second half does all.
    ///
    /// Waits for nothing. Only one update is queued at a time: [`Self::finish_update`] comes before the next.
    ///
    /// # Safety
    /// `abort_flag` points to a u32 that lives until the device has come past the update; on a GPU, in pinned memory.
    pub unsafe fn queue_update(&mut self, metrics: Metrics, abort_flag: Option<*const u32>) {
        let reduction = self.reduction();
        let half = reduction.half();
        if let Memory::Device(on_device) = &mut self.memory {
            let (adam, decay) = update_of(&self.spec, reduction.step(), half);
            // SAFETY: the caller vouches for the flag.
            unsafe { on_device.apply(half, adam, decay, abort_flag, metrics) };
            // In their turn, before anything reads them. Of an update that is not made there is nothing to take over.
            self.compute[half as usize].refresh();
            if half == Half::Generator {
                self.lanes.forget();
            }
        }
        self.queued = Some(metrics);
    }

    /// The second half of [`Self::apply`]: reads what has come of the update. Its device must have come past it. Where it
    /// was not made, what was computed since is void.
    pub fn finish_update(&mut self) -> Result<Applied, NotApplied> {
        let reduction = self.reduction();
        let metrics = self.queued.take().unwrap_or(Metrics::Skipped);
        let finished = match self.memory {
            Memory::Host(_) => self.finish_on_host(reduction, metrics),
            Memory::Device(_) => self.finish_on_device(reduction, metrics),
        };
        let (controls, metrics) = finished?;
        if reduction.half() == Half::Discriminator {
            self.before = Some(reduction.step());
        }
        self.state.set_reduction(reduction.next());
        Ok(Applied { reduction: self.reduction(), controls, metrics })
    }

    fn finish_on_host(&mut self, reduction: Reduction, metrics: Metrics) -> Result<Read, NotApplied> {
        let Memory::Host(on_host) = &mut self.memory else { unreachable!("the caller has looked") };
        let half = reduction.half();
        let sums = on_host.sums(half);
        refuse_bad_marks(sums, reduction)?;
        let controls = sums.controls();
        let metrics = (metrics == Metrics::Read)
            .then(|| HalfMetrics { means: sums.means(), gradient_norm: sums.gradient_norm() });
        let (adam, decay) = update_of(&self.spec, reduction.step(), half);
        on_host.apply(half, network_of(&self.networks, half), &mut self.state, adam, decay);
        if half == Half::Generator {
            self.lanes.forget();
        }
        self.compute[half as usize].refresh();
        Ok((controls, metrics))
    }

    fn finish_on_device(&mut self, reduction: Reduction, metrics: Metrics) -> Result<Read, NotApplied> {
        let Memory::Device(on_device) = &mut self.memory else { unreachable!("the caller has looked") };
        let (step, half) = (reduction.step(), reduction.half());
        let Outcome { is_applied, header, gradient_norm } = on_device.outcome(half);
        if !is_applied {
            let refused = refuse_bad_marks(header, reduction);
            // Fakes of the step behind it come from weights that are not what they were taken for.
            self.forget_fakes();
            refused?;
            return Err(NotApplied::Aborted { step, half });
        }
        let metrics =
            (metrics == Metrics::Read).then(|| HalfMetrics { means: header.means(), gradient_norm });
        Ok((header.controls(), metrics))
    }

    /// Goes back from the middle of a step to its beginning; returns whether that could be done: not where the state
    /// came from a peer in the middle of this step. For a step whose second half cannot be applied.
    pub fn step_back(&mut self) -> bool {
        let reduction = self.reduction();
        if reduction.half() != Half::Generator || self.before != Some(reduction.step()) {
            return false;
        }
        match &mut self.memory {
            Memory::Host(on_host) => on_host.step_back(&mut self.state),
            Memory::Device(on_device) => on_device.step_back(),
        }
        self.state.set_reduction(reduction.step().first_reduction());
        self.forget();
        true
    }

    /// The state as it is at the start of the run, at reduction 0.
    pub fn reset(&mut self) {
        self.state.reset(self.spec.seed, &self.networks);
        self.state_changed();
    }

    /// The state on the host, up to date.
    fn on_host(&self) -> &State {
        assert!(self.queued.is_none(), "what has come of an update is looked at before the state is");
        if let Memory::Device(on_device) = &self.memory {
            on_device.download(&self.state);
        }
        &self.state
    }

    /// The whole state as bytes, to be sent to a peer.
    #[must_use]
    pub fn state_bytes(&self) -> &[u8] {
        self.on_host().bytes()
    }

    /// Lets `receive` overwrite the state with a peer's bytes.
    ///
    /// Where it fails, or the bytes are another model's, half a state may have come: the replica is then as new,
    /// at reduction 0, and the error is handed on.
    pub fn receive_state<E: From<TrainError>>(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.forget_fakes();
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
        blake3::hash(self.on_host().bytes())
    }

    /// Flips the lowest bit of G's first weight, as bad memory may. For tests of what finds that.
    #[doc(hidden)]
    pub fn flip_a_bit(&mut self) {
        let at = self.on_host().regions().generator.weights.start;
        let weight = &mut self.state.numbers_mut()[at];
        *weight = f32::from_bits(weight.to_bits() ^ 1);
        self.state_changed();
    }

    /// A copy of the state, to be written elsewhere while training goes on.
    #[must_use]
    pub fn copy_state(&self) -> StateCopy {
        StateCopy::of(self.on_host(), &self.networks)
    }

    /// The same into the memory of an older copy of this replica, which is faster.
    pub fn copy_state_into(&self, copy: &mut StateCopy) {
        copy.refill(self.on_host());
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

    /// The host's state is another one.
    fn state_changed(&mut self) {
        if let Memory::Device(on_device) = &mut self.memory {
            on_device.upload(&self.state);
        }
        self.forget();
    }

    /// Drops what was made from the state that was.
    fn forget(&mut self) {
        self.before = None;
        self.queued = None;
        self.forget_fakes();
        self.compute.iter_mut().for_each(ComputeWeights::refresh);
        match &mut self.memory {
            Memory::Host(on_host) => on_host.clear_headers(),
            Memory::Device(on_device) => on_device.clear_headers(),
        }
    }

    fn forget_fakes(&mut self) {
        self.lanes.forget();
        if let Some(graphs) = &mut self.graphs {
            graphs.forget();
        }
    }

    /// A picture of what G makes of the run's fixed z, as PNG.
    pub fn sample_picture(&self) -> Result<Vec<u8>, TrainError> {
        let regions = self.state.regions();
        let (weights, statistics) = match self.spec.samples.weights {
            lsgan_spec::SampleWeights::Ema => (&regions.average_weights, &regions.average_statistics),
            lsgan_spec::SampleWeights::Raw => (&regions.generator.weights, &regions.generator.statistics),
        };
        let numbers = self.on_host().numbers();
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

/// What halves are recorded with, where they are to be; or why they are not.
fn recorder(
    spec: &RunSpec,
    device: Device,
    placement: Placement,
) -> (Option<Box<dyn Recorder>>, Option<Notice>) {
    match (device, placement, spec.compute.cuda_graphs) {
        (_, Placement::Rehearsed(rehearsal), _) => (Some(Box::new(rehearsal)), None),
        (Device::Cuda(index), _, CudaGraphs::Auto) => match graphs::open(index) {
            Ok(recorder) => (Some(recorder), None),
            Err(why) => {
                let text = format!("no CUDA graphs are used, though compute.cuda_graphs is auto: {why}");
                (None, Some(Notice { is_warning: true, text }))
            }
        },
        _ => (None, None),
    }
}

/// The numbers of the update that a half of a step makes: Adam's, and the moving average's decay after G's.
fn update_of(spec: &RunSpec, step: Step, half: Half) -> (AdamStep, Option<f32>) {
    let (optimizer, decay) = match half {
        Half::Discriminator => (&spec.optimizer.discriminator, None),
        Half::Generator => (&spec.optimizer.generator, Some(spec.ema.decay as f32)),
    };
    (AdamStep::new(optimizer, step.0 + 1), decay)
}

fn network_of(networks: &Networks, half: Half) -> &Network {
    match half {
        Half::Discriminator => &networks.discriminator,
        Half::Generator => &networks.generator,
    }
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
pub(crate) fn kept_max(generator: &Network, per_rank: u32) -> usize {
    let bytes_per_rank = generator.graph_numbers() * u64::from(per_rank) * size_of::<f32>() as u64;
    (KEPT_BYTES_MAX / bytes_per_rank.max(1)).max(1) as usize
}
