//! The sum of one half's reduction, in a device's memory: what [`crate::sums`] does on the host.
//!
//! Where the gradients have a last bit for each block, all words travel in 32 bits ([`super::device_narrow`]), unless that is
//! known to be worse, as on the host. A virtual rank whose numbers do not fit is counted in the header. The update behind such
//! a sum does nothing, all workers read why, and the words travel again in 64 bits: this worker's are still there.
//!
//! **Guards.** An aborted all-reduce may leave what was in its buffers before, even a sum of another reduction that is good
//! as such. So each virtual rank adds its reduction's number to the first word and to the last, and a sum with other guards is
//! not applied.

use std::marker::PhantomData;
use std::ops::Range;

use lsgan_spec::Reduction;
use tch::{Device, Kind, Tensor};

use super::device_narrow::DeviceNarrow;
use super::device_scales::DeviceScales;
use super::device_travel::DeviceTravel;
use super::device_word::DeviceWord;
use crate::flat::ALIGNMENT;
use crate::header::{ControlWords, SumLayout};
use crate::lane::Contribution;
use crate::tensors::{view, words};
use crate::word::{DeviceWordKind, Mode, Word, Words};

/// The guard in front; the one behind has one word.
const GUARD: usize = ALIGNMENT;
/// Guards repeat after so many reductions, so that those of 4096 virtual ranks together are exact in f32 too.
const GUARDS: u64 = (1 << 12) - 1;

/// What is in the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// This worker's sum.
    Computed,
    /// The same, and the sum over all workers in 32 bits.
    InNarrow,
    /// The same, and it is known that 32 bits are too few.
    DoesNotFit,
    /// The sum over all workers.
    Whole,
}

pub(super) struct DeviceSum<W> {
    pub layout: SumLayout,
    /// `[guard | header | statistics of each pass | gradients | guard]`.
    words: Tensor,
    /// The last bits of the gradients, where each block has its own.
    scales: Option<DeviceScales>,
    narrow: Option<DeviceNarrow>,
    /// There are second moments, so that 32 bits are worth a try.
    is_scaled: bool,
    stage: Stage,
    /// It travelled again.
    is_repeated: bool,
    travel: DeviceTravel,
    /// What each virtual rank adds to the guards; `[1]`.
    guard: Tensor,
    /// One virtual rank's numbers, f32 `[statistics | gradients]`; the gaps between tensors stay 0.
    numbers: Tensor,
    /// Views of them, one for each tensor of a contribution.
    parts: Vec<Tensor>,
    /// The marks of a sum that has every virtual rank once.
    complete: Tensor,
    mode: Mode,
    word: PhantomData<W>,
}

impl<W: DeviceWord> DeviceSum<W> {
    /// Words travel in 32 bits where `scales` are given and `may_be_narrow`.
    pub fn new(layout: SumLayout, scales: Option<DeviceScales>, may_be_narrow: bool, device: Device) -> Self {
        let numbers = Tensor::zeros([layout.body().len() as i64], (Kind::Float, device));
        let len = (GUARD + layout.len() + 1) as i64;
        let narrow = (may_be_narrow && scales.is_some())
            .then(|| DeviceNarrow::new(len, (GUARD + layout.head().end) as i64, device));
        Self {
            words: Tensor::zeros([len], (W::KIND, device)),
            parts: layout.parts.iter().map(|part| view(&numbers, part)).collect(),
            complete: Tensor::from_slice(&layout.header.complete_marks()).to_device(device),
            guard: Tensor::zeros([1], (W::KIND, device)),
            numbers,
            scales,
            narrow,
            is_scaled: false,
            stage: Stage::Computed,
            is_repeated: false,
            travel: DeviceTravel::new(device),
            mode: Mode::Set,
            word: PhantomData,
            layout,
        }
    }

    /// Begins the sum that this reduction is, with this worker's wishes.
    pub fn begin(&mut self, reduction: Reduction, controls: ControlWords) {
        self.clear_header();
        let _ = self.guard.fill_(guard(reduction));
        for (index, count) in self.layout.header.wishes(controls).filter(|(_, count)| *count > 0) {
            let _ = self.own(index..index + 1).fill_(count);
        }
        self.mode = Mode::Set;
        self.is_repeated = false;
    }

