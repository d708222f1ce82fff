//! Density and coverage: how many balls of real samples a generated one lies in, over k, and the share of real samples whose
//! ball has a generated one in it. Coverage is at most 1, density may be more.
//!
//! Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv 2002.09797. The numbers are those of
//! `prdc` on the same features: a ball reaches to the 5th neighbour, and its edge does not belong to it.

use std::num::NonZero;

use crate::neighbours::{both, distances, radii};
use crate::{MetricError, Set};

/// Which neighbour a ball reaches to, as in the paper.
pub const NEAREST: usize = 5;

/// Both numbers, at least 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DensityCoverage {
    /// 1 is expected of samples of the same distribution.
    pub density: f64,
    /// At most 1.
    pub coverage: f64,
}

/// Density and coverage with balls to the `nearest`-th neighbour; the real set has more samples than that.
///
/// # Errors
/// Sets of other features.
pub fn density_coverage(
    real: &Set,
    generated: &Set,
    nearest: usize,
    threads: NonZero<usize>,
) -> Result<DensityCoverage, MetricError> {
    let (real, generated) = both(real, generated)?;
    let radii = radii(&real, nearest, threads);
    let inside = distances((&real, &generated), threads, |index, squared| {
        squared.iter().filter(|squared| **squared < radii[index]).count()
    });
    let all: usize = inside.iter().sum();
    let covered = inside.iter().filter(|count| **count > 0).count();
    Ok(DensityCoverage {
        density: all as f64 / (nearest * generated.len()) as f64,
        coverage: covered as f64 / real.len() as f64,
    })
}
