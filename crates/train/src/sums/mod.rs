//! The sum of one half's reduction, in the host's memory.
//!
//! - `fixed`: one last bit everywhere, or f32; all words travel together.
//! - `scaled`: a last bit for each block of parameters; gradients travel in 32 bits where they fit.

mod bucket;
mod fixed;
mod scaled;

pub(crate) use fixed::FixedSum;
pub(crate) use scaled::{SMALL, ScaledSum};

use crate::contribution::Contribution;
use crate::header::{ControlWords, Reading};
use crate::optimizers::OptimizerStep;
use crate::word::Words;

/// A sum over the virtual ranks: `[header | statistics of each pass | gradients]`.
pub(crate) trait HostSum: Send {
    /// Begins a sum, with this worker's wishes.
    fn begin(&mut self, controls: ControlWords);
    /// Adds the numbers of one virtual rank.
    fn add(&mut self, contribution: &Contribution);
    /// Whether the last contribution may come in pieces.
    fn takes_pieces(&self) -> bool {
        false
    }
    /// The words that need nothing more of the last virtual rank, whose pieces have come down to parameter `first`.
    fn take_ready(&mut self, _first: usize) -> Vec<Words> {
        vec![]
    }
    /// Ends this worker's part: where it computed no rank, its sum is zero.
    fn end(&mut self);
    /// Makes the marks say that no worker computed anything.
    fn clear_header(&mut self);

    /// The words that are to be added up over all workers next, to be given back; none where the sum is whole.
    fn take_words(&mut self) -> Vec<Words>;
    /// The words that were taken, added up.
    fn put_words(&mut self, words: Vec<Words>);

    fn read_header(&self) -> Reading;
    /// Σ g² of the mean gradients.
    fn square_sum(&self) -> f64;
    /// The same, added block by block in the order of the parameters: what clipping reads.
    fn square_sum_in_order(&self) -> f64;
    /// Updates the moments `m`, `v` and the weights `w` by the mean gradients, multiplied by `clip`.
    fn update(&mut self, step: OptimizerStep, clip: f32, state: [&mut [f32]; 3]);
    /// Updates the running statistics by the mean batch-norm statistics of each pass.
    fn running_statistics(&self, running: &mut [f32]);

    /// The second moments are others; `step` was the last update, if there was one.
    fn moments_changed(&mut self, _v: &[f32], _step: Option<OptimizerStep>) {}
    /// How many parts of the gradients travelled again, in 64 bits.
    fn repeated(&self) -> u32 {
        0
    }
}
