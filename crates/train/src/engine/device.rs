//! The engine of a GPU: state and sums in its memory, updated by a few kernels ([`crate::kernels`]). On a CPU it gives the
//! very bits of the host's engine, which is how it is tested.
//!
//! Only copies of a whole state wait for the device. The result of an update is copied to the host behind the update,
//! and is read once the device is known to be past that copy, while it computes the next half already.
//!
//! **An aborted sum never reaches the weights.** An update is queued behind its all-reduce before it is known how that
//! one ends. So it is predicated on the device: it changes nothing, and is not counted, where a mark of the sum is not
//! good or the abort flag is set, nor is any update after it; see `collective::nccl::flag`.

use lsgan_spec::{Half, OptimizersSpec, Reduction, ReductionMode, RunSpec, Step};
use tch::{Device, Kind, Tensor};

use super::device_fingerprint::fingerprint;
use super::device_sum::DeviceSum;
use super::{Arithmetic, Engine, Finished, SUMS, Update, UpdateQueue, sum_of};
use crate::clip::NORM_EPSILON;
use crate::contribution::Contribution;
use crate::error::NotApplied;
use crate::flat::Layout;
use crate::header::{ControlWords, SumLayout, passes};
use crate::kernels::{
    Address, BitsArgs, ClipArgs, DecideArgs, Kernel, Kernels, NoKernels, UpdateArgs, WORDS_OF_BLOCK,
};
use crate::lanes::Lanes;
use crate::layers::BATCH_NORM_MOMENTUM;
use crate::native::{copy_in_turn, shared_with};
use crate::optimizers::OptimizerStep;
use crate::replica::{Applied, Metrics};
use crate::state::{Networks, State};
use crate::step::{self, Work};
use crate::tensors::words;
use crate::word::{Word, Words};

pub(crate) struct DeviceEngine<W> {
    /// On the host: the reduction, and the rest as it was copied last.
    state: State,
    /// All numbers, laid out as on the host; the header in front is the host's business. The networks' weights are
    /// views of it.
    numbers: Tensor,
    /// The same memory, through which it is changed. To libtorch it is another tensor, so that an update of D does not
    /// spoil the graph of a fake that is kept for G.
    writable: Tensor,
    /// In the order of [`sum_of`].
    sums: [DeviceSum<W>; SUMS],
    /// Reductions applied since a state was taken over; i64 `[1]`.
    applied: Tensor,
    /// How many of them the host knows of.
    known: i64,
    /// Whether every update was made since the host was last told that one was not; i32 `[1]`.
    sound: Tensor,
    /// The abort flag as the device saw it last; i32 `[1]`.
    flag: Tensor,
    /// What the gradients of an update are multiplied by, where they are clipped; f32 `[1]`.
    clip: Tensor,
    /// D's numbers before this step's update of them.
    before: Tensor,
    report: Report,
    queued: Option<Update>,
    optimizers: OptimizersSpec,
    kernels: Kernels,
}

/// Memory of the host that the device writes behind an update.
struct Report {
    /// The header of each sum.
    headers: [Tensor; SUMS],
    applied: Tensor,
    gradient_norm: Tensor,
}

