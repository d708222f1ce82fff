//! The sum of one half's reduction, in the host's memory.

use crate::error::Blame;
use crate::header::{ControlWords, GOOD, NOT_FINITE, Reading, SumLayout, TOO_LARGE};
use crate::lane::Contribution;
use crate::tensors::floats;
use crate::word::{Mode, Word, WordsMut, put};

/// `[header | gradients | statistics of each pass]`.
pub(crate) struct Sums<W> {
    layout: SumLayout,
    words: Vec<W>,
    mode: Mode,
}

impl<W: Word> Sums<W> {
    pub fn new(layout: SumLayout) -> Self {
        Self { words: vec![W::default(); layout.len()], layout, mode: Mode::Set }
    }

    /// Begins a sum, with this worker's wishes.
    pub fn begin(&mut self, controls: ControlWords) {
        self.clear_header();
        for (index, count) in self.layout.header.wishes(controls) {
            self.words[index] = W::of_count(count);
        }
        self.mode = Mode::Set;
    }

    /// Adds the numbers of one virtual rank.
    pub fn add(&mut self, contribution: &Contribution) {
        let means = contribution.means.each_ref().map(|mean| mean.double_value(&[]));
        let mut blame = if means[0].is_finite() { None } else { Some(Blame::NotFinite) };
        let factor = W::factor(self.layout.virtual_ranks);
        let body = self.layout.body();
        for (part, tensor) in self.layout.parts.iter().zip(&contribution.tensors) {
            let sum = &mut self.words[body.clone()][part.range()];
            blame = blame.max(put(floats(tensor), factor, self.mode, sum).err());
        }
        self.mode = Mode::Add;
        let mark = match blame {
            None => GOOD,
            Some(Blame::OutOfRange) => TOO_LARGE,
            Some(Blame::NotFinite) => NOT_FINITE,
        };
        let (word, shift) = self.layout.header.mark(contribution.rank);
        self.words[word] = self.words[word].plus(W::of_count(mark << shift));
        for (index, mean) in self.layout.header.metrics().zip(means) {
            let share = W::of_metric(mean / f64::from(self.layout.virtual_ranks));
            self.words[index] = self.words[index].plus(share);
        }
    }

    /// Ends this worker's part: where it computed no rank, its sum is zero.
    pub fn end(&mut self) {
        if self.mode == Mode::Set {
            self.words[self.layout.body()].fill(W::default());
        }
    }

    /// Makes the marks say that no worker computed anything.
    pub fn clear_header(&mut self) {
        self.words[..self.layout.header.len()].fill(W::default());
    }

    pub fn words_mut(&mut self) -> WordsMut<'_> {
        W::words_mut(&mut self.words)
    }

    pub fn read_header(&self) -> Reading {
        self.layout.header.read(&self.words)
    }

    /// The mean gradients.
    pub fn gradients(&self) -> &[W] {
        &self.words[self.layout.gradients()]
    }

    /// The mean batch-norm statistics of each pass.
    pub fn statistics(&self) -> impl Iterator<Item = &[W]> {
        self.layout.statistics().map(|range| &self.words[range])
    }
}
