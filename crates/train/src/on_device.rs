//! The state and its sums in a device's memory: what [`crate::sums`], [`crate::adam`] and [`crate::ema`] do on the host,
//! as a few operations over flat tensors. On a CPU it gives their very bits, which is how it is tested.
//!
//! Nothing here waits for the device but the copies of a whole state. What has come of an update is copied to the host
//! behind it ([`OnDevice::apply`]) and read once the device is known to be past that ([`OnDevice::outcome`]), while it is
//! at work on the next half already.
//!
//! **An aborted sum never reaches the weights.** An update is queued behind its all-reduce before anybody knows how that
//! one ends. So it is predicated on the device: it changes nothing, and is not counted, where a mark of the sum is not
//! good or the abort flag is set, nor is any update after it; see `collective::nccl::flag`.

use std::sync::Arc;

use lsgan_spec::{Half, ReductionMode};
use tch::{Device, Kind, Tensor};

use crate::adam::AdamStep;
use crate::fixed_sum::{self, Place};
use crate::flat::Layout;
use crate::layers::{BATCH_NORM_MOMENTUM, Network};
use crate::native::{copy_in_turn, shared_with};
use crate::replica::Metrics;
use crate::state::{Networks, Regions, State};
use crate::step::{Contribution, view};
use crate::sums::{
    ControlWords, DeviceWords, GOOD, METRIC_LIMIT, METRIC_SCALE, NOT_FINITE, Sums, TOO_LARGE, WordsMut,
    mark_place, passes,
};

/// A state with its sums in a device's memory.
pub(crate) struct OnDevice {
    regions: Arc<Regions>,
    /// Laid out as on the host; the header in front is the host's business. The networks' weights are views of it.
    numbers: Tensor,
    /// The same memory, through which it is changed. To libtorch it is another tensor, so that an update of D does not
    /// spoil the graph of a fake that is kept for G.
    writable: Tensor,
    halves: [HalfOnDevice; 2],
    /// Reductions applied since a state was taken over; i64 `[1]`.
    applied: Tensor,
    /// How many of them the host knows of.
    known: i64,
    /// Whether every update was applied since [`Self::outcome`] said that one was not; bool without dimensions.
    sound: Tensor,
    /// The abort flag as the device saw it last.
    flag: Tensor,
    /// D's numbers before this step's update of them.
    before: Tensor,
    /// What the host is told of the newest update, in its memory.
    told: Told,
}

/// What is copied to the host behind an update; of the device's when the copies' turn has come.
struct Told {
    /// One for each half.
    headers: [Tensor; 2],
    applied: Tensor,
    gradient_norm: Tensor,
}

/// What has come of an update.
pub(crate) struct Outcome<'a> {
    /// Whether it was made.
    pub is_applied: bool,
    /// The header of its sum.
    pub header: &'a Sums,
    /// √(Σ g²) of the mean gradient; what it was before, where it was not asked for.
    pub gradient_norm: f64,
}

/// The buffer of one half's reduction.
struct HalfOnDevice {
    /// `[header | gradients | statistics of each pass]`, i64 or f32.
    words: Tensor,
    /// The header alone, on the host.
    header: Sums,
    gradients: i64,
    statistics: i64,
    passes: i64,
    virtual_ranks: u32,
    /// One virtual rank's numbers, f32 `[gradients | statistics]`; the gaps between tensors stay 0.
    numbers: Tensor,
    /// Its parts: one for each parameter, then one for each statistic of each pass.
    parts: Vec<Tensor>,
    /// The marks of a sum that has every virtual rank once.
    complete: Tensor,
    place: Place,
}

impl OnDevice {
    pub fn new(
        networks: &Networks,
        regions: Arc<Regions>,
        device: Device,
        virtual_ranks: u32,
        mode: ReductionMode,
    ) -> Self {
        let numbers = Tensor::zeros([regions.len as i64], (Kind::Float, device));
        // SAFETY: the memory has so many f32, and lives as long as `numbers`, which is dropped with this.
        let writable = unsafe {
            Tensor::from_blob(numbers.data_ptr().cast(), &[regions.len as i64], &[1], Kind::Float, device)
        };
        let half = |half, network| HalfOnDevice::new(half, network, virtual_ranks, mode, device);
        let halves =
            [half(Half::Discriminator, &networks.discriminator), half(Half::Generator, &networks.generator)];
        let told = Told {
            headers: halves.each_ref().map(|half| shared_with(device, half.header_len(), half.words.kind())),
            applied: shared_with(device, 1, Kind::Int64),
            gradient_norm: shared_with(device, 1, Kind::Double),
        };
        Self {
            numbers,
            writable,
            halves,
            told,
            known: 0,
            applied: Tensor::zeros([1], (Kind::Int64, device)),
            sound: Tensor::ones([0_i64; 0], (Kind::Bool, device)),
            flag: Tensor::zeros([1], (Kind::Int, device)),
            before: Tensor::zeros([regions.discriminator.all().len() as i64], (Kind::Float, device)),
            regions,
        }
    }

