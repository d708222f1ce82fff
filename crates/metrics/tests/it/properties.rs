//! What holds of every score.

use std::num::NonZero;

use lsgan_metrics::kid::Subsets;
use lsgan_metrics::{MetricError, Options, Set, Statistics, Subject, fid, kid, scores};
use lsgan_spec::Metric;

use crate::common::sets;

const OF_PICTURES: [Metric; 6] =
    [Metric::Fid, Metric::Kid, Metric::Precision, Metric::Recall, Metric::Density, Metric::Coverage];

fn options(threads: usize) -> Options {
    let subsets = Subsets { count: 5, size: 50, seed: 1 };
    Options { subsets, threads: NonZero::new(threads).unwrap() }
}

fn bits(case: &str, threads: usize) -> Vec<(Metric, u64)> {
    let (real, generated) = sets(case);
    let statistics = Statistics::of(&real);
    let subject = Subject::Pictures { real: Some(&real), statistics: &statistics, generated: &generated };
    let found = scores(&OF_PICTURES, subject, &options(threads), &|_| ()).unwrap();
    found.iter().map(|score| (score.metric, score.value.to_bits())).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for case in ["many", "few", "twins"] {
        let one = bits(case, 1);
        assert_eq!(one.iter().map(|(metric, _)| *metric).collect::<Vec<_>>(), OF_PICTURES);
        for threads in [2, 3, 8] {
            assert_eq!(bits(case, threads), one, "{case} on {threads} threads");
        }
    }
}

#[test]
fn a_set_is_at_no_distance_from_itself() {
    for case in ["many", "few", "flat"] {
        let (real, _) = sets(case);
        let statistics = Statistics::of(&real);
        let size =
            (0..real.features()).map(|i| statistics.covariance()[i * (real.features() + 1)]).sum::<f64>();
        let found = fid::fid(&statistics, &statistics).unwrap();
        assert!(found.abs() < 1e-10 * size, "{case}: {found}");
    }
}

/// A normal distribution moved by d, and one s times as wide: d² and features·(s − 1)² for unit covariances.
#[test]
fn fid_of_moved_and_widened_samples_is_its_closed_form() {
    let (real, _) = sets("many");
    let changed = |shift: f32, scale: f32| {
        let values = real.rows().flatten().map(|value| value * scale + shift).collect();
        Statistics::of(&Set::new("generated", real.features(), values).unwrap())
    };
    let real_statistics = Statistics::of(&real);
    let moved = fid::fid(&real_statistics, &changed(1.5, 1.0)).unwrap();
    let wanted = 1.5 * 1.5 * real.features() as f64;
    assert!((moved - wanted).abs() < 1e-5 * wanted, "{moved} instead of {wanted}");

    let widened = fid::fid(&real_statistics, &changed(0.0, 3.0)).unwrap();
    let covariance = real_statistics.covariance();
    let trace: f64 = (0..real.features()).map(|i| covariance[i * (real.features() + 1)]).sum();
    let means: f64 = real_statistics.mean().iter().map(|mean| mean * mean).sum();
    let wanted = 4.0 * (means + trace);
    assert!((widened - wanted).abs() < 1e-5 * wanted, "{widened} instead of {wanted}");
}

#[test]
fn kid_of_all_samples_needs_no_subsets() {
    let (real, generated) = sets("twins");
    let subsets = Subsets { count: 3, size: 1000, seed: 4 };
    let found = kid::kid(&real, &generated, subsets, NonZero::<usize>::MIN).unwrap();
    assert_eq!(found.deviation, 0.0);
    let other = kid::kid(&real, &generated, Subsets { seed: 5, ..subsets }, NonZero::<usize>::MIN).unwrap();
    assert_eq!(found, other);
}

#[test]
fn statistics_survive_their_numbers() {
    let (real, generated) = sets("many");
    let (real, generated) = (Statistics::of(&real), Statistics::of(&generated));
    let again = Statistics::from_parts(None, real.mean().to_vec(), &real.covariance()).unwrap();
    assert_eq!(
        fid::fid(&again, &generated).unwrap().to_bits(),
        fid::fid(&real, &generated).unwrap().to_bits()
    );
    let refused = Statistics::from_parts(None, vec![0.0; 3], &[0.0; 8]);
    assert!(matches!(refused, Err(MetricError::Statistics { .. })));
    let refused = Statistics::from_parts(None, vec![f64::NAN], &[0.0]);
    assert!(matches!(refused, Err(MetricError::Statistics { .. })));
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let (real, generated) = sets("many");
    let statistics = Statistics::of(&real);
    let (other, _) = sets("few");
    let of = |metric: Metric, real: Option<&Set>, generated: &Set| {
        let subject = Subject::Pictures { real, statistics: &statistics, generated };
        scores(&[metric], subject, &options(1), &|_| ()).expect_err("it cannot be scored")
    };
    for metric in OF_PICTURES {
        let refused = of(metric, Some(&real), &other);
        assert!(matches!(refused, MetricError::OtherFeatures { real: 16, generated: 128 }), "{refused}");
    }
    for metric in [Metric::Modes, Metric::ModesKde, Metric::HighQuality] {
        assert!(matches!(of(metric, Some(&real), &generated), MetricError::OtherSubject { .. }));
    }
    let five = Set::new("generated", 16, vec![0.5; 16 * 5]).unwrap();
    let refused = of(Metric::Coverage, Some(&real), &five);
    assert!(matches!(refused, MetricError::TooFew { found: 5, least: 6, .. }), "{refused}");
    assert!(matches!(of(Metric::Kid, None, &generated), MetricError::TooFew { which: "real", .. }));
    let refused = Set::new("generated", 2, vec![0.0, 0.0, 1.0, f32::INFINITY]).expect_err("it is not finite");
    assert!(matches!(refused, MetricError::NotFinite { sample: 1, feature: 1, .. }));
}

#[test]
fn fid_warns_where_samples_are_fewer_than_features() {
    assert!(fid::warning(100, 128).is_some_and(|text| text.contains("kid")));
    assert_eq!(fid::warning(128, 128), None);
}
