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
use super::device_pieces::DevicePieces;
use super::device_scales::DeviceScales;
use super::device_travel::DeviceTravel;
use crate::contribution::{Contribution, End};
use crate::flat::{ALIGNMENT, Layout};
use crate::header::{ControlWord, ControlWords, SumLayout};
use crate::kernels::{
    AddArgs, Address, BeginArgs, BitsArgs, DecideArgs, EndRankArgs, Kernel, Kernels, PARTS_MAX, PartArgs,
    SquaresArgs, SumArgs, WordKind,
};
use crate::tensors::words;
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
    pieces: DevicePieces,
    /// Σ g² of each block of parameters, f64.
    squares: Tensor,
    /// What is found out of a virtual rank's numbers while it is added.
    found: Tensor,
    /// The marks of a sum that has every virtual rank once.
    complete: Tensor,
    mode: Mode,
    kernels: Kernels,
    word: PhantomData<W>,
}

impl<W: Word> DeviceSum<W> {
    /// Words travel in 32 bits where `is_scaled` gives each block of parameters a last bit, and `may_be_narrow`.
    pub fn new(
        layout: SumLayout,
        parameters: &Layout,
        [is_scaled, may_be_narrow]: [bool; 2],
        kernels: Kernels,
        device: Device,
    ) -> Self {
        let virtual_ranks = layout.header.virtual_ranks;
        let scales = is_scaled.then(|| DeviceScales::new(parameters, virtual_ranks, kernels, device));
        let len = (GUARD + layout.len() + 1) as i64;
        let narrow = (may_be_narrow && is_scaled)
            .then(|| DeviceNarrow::new(len, (GUARD + layout.head().end) as i64, kernels, device));
        let pieces = DevicePieces::new(&layout, parameters, GUARD, device);
        Self {
            words: Tensor::zeros([len], (W::KIND, device)),
            squares: Tensor::zeros([pieces.blocks as i64], (Kind::Double, device)),
            complete: Tensor::from_slice(&layout.header.complete_marks()).to_device(device),
            guard: Tensor::zeros([1], (W::KIND, device)),
            pieces,
            found: Tensor::zeros([2], (Kind::Int, device)),
            scales,
            narrow,
            is_scaled: false,
            stage: Stage::Computed,
            is_repeated: false,
            travel: DeviceTravel::new(device),
            mode: Mode::Set,
            kernels,
            word: PhantomData,
            layout,
        }
    }

    /// Begins the sum that this reduction is, with this worker's wishes.
    pub fn begin(&mut self, reduction: Reduction, controls: ControlWords) {
        self.stage = Stage::Computed;
        let mut wishes = [0; ControlWord::ALL.len()];
        self.layout.header.wishes(controls).zip(&mut wishes).for_each(|((_, count), wish)| *wish = count);
        let (first_wish, _) =
            self.layout.header.wishes(controls).next().expect("a header has words for wishes");
        let args = BeginArgs {
            words: Address::of(&self.words),
            guard: Address::of(&self.guard),
            value: guard(reduction),
            wishes,
            last: self.last(),
            head: short(GUARD + self.layout.header.len()),
            wishes_at: at(first_wish),
            word: W::IN_A_DEVICE.into(),
            unused: 0,
        };
        // SAFETY: the words have guards and a header at these places, and this sum's kind.
        unsafe { self.kernels.queue(Kernel::Begin, &args, 1) };
        self.mode = Mode::Set;
        self.is_repeated = false;
    }

    /// Adds the numbers of one virtual rank, whose tensors are on the device.
    pub fn add(&mut self, contribution: &Contribution) {
        let tensors: Vec<_> = contribution.tensors().zip(&self.layout.parts).collect();
        let calls = self.pieces.calls.iter().zip(tensors.chunks(PARTS_MAX)).map(|(call, tensors)| {
            let mut parts = [PartArgs::NONE; PARTS_MAX];
            for (part, (tensor, entry)) in parts.iter_mut().zip(tensors) {
                *part = PartArgs::new(tensor, &entry.strides());
            }
            (self.add_args(parts, call.first_part, call.pieces.start, contribution.end()), call.pieces.len())
        });
        let calls: Vec<_> = calls.collect();
        // All is measured before any of it is added.
        for kernel in [Kernel::Measure, Kernel::Add] {
            for (args, pieces) in &calls {
                // SAFETY: the pieces lie in these tensors, which have the sizes of the layout, and in the words.
                unsafe { self.kernels.queue(kernel, args, *pieces) };
            }
        }
        self.mode = Mode::Add;
        self.end_rank(contribution);
    }

    fn add_args(
        &self,
        parts: [PartArgs; PARTS_MAX],
        first_part: usize,
        first_piece: usize,
        end: &End,
    ) -> AddArgs {
        let factors = self.scales.as_ref().map_or(Address::NULL, |scales| Address::of(&scales.factors));
        AddArgs {
            parts,
            pieces: self.pieces.address(first_piece),
            found: Address::of(&self.found),
            words: Address::of(&self.words),
            factors,
            loss: Address::of(&end.means[0]),
            factor: W::factor(self.layout.header.virtual_ranks).into(),
            largest: match (&self.scales, &self.narrow) {
                (Some(scales), Some(_)) => scales.largest,
                _ => f32::INFINITY,
            },
            limit: W::LIMIT,
            first_part: short(first_part),
            word: W::IN_A_DEVICE.into(),
            is_first: (self.mode == Mode::Set).into(),
            unused: 0,
        }
    }

