//! Improved precision and recall: the share of generated samples that lie within a ball around a real one, and the other way
//! round; 1 is best.
//!
//! Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", arXiv 1904.06991. The numbers
//! are those of torch-fidelity on the same features: a ball reaches to the 3rd neighbour, and its edge belongs to it.

use std::num::NonZero;

use crate::neighbours::{both, distances, radii};
use crate::{MetricError, Set};

/// Which neighbour a ball reaches to, as in the paper.
pub const NEAREST: usize = 3;

/// Both shares, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// Of the generated samples.
    pub precision: f64,
    /// Of the real samples.
    pub recall: f64,
}

/// Precision and recall with balls to the `nearest`-th neighbour; both sets have more samples than that.
///
/// # Errors
/// Sets of other features.
pub fn precision_recall(
    real: &Set,
    generated: &Set,
    nearest: usize,
    threads: NonZero<usize>,
) -> Result<PrecisionRecall, MetricError> {
    let (real, generated) = both(real, generated)?;
    let of_real = radii(&real, nearest, threads);
    let of_generated = radii(&generated, nearest, threads);
    // Each real sample: whether it lies in a generated one's ball, and which generated ones lie in its own.
    let seen = distances((&generated, &real), threads, |index, squared| {
        let in_real = squared.iter().zip(&of_real).any(|(squared, radius)| squared <= radius);
        let covers: Vec<usize> =
            (0..squared.len()).filter(|&real| squared[real] <= of_generated[index]).collect();
        (in_real, covers)
    });
    let mut covered = vec![false; real.len()];
    seen.iter().flat_map(|(_, covers)| covers).for_each(|&real| covered[real] = true);
    let precise = seen.iter().filter(|(in_real, _)| *in_real).count();
    let recalled = covered.iter().filter(|covered| **covered).count();
    Ok(PrecisionRecall {
        precision: precise as f64 / generated.len() as f64,
        recall: recalled as f64 / real.len() as f64,
    })
}
