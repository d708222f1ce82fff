//! The layout of a sum, `[header | batch-norm statistics | gradients]`, and what its header says.
//!
//! Every worker fills the words with the sum over its own virtual ranks. After the all-reduce they hold the mean over
//! all V of them, and every worker reads the same words. The header is
//!
//! | words | what | sum over |
//! | --- | --- | --- |
//! | ⌈V / 7⌉ | a mark for each virtual rank, three bits each | virtual ranks |
//! | 4 | the control words | workers |
//! | 3 | loss, D(x), D(G(z)) | virtual ranks, divided by V |
//! | one for each bucket | whether the rank's numbers do not fit into 32 bits: [`crate::sums::scaled`] | virtual ranks |
//!
//! padded with zeros to a multiple of 16 words. A mark is 1 where the rank's numbers are good, 6 where one is
//! too large, 7 where one is not finite; 0 says that no worker computed the rank, anything else that several did.
//! Seven marks fill 21 bits, so that a word is exact in f32 too.

use std::ops::Range;

use lsgan_spec::scalars::MEANS_MAX;
use lsgan_spec::{Half, Reduction, VirtualRank};

use crate::error::{Blame, NotApplied};
use crate::flat::{ALIGNMENT, Entry};
use crate::layers::Network;
use crate::word::Word;

const MARK_BITS: u32 = 3;
const MARKS_PER_WORD: u32 = 7;
const GOOD: i64 = 1;
const TOO_LARGE: i64 = 6;
const NOT_FINITE: i64 = 7;

/// A request that all workers obey after the same step.
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

/// The number of workers that wish each [`ControlWord`]: one worker's before the all-reduce, all workers' after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlWords([u32; 4]);

impl ControlWords {
    /// These and one wish more.
    #[must_use]
    pub fn with(mut self, word: ControlWord) -> Self {
        self.0[word as usize] += 1;
        self
    }

    /// The number of workers that wish it.
    #[must_use]
    pub fn count(self, word: ControlWord) -> u32 {
        self.0[word as usize]
    }

    /// Whether a worker wishes it, so that all act.
    #[must_use]
    pub fn is_set(self, word: ControlWord) -> bool {
        self.count(word) > 0
    }
}

/// Where everything lies in a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub virtual_ranks: u32,
    /// Parts of the gradients that may travel by themselves.
    buckets: usize,
}

impl Header {
    pub fn len(self) -> usize {
        self.misfits().end.next_multiple_of(ALIGNMENT)
    }

    pub fn marks(self) -> Range<usize> {
        0..self.virtual_ranks.div_ceil(MARKS_PER_WORD) as usize
    }

    pub fn metrics(self) -> Range<usize> {
        let start = self.marks().end + ControlWord::ALL.len();
        start..start + MEANS_MAX
    }

    /// How many virtual ranks have numbers that do not fit into 32 bits, for each bucket.
    pub fn misfits(self) -> Range<usize> {
        let start = self.metrics().end;
        start..start + self.buckets
    }

    /// Makes the marks in `words` say that no worker computed anything; nothing where they were taken away.
    pub fn clear<W: Word>(self, words: &mut [W]) {
        let len = self.len().min(words.len());
        words[..len].fill(W::default());
    }

    /// Begins the header in `words`, with this worker's wishes.
    pub fn begin<W: Word>(self, words: &mut [W], controls: ControlWords) {
        self.clear(words);
        for (index, count) in self.wishes(controls) {
            words[index] = W::of_count(count);
        }
    }

    /// Adds a virtual rank's mark and metrics, of which the first is its loss, to the header in `words`.
    pub fn add<W: Word>(
        self,
        words: &mut [W],
        rank: VirtualRank,
        blame: Option<Blame>,
        means: [f64; MEANS_MAX],
    ) {
        let mark = match blame.max((!means[0].is_finite()).then_some(Blame::NotFinite)) {
            None => GOOD,
            Some(Blame::OutOfRange) => TOO_LARGE,
            Some(Blame::NotFinite) => NOT_FINITE,
        };
        let (word, shift) = self.mark(rank);
        words[word] = words[word].plus(W::of_count(mark << shift));
        for (index, mean) in self.metrics().zip(means) {
            words[index] = words[index].plus(W::of_metric(mean / f64::from(self.virtual_ranks)));
        }
    }

    /// The words of this worker's wishes, with their values.
    pub fn wishes(self, controls: ControlWords) -> impl Iterator<Item = (usize, i64)> {
        (self.marks().end..).zip(controls.0).map(|(index, count)| (index, i64::from(count)))
    }

    /// The word of a rank's mark, and the lowest bit in it.
    pub fn mark(self, rank: VirtualRank) -> (usize, u32) {
        ((rank.0 / MARKS_PER_WORD) as usize, rank.0 % MARKS_PER_WORD * MARK_BITS)
    }

