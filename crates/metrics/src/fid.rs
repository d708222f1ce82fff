//! Fréchet inception distance: two sets as normal distributions, |μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2·√(Σ₁·Σ₂)); 0 is best.
//!
//! Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", arXiv 1706.08500.
//! The numbers are those of pytorch-fid, torch-fidelity and clean-fid on the same features.
//!
//! Those take the root of a product that is not symmetric, and where it is singular they add to the diagonal, or drop an
//! imaginary part. Here Σ = L·Lᵀ by its eigenvalues, and the trace of √(L·Lᵀ·M·Mᵀ) is the sum of the singular values of
//! Lᵀ·M, which is exact for covariances of any rank.

use crate::linear_algebra::Root;
use crate::{MetricError, Statistics};

/// Statistics of real samples, with what of the distance depends on them alone.
pub struct Reference<'a> {
    statistics: &'a Statistics,
    root: Root,
}

impl<'a> Reference<'a> {
    /// Decomposes the covariance of the real samples: about half of the work of a distance.
    ///
    /// # Errors
    /// It does not converge.
    pub fn new(statistics: &'a Statistics) -> Result<Self, MetricError> {
        Ok(Self { statistics, root: statistics.covariance.root()? })
    }

    /// The distance to generated samples; at least 0 up to rounding.
    ///
    /// # Errors
    /// Other features, or a decomposition that does not converge.
    pub fn distance(&self, generated: &Statistics) -> Result<f64, MetricError> {
        let real = self.statistics;
        if real.features() != generated.features() {
            let (real, generated) = (real.features(), generated.features());
            return Err(MetricError::OtherFeatures { real, generated });
        }
        let means = real.mean.iter().zip(&generated.mean);
        let between: f64 = means.map(|(real, generated)| (real - generated).powi(2)).sum();
        let cross = self.root.trace_of_root_of_product(&generated.covariance.root()?)?;
        Ok(between + real.covariance.trace() + generated.covariance.trace() - 2.0 * cross)
    }
}

/// The distance of two sets.
///
/// # Errors
/// As [`Reference::distance`].
pub fn fid(real: &Statistics, generated: &Statistics) -> Result<f64, MetricError> {
    Reference::new(real)?.distance(generated)
}

/// What a person has to know of a distance of so few samples.
#[must_use]
pub fn warning(samples: usize, features: usize) -> Option<String> {
    (samples < features).then(|| {
        format!(
            "fid of {samples} samples with {features} features each: the covariance has no full rank, and the distance comes \
             out too large by an amount that depends on the number of samples. Take more samples, or look at kid."
        )
    })
}
