//! Densities are those of scipy's gaussian_kde on the same points (scripts/make-kde-fixture).

use lsgan_metrics::modes_kde::{density, modes_kde, target_density};
use lsgan_spec::{GaussianSource, Modes};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    ring: Ring,
    points: Vec<[f64; 2]>,
    density: Vec<f64>,
    target_samples: usize,
    target_density: Vec<f64>,
}

#[derive(Deserialize)]
struct Ring {
    count: u32,
    radius: f64,
    sigma: f64,
    weights: Vec<u32>,
}

fn fixture() -> (Fixture, GaussianSource) {
    let fixture: Fixture =
        serde_json::from_str(include_str!("../fixtures/kde.json")).expect("the fixture is JSON");
    let Ring { count, radius, sigma, ref weights } = fixture.ring;
    let weights = weights.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let ring = GaussianSource { weights, ..GaussianSource::of(Modes::Ring { count, radius }, sigma) };
    (fixture, ring)
}

#[test]
fn a_density_is_that_of_scipy() {
    let (fixture, ring) = fixture();
    let found = density(&fixture.points, &ring.modes.centres()).expect("they lie on no line");
    for (found, wanted) in found.iter().zip(&fixture.density) {
        assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1e-3), "{found} instead of {wanted}");
    }
    let points: Vec<f32> = fixture.points.iter().flatten().map(|&x| x as f32).collect();
    assert_eq!(modes_kde(&points, &ring), 3, "two modes are found well, and the third often enough");
}

/// scipy's is of 5,120 drawn points, ours of the mixture itself: they differ by chance. A mode has about 569 of the points, whose
/// number has a standard error of 4 %.
#[test]
fn the_target_s_density_is_that_of_its_points() {
    let (fixture, ring) = fixture();
    let found = target_density(&ring, fixture.target_samples);
    for (found, wanted) in found.iter().zip(&fixture.target_density) {
        assert!((found - wanted).abs() <= 0.15 * wanted, "{found} instead of {wanted}");
    }
}