    /// The marks of a sum that has every virtual rank once, all good.
    pub fn complete_marks(self) -> Vec<i64> {
        let mut marks = vec![0; self.marks().len()];
        for rank in 0..self.virtual_ranks {
            let (word, shift) = self.mark(VirtualRank(rank));
            marks[word] += GOOD << shift;
        }
        marks
    }

    /// What the first words of an all-reduced sum say.
    pub fn read<W: Word>(self, words: &[W]) -> Reading {
        let mut reading = Reading::default();
        for rank in 0..self.virtual_ranks {
            let (word, shift) = self.mark(VirtualRank(rank));
            match (words[word].count() >> shift) & ((1 << MARK_BITS) - 1) {
                GOOD => {}
                TOO_LARGE => reading.blamed.push((VirtualRank(rank), Blame::OutOfRange)),
                NOT_FINITE => reading.blamed.push((VirtualRank(rank), Blame::NotFinite)),
                0 => reading.missing.push(rank),
                _ => reading.twice.push(rank),
            }
        }
        let first = self.marks().end;
        reading.controls = ControlWords(std::array::from_fn(|index| words[first + index].count() as u32));
        let first = self.metrics().start;
        reading.means = std::array::from_fn(|index| words[first + index].metric());
        reading
    }
}

/// What the header of an all-reduced sum says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Ranks whose numbers must not be applied.
    blamed: Vec<(VirtualRank, Blame)>,
    /// Ranks that no worker computed.
    missing: Vec<u32>,
    /// Ranks that several computed.
    twice: Vec<u32>,
    pub controls: ControlWords,
    /// The means of this half over all virtual ranks, in the order of [`scalars::means_of`](lsgan_spec::scalars::means_of).
    pub means: [f64; MEANS_MAX],
}

impl Reading {
    /// Refuses a sum that may not be applied.
    pub fn check(&self, reduction: Reduction) -> Result<(), NotApplied> {
        let (step, half) = (reduction.step(), reduction.half());
        if !self.blamed.is_empty() {
            return Err(NotApplied::NotFinite { step, half, reduction, blamed: self.blamed.clone() });
        }
        if !self.missing.is_empty() || !self.twice.is_empty() {
            let (missing, twice) = (self.missing.clone(), self.twice.clone());
            return Err(NotApplied::Incomplete { step, half, missing, twice });
        }
        Ok(())
    }
}

/// How many sets of batch-norm statistics a half has: D sees real samples and fakes.
pub(crate) fn passes(half: Half) -> usize {
    match half {
        Half::Discriminator => 2,
        Half::Generator => 1,
    }
}

/// Where everything lies in the words of one half's sum.
#[derive(Clone, Debug)]
pub(crate) struct SumLayout {
    pub header: Header,
    /// The tensors of a contribution: the parameters, then the statistics of each pass. Offsets count from the body.
    pub parts: Vec<Entry>,
    parameters: usize,
    gradients: usize,
    statistics: usize,
    passes: usize,
    /// So many of a pass's statistics are batch norm's: they are mixed into the running ones, the others take their place.
    pub mixed: usize,
}

impl SumLayout {
    pub fn new(half: Half, network: &Network, virtual_ranks: u32) -> Self {
        let (gradients, statistics) = (network.parameters.len(), network.statistics.len());
        let passes = passes(half);
        let moved = |entry: &Entry, by: usize| Entry { offset: by + entry.offset, ..entry.clone() };
        let parameters = network.parameters.entries().iter().map(|entry| moved(entry, passes * statistics));
        let mut parts: Vec<_> = parameters.collect();
        for pass in 0..passes {
            parts.extend(network.statistics.entries().iter().map(|entry| moved(entry, pass * statistics)));
        }
        let parameters = network.parameters.entries().len();
        let header = Header { virtual_ranks, buckets: network.pieces.len() };
        Self { header, parts, parameters, gradients, statistics, passes, mixed: network.mixed }
    }

    /// That of idle halves: a header and nothing behind it. It has the word of one bucket, which kernels find in every header.
    pub fn header_alone(virtual_ranks: u32) -> Self {
        let header = Header { virtual_ranks, buckets: 1 };
        Self { header, parts: vec![], parameters: 0, gradients: 0, statistics: 0, passes: 0, mixed: 0 }
    }

    pub fn len(&self) -> usize {
        self.head().end + self.gradients
    }

    /// Header and statistics.
    pub fn head(&self) -> Range<usize> {
        0..self.header.len() + self.passes * self.statistics
    }

    /// All behind the header.
    pub fn body(&self) -> Range<usize> {
        self.header.len()..self.len()
    }

    pub fn gradients(&self) -> Range<usize> {
        self.head().end..self.len()
    }

    /// The batch-norm statistics of each pass, laid out like the network's running ones.
    pub fn statistics(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (start, len) = (self.header.len(), self.statistics);
        (0..self.passes).map(move |pass| start + pass * len..start + (pass + 1) * len)
    }

    /// How many of the parts are parameters' gradients; the others are statistics.
    pub fn parameters(&self) -> usize {
        self.parameters
    }
}
