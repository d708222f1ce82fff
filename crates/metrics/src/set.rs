//! Samples as rows of numbers.

use crate::MetricError;

/// Features of pictures, or points of the plane: `[samples, features]`, a sample's features beside each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    features: usize,
    values: Vec<f32>,
}

impl Set {
    /// `which` is `real` or `generated` and stands in messages; `values` holds whole samples of `features` numbers each.
    ///
    /// # Errors
    /// A number that is not finite.
    ///
    /// # Panics
    /// Values that are no whole samples: a bug of the caller.
    pub fn new(which: &'static str, features: usize, values: Vec<f32>) -> Result<Self, MetricError> {
        assert!(features > 0 && values.len().is_multiple_of(features), "whole samples of {features} numbers");
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(MetricError::NotFinite { which, sample: at / features, feature: at % features }),
            None => Ok(Self { features, values }),
        }
    }

    /// How many samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.features
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many numbers a sample has.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// The samples, one after the other.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.features)
    }

    /// One sample.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.features..][..self.features]
    }
}
