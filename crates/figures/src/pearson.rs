//! Section 3.2 of the paper: with the optimal D, G minimises a Pearson χ² divergence, if the labels are right.
//!
//! For a fixed G the optimal D is D*(x) = (b·p_d + a·p_g) / (p_d + p_g) (eq. 5). With b − c = 1 and b − a = 2, twice G's objective,
//! E over p_d of (D* − c)² plus E over p_g of the same (eq. 6), is χ²(p_d + p_g ‖ 2·p_g) = ∫ (2·p_g − (p_d + p_g))² / (p_d + p_g)
//! (theorem 1). This is so for the labels a/b/c −1/1/0 and 0/2/1, and not for 0/1/1, which the paper's experiments use. There it is
//! ½ + χ²/4; in general, with K = b − c and L = b − a, it is 2K² − 2KL + L²·(χ² + 2)/4, a multiple of χ² plus a constant for all
//! labels.
//!
//! Which labels are good is therefore decided elsewhere: E over p_d of (D − c)² has no gradient for G, whose half holds D fixed,
//! and what is left is no divergence.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::density::{Bell, Line};
use crate::figure::{Axis, Chart, Corner, Figure, Mark, Series, Table};
use crate::network::{Network, Place, Training};

/// What it shows.
pub const ABOUT: &str = "with the optimal D, twice G's objective is a Pearson χ² divergence for some labels and not for others (theorem 1)";

const PAIRS: usize = 60;
const LINE: Line = Line { from: -8.0, to: 8.0, count: 1601 };
/// Where a D is trained: few places, so that it takes seconds.
const SHORT: Line = Line { from: -4.0, to: 4.0, count: 121 };
const HIDDEN: usize = 24;
const TRAINING: Training = Training { steps: 6000, learning_rate: 0.03 };

/// What D is to say of fakes (a) and of real samples (b), and what G wants it to say of its fakes (c).
#[derive(Clone, Copy, Debug)]
struct Labels {
    name: &'static str,
    colour: usize,
    a: f64,
    b: f64,
    c: f64,
}

const PEARSON: Labels = Labels { name: "−1/1/0", colour: 2, a: -1.0, b: 1.0, c: 0.0 };
const SCHEMES: [Labels; 3] = [
    PEARSON,
    Labels { name: "0/2/1", colour: 3, a: 0.0, b: 2.0, c: 1.0 },
    Labels { name: "0/1/1", colour: 0, a: 0.0, b: 1.0, c: 1.0 },
];

impl Labels {
    /// D* where the two densities are so (eq. 5).
    fn optimal(self, real: f64, fake: f64) -> f64 {
        (self.b * real + self.a * fake) / (real + fake)
    }

    /// Twice G's objective with D* (eq. 6).
    fn twice_objective(self, real: &[f64], fake: &[f64]) -> f64 {
        let at = |(&real, &fake): (&f64, &f64)| (real + fake) * (self.optimal(real, fake) - self.c).powi(2);
        real.iter().zip(fake).map(at).sum()
    }
}

/// χ²(p_d + p_g ‖ 2·p_g), as the paper defines it.
fn chi_square(real: &[f64], fake: &[f64]) -> f64 {
    real.iter().zip(fake).map(|(real, fake)| (2.0 * fake - (real + fake)).powi(2) / (real + fake)).sum()
}

/// Mixtures of one to three bells, as shares.
fn random_pair(random: &mut ChaCha8Rng) -> [Vec<f64>; 2] {
    let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    [(); 2].map(|()| {
        let count = 1 + (unit() * 3.0) as usize;
        let bell = |_| Bell { weight: 0.2 + unit(), mean: 6.0 * unit() - 3.0, sigma: 0.5 + 1.5 * unit() };
        LINE.shares(&(0..count).map(bell).collect::<Vec<_>>())
    })
}

/// Computes the figure; takes seconds.
#[must_use]
pub fn figure() -> Figure {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let pairs: Vec<_> = (0..PAIRS).map(|_| random_pair(&mut random)).collect();
    let mut numbers = Table::new(&["labels a/b/c", "b − c", "b − a", "largest |2·C(G) − χ²|"]);
    let mut scatter = vec![
        Series::new("χ²", 7, Mark::Dashes, vec![[0.0, 0.0], [2.0, 2.0]]),
        Series::new("½ + χ²/4", 6, Mark::Dashes, vec![[0.0, 0.5], [2.0, 1.0]]),
    ];
    for labels in SCHEMES {
        let points: Vec<[f64; 2]> = pairs
            .iter()
            .map(|[real, fake]| [chi_square(real, fake), labels.twice_objective(real, fake)])
            .collect();
        let off = points.iter().map(|[chi, twice]| (chi - twice).abs()).fold(0.0, f64::max);
        let differences = [labels.b - labels.c, labels.b - labels.a].map(|it| it.to_string());
        let cells = [labels.name.to_owned()].into_iter().chain(differences).chain([format!("{off:.1e}")]);
        numbers.rows.push(cells.collect());
        let mark = if labels.colour == PEARSON.colour { Mark::Dots } else { Mark::Crosses };
        scatter.push(Series::new(labels.name, labels.colour, mark, points));
    }
    let (trained, error, last) = trained();
    let charts = vec![
        Chart {
            title: format!("Twice G's objective, {PAIRS} pairs of densities"),
            x: Axis::new("χ²(p_d + p_g ‖ 2 p_g)", 0.0, 2.0),
            y: Axis::new("2·C(G) with the optimal D", 0.0, 2.0),
            series: scatter,
            legend: Some(Corner::UpperLeft),
        },
        trained,
        error,
    ];
    let notes = vec![
        "twice G's objective is the χ² divergence for −1/1/0 and 0/2/1, and not for 0/1/1, where it is ½ + χ²/4; any labels give a \
         multiple of χ² plus a constant"
            .to_owned(),
        format!(
            "a D of {HIDDEN} tanh units, trained with −1/1/0 on one pair, comes as near to D* as {last:.4} (root of the mean \
             square over both densities)"
        ),
        "the proof has a term without gradient for G, E over p_d of (D − c)²: the modes figure shows what −1/1/0 does without it"
            .to_owned(),
    ];
    Figure { charts, columns: 3, numbers, notes }
}

