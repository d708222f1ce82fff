//! The table of metrics: which are computed together, of what, and by which function.
//!
//! A new metric is a word in [`lsgan_spec::Metric`], a file beside this one, and its line in `FAMILIES`.

use std::num::NonZero;

use lsgan_spec::{GaussianSource, Metric};

use crate::kid::{self, Subsets};
use crate::{MetricError, Set, Statistics, density_coverage, fid, modes, modes_kde, precision_recall};

/// What is compared.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// Pictures, by their features.
    Pictures {
        /// Of the real samples. None where only their statistics are known, which serve `fid` alone.
        real: Option<&'a Set>,
        /// Of the same.
        statistics: &'a Statistics,
        /// Of the generated samples.
        generated: &'a Set,
    },
    /// Points of the plane, by the mixture that they are to be of.
    Points {
        /// `[n, 2]`.
        points: &'a [f32],
        /// What they are to be of.
        mixture: &'a GaussianSource,
    },
}

/// What else decides a score.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of `kid`.
    pub subsets: Subsets,
    /// How many threads compute; no bit depends on it.
    pub threads: NonZero<usize>,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// What it is.
    pub metric: Metric,
    /// The number.
    pub value: f64,
    /// Its standard deviation over subsets, where it is a mean of them.
    pub deviation: Option<f64>,
}

/// Metrics that one function computes together.
struct Family {
    metrics: &'static [Metric],
    /// The least samples that it takes, of either set.
    least: usize,
    /// Values in the order of `metrics`.
    compute: fn(Subject<'_>, &Options) -> Result<Vec<Value>, MetricError>,
}

type Value = (f64, Option<f64>);

const FAMILIES: &[Family] = &[
    Family { metrics: &[Metric::Fid], least: 2, compute: of_fid },
    Family { metrics: &[Metric::Kid], least: 2, compute: of_kid },
    Family {
        metrics: &[Metric::Precision, Metric::Recall],
        least: precision_recall::NEAREST + 1,
        compute: of_precision_recall,
    },
    Family {
        metrics: &[Metric::Density, Metric::Coverage],
        least: density_coverage::NEAREST + 1,
        compute: of_density_coverage,
    },
    Family { metrics: &[Metric::Modes, Metric::HighQuality], least: 1, compute: of_modes },
    Family { metrics: &[Metric::ModesKde], least: 2, compute: of_modes_kde },
];

/// The scores of `metrics`, in their order. `begins` is told of each family before it is computed, by its first metric.
///
/// # Errors
/// Too few samples, metrics of another kind of samples, sets that do not belong together.
pub fn scores(
    metrics: &[Metric],
    subject: Subject<'_>,
    options: &Options,
    begins: &dyn Fn(Metric),
) -> Result<Vec<Score>, MetricError> {
    let mut found = vec![];
    for metric in metrics {
        check(*metric, subject)?;
    }
    for family in
        FAMILIES.iter().filter(|family| family.metrics.iter().any(|metric| metrics.contains(metric)))
    {
        begins(family.metrics[0]);
        let values = (family.compute)(subject, options)?;
        let named = family.metrics.iter().zip(values);
        found.extend(named.map(|(&metric, (value, deviation))| Score { metric, value, deviation }));
    }
    let of = |metric: &Metric| found.iter().find(|score| score.metric == *metric).copied();
    Ok(metrics.iter().map(|metric| of(metric).expect("every metric is in a family")).collect())
}

/// Whether there is enough of the right kind for a metric.
fn check(metric: Metric, subject: Subject<'_>) -> Result<(), MetricError> {
    let family = FAMILIES.iter().find(|family| family.metrics.contains(&metric));
    let least = family.expect("every metric is in a family").least;
    let sizes = match subject {
        Subject::Pictures { real, generated, statistics } => {
            let real = real.map_or(statistics.samples.unwrap_or(usize::MAX), Set::len);
            [("real", real), ("generated", generated.len())]
        }
        Subject::Points { points, .. } => [("real", usize::MAX), ("generated", points.len() / 2)],
    };
    let is_of_points = matches!(subject, Subject::Points { .. });
    if metric.is_of_points() != is_of_points {
        let (accepts, found) =
            if is_of_points { ("pictures", "2-D points") } else { ("2-D points", "pictures") };
        let instead = Metric::ALL.iter().filter(|metric| metric.is_of_points() == is_of_points);
        let instead = instead.map(|metric| metric.word()).collect::<Vec<_>>().join(", ");
        return Err(MetricError::OtherSubject { metric, accepts, found, instead });
    }
    match sizes.into_iter().find(|(_, found)| *found < least) {
        Some((which, found)) => Err(MetricError::TooFew { metric, which, found, least }),
        None if metric != Metric::Fid && matches!(subject, Subject::Pictures { real: None, .. }) => {
            Err(MetricError::TooFew { metric, which: "real", found: 0, least })
        }
        None => Ok(()),
    }
}

/// Both sets.
fn sets(subject: Subject<'_>) -> (&Set, &Set) {
    match subject {
        Subject::Pictures { real: Some(real), generated, .. } => (real, generated),
        Subject::Pictures { real: None, .. } | Subject::Points { .. } => unreachable!("it was checked"),
    }
}

fn of_fid(subject: Subject<'_>, _: &Options) -> Result<Vec<Value>, MetricError> {
    let Subject::Pictures { statistics, generated, .. } = subject else { unreachable!("it was checked") };
    Ok(vec![(fid::fid(statistics, &Statistics::of(generated))?, None)])
}

fn of_kid(subject: Subject<'_>, options: &Options) -> Result<Vec<Value>, MetricError> {
    let (real, generated) = sets(subject);
    let found = kid::kid(real, generated, options.subsets, options.threads)?;
    Ok(vec![(found.mean, Some(found.deviation))])
}

fn of_precision_recall(subject: Subject<'_>, options: &Options) -> Result<Vec<Value>, MetricError> {
    let (real, generated) = sets(subject);
    let nearest = precision_recall::NEAREST;
    let found = precision_recall::precision_recall(real, generated, nearest, options.threads)?;
    Ok(vec![(found.precision, None), (found.recall, None)])
}

fn of_density_coverage(subject: Subject<'_>, options: &Options) -> Result<Vec<Value>, MetricError> {
    let (real, generated) = sets(subject);
    let nearest = density_coverage::NEAREST;
    let found = density_coverage::density_coverage(real, generated, nearest, options.threads)?;
    Ok(vec![(found.density, None), (found.coverage, None)])
}

fn of_modes(subject: Subject<'_>, _: &Options) -> Result<Vec<Value>, MetricError> {
    let Subject::Points { points, mixture } = subject else { unreachable!("it was checked") };
    let found = modes::modes(points, &mixture.modes.centres(), mixture.sigma);
    Ok(vec![(found.reached as f64, None), (found.high_quality, None)])
}

fn of_modes_kde(subject: Subject<'_>, _: &Options) -> Result<Vec<Value>, MetricError> {
    let Subject::Points { points, mixture } = subject else { unreachable!("it was checked") };
    Ok(vec![(modes_kde::modes_kde(points, mixture) as f64, None)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_one_family_of_one_subject() {
        for metric in Metric::ALL {
            let families: Vec<_> = FAMILIES.iter().filter(|family| family.metrics.contains(metric)).collect();
            assert_eq!(families.len(), 1, "{metric}");
            assert!(families[0].metrics.iter().all(|other| other.is_of_points() == metric.is_of_points()));
        }
    }
}
