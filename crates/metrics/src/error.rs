//! What can be wrong with what is to be scored.

use lsgan_spec::Metric;

/// Why there is no score.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// A metric was asked for with too few samples.
    #[error("{metric} of {found} {which} samples: it needs at least {least}. Take more samples.")]
    TooFew {
        /// What was to be computed.
        metric: Metric,
        /// `real` or `generated`.
        which: &'static str,
        /// Samples that there are.
        found: usize,
        /// Samples that it takes.
        least: usize,
    },
    /// The two sets are of different networks.
    #[error(
        "real samples have {real} features, generated ones {generated}; both must come from one extractor."
    )]
    OtherFeatures {
        /// Features of a real sample.
        real: usize,
        /// Features of a generated one.
        generated: usize,
    },
    /// A feature is infinite or no number.
    #[error(
        "feature {feature} of the {which} sample {sample} is not a finite number; the network that made it has overflowed. \
         Score another snapshot."
    )]
    NotFinite {
        /// `real` or `generated`.
        which: &'static str,
        /// Counted from 0.
        sample: usize,
        /// Counted from 0.
        feature: usize,
    },
    /// A metric of points was asked for pictures, or the other way round.
    #[error("{metric} scores {accepts}, and this run makes {found}. Use {instead}.")]
    OtherSubject {
        /// What was asked for.
        metric: Metric,
        /// What it scores.
        accepts: &'static str,
        /// What there is.
        found: &'static str,
        /// The metrics of those, with commas.
        instead: String,
    },
    /// A decomposition did not converge.
    #[error(
        "the {what} did not converge; the features are probably all but infinite. Score another snapshot."
    )]
    NotConverged {
        /// Which decomposition.
        what: &'static str,
    },
    /// Statistics that are none.
    #[error(
        "these are no statistics: {problem}. They are the means `mu` [features] and the covariances `sigma` [features, features], \
         as pytorch-fid and clean-fid write them."
    )]
    Statistics {
        /// What is wrong.
        problem: String,
    },
}