/// A D that is trained on one pair: beside D*, and its distance from it over its updates, at the end as a number.
fn trained() -> (Chart, Chart, f64) {
    let real = SHORT
        .shares(&[Bell { weight: 1.0, mean: -1.5, sigma: 0.7 }, Bell { weight: 1.0, mean: 1.5, sigma: 0.7 }]);
    let fake = SHORT.shares(&[Bell { weight: 1.0, mean: 0.5, sigma: 1.3 }]);
    let places: Vec<Place> = SHORT
        .places()
        .zip(real.iter().zip(&fake))
        .map(|(x, (&real, &fake))| Place { x: vec![x], real, fake })
        .collect();
    let optimal = |place: &Place| PEARSON.optimal(place.real, place.fake);
    let distance = |network: &Network| {
        let square = |place: &Place| {
            (place.real + place.fake) / 2.0 * (network.output(&place.x) - optimal(place)).powi(2)
        };
        places.iter().map(square).sum::<f64>().sqrt()
    };
    let mut network = Network::new(1, HIDDEN, 1);
    let mut distances = vec![[1.0, distance(&network)]];
    let slope = |at: &Place, d: f64| at.real * (d - PEARSON.b) + at.fake * (d - PEARSON.a);
    network.train(&places, TRAINING, slope, |step, network| {
        if step % 20 == 0 {
            distances.push([step as f64, distance(network)]);
        }
    });
    let at =
        |of: &dyn Fn(&Place) -> f64| places.iter().map(|place| [place.x[0], of(place)]).collect::<Vec<_>>();
    let density = |of: fn(&Place) -> f64| at(&|place| of(place) / SHORT.width());
    let beside = Chart {
        title: "A trained D beside the optimal one".to_owned(),
        x: Axis::new("x", SHORT.from, SHORT.to),
        y: Axis::new("D(x), densities", -1.0, 1.0),
        series: vec![
            Series::line("p_d", 3, density(|place| place.real)),
            Series::line("p_g", 4, density(|place| place.fake)),
            Series::line("trained D", 5, at(&|place| network.output(&place.x))),
            Series::new("D*", 6, Mark::Dashes, at(&optimal)),
        ],
        legend: Some(Corner::UpperRight),
    };
    let last = distances[distances.len() - 1][1];
    let error = Chart {
        title: "Its distance from D*".to_owned(),
        x: Axis::new("updates", 0.0, TRAINING.steps as f64),
        y: Axis::log("root of the mean square", -4, 0),
        series: vec![Series::line("distance", 2, distances)],
        legend: None,
    };
    (beside, error, last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn density() -> impl Strategy<Value = Vec<f64>> {
        let bell = (0.1_f64..1.0, -4.0_f64..4.0, 0.3_f64..3.0);
        let bell = bell.prop_map(|(weight, mean, sigma)| Bell { weight, mean, sigma });
        prop::collection::vec(bell, 1..4).prop_map(|bells| {
            // Both densities are above 0 everywhere, where D* is defined.
            let floor = Bell { weight: 1e-6, mean: 0.0, sigma: 8.0 };
            LINE.shares(&[bells, vec![floor]].concat())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Theorem 1, with the labels that it is for.
        #[test]
        fn twice_the_objective_is_chi_square_for_the_theorem_s_labels_and_a_multiple_plus_a_constant_for_others(real in density(), fake in density()) {
            let chi = chi_square(&real, &fake);
            for labels in &SCHEMES[..2] {
                let twice = labels.twice_objective(&real, &fake);
                prop_assert!((twice - chi).abs() < 1e-6, "{}: {twice} and {chi}", labels.name);
            }
            let other = SCHEMES[2].twice_objective(&real, &fake);
            prop_assert!((other - (0.5 + chi / 4.0)).abs() < 1e-6, "0/1/1: {other} and {chi}");
            prop_assert!((-1e-12..=2.0 + 1e-9).contains(&chi), "{chi}");
        }

        /// At D* no change of D at any place makes D's loss less: its derivative is 0 there.
        #[test]
        fn the_optimal_d_is_optimal(real in density(), fake in density()) {
            for labels in SCHEMES {
                for (&real, &fake) in real.iter().zip(&fake) {
                    let d = labels.optimal(real, fake);
                    let slope = real * (d - labels.b) + fake * (d - labels.a);
                    prop_assert!(slope.abs() <= 1e-12 * (real + fake), "{slope}");
                }
            }
        }
    }

    #[test]
    fn equal_densities_have_no_divergence() {
        let shares = LINE.shares(&[Bell { weight: 1.0, mean: 0.3, sigma: 1.0 }]);
        assert!(chi_square(&shares, &shares) < 1e-12);
        assert!((SCHEMES[2].twice_objective(&shares, &shares) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_trained_d_comes_near_to_the_optimal_one() {
        let (_, error, last) = trained();
        let first = error.series[0].points[0][1];
        assert!(last < 0.02 && first > 10.0 * last, "{first} at first, {last} at last");
    }
}