impl<W: Word> DeviceEngine<W> {
    /// Networks of fewer parameters than `small` travel in 64 bits.
    ///
    /// # Errors
    /// The GPU has no kernels.
    pub fn new(
        networks: &Networks,
        state: State,
        device: Device,
        spec: &RunSpec,
        small: usize,
    ) -> Result<Self, NoKernels> {
        let kernels = Kernels::of(device)?;
        let regions = state.regions();
        let numbers = Tensor::zeros([regions.len as i64], (Kind::Float, device));
        // SAFETY: the memory has so many f32, and lives as long as `numbers`, which is dropped with this.
        let writable = unsafe {
            Tensor::from_blob(numbers.data_ptr().cast(), &[regions.len as i64], &[1], Kind::Float, device)
        };
        let virtual_ranks = spec.batch.virtual_ranks;
        let sum = |half| {
            let (network, is_scaled) = (networks.network(half), spec.reduction == ReductionMode::Exact);
            let (parameters, layout) = (&network.parameters, SumLayout::new(half, network, virtual_ranks));
            DeviceSum::new(layout, parameters, [is_scaled, parameters.len() >= small], kernels, device)
        };
        let header = SumLayout::header_alone(virtual_ranks);
        let idle = DeviceSum::new(header, &Layout::default(), [false; 2], kernels, device);
        let sums = [sum(Half::Discriminator), sum(Half::Generator), idle];
        let report = Report {
            headers: sums.each_ref().map(|sum| shared_with(device, sum.layout.header.len() as i64, W::KIND)),
            applied: shared_with(device, 1, Kind::Int64),
            gradient_norm: shared_with(device, 1, Kind::Double),
        };
        let mut engine = Self {
            numbers,
            writable,
            sums,
            report,
            known: 0,
            applied: Tensor::zeros([1], (Kind::Int64, device)),
            sound: Tensor::ones([1], (Kind::Int, device)),
            flag: Tensor::zeros([1], (Kind::Int, device)),
            clip: Tensor::ones([1], (Kind::Float, device)),
            before: Tensor::zeros([regions.discriminator.all().len() as i64], (Kind::Float, device)),
            queued: None,
            optimizers: spec.optimizer,
            kernels,
            state,
        };
        engine.state_changed();
        Ok(engine)
    }

    /// All numbers, for views of the weights.
    pub fn numbers(&self) -> &Tensor {
        &self.numbers
    }

    /// Whether G is updated at `step`.
    pub fn updates_generator(&self, step: Step) -> bool {
        self.optimizers.updates_generator(step)
    }

    /// The place of the sum of the half that comes next.
    fn next_sum(&self) -> usize {
        sum_of(&self.optimizers, self.next_reduction())
    }

    /// The sum of the half that comes next.
    fn sum(&mut self) -> &mut DeviceSum<W> {
        let at = self.next_sum();
        &mut self.sums[at]
    }

    /// A virtual rank was added to the sum without [`Arithmetic::add`]: by a recording.
    pub fn has_added(&mut self) {
        self.sum().has_added();
    }

    /// The words of the sum as they are now.
    pub fn copy_of_sum(&self) -> Tensor {
        self.sums[self.next_sum()].copy_of_words()
    }

    /// Makes them what they were.
    pub fn put_sum(&mut self, words: &Tensor) {
        self.sum().overwrite_words(words);
    }

    /// Queues the gradients' norm, before the update changes their last bits.
    fn report_norm(&self, half: Half) {
        copy_in_turn(&self.report.gradient_norm, &self.sums[half as usize].gradient_norm());
    }

    /// Queues copies of what the host is to know of an update.
    fn report(&mut self) {
        let at = self.next_sum();
        let sum = &mut self.sums[at];
        copy_in_turn(&self.report.headers[at], &sum.header());
        copy_in_turn(&self.report.applied, &self.applied);
        sum.used_up();
    }

    /// Chooses the last bits of a network's next sum.
    fn choose_scales(&mut self, half: Half) {
        let last = OptimizerStep::last(&self.optimizers, half, self.state.reduction());
        let v = self.region(&self.state.regions().of(half).second_moments);
        self.sums[half as usize].choose_scales(&v, last.map(OptimizerStep::second_moment_correction));
    }

    fn trust_again(&mut self) {
        let _ = self.sound.fill_(1);
        let _ = self.flag.zero_();
    }

    fn region(&self, range: &std::ops::Range<usize>) -> Tensor {
        self.writable.narrow(0, range.start as i64, range.len() as i64)
    }