    /// All numbers, for views of the weights.
    pub fn numbers(&self) -> &Tensor {
        &self.numbers
    }

    /// Takes over what the host's state holds.
    pub fn upload(&mut self, state: &State) {
        self.writable.copy_(state.tensor());
        let _ = self.applied.zero_();
        self.known = 0;
        self.trust_again();
    }

    /// Gives the host's state what is here, but for the header.
    pub fn download(&self, state: &State) {
        let from = self.regions.discriminator.weights.start as i64;
        let len = self.regions.len as i64 - from;
        state.tensor().narrow(0, from, len).copy_(&self.numbers.narrow(0, from, len));
    }

    /// Begins a sum, with this worker's wishes.
    pub fn begin(&mut self, half: Half, controls: ControlWords) {
        let half = &mut self.halves[half as usize];
        half.clear_header();
        let first = half.header.marks() as i64;
        for (index, count) in (first..).zip(controls.counts()).filter(|(_, count)| *count > 0) {
            let _ = half.words.narrow(0, index, 1).fill_(i64::from(count));
        }
        half.place = Place::Set;
    }

    /// Adds the numbers of one virtual rank, whose tensors are on this device.
    pub fn add(&mut self, half: Half, contribution: &Contribution) {
        self.halves[half as usize].add(contribution);
    }

    /// Something was added without [`Self::add`].
    pub fn has_added(&mut self, half: Half) {
        self.halves[half as usize].place = Place::Add;
    }

    /// The words of a half as they are now.
    pub fn copy_of_sum(&self, half: Half) -> Tensor {
        self.halves[half as usize].words.copy()
    }

    /// Makes them what they were.
    pub fn put_sum(&mut self, half: Half, words: &Tensor) {
        self.halves[half as usize].words.copy_(words);
    }

    /// Ends this worker's part.
    pub fn end(&mut self, half: Half) {
        let half = &mut self.halves[half as usize];
        if half.place == Place::Set {
            let _ = half.body().zero_();
        }
    }

    /// Makes the marks of both halves say that nobody computed anything.
    pub fn clear_headers(&mut self) {
        self.halves.iter_mut().for_each(HalfOnDevice::clear_header);
    }

