//! A part of the scaled gradients that travels by itself, in 32 bits where all its numbers fit.

use std::ops::Range;

use crate::clip;
use crate::optimizers::OptimizerStep;
use crate::scale::{self, BLOCK, power_of_two};
use crate::word::{Mode, Word, Words, largest_magnitude, put_scaled, square_sum};

/// A block of parameters and its last bit.
#[derive(Clone, Debug)]
struct Block {
    /// In the bucket's numbers.
    at: Range<usize>,
    /// The last bit is 2^−k.
    k: i32,
}

/// What holds the bucket's gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// `own`: this worker's.
    Own,
    /// `sum`: the sum over all workers.
    Sum,
    /// `wide`: this worker's, or the sum over all workers.
    Wide,
}

/// What a tensor's numbers are like.
pub(super) struct Put {
    /// The bits of the largest magnitude.
    pub largest: u32,
    /// Whether 32 bits hold them.
    pub fits: bool,
}

pub(super) struct Bucket {
    /// In the network's flat parameters.
    pub range: Range<usize>,
    blocks: Vec<Block>,
    own: Vec<i32>,
    sum: Vec<i32>,
    wide: Vec<i64>,
    holder: Holder,
}

impl Bucket {
    /// `blocks` lie in `range`, which may have gaps between them.
    pub fn new(range: Range<usize>, blocks: impl Iterator<Item = Range<usize>>) -> Self {
        let local = |block: Range<usize>| block.start - range.start..block.end - range.start;
        let blocks = blocks.map(|block| Block { at: local(block), k: scale::FINEST }).collect();
        let (own, sum, wide) = (vec![0; range.len()], vec![], vec![]);
        Self { range, blocks, own, sum, wide, holder: Holder::Own }
    }

    /// Begins a sum; in 64 bits, where it is known beforehand that 32 are too few.
    pub fn begin(&mut self, is_wide: bool) {
        self.own.resize(self.range.len(), 0); // where a group that failed has not given it back
        self.holder = Holder::Own;
        if is_wide {
            self.widen();
        }
    }

    /// Puts one tensor's numbers, which begin at block `first`. Returns the bits of the largest magnitude; numbers beyond
    /// the range of 64 bits are not put.
    pub fn put(&mut self, first: usize, x: &[f32], virtual_ranks: u32, mode: Mode) -> Put {
        let mut put = Put { largest: 0, fits: true };
        for (index, x) in x.chunks(BLOCK).enumerate() {
            let Block { at, k } = self.blocks[first + index].clone();
            // Checked, then converted, while it lies in the first-level cache.
            let magnitude = largest_magnitude(x);
            put.largest = put.largest.max(magnitude);
            if magnitude > i64::LIMIT.to_bits() {
                continue;
            }
            if magnitude > scale::limit(k).to_bits() {
                put.fits = false;
                if self.holder == Holder::Own {
                    self.widen();
                }
            }
            let factor = scale::factor(k, virtual_ranks);
            match self.holder {
                Holder::Wide => put_scaled(x, factor, mode, &mut self.wide[at]),
                Holder::Own | Holder::Sum => put_scaled(x, factor, mode, &mut self.own[at]),
            }
        }
        put
    }

    /// This worker computed no virtual rank.
    pub fn clear(&mut self) {
        match self.holder {
            Holder::Wide => self.wide.fill(0),
            Holder::Own | Holder::Sum => self.own.fill(0),
        }
    }

    /// Goes on in 64 bits, with what is in 32.
    fn widen(&mut self) {
        let mut wide = std::mem::take(&mut self.wide);
        wide.clear();
        self.append_wide(&mut wide);
        (self.wide, self.holder) = (wide, Holder::Wide);
    }

    /// The words in 32 bits; where this worker's do not fit, any words: all workers read so in the header.
    pub fn take_narrow(&mut self) -> Words {
        self.sum.resize(self.own.len(), 0);
        Words::Narrow { own: std::mem::take(&mut self.own), sum: std::mem::take(&mut self.sum) }
    }

    pub fn put_narrow(&mut self, words: Words) {
        let Words::Narrow { own, sum } = words else { panic!("words come back as they were taken") };
        (self.own, self.sum) = (own, sum);
        if self.holder == Holder::Own {
            self.holder = Holder::Sum;
        }
    }

    /// Appends this worker's words in 64 bits.
    pub fn append_wide(&self, all: &mut Vec<i64>) {
        match self.holder {
            Holder::Wide => all.extend_from_slice(&self.wide),
            Holder::Own | Holder::Sum => all.extend(self.own.iter().map(|&word| i64::from(word))),
        }
    }

    /// The sum over all workers in 64 bits.
    pub fn put_wide(&mut self, words: &[i64]) {
        self.wide.clear();
        self.wide.extend_from_slice(words);
        self.holder = Holder::Wide;
    }

    pub fn square_sum(&self) -> f64 {
        let of = |Block { at, k }: &Block| {
            let (at, unit) = (at.clone(), power_of_two(-k));
            match self.holder {
                Holder::Own => square_sum(&self.own[at], unit),
                Holder::Sum => square_sum(&self.sum[at], unit),
                Holder::Wide => square_sum(&self.wide[at], unit),
            }
        };
        self.blocks.iter().map(of).sum()
    }

    /// Adds the squares of each block to `sum`, in order.
    pub fn square_sum_in_order(&self, sum: f64) -> f64 {
        self.blocks.iter().fold(sum, |sum, Block { at, k }| {
            let (at, unit) = (at.clone(), power_of_two(-k));
            sum + match self.holder {
                Holder::Own => clip::square_sum(&self.own[at], unit),
                Holder::Sum => clip::square_sum(&self.sum[at], unit),
                Holder::Wide => clip::square_sum(&self.wide[at], unit),
            }
        })
    }

    /// Updates the network's numbers by the gradients times `clip`, and chooses the last bits of the next sum.
    pub fn update(&mut self, step: OptimizerStep, clip: f32, [m, v, w]: [&mut [f32]; 3]) {
        for Block { at, k } in &mut self.blocks {
            let (of, unit) = (self.range.start + at.start..self.range.start + at.end, power_of_two(-*k));
            let state = [&mut m[of.clone()], &mut v[of.clone()], &mut w[of]];
            let largest = match self.holder {
                Holder::Own => step.update((&self.own[at.clone()], unit, clip), state),
                Holder::Sum => step.update((&self.sum[at.clone()], unit, clip), state),
                Holder::Wide => step.update((&self.wide[at.clone()], unit, clip), state),
            };
            *k = scale::exponent(largest * step.second_moment_correction());
        }
    }

    /// Chooses the last bits by the network's second moments; all are 0 where there was no update yet.
    pub fn choose(&mut self, v: &[f32], step: Option<OptimizerStep>) {
        let correction = step.map_or(1.0, OptimizerStep::second_moment_correction);
        for Block { at, k } in &mut self.blocks {
            let v = &v[self.range.start + at.start..self.range.start + at.end];
            let largest = v.iter().fold(0.0_f32, |largest, v| largest.max(*v));
            *k = scale::exponent(largest * correction);
        }
    }
}
