//! The buffer of one reduction: `[header | gradients | batch-norm statistics]`, as i64 or f32.
//!
//! Every worker fills it with the sum over its own virtual ranks; after the all-reduce it holds the mean over
//! all V of them, and every worker reads the same words. The header is
//!
//! | words | what | sum of |
//! | --- | --- | --- |
//! | ⌈V / 7⌉ | a mark for each virtual rank, three bits each | virtual ranks |
//! | 4 | the control words | workers |
//! | 3 | loss, D(x), D(G(z)) | virtual ranks, divided by V |
//!
//! padded with zeros to a multiple of 16 words. A mark is 1 where the rank's numbers are good, 6 where one is
//! too large, 7 where one is not finite; 0 says that nobody computed the rank, anything else that several did.
//! Seven marks fill 21 bits, so that a word is exact in f32 too.

use lsgan_spec::{Half, ReductionMode, VirtualRank};

use tch::{Device, Kind, Tensor};

use crate::error::Blame;
use crate::fixed_sum::{self, Place};
use crate::flat::{ALIGNMENT, Layout};
use crate::layers::Network;
use crate::widest::widest;

const MARK_BITS: u32 = 3;
const MARKS_PER_WORD: u32 = 7;
pub(crate) const GOOD: i64 = 1;
pub(crate) const TOO_LARGE: i64 = 6;
pub(crate) const NOT_FINITE: i64 = 7;

/// Metrics ride at 2^24, so that |x| may reach 2^38; they are clamped there, for they decide nothing.
pub(crate) const METRIC_SCALE: f64 = (1_u64 << 24) as f64;
pub(crate) const METRIC_LIMIT: f64 = (1_u64 << 38) as f64;

/// A request that all workers must obey after the same step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlWord {
    /// Write a snapshot.
    Snapshot,
    /// End this generation, so that the group can form anew.
    Reform,
    /// The run ends here.
    Finish,
    /// A worker wants to leave.
    Leave,
}

impl ControlWord {
    /// All of them, in the order of the header.
    pub const ALL: [Self; 4] = [Self::Snapshot, Self::Reform, Self::Finish, Self::Leave];
}

/// How many workers wish each [`ControlWord`]. Before the all-reduce one worker's, after it everyone's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlWords([u32; 4]);

impl ControlWords {
    /// The counts, in the order of the header.
    pub(crate) fn counts(self) -> [u32; ControlWord::ALL.len()] {
        self.0
    }

    /// These and one wish more.
    #[must_use]
    pub fn with(mut self, word: ControlWord) -> Self {
        self.0[word as usize] += 1;
        self
    }

    /// How many workers wish it.
    #[must_use]
    pub fn count(self, word: ControlWord) -> u32 {
        self.0[word as usize]
    }

    /// Whether anybody wishes it, so that all act.
    #[must_use]
    pub fn is_set(self, word: ControlWord) -> bool {
        self.count(word) > 0
    }
}

/// The means of one virtual rank, or after the all-reduce of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Means {
    /// The loss of this half's network.
    pub loss: f64,
    /// D(x). 0 in G's half, which sees no real samples.
    pub real: f64,
    /// D(G(z)).
    pub fake: f64,
}

/// One tensor of a contribution and where it goes.
pub(crate) struct Piece<'a> {
    /// First number in the gradients or in the statistics.
    pub offset: usize,
    /// The numbers in our storage order.
    pub values: &'a [f32],
}

/// The words of a reduction, exact or fast.
enum Words {
    Exact(Vec<i64>),
    Fast(Vec<f32>),
}

/// The words as the collective wants them.
pub enum WordsMut<'a> {
    /// Fixed point.
    Exact(&'a mut [i64]),
    /// f32.
    Fast(&'a mut [f32]),
    /// In a GPU's memory.
    Device(DeviceWords),
}

/// Where the words of a reduction lie on a device, for a collective that sums them there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceWords {
    /// The first word. Valid until the replica is dropped.
    pub start: *mut std::ffi::c_void,
    /// How many.
    pub count: usize,
    /// `i64`; otherwise `f32`.
    pub exact: bool,
}

