//! A sum whose words are all of one kind and travel together: `reduction: exact64` and `fast`.

use super::HostSum;
use crate::clip;
use crate::contribution::Contribution;
use crate::header::{ControlWords, Reading, SumLayout};
use crate::layers::mix_running;
use crate::optimizers::OptimizerStep;
use crate::scale::BLOCK;
use crate::tensors::floats;
use crate::word::{Mode, Word, Words, put, square_sum};

pub(crate) struct FixedSum<W> {
    layout: SumLayout,
    words: Vec<W>,
    mode: Mode,
    is_whole: bool,
}

impl<W: Word> FixedSum<W> {
    pub fn new(layout: SumLayout) -> Self {
        Self { words: vec![W::default(); layout.len()], layout, mode: Mode::Set, is_whole: false }
    }

    fn gradients(&self) -> &[W] {
        &self.words[self.layout.gradients()]
    }
}

impl<W: Word> HostSum for FixedSum<W> {
    fn begin(&mut self, controls: ControlWords) {
        self.words.resize(self.layout.len(), W::default()); // where a group that failed has not given them back
        self.layout.header.begin(&mut self.words, controls);
        self.mode = Mode::Set;
        self.is_whole = false;
    }

    fn add(&mut self, contribution: &Contribution) {
        let mut blame = None;
        let factor = W::factor(self.layout.header.virtual_ranks);
        let body = self.layout.body();
        for (part, tensor) in self.layout.parts.iter().zip(contribution.tensors()) {
            let sum = &mut self.words[body.clone()][part.range()];
            blame = blame.max(put(floats(tensor), factor, self.mode, sum).err());
        }
        self.mode = Mode::Add;
        self.layout.header.add(&mut self.words, contribution.rank, blame, contribution.end().means());
    }

    fn end(&mut self) {
        if self.mode == Mode::Set {
            self.words[self.layout.body()].fill(W::default());
        }
    }

    fn clear_header(&mut self) {
        self.layout.header.clear(&mut self.words);
    }

    fn take_words(&mut self) -> Vec<Words> {
        match self.is_whole {
            true => vec![],
            false => vec![W::into_words(std::mem::take(&mut self.words))],
        }
    }

    fn put_words(&mut self, words: Vec<Words>) {
        self.words = words.into_iter().map(W::from_words).next().unwrap_or_default();
        self.is_whole = true;
    }

    fn read_header(&self) -> Reading {
        self.layout.header.read(&self.words)
    }

    fn square_sum(&self) -> f64 {
        square_sum(self.gradients(), W::UNIT)
    }

    fn square_sum_in_order(&self) -> f64 {
        let (parameters, body) =
            (&self.layout.parts[..self.layout.parameters()], &self.words[self.layout.body()]);
        let blocks = parameters.iter().flat_map(|part| body[part.range()].chunks(BLOCK));
        blocks.fold(0.0, |sum, block| sum + clip::square_sum(block, W::UNIT))
    }

    fn update(&mut self, step: OptimizerStep, clip: f32, state: [&mut [f32]; 3]) {
        step.update((self.gradients(), W::UNIT, clip), state);
    }

    fn running_statistics(&self, running: &mut [f32]) {
        for range in self.layout.statistics() {
            mix_running(running, &self.words[range], W::UNIT, self.layout.mixed);
        }
    }
}