    /// Adds the numbers of one virtual rank, whose tensors are on the device.
    pub fn add(&mut self, contribution: &Contribution) {
        for (part, tensor) in self.parts.iter_mut().zip(contribution.tensors()) {
            part.copy_(tensor);
        }
        let means =
            Tensor::stack(&contribution.end().means.each_ref().map(|mean| mean.to_kind(Kind::Double)), 0);
        let worst = self.numbers.abs().max();
        let finite = worst.isfinite().logical_and(&means.select(0, 0).isfinite());
        let virtual_ranks = self.layout.header.virtual_ranks;
        let scaled = match &self.scales {
            Some(scales) => {
                let statistics = (self.layout.head().len() - self.layout.header.len()) as i64;
                let gradients = self.numbers.narrow(0, statistics, self.numbers.numel() as i64 - statistics);
                let gradients = gradients * &scales.factors;
                if self.narrow.is_some() {
                    self.add_words(self.layout.header.misfits().start, &scales.misfit(&gradients));
                }
                let fixed = self.numbers.narrow(0, 0, statistics).to_kind(Kind::Double);
                let fixed = fixed * <i64 as Word>::factor(virtual_ranks);
                Tensor::cat(&[fixed, gradients.to_kind(Kind::Double)], 0)
            }
            None => W::scaled(&self.numbers, virtual_ranks),
        };
        let (values, mark) = W::shares(scaled, &worst, &finite);
        let mut body = self.own(self.layout.body());
        match self.mode {
            Mode::Set => body.copy_(&values),
            Mode::Add => drop(body.g_add_(&values)),
        }
        self.mode = Mode::Add;
        let (word, shift) = self.layout.header.mark(contribution.rank);
        self.add_words(word, &(mark * (1_i64 << shift)).reshape([1]));
        let shares = W::metrics(means / f64::from(virtual_ranks));
        self.add_words(self.layout.header.metrics().start, &shares);
        for at in [0, self.words.numel() as i64 - 1] {
            let _ = self.words.narrow(0, at, 1).g_add_(&self.guard);
        }
    }

    /// A virtual rank was added without [`Self::add`].
    pub fn has_added(&mut self) {
        self.mode = Mode::Add;
    }

    /// Ends this worker's part: where it computed no rank, its sum is zero.
    pub fn end(&self) {
        if self.mode == Mode::Set {
            let _ = self.own(self.layout.body()).zero_();
        }
    }

    /// This worker's words, to be compared with others.
    pub fn copy_of_words(&self) -> Tensor {
        self.words.copy()
    }

    pub fn overwrite_words(&mut self, words: &Tensor) {
        self.words.copy_(words);
    }

    /// As [`super::Engine::take_words`]. After a sum in 32 bits this waits for the device.
    pub fn take_words(&mut self) -> Vec<Words> {
        if self.stage == Stage::InNarrow && self.misfits().int64_value(&[]) > 0 {
            self.does_not_fit();
        }
        match (self.stage, &mut self.narrow) {
            (Stage::Computed, Some(narrow)) if self.is_scaled => {
                narrow.fill(&self.words);
                vec![self.travel.take(&narrow.words, DeviceWordKind::Narrow, |tensor| {
                    let own = words(tensor).to_vec();
                    Words::Narrow { sum: vec![0; own.len()], own }
                })]
            }
            (Stage::Computed | Stage::DoesNotFit, _) => {
                let copy = |tensor: &Tensor| W::into_words(words(tensor).to_vec());
                vec![self.travel.take(&self.words, W::IN_A_DEVICE, copy)]
            }
            (Stage::InNarrow | Stage::Whole, _) => vec![],
        }
    }

    /// Whether words travel from the host's memory, to which they are copied, from now on.
    pub fn travel_from_host(&mut self, from_host: bool) {
        self.travel.from_host = from_host;
    }

    pub fn put_words(&mut self, given: Vec<Words>) {
        for given in given {
            match (given, &mut self.narrow) {
                (Words::Device(_), _) => {}
                (Words::Narrow { sum, .. }, Some(narrow)) => self.travel.put(&sum, &mut narrow.words),
                (given, _) => self.travel.put(&W::from_words(given), &mut self.words),
            }
        }
        match (self.stage, &mut self.narrow) {
            (Stage::Computed, Some(narrow)) if self.is_scaled => {
                narrow.read_head();
                self.stage = Stage::InNarrow;
            }
            (Stage::Computed, _) => self.stage = Stage::Whole,
            (Stage::DoesNotFit, _) => (self.stage, self.is_repeated) = (Stage::Whole, true),
            (Stage::InNarrow | Stage::Whole, _) => {}
        }
    }