/// The gradients as the optimizer wants them.
pub(crate) enum Gradients<'a> {
    Exact(&'a [i64]),
    Fast(&'a [f32]),
}

/// How many sets of batch-norm statistics a half has: D sees real samples and fakes.
pub(crate) fn passes(half: Half) -> usize {
    match half {
        Half::Discriminator => 2,
        Half::Generator => 1,
    }
}

/// The buffer of one half's reduction.
pub struct Sums {
    half: Half,
    virtual_ranks: u32,
    header: usize,
    gradients: usize,
    words: Words,
    /// Whether a rank has been put in since [`Self::begin`].
    place: Place,
}

impl Sums {
    /// The buffer of `half`, whose network is `network`, with `passes` sets of batch-norm statistics.
    #[must_use]
    pub fn new(
        half: Half,
        network: &Network,
        passes: usize,
        virtual_ranks: u32,
        mode: ReductionMode,
    ) -> Self {
        let header = header_words(virtual_ranks);
        let gradients = network.parameters.len();
        let len = header + gradients + passes * network.statistics.len();
        let words = match mode {
            ReductionMode::Exact => Words::Exact(vec![0; len]),
            ReductionMode::Fast => Words::Fast(vec![0.0; len]),
        };
        Self { half, virtual_ranks, header, gradients, words, place: Place::Set }
    }

    /// The header alone, for a sum that lies on a device.
    pub(crate) fn header_only(half: Half, virtual_ranks: u32, mode: ReductionMode) -> Self {
        let header = header_words(virtual_ranks);
        let words = match mode {
            ReductionMode::Exact => Words::Exact(vec![0; header]),
            ReductionMode::Fast => Words::Fast(vec![0.0; header]),
        };
        Self { half, virtual_ranks, header, gradients: 0, words, place: Place::Set }
    }

    /// How many words the header has.
    pub(crate) fn header_len(&self) -> usize {
        self.header
    }

    /// Takes over a header that came from a device, in memory of the host.
    pub(crate) fn take_header(&mut self, from: &Tensor) {
        assert_eq!((from.device(), from.numel()), (Device::Cpu, self.header), "it is a header on the host");
        let start = from.data_ptr();
        match &mut self.words {
            Words::Exact(words) => {
                assert_eq!(from.kind(), Kind::Int64, "words of an exact sum");
                // SAFETY: so many i64, which live as long as `from`.
                words.copy_from_slice(unsafe { std::slice::from_raw_parts(start.cast(), self.header) });
            }
            Words::Fast(words) => {
                assert_eq!(from.kind(), Kind::Float, "words of a fast sum");
                // SAFETY: so many f32, which live as long as `from`.
                words.copy_from_slice(unsafe { std::slice::from_raw_parts(start.cast(), self.header) });
            }
        }
    }

    /// Forgets what is in it and sets this worker's wishes.
    pub(crate) fn begin(&mut self, controls: ControlWords) {
        self.clear_header();
        for (index, count) in controls.0.iter().enumerate() {
            self.set_word(self.marks() + index, i64::from(*count));
        }
        self.place = Place::Set;
    }

    /// Makes the marks say that nobody computed anything.
    pub(crate) fn clear_header(&mut self) {
        match &mut self.words {
            Words::Exact(words) => words[..self.header].fill(0),
            Words::Fast(words) => words[..self.header].fill(0.0),
        }
    }

    /// Adds the numbers of one virtual rank.
    pub(crate) fn add(&mut self, rank: VirtualRank, gradients: &[Piece], statistics: &[Piece], means: Means) {
        let bases = [(self.header, gradients), (self.header + self.gradients, statistics)];
        let mut blame = if means.loss.is_finite() { None } else { Some(Blame::NotFinite) };
        for (base, pieces) in bases {
            for piece in pieces {
                let verdict = self.put(base + piece.offset, piece.values);
                blame = blame.max_with(verdict.err());
            }
        }
        self.place = Place::Add;
        let mark = match blame {
            None => GOOD,
            Some(Blame::OutOfRange) => TOO_LARGE,
            Some(Blame::NotFinite) => NOT_FINITE,
        };
        let (word, shift) = mark_place(rank.0);
        self.add_word(word, mark << shift);
        let first = self.metrics();
        for (index, mean) in [means.loss, means.real, means.fake].into_iter().enumerate() {
            self.add_metric(first + index, mean);
        }
    }

    /// Ends this worker's part: where it computed no rank, its sum is zero.
    pub(crate) fn end(&mut self) {
        if self.place == Place::Set {
            match &mut self.words {
                Words::Exact(words) => words[self.header..].fill(0),
                Words::Fast(words) => words[self.header..].fill(0.0),
            }
        }
    }

    fn put(&mut self, at: usize, values: &[f32]) -> Result<(), Blame> {
        let place = self.place;
        let range = at..at + values.len();
        match &mut self.words {
            Words::Exact(words) => {
                fixed_sum::accumulate(values, fixed_sum::factor(self.virtual_ranks), place, &mut words[range])
            }
            Words::Fast(words) => {
                let share = 1.0 / self.virtual_ranks as f32;
                match place {
                    Place::Set => set_fast(values, share, &mut words[range]),
                    Place::Add => add_fast(values, share, &mut words[range]),
                }
                let finite = fixed_sum::largest_magnitude(values) < f32::INFINITY.to_bits();
                if finite { Ok(()) } else { Err(Blame::NotFinite) }
            }
        }
    }

    /// The words, to be summed over all workers.
    pub fn words_mut(&mut self) -> WordsMut<'_> {
        match &mut self.words {
            Words::Exact(words) => WordsMut::Exact(words),
            Words::Fast(words) => WordsMut::Fast(words),
        }
    }

    /// Whose reduction this is.
    #[must_use]
    pub fn half(&self) -> Half {
        self.half
    }

    /// The ranks whose numbers must not be applied, those that are missing, and those that came several times.
    pub(crate) fn marks_read(&self) -> Marks {
        let mut marks = Marks::default();
        for rank in 0..self.virtual_ranks {
            let (word, shift) = mark_place(rank);
            match (self.word(word) >> shift) & ((1 << MARK_BITS) - 1) {
                GOOD => {}
                TOO_LARGE => marks.blamed.push((VirtualRank(rank), Blame::OutOfRange)),
                NOT_FINITE => marks.blamed.push((VirtualRank(rank), Blame::NotFinite)),
                0 => marks.missing.push(rank),
                _ => marks.twice.push(rank),
            }
        }
        marks
    }

    /// The wishes of all workers.
    pub(crate) fn controls(&self) -> ControlWords {
        let first = self.marks();
        ControlWords(std::array::from_fn(|index| self.word(first + index) as u32))
    }

    /// The means over all virtual ranks.
    pub(crate) fn means(&self) -> Means {
        let first = self.metrics();
        let [loss, real, fake] = std::array::from_fn(|index| match &self.words {
            Words::Exact(words) => words[first + index] as f64 / METRIC_SCALE,
            Words::Fast(words) => f64::from(words[first + index]),
        });
        Means { loss, real, fake }
    }

    /// The mean gradients.
    pub(crate) fn gradients(&self) -> Gradients<'_> {
        let range = self.header..self.header + self.gradients;
        match &self.words {
            Words::Exact(words) => Gradients::Exact(&words[range]),
            Words::Fast(words) => Gradients::Fast(&words[range]),
        }
    }

    /// √(Σ g²) of the mean gradient.
    pub(crate) fn gradient_norm(&self) -> f64 {
        match self.gradients() {
            Gradients::Exact(words) => square_sum_exact(words).sqrt(),
            Gradients::Fast(words) => square_sum_fast(words).sqrt(),
        }
    }

    /// The mean batch-norm statistics of one pass, laid out like the network's running ones.
    pub(crate) fn statistics(&self, pass: usize, layout: &Layout) -> Vec<f32> {
        let start = self.header + self.gradients + pass * layout.len();
        let range = start..start + layout.len();
        match &self.words {
            Words::Exact(words) => words[range].iter().map(|&sum| fixed_sum::to_f32(sum)).collect(),
            Words::Fast(words) => words[range].to_vec(),
        }
    }

    /// How many words the marks take; the control words follow.
    pub(crate) fn marks(&self) -> usize {
        self.virtual_ranks.div_ceil(MARKS_PER_WORD) as usize
    }

    /// The first word of the metrics.
    pub(crate) fn metrics(&self) -> usize {
        self.marks() + ControlWord::ALL.len()
    }

    fn word(&self, index: usize) -> i64 {
        match &self.words {
            Words::Exact(words) => words[index],
            Words::Fast(words) => words[index] as i64,
        }
    }

    fn set_word(&mut self, index: usize, value: i64) {
        match &mut self.words {
            Words::Exact(words) => words[index] = value,
            Words::Fast(words) => words[index] = value as f32,
        }
    }

    fn add_word(&mut self, index: usize, value: i64) {
        self.set_word(index, self.word(index) + value);
    }

    fn add_metric(&mut self, index: usize, mean: f64) {
        let share = mean / f64::from(self.virtual_ranks);
        match &mut self.words {
            Words::Exact(words) => {
                let clamped = share.clamp(-METRIC_LIMIT, METRIC_LIMIT);
                words[index] += (clamped * METRIC_SCALE).round_ties_even() as i64;
            }
            Words::Fast(words) => words[index] += share as f32,
        }
    }
}

