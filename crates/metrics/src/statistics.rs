//! Mean and covariance of a set: all that FID looks at.

use crate::linear_algebra::{Columns, Square};
use crate::{MetricError, Set};

/// Samples whose products are summed at once: the f64 copies of so many stay small.
const BLOCK: usize = 1024;
/// Mean and covariance of a set.
#[derive(Clone)]
pub struct Statistics {
    /// How many samples they are of; none where a file does not say.
    pub samples: Option<usize>,
    pub(crate) mean: Vec<f64>,
    /// Unbiased: over samples − 1.
    pub(crate) covariance: Square,
}

impl Statistics {
    /// Of at least 2 samples.
    ///
    /// # Panics
    /// Fewer samples: a bug of the caller.
    #[must_use]
    pub fn of(set: &Set) -> Self {
        let count = set.len();
        assert!(count >= 2, "{count} samples have no covariance");
        let mut mean = vec![0.0; set.features()];
        for row in set.rows() {
            mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value));
        }
        mean.iter_mut().for_each(|mean| *mean /= count as f64);
        let mut scatter = Square::zeros(set.features());
        for start in (0..count).step_by(BLOCK) {
            let rows = (start..count.min(start + BLOCK)).map(|index| set.row(index));
            Columns::new(set.features(), rows).less(&mean).add_scatter(&mut scatter);
        }
        let covariance = scatter.scaled(1.0 / (count - 1) as f64);
        Self { samples: Some(count), mean, covariance }
    }

    /// How many numbers a sample has.
    #[must_use]
    pub fn features(&self) -> usize {
        self.mean.len()
    }

    /// As a file has them: `mean` `[features]` and `covariance` `[features, features]`.
    ///
    /// # Errors
    /// Numbers that do not belong together, or that are not finite.
    pub fn from_parts(
        samples: Option<usize>,
        mean: Vec<f64>,
        covariance: &[f64],
    ) -> Result<Self, MetricError> {
        let side = mean.len();
        if side == 0 || covariance.len() != side * side {
            return Err(MetricError::Statistics {
                problem: format!("there are {side} means and {} covariances", covariance.len()),
            });
        }
        if let Some(bad) = mean.iter().chain(covariance).find(|value| !value.is_finite()) {
            return Err(MetricError::Statistics { problem: format!("there is {bad} among them") });
        }
        Ok(Self { samples, mean, covariance: Square::of(side, covariance) })
    }

    /// `[features]`.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// `[features, features]`.
    #[must_use]
    pub fn covariance(&self) -> Vec<f64> {
        self.covariance.values()
    }
}