    /// Whether the sum is one in 32 bits, with this header, that does not fit.
    pub fn is_too_narrow(&self, header: &[W]) -> bool {
        self.stage == Stage::InNarrow && header[self.layout.header.misfits().start].count() > 0
    }

    /// The words are to travel again.
    pub fn does_not_fit(&mut self) {
        self.stage = Stage::DoesNotFit;
    }

    /// How many parts of the gradients travelled again.
    pub fn repeated(&self) -> u32 {
        self.is_repeated.into()
    }

    fn add_words(&self, first: usize, values: &Tensor) {
        let mut words = self.own(first..first + values.numel());
        let _ = words.g_add_(&values.to_kind(W::KIND));
    }

    /// This worker's words, or the sum where it is whole; in the order of the layout.
    fn own(&self, range: Range<usize>) -> Tensor {
        part(&self.words, range)
    }

    /// The sum's guard, header and statistics.
    fn head(&self) -> &Tensor {
        match (self.stage, &self.narrow) {
            (Stage::InNarrow, Some(narrow)) => &narrow.head,
            _ => &self.words,
        }
    }

    pub fn header(&self) -> Tensor {
        part(self.head(), 0..self.layout.header.len())
    }

    /// How many virtual ranks have numbers that do not fit into 32 bits; without dimensions.
    fn misfits(&self) -> Tensor {
        self.head().select(0, (GUARD + self.layout.header.misfits().start) as i64)
    }

    /// Whether it is the whole sum of this reduction, with every virtual rank in it once and good; bool without dimensions.
    pub fn is_complete(&self, reduction: Reduction) -> Tensor {
        let marks = part(self.head(), self.layout.header.marks());
        let complete = marks.to_kind(Kind::Int64).eq_tensor(&self.complete).all();
        let guard = guard(reduction) * i64::from(self.layout.header.virtual_ranks);
        let behind = match (self.stage, &self.narrow) {
            (Stage::InNarrow, Some(narrow)) => narrow.behind_head(),
            _ => self.words.shallow_clone(),
        };
        let guards = self.head().select(0, 0).eq(guard).logical_and(&behind.select(0, -1).eq(guard));
        let complete = complete.logical_and(&guards);
        match self.stage {
            Stage::InNarrow => complete.logical_and(&self.misfits().eq(0)),
            Stage::Computed | Stage::DoesNotFit | Stage::Whole => complete,
        }
    }

    pub fn gradients(&self) -> Tensor {
        let range = self.layout.gradients();
        match (&self.scales, &self.narrow, self.stage) {
            (Some(scales), Some(narrow), Stage::InNarrow) => {
                let words = narrow.behind_head().narrow(0, 0, range.len() as i64);
                words.to_kind(Kind::Float) * &scales.units
            }
            (Some(scales), _, _) => {
                (self.own(range).to_kind(Kind::Double) * &scales.units).to_kind(Kind::Float)
            }
            (None, _, _) => W::means(self.own(range)),
        }
    }

    pub fn statistics(&self) -> impl Iterator<Item = Tensor> {
        self.layout.statistics().map(|range| W::means(part(self.head(), range)))
    }

    /// Chooses the last bits of the next sum by the second moments `v` and their correction, or says that there are none.
    pub fn choose_scales(&mut self, v: &Tensor, correction: Option<f32>) {
        if let Some(scales) = &mut self.scales {
            scales.choose(v, correction.unwrap_or(1.0));
        }
        self.is_scaled = correction.is_some();
    }

    /// What was summed is not applied again.
    pub fn used_up(&mut self) {
        let _ = self.head().narrow(0, 0, (GUARD + self.layout.header.len()) as i64).zero_();
    }

    /// There is no sum, and nothing of this worker's.
    pub fn clear_header(&mut self) {
        self.stage = Stage::Computed;
        self.used_up();
        let _ = self.words.narrow(0, self.words.numel() as i64 - 1, 1).zero_();
    }
}

/// Part of words that lie behind a guard, in the order of the layout.
fn part(words: &Tensor, range: Range<usize>) -> Tensor {
    words.narrow(0, (GUARD + range.start) as i64, range.len() as i64)
}

/// What a virtual rank adds to the guards of this reduction; never 0.
fn guard(reduction: Reduction) -> i64 {
    1 + (reduction.0 % GUARDS) as i64
}