/// What the marks of a sum say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub blamed: Vec<(VirtualRank, Blame)>,
    pub missing: Vec<u32>,
    pub twice: Vec<u32>,
}

trait Worse {
    fn max_with(self, other: Option<Blame>) -> Option<Blame>;
}

impl Worse for Option<Blame> {
    /// The worse of two: not finite, then out of range, then nothing.
    fn max_with(self, other: Option<Blame>) -> Option<Blame> {
        match (self, other) {
            (Some(Blame::NotFinite), _) | (_, Some(Blame::NotFinite)) => Some(Blame::NotFinite),
            (Some(Blame::OutOfRange), _) | (_, Some(Blame::OutOfRange)) => Some(Blame::OutOfRange),
            (None, None) => None,
        }
    }
}

fn header_words(virtual_ranks: u32) -> usize {
    let words = virtual_ranks.div_ceil(MARKS_PER_WORD) as usize + ControlWord::ALL.len() + 3;
    words.next_multiple_of(ALIGNMENT)
}

/// The word and the lowest bit of a rank's mark.
pub(crate) fn mark_place(rank: u32) -> (usize, u32) {
    ((rank / MARKS_PER_WORD) as usize, rank % MARKS_PER_WORD * MARK_BITS)
}

widest! {
    fn set_fast(x: &[f32], share: f32, sum: &mut [f32]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum = *x * share;
        }
    }
}

widest! {
    fn add_fast(x: &[f32], share: f32, sum: &mut [f32]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum += *x * share;
        }
    }
}

/// Partial sums that the compiler may hold in one register; their number fixes the order of additions.
const PARTIAL_SUMS: usize = 8;

widest! {
    fn square_sum_exact(words: &[i64]) -> f64 {
        let mut partial = [0.0_f64; PARTIAL_SUMS];
        for chunk in words.chunks(PARTIAL_SUMS) {
            for (partial, word) in partial.iter_mut().zip(chunk) {
                let g = f64::from(fixed_sum::to_f32(*word));
                *partial += g * g;
            }
        }
        partial.iter().sum()
    }
}

widest! {
    fn square_sum_fast(words: &[f32]) -> f64 {
        let mut partial = [0.0_f64; PARTIAL_SUMS];
        for chunk in words.chunks(PARTIAL_SUMS) {
            for (partial, g) in partial.iter_mut().zip(chunk) {
                *partial += f64::from(*g) * f64::from(*g);
            }
        }
        partial.iter().sum()
    }
}