    /// Adds what the header has of a virtual rank, and its part of the guards.
    fn end_rank(&self, contribution: &Contribution) {
        let header = self.layout.header;
        let (mark, shift) = header.mark(contribution.rank);
        let args = EndRankArgs {
            words: Address::of(&self.words),
            guard: Address::of(&self.guard),
            found: Address::of(&self.found),
            means: contribution.end().means.each_ref().map(Address::of),
            last: self.last(),
            limit: W::LIMIT,
            mark_at: at(mark),
            mark_shift: shift,
            metrics_at: at(header.metrics().start),
            misfits_at: at(header.misfits().start),
            virtual_ranks: header.virtual_ranks,
            word: W::IN_A_DEVICE.into(),
            unused: 0,
        };
        // SAFETY: the words have a header with these places; the means are f32 on the device.
        unsafe { self.kernels.queue(Kernel::EndRank, &args, 1) };
    }

    /// The place of the guard behind.
    fn last(&self) -> u64 {
        self.words.numel() as u64 - 1
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

    /// What a kernel needs to find out whether it is the whole sum of this reduction, with every virtual rank in it once and
    /// good; the rest of the arguments is the caller's.
    pub fn whole(&self, reduction: Reduction) -> DecideArgs {
        let header = self.layout.header;
        let (last, last_word) = match (self.stage, &self.narrow) {
            (Stage::InNarrow, Some(narrow)) => (&narrow.words, WordKind::Narrow),
            _ => (&self.words, W::IN_A_DEVICE.into()),
        };
        DecideArgs {
            sound: Address::NULL,
            applied: Address::NULL,
            flag: Address::NULL,
            head: Address::of(self.head()),
            last: Address::within(last, last.numel() - 1),
            complete: Address::of(&self.complete),
            guard: guard(reduction) * i64::from(header.virtual_ranks),
            header_at: at(0),
            marks: short(header.marks().len()),
            misfits_at: at(header.misfits().start),
            word: W::IN_A_DEVICE.into(),
            last_word,
            checks_misfits: (self.stage == Stage::InNarrow).into(),
        }
    }

    /// The mean gradients, as kernels read them, and their blocks.
    pub fn mean_gradients(&self) -> SumArgs {
        let (words, word) = match (self.stage, &self.narrow) {
            (Stage::InNarrow, Some(narrow)) => (Address::of(&narrow.behind_head()), WordKind::Narrow),
            _ => (Address::of(&self.own(self.layout.gradients())), W::IN_A_DEVICE.into()),
        };
        SumArgs {
            spans: Address::of(&self.pieces.spans),
            words,
            units: self.scales.as_ref().map_or(Address::NULL, |scales| Address::of(&scales.units)),
            word,
            blocks: short(self.pieces.blocks),
        }
    }

    /// The Euclidean norm of the mean gradients, f64 `[1]`.
    pub fn gradient_norm(&self) -> Tensor {
        self.squares().sum(Kind::Double).sqrt().reshape([1])
    }

    /// Σ g² of each block of the mean gradients, f64.
    pub fn squares(&self) -> &Tensor {
        let args = SquaresArgs { sum: self.mean_gradients(), squares: Address::of(&self.squares) };
        // SAFETY: the spans are within the gradients of the sum; there is a number for each.
        unsafe { self.kernels.queue(Kernel::Squares, &args, self.pieces.blocks) };
        &self.squares
    }

    /// The words of the batch-norm statistics of each pass, as kernels read them.
    pub fn statistics(&self) -> Address {
        Address::of(&part(self.head(), self.layout.header.len()..self.layout.head().end))
    }

    /// How kernels choose the last bits of the next sum by second moments with this correction; none where all numbers have
    /// the same.
    pub fn bits(&self, correction: f32) -> Option<BitsArgs> {
        self.scales.as_ref().map(|scales| scales.bits(correction))
    }

    /// Chooses the last bits of the next sum by the second moments `v` and their correction, or says that there are none.
    pub fn choose_scales(&mut self, v: &Tensor, correction: Option<f32>) {
        if let Some(scales) = &mut self.scales {
            scales.choose(&self.pieces.spans, v, correction.unwrap_or(1.0));
        }
        self.is_scaled = correction.is_some();
    }

    /// The last bits of the next sum were chosen with the update.
    pub fn has_scales(&mut self) {
        self.is_scaled = true;
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

/// The place of a layout's word among the words, which begin with a guard.
fn at(index: usize) -> u32 {
    short(GUARD + index)
}

fn short(count: usize) -> u32 {
    u32::try_from(count).expect("a sum has fewer words")
}

/// Part of words that lie behind a guard, in the order of the layout.
fn part(words: &Tensor, range: Range<usize>) -> Tensor {
    words.narrow(0, (GUARD + range.start) as i64, range.len() as i64)
}

/// What a virtual rank adds to the guards of this reduction; never 0.
fn guard(reduction: Reduction) -> i64 {
    1 + (reduction.0 % GUARDS) as i64
}
