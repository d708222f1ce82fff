//! The words of the metrics by which snapshots are scored, and which direction is better.

use std::cmp::Ordering;
use std::fmt;

use crate::macros::words;

words! {
    /// A number that says how good generated samples are.
    Metric {
        /// Frechet inception distance: needs more samples than the extractor has features
        Fid = "fid",
        /// kernel inception distance: also right for few samples
        Kid = "kid",
        /// the share of generated samples that could be real
        Precision = "precision",
        /// the share of real samples that could be generated
        Recall = "recall",
        /// how densely generated samples lie where real ones do
        Density = "density",
        /// the share of real samples with a generated one near
        Coverage = "coverage",
        /// modes of a 2-D mixture that are reached
        Modes = "modes",
        /// modes of a 2-D mixture that a kernel density estimate sees, as the paper counts them
        ModesKde = "modes_kde",
        /// the share of 2-D points near a mode
        HighQuality = "high_quality",
    }
}

impl Metric {
    /// The metric of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|metric| metric.word() == word).copied()
    }

    /// Whether it scores points of the plane; the others score pictures.
    #[must_use]
    pub fn is_of_points(self) -> bool {
        matches!(self, Self::Modes | Self::ModesKde | Self::HighQuality)
    }

    /// Whether a score can have this value: a share is 0 to 1, a count or a density at least 0. A distance is an estimate, which may
    /// lie below 0.
    #[must_use]
    pub fn can_be(self, value: f64) -> bool {
        match self {
            Self::Fid | Self::Kid => value.is_finite(),
            Self::Precision | Self::Recall | Self::Coverage | Self::HighQuality => {
                (0.0..=1.0).contains(&value)
            }
            Self::Density | Self::Modes | Self::ModesKde => value.is_finite() && value >= 0.0,
        }
    }

    /// Compares two values: the better one is less. A distance is better when it is smaller, all else when it is larger; what
    /// is no number is worst.
    #[must_use]
    pub fn better(self, a: f64, b: f64) -> Ordering {
        let is_distance = matches!(self, Self::Fid | Self::Kid);
        let key = |value: f64| match (value.is_nan(), is_distance) {
            (true, _) => f64::INFINITY,
            (false, true) => value,
            (false, false) => -value,
        };
        key(a).total_cmp(&key(b))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Described, Kind};

    #[test]
    fn every_word_names_its_metric() {
        let Kind::Words(words) = Metric::KIND else { panic!("metrics are words") };
        assert_eq!(words.len(), Metric::ALL.len());
        for (word, metric) in words.iter().zip(Metric::ALL) {
            assert_eq!((word.name, Metric::named(word.name)), (metric.word(), Some(*metric)));
        }
    }

    #[test]
    fn no_share_is_above_1_no_count_below_0_and_no_score_without_a_number() {
        for metric in Metric::ALL {
            assert!(
                metric.can_be(0.5) && !metric.can_be(f64::NAN) && !metric.can_be(f64::INFINITY),
                "{metric}"
            );
        }
        assert!(Metric::Modes.can_be(8.0) && !Metric::Recall.can_be(1.5));
        assert!(Metric::Kid.can_be(-0.1) && !Metric::Density.can_be(-0.1));
    }

    #[test]
    fn a_small_distance_and_a_large_share_are_better_and_no_number_is_worst() {
        assert_eq!(Metric::Kid.better(-0.1, 0.1), Ordering::Less);
        assert_eq!(Metric::Recall.better(0.9, 0.1), Ordering::Less);
        for metric in Metric::ALL {
            assert_eq!(metric.better(0.0, f64::NAN), Ordering::Less);
        }
    }
}