    /// Queues the question whether the update may be made.
    fn decide(&mut self, update: &Update) {
        let args = DecideArgs {
            sound: Address::of(&self.sound),
            applied: Address::of(&self.applied),
            flag: Address::of(&self.flag),
            ..self.sums[self.next_sum()].whole(update.reduction)
        };
        // SAFETY: all of these are on the device and live as long as this, which waits before it is dropped.
        unsafe { self.kernels.queue(Kernel::Decide, &args, 1) };
    }

    /// Queues the question how far the gradients are clipped.
    fn clip(&mut self, norm_max: f64, half: Half) {
        let sum = &self.sums[half as usize];
        let squares = sum.squares();
        let args = ClipArgs {
            squares: Address::of(squares),
            factor: Address::of(&self.clip),
            norm_max,
            norm_epsilon: NORM_EPSILON,
            blocks: u32::try_from(squares.numel()).expect("a network has fewer"),
            unused: 0,
        };
        // SAFETY: both are on the device, and there is a number for each block.
        unsafe { self.kernels.queue(Kernel::Clip, &args, 1) };
    }

    /// Queues what [`step::update`] does in steps, where the update may be made; and chooses the last bits of the next sum.
    fn update(&mut self, update: &Update) {
        let half = update.half();
        let (regions, sum) = (self.state.regions(), &self.sums[half as usize]);
        let at = regions.of(half);
        let first = |range: &std::ops::Range<usize>| Address::within(&self.writable, range.start);
        let [average_weights, average_statistics, kept] = match half {
            Half::Discriminator => [Address::NULL, Address::NULL, Address::of(&self.before)],
            Half::Generator => {
                [first(&regions.average_weights), first(&regions.average_statistics), Address::NULL]
            }
        };
        let gradients = sum.mean_gradients();
        let args = UpdateArgs {
            sound: Address::of(&self.sound),
            sum: gradients,
            bits: sum.bits(update.optimizer.second_moment_correction()).unwrap_or(BitsArgs::NONE),
            batch_statistics: sum.statistics(),
            weights: first(&at.weights),
            first_moments: first(&at.first_moments),
            second_moments: first(&at.second_moments),
            statistics: first(&at.statistics),
            average_weights,
            average_statistics,
            kept,
            kept_from: first(&at.all()),
            statistics_len: u32::try_from(at.statistics.len()).expect("a network has fewer"),
            mixed: u32::try_from(sum.layout.mixed).expect("a network has fewer"),
            passes: passes(half) as u32,
            statistics_word: W::IN_A_DEVICE.into(),
            momentum: 1.0 - BATCH_NORM_MOMENTUM,
            share: BATCH_NORM_MOMENTUM,
            decay: update.decay,
            decay_share: 1.0 - update.decay,
            clip: update.norm_max.map_or(Address::NULL, |_| Address::of(&self.clip)),
            optimizer: update.optimizer.args(),
        };
        let blocks = gradients.blocks as usize + at.statistics.len().div_ceil(WORDS_OF_BLOCK);
        // SAFETY: the addresses are those of this network's numbers, which are laid out as the sum is; D's numbers are kept in
        // memory of their own.
        unsafe { self.kernels.queue(Kernel::Update, &args, blocks) };
    }

    fn clear_headers(&mut self) {
        self.sums.iter_mut().for_each(DeviceSum::clear_header);
    }
}

impl<W: Word> Engine for DeviceEngine<W> {
    fn compute(&mut self, lanes: &mut Lanes, work: &mut Work) {
        step::sum(self, lanes, work);
    }

    fn take_words(&mut self) -> Vec<Words> {
        self.sum().take_words()
    }

    fn put_words(&mut self, given: Vec<Words>) {
        self.sum().put_words(given);
    }

    fn travel_from_host(&mut self, from_host: bool) {
        self.sums.iter_mut().for_each(|sum| sum.travel_from_host(from_host));
    }

    fn apply(&mut self, update: &Update) -> Result<Applied, NotApplied> {
        // SAFETY: there is no flag.
        unsafe { self.push(update, None) };
        // A copy to memory that is not pinned returns when the device has done all that was queued before.
        let _ = self.applied.int64_value(&[0]);
        match self.finish()? {
            Finished::Applied(applied) => Ok(applied),
            Finished::TravelsAgain => panic!("words are taken until none are left"),
        }
    }

