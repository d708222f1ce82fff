//! The numbers are those of torch-fidelity, clean-fid and prdc on the same features (scripts/make-metric-fixtures).

use std::num::NonZero;

use lsgan_metrics::{Set, Statistics, density_coverage, fid, kid, precision_recall};
use serde_json::Value;

use crate::common::sets;

const ONE: NonZero<usize> = NonZero::<usize>::MIN;

fn cases() -> Vec<Value> {
    let scores: Value =
        serde_json::from_str(include_str!("../fixtures/scores.json")).expect("the fixture is JSON");
    scores["cases"].as_array().expect("it has cases").clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

#[track_caller]
fn assert_near(what: &str, case: &Value, found: f64, wanted: &Value, relative: f64) {
    let wanted = number(wanted);
    assert!(
        (found - wanted).abs() <= relative * wanted.abs(),
        "{what} of {}: {found} instead of {wanted}",
        case["name"]
    );
}

fn each(check: impl Fn(&Value, &Set, &Set)) {
    let cases = cases();
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let (real, generated) = sets(case["name"].as_str().expect("cases have names"));
        check(case, &real, &generated);
    }
}

#[test]
fn fid_is_that_of_torch_fidelity_and_clean_fid() {
    each(|case, real, generated| {
        let found = fid::fid(&Statistics::of(real), &Statistics::of(generated)).unwrap();
        for program in ["torch_fidelity", "clean_fid"] {
            assert_near(program, case, found, &case["fid"][program], 1e-4);
        }
    });
}

/// With fewer samples than features, and with features that depend on others: the product of two singular covariances has a
/// root that theirs find to seven digits, and this finds to the accuracy of f64. The exact number is the fixture's nuclear norm.
#[test]
fn fid_of_singular_covariances_is_exact() {
    each(|case, real, generated| {
        let found = fid::fid(&Statistics::of(real), &Statistics::of(generated)).unwrap();
        assert_near("exact", case, found, &case["fid"]["exact"], 1e-10);
    });
}

#[test]
fn mean_and_covariance_are_those_of_numpy() {
    each(|case, real, _| {
        let found = Statistics::of(real);
        assert_near("mean", case, found.mean()[0], &case["mean_0"], 1e-13);
        assert_near("variance", case, found.covariance()[0], &case["variance_0"], 1e-13);
    });
}

#[test]
fn kid_is_that_of_torch_fidelity_over_the_same_subsets() {
    each(|case, real, generated| {
        let indices = |list: &Value| -> Vec<usize> {
            list.as_array().unwrap().iter().map(|index| index.as_u64().unwrap() as usize).collect()
        };
        let subsets = case["kid"]["subsets"].as_array().unwrap();
        let subset = |index: usize| (indices(&subsets[index][0]), indices(&subsets[index][1]));
        let found = kid::of_subsets(real, generated, (subsets.len(), &subset), ONE).unwrap();
        assert_near("kid", case, found.mean, &case["kid"]["mean"], 1e-10);
        assert_near("deviation", case, found.deviation, &case["kid"]["deviation"], 1e-10);
        let size = case["kid"]["whole_size"].as_u64().unwrap() as usize;
        let whole = |_| ((0..size).collect(), (0..size).collect());
        let found = kid::of_subsets(real, generated, (1, &whole), ONE).unwrap();
        assert_near("whole kid", case, found.mean, &case["kid"]["whole"], 1e-10);
    });
}

/// They say precision and recall in f32.
#[test]
fn precision_and_recall_are_those_of_torch_fidelity() {
    each(|case, real, generated| {
        let found = precision_recall::precision_recall(real, generated, 3, ONE).unwrap();
        assert_near("precision", case, found.precision, &case["precision"], 1e-6);
        assert_near("recall", case, found.recall, &case["recall"], 1e-6);
    });
}

#[test]
fn density_and_coverage_are_those_of_prdc() {
    each(|case, real, generated| {
        let found = density_coverage::density_coverage(real, generated, 5, ONE).unwrap();
        assert_near("density", case, found.density, &case["density"], 1e-12);
        assert_near("coverage", case, found.coverage, &case["coverage"], 1e-12);
    });
}