    /// The words of a half, to be summed over all workers.
    pub fn words(&mut self, half: Half) -> WordsMut<'_> {
        let words = &self.halves[half as usize].words;
        let (start, count) = (words.data_ptr(), words.numel());
        match (words.device(), words.kind()) {
            (Device::Cpu, Kind::Int64) => {
                // SAFETY: on a CPU it is the host's memory: contiguous, of that kind, and borrowed mutably.
                WordsMut::Exact(unsafe { std::slice::from_raw_parts_mut(start.cast(), count) })
            }
            (Device::Cpu, _) => {
                // SAFETY: as above.
                WordsMut::Fast(unsafe { std::slice::from_raw_parts_mut(start.cast(), count) })
            }
            (_, kind) => WordsMut::Device(DeviceWords { start, count, exact: kind == Kind::Int64 }),
        }
    }

    /// Queues the update that the sum of `half` feeds; with `abort_flag`, it does nothing once that is set. Behind it the
    /// host is told what has come of it; [`Self::outcome`] reads that, before another update is queued.
    ///
    /// # Safety
    /// `abort_flag` points to a u32 that lives until the device has come to the end of what is queued; on a GPU, in
    /// pinned memory.
    pub unsafe fn apply(
        &mut self,
        half: Half,
        adam: AdamStep,
        decay: Option<f32>,
        abort_flag: Option<*const u32>,
        metrics: Metrics,
    ) {
        if let Some(address) = abort_flag {
            // SAFETY: the caller vouches for it; one i32 without a stride is read.
            let host = unsafe { Tensor::from_blob(address.cast(), &[1], &[1], Kind::Int, Device::Cpu) };
            copy_in_turn(&self.flag, &host);
        }
        let sum = &self.halves[half as usize];
        let complete = sum.marks().eq_tensor(&sum.complete).all();
        let sound = self.sound.logical_and(&complete).logical_and(&self.flag.eq(0).all());
        self.sound.copy_(&sound);
        if half == Half::Discriminator {
            let now = self.region(&self.regions.discriminator.all());
            self.before.copy_(&now.where_self(&sound, &self.before));
        }
        let at = self.regions.of(half);
        let [w, m, v] = [&at.weights, &at.first_moments, &at.second_moments].map(|range| self.region(range));
        for (old, new) in [w.shallow_clone(), m.shallow_clone(), v.shallow_clone()]
            .into_iter()
            .zip(adam.over_tensors(&sum.gradients(), [w, m, v]))
        {
            put_where(&sound, old, &new);
        }
        let running = self.region(&at.statistics);
        let mut updated = running.shallow_clone();
        for pass in 0..sum.passes {
            let share = f64::from(BATCH_NORM_MOMENTUM);
            updated = updated * f64::from(1.0 - BATCH_NORM_MOMENTUM) + sum.statistics(pass) * share;
        }
        put_where(&sound, running, &updated);
        if let Some(decay) = decay {
            self.average(&sound, decay);
        }
        let _ = self.applied.g_add_(&sound.to_kind(Kind::Int64));
        self.tell(half, metrics);
    }

    fn tell(&mut self, half: Half, metrics: Metrics) {
        let sum = &mut self.halves[half as usize];
        if metrics == Metrics::Read {
            let squares = sum.gradients().to_kind(Kind::Double).square();
            copy_in_turn(&self.told.gradient_norm, &squares.sum(Kind::Double).sqrt().reshape([1]));
        }
        copy_in_turn(&self.told.headers[half as usize], &sum.words.narrow(0, 0, sum.header_len()));
        copy_in_turn(&self.told.applied, &self.applied);
        sum.clear_header();
    }

    fn average(&self, sound: &Tensor, decay: f32) {
        let share = f64::from(1.0 - decay);
        let Regions { generator, average_weights, average_statistics, .. } = &*self.regions;
        for (average, current) in
            [(average_weights, &generator.weights), (average_statistics, &generator.statistics)]
        {
            let (average, current) = (self.region(average), self.region(current));
            let updated = &average * f64::from(decay) + current * share;
            put_where(sound, average, &updated);
        }
    }

    /// What has come of the update of `half` that was queued last. The device must have come past it. Where it was not
    /// made, the next one may be again.
    pub fn outcome(&mut self, half: Half) -> Outcome<'_> {
        let applied = self.told.applied.int64_value(&[0]);
        let is_applied = applied == self.known + 1;
        self.known = applied;
        if !is_applied {
            self.trust_again();
        }
        let index = half as usize;
        let header = &mut self.halves[index].header;
        header.take_header(&self.told.headers[index]);
        Outcome { is_applied, header, gradient_norm: self.told.gradient_norm.double_value(&[0]) }
    }

    /// Waits until the device has done all that is queued.
    pub fn rest(&self) {
        // A copy to memory that is not pinned returns when it is done.
        let _ = self.applied.int64_value(&[0]);
    }

    fn trust_again(&mut self) {
        let _ = self.sound.fill_(1);
        let _ = self.flag.zero_();
    }

    /// D's numbers are again those before this step's update of them.
    pub fn step_back(&mut self) {
        self.region(&self.regions.discriminator.all()).copy_(&self.before);
    }

    fn region(&self, range: &std::ops::Range<usize>) -> Tensor {
        self.writable.narrow(0, range.start as i64, range.len() as i64)
    }
}

impl HalfOnDevice {
    fn new(half: Half, network: &Network, virtual_ranks: u32, mode: ReductionMode, device: Device) -> Self {
        let header = Sums::header_only(half, virtual_ranks, mode);
        let (gradients, statistics) = (network.parameters.len() as i64, network.statistics.len() as i64);
        let passes = passes(half) as i64;
        let body = gradients + passes * statistics;
        let kind = match mode {
            ReductionMode::Exact => Kind::Int64,
            ReductionMode::Fast => Kind::Float,
        };
        let numbers = Tensor::zeros([body], (Kind::Float, device));
        let parts_of = |layout: &Layout, from: i64| {
            let flat = numbers.narrow(0, from, layout.len() as i64);
            layout.entries().iter().map(move |entry| view(&flat, entry)).collect::<Vec<_>>()
        };
        let mut parts = parts_of(&network.parameters, 0);
        for pass in 0..passes {
            parts.extend(parts_of(&network.statistics, gradients + pass * statistics));
        }
        let mut marks = vec![0_i64; header.marks()];
        for rank in 0..virtual_ranks {
            let (word, shift) = mark_place(rank);
            marks[word] += GOOD << shift;
        }
        Self {
            words: Tensor::zeros([header.header_len() as i64 + body], (kind, device)),
            complete: Tensor::from_slice(&marks).to_device(device),
            header,
            gradients,
            statistics,
            passes,
            virtual_ranks,
            numbers,
            parts,
            place: Place::Set,
        }
    }