    fn queue(&mut self) -> Option<&mut dyn UpdateQueue> {
        Some(self)
    }

    fn step_back(&mut self) {
        self.region(&self.state.regions().discriminator.all()).copy_(&self.before);
        self.state.set_reduction(self.state.reduction().step().first_reduction());
        self.clear_headers();
        self.choose_scales(Half::Discriminator);
    }

    fn reduction(&self) -> Reduction {
        self.state.reduction()
    }

    fn next_reduction(&self) -> Reduction {
        self.queued.map_or(self.reduction(), |update| update.reduction.next())
    }

    fn fingerprint(&self) -> Option<u64> {
        assert!(self.queued.is_none(), "an update is finished before the state is read");
        let from = self.state.regions().discriminator.weights.start as i64;
        Some(fingerprint(&self.numbers.narrow(0, from, self.state.regions().len as i64 - from)))
    }

    fn state(&self) -> &State {
        assert!(self.queued.is_none(), "an update is finished before the state is read");
        let from = self.state.regions().discriminator.weights.start as i64;
        let len = self.state.regions().len as i64 - from;
        self.state.tensor().narrow(0, from, len).copy_(&self.numbers.narrow(0, from, len));
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn state_changed(&mut self) {
        self.writable.copy_(self.state.tensor());
        let _ = self.applied.zero_();
        self.known = 0;
        self.queued = None;
        self.trust_again();
        self.clear_headers();
        for half in [Half::Discriminator, Half::Generator] {
            self.choose_scales(half);
        }
    }
}

impl<W: Word> UpdateQueue for DeviceEngine<W> {
    unsafe fn push(&mut self, update: &Update, abort_flag: Option<*const u32>) {
        if let Some(address) = abort_flag {
            // SAFETY: the caller vouches for it; one i32 without a stride is read.
            let host = unsafe { Tensor::from_blob(address.cast(), &[1], &[1], Kind::Int, Device::Cpu) };
            copy_in_turn(&self.flag, &host);
        }
        if update.metrics == Metrics::Read {
            self.report_norm(update.half());
        }
        self.decide(update);
        if let Some(norm_max) = update.norm_max {
            self.clip(norm_max, update.half());
        }
        if !update.is_idle {
            self.update(update);
        }
        self.report();
        self.queued = Some(*update);
    }

    fn finish(&mut self) -> Result<Finished, NotApplied> {
        let update = self.queued.take().expect("an update was queued");
        let at = self.next_sum();
        let header = words::<W>(&self.report.headers[at]);
        let sum = &mut self.sums[at];
        let (reading, repeated) = (sum.layout.header.read(header), sum.repeated());
        let applied = self.report.applied.int64_value(&[0]);
        let is_applied = applied == self.known + 1;
        self.known = applied;
        if !is_applied {
            let again = sum.is_too_narrow(header);
            if again && reading.check(update.reduction).is_ok() {
                sum.does_not_fit();
            }
            self.trust_again();
            reading.check(update.reduction)?;
            if again {
                return Ok(Finished::TravelsAgain);
            }
            let (step, half) = (update.reduction.step(), update.half());
            return Err(NotApplied::Aborted { step, half });
        }
        self.state.set_reduction(update.reduction.next());
        sum.has_scales();
        let norm = || self.report.gradient_norm.double_value(&[0]);
        Ok(Finished::Applied(update.applied(&reading, repeated, norm)))
    }
}

impl<W: Word> Arithmetic for DeviceEngine<W> {
    fn begin(&mut self, controls: ControlWords) {
        let reduction = self.next_reduction();
        self.sum().begin(reduction, controls);
    }

    fn add(&mut self, contribution: &Contribution) {
        self.sum().add(contribution);
    }

    fn end(&mut self) {
        self.sum().end();
    }
}
