//! The sum of one half's reduction, in a device's memory: what [`crate::sums`] does on the host.

use std::marker::PhantomData;
use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::device_scales::DeviceScales;
use crate::header::{ControlWords, GOOD, NOT_FINITE, SumLayout, TOO_LARGE};
use crate::lane::Contribution;
use crate::tensors::view;
use crate::word::{METRIC_LIMIT, METRIC_SCALE, Mode, SCALE, Word};

pub(super) struct DeviceSum<W> {
    pub layout: SumLayout,
    /// `[header | statistics of each pass | gradients]`.
    pub words: Tensor,
    /// The last bits of the gradients, where each block has its own.
    pub scales: Option<DeviceScales>,
    /// It is the sum over all workers.
    pub is_whole: bool,
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
    pub fn new(layout: SumLayout, scales: Option<DeviceScales>, device: Device) -> Self {
        let numbers = Tensor::zeros([layout.body().len() as i64], (Kind::Float, device));
        Self {
            words: Tensor::zeros([layout.len() as i64], (W::KIND, device)),
            parts: layout.parts.iter().map(|part| view(&numbers, part)).collect(),
            complete: Tensor::from_slice(&layout.header.complete_marks()).to_device(device),
            numbers,
            scales,
            is_whole: false,
            mode: Mode::Set,
            word: PhantomData,
            layout,
        }
    }

    /// Begins a sum, with this worker's wishes.
    pub fn begin(&mut self, controls: ControlWords) {
        self.clear_header();
        for (index, count) in self.layout.header.wishes(controls).filter(|(_, count)| *count > 0) {
            let _ = self.words.narrow(0, index as i64, 1).fill_(count);
        }
        self.mode = Mode::Set;
        self.is_whole = false;
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
        let scaled = match &self.scales {
            Some(scales) => {
                let statistics = self.layout.head().len() - self.layout.header.len();
                let len = self.numbers.numel() - statistics;
                let gradients = self.numbers.narrow(0, statistics as i64, len as i64) * &scales.factors;
                let fixed = self.numbers.narrow(0, 0, statistics as i64).to_kind(Kind::Double);
                let fixed = fixed * <i64 as Word>::factor(self.layout.header.virtual_ranks);
                Tensor::cat(&[fixed, gradients.to_kind(Kind::Double)], 0)
            }
            None => W::scaled(&self.numbers, self.layout.header.virtual_ranks),
        };
        let (values, mark) = W::shares(scaled, &worst, &finite);
        match self.mode {
            Mode::Set => self.body().copy_(&values),
            Mode::Add => drop(self.body().g_add_(&values)),
        }
        self.mode = Mode::Add;
        let (word, shift) = self.layout.header.mark(contribution.rank);
        self.add_words(word, &(mark * (1_i64 << shift)).reshape([1]));
        let shares = W::metrics(means / f64::from(self.layout.header.virtual_ranks));
        self.add_words(self.layout.header.metrics().start, &shares);
    }

    /// A virtual rank was added without [`Self::add`].
    pub fn has_added(&mut self) {
        self.mode = Mode::Add;
    }

    /// Ends this worker's part: where it computed no rank, its sum is zero.
    pub fn end(&self) {
        if self.mode == Mode::Set {
            let _ = self.body().zero_();
        }
    }

    fn add_words(&self, first: usize, values: &Tensor) {
        let mut words = self.words.narrow(0, first as i64, values.numel() as i64);
        let _ = words.g_add_(&values.to_kind(W::KIND));
    }

    fn range(&self, range: Range<usize>) -> Tensor {
        self.words.narrow(0, range.start as i64, range.len() as i64)
    }

    pub fn header(&self) -> Tensor {
        self.range(0..self.layout.header.len())
    }

    fn body(&self) -> Tensor {
        self.range(self.layout.body())
    }

    /// Whether every virtual rank is in it once and good; bool without dimensions.
    pub fn is_complete(&self) -> Tensor {
        self.range(self.layout.header.marks()).to_kind(Kind::Int64).eq_tensor(&self.complete).all()
    }

    pub fn gradients(&self) -> Tensor {
        let words = self.range(self.layout.gradients());
        match &self.scales {
            Some(scales) => (words.to_kind(Kind::Double) * &scales.units).to_kind(Kind::Float),
            None => W::means(words),
        }
    }

    pub fn statistics(&self) -> impl Iterator<Item = Tensor> {
        self.layout.statistics().map(|range| W::means(self.range(range)))
    }

    pub fn clear_header(&mut self) {
        let _ = self.header().zero_();
    }
}

/// [`Word`]'s conversions over tensors.
pub(crate) trait DeviceWord: Word {
    /// A virtual rank's numbers in units of the sum, not rounded.
    fn scaled(numbers: &Tensor, virtual_ranks: u32) -> Tensor;
    /// They as words, and the rank's mark. `worst`: the largest magnitude; `finite`: all numbers are.
    fn shares(scaled: Tensor, worst: &Tensor, finite: &Tensor) -> (Tensor, Tensor);
    /// A virtual rank's shares in the metrics' means as words.
    fn metrics(shares: Tensor) -> Tensor;
    /// The means over the virtual ranks, f32.
    fn means(words: Tensor) -> Tensor;
}

impl DeviceWord for i64 {
    fn scaled(numbers: &Tensor, virtual_ranks: u32) -> Tensor {
        numbers.to_kind(Kind::Double) * Self::factor(virtual_ranks)
    }

    /// Bad numbers are not added.
    fn shares(scaled: Tensor, worst: &Tensor, finite: &Tensor) -> (Tensor, Tensor) {
        let fits = worst.le(f64::from(Self::LIMIT));
        let mark = scalar(TOO_LARGE, worst).where_self(&fits.logical_not(), &scalar(GOOD, worst));
        let mark = mark.where_self(finite, &scalar(NOT_FINITE, worst));
        let good = scaled.where_self(&finite.logical_and(&fits), &scaled.zeros_like());
        (good.round().to_kind(Kind::Int64), mark)
    }

    fn metrics(shares: Tensor) -> Tensor {
        let clamped = shares.nan_to_num(0.0, METRIC_LIMIT, -METRIC_LIMIT).clamp(-METRIC_LIMIT, METRIC_LIMIT);
        (clamped * METRIC_SCALE).round()
    }

    fn means(words: Tensor) -> Tensor {
        (words.to_kind(Kind::Double) * (1.0 / SCALE)).to_kind(Kind::Float)
    }
}

impl DeviceWord for f32 {
    fn scaled(numbers: &Tensor, virtual_ranks: u32) -> Tensor {
        numbers * f64::from(Self::factor(virtual_ranks))
    }

    fn shares(scaled: Tensor, _worst: &Tensor, finite: &Tensor) -> (Tensor, Tensor) {
        (scaled, scalar(GOOD, finite).where_self(finite, &scalar(NOT_FINITE, finite)))
    }

    fn metrics(shares: Tensor) -> Tensor {
        shares
    }

    fn means(words: Tensor) -> Tensor {
        words
    }
}

/// An i64 without dimensions where `like` is.
fn scalar(value: i64, like: &Tensor) -> Tensor {
    Tensor::full([0_i64; 0], value, (Kind::Int64, like.device()))
}