    fn add(&mut self, contribution: &Contribution) {
        let statistics = contribution.statistics.iter().flatten();
        for (part, tensor) in self.parts.iter_mut().zip(contribution.gradients.iter().chain(statistics)) {
            part.copy_(tensor);
        }
        let means = Tensor::stack(&contribution.means.each_ref().map(|mean| mean.to_kind(Kind::Double)), 0);
        let worst = self.numbers.abs().max();
        let finite = worst.isfinite().logical_and(&means.select(0, 0).isfinite());
        let mark = match self.words.kind() {
            Kind::Int64 => self.put_exact(&worst, &finite),
            _ => self.put_fast(&finite),
        };
        self.place = Place::Add;
        let (word, shift) = mark_place(contribution.rank.0);
        self.add_words(word, &(mark * (1_i64 << shift)).reshape([1]));
        let first = self.header.metrics();
        let share = means / f64::from(self.virtual_ranks);
        let metrics = match self.words.kind() {
            Kind::Int64 => {
                let clamped =
                    share.nan_to_num(0.0, METRIC_LIMIT, -METRIC_LIMIT).clamp(-METRIC_LIMIT, METRIC_LIMIT);
                (clamped * METRIC_SCALE).round().to_kind(Kind::Int64)
            }
            _ => share,
        };
        self.add_words(first, &metrics);
    }

    /// Adds in fixed point, unless a number is bad; returns the mark.
    fn put_exact(&mut self, worst: &Tensor, finite: &Tensor) -> Tensor {
        let fits = worst.le(f64::from(fixed_sum::LIMIT));
        let mark = scalar(TOO_LARGE, worst).where_self(&fits.logical_not(), &scalar(GOOD, worst));
        let mark = mark.where_self(finite, &scalar(NOT_FINITE, worst));
        let scaled = self.numbers.to_kind(Kind::Double) * fixed_sum::factor(self.virtual_ranks);
        let good = scaled.where_self(&finite.logical_and(&fits), &scaled.zeros_like());
        self.put(&good.round().to_kind(Kind::Int64));
        mark
    }

    fn put_fast(&mut self, finite: &Tensor) -> Tensor {
        let share = 1.0 / self.virtual_ranks as f32;
        self.put(&(&self.numbers * f64::from(share)));
        scalar(GOOD, finite).where_self(finite, &scalar(NOT_FINITE, finite))
    }

    fn put(&self, values: &Tensor) {
        let mut body = self.body();
        match self.place {
            Place::Set => body.copy_(values),
            Place::Add => drop(body.g_add_(values)),
        }
    }

    fn add_words(&self, first: usize, values: &Tensor) {
        let mut words = self.words.narrow(0, first as i64, values.numel() as i64);
        let _ = words.g_add_(&values.to_kind(self.words.kind()));
    }

    fn header_len(&self) -> i64 {
        self.header.header_len() as i64
    }

    fn body(&self) -> Tensor {
        self.words.narrow(0, self.header_len(), self.gradients + self.passes * self.statistics)
    }

    fn marks(&self) -> Tensor {
        self.words.narrow(0, 0, self.header.marks() as i64).to_kind(Kind::Int64)
    }

    fn gradients(&self) -> Tensor {
        self.means_of(self.words.narrow(0, self.header_len(), self.gradients))
    }

    fn statistics(&self, pass: i64) -> Tensor {
        let at = self.header_len() + self.gradients + pass * self.statistics;
        self.means_of(self.words.narrow(0, at, self.statistics))
    }

    /// A part of the sum as f32; as [`fixed_sum::to_f32`].
    fn means_of(&self, words: Tensor) -> Tensor {
        match words.kind() {
            Kind::Int64 => (words.to_kind(Kind::Double) * (1.0 / fixed_sum::SCALE)).to_kind(Kind::Float),
            _ => words,
        }
    }

    fn clear_header(&mut self) {
        let _ = self.words.narrow(0, 0, self.header_len()).zero_();
    }
}

/// An i64 without dimensions where `like` is.
fn scalar(value: i64, like: &Tensor) -> Tensor {
    Tensor::full([0_i64; 0], value, (Kind::Int64, like.device()))
}

/// `old` becomes `new` where `sound`.
fn put_where(sound: &Tensor, mut old: Tensor, new: &Tensor) {
    let chosen = new.where_self(sound, &old);
    old.copy_(&chosen);
}
