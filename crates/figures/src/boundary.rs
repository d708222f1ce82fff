//! Fig. 1 of the paper: what fakes get that lie far on the right side of D's boundary.
//!
//! Real samples are N((1, 0), 0.4²·I), the fakes that D was trained on N((−1, 0), 0.4²·I). The paper's claim is about a linear D,
//! for which both optima are closed forms over the two distributions; labels are 0 and 1, and c is 1:
//!
//! - least squares: the regression of the labels, D(x) = ½ + w·x with w = m/2 / (m² + σ²);
//! - sigmoid cross entropy: the logarithm of the densities' ratio, D(x) = w·x with w = 2m/σ².
//!
//! A fake at distance d from the boundary, on the side that D takes for real, then gets |D − 1|·w and (1 − σ(D))·w. The claim
//! is not about least squares alone: a D of tanh units is flat far from its data, and gives next to nothing under both.

use crate::figure::{Axis, Chart, Corner, Figure, Mark, Series, Table, curve};
use crate::losses::sigmoid;
use crate::network::{Network, Place, Training};

/// What it shows.
pub const ABOUT: &str = "the gradient that a fake gets far on the right side of D's boundary (Fig. 1), with a linear D and with a tanh D";

/// The classes' means lie at ±MEAN on the first axis.
const MEAN: f64 = 1.0;
/// Their standard deviation along both axes.
const SIGMA: f64 = 0.4;
/// Where fakes are looked at, from the boundary.
const DISTANCES: [f64; 4] = [1.0, 2.0, 4.0, 8.0];
/// The furthest distance that is drawn.
const FAR: f64 = 9.0;
/// Each with other initial weights; the median is shown.
const SEEDS: u64 = 5;
const HIDDEN: usize = 8;
const TRAINING: Training = Training { steps: 2000, learning_rate: 0.03 };

/// A loss of D and G, by its slopes over D's output.
#[derive(Clone, Copy)]
struct Objective {
    name: &'static str,
    colour: usize,
    /// Of D's loss, for real samples and for fakes.
    real: fn(f64) -> f64,
    fake: fn(f64) -> f64,
    /// Of G's loss.
    generator: fn(f64) -> f64,
    /// The slope w of the optimal linear D, and its value at the boundary.
    linear: [f64; 2],
}

const CROSS_ENTROPY: Objective = Objective {
    name: "sigmoid cross entropy",
    colour: 0,
    real: |d| -sigmoid(-d),
    fake: sigmoid,
    generator: |d| -sigmoid(-d),
    linear: [2.0 * MEAN / (SIGMA * SIGMA), 0.0],
};

const LEAST_SQUARES: Objective = Objective {
    name: "least squares 0/1/1",
    colour: 2,
    real: |d| d - 1.0,
    fake: |d| d,
    generator: |d| d - 1.0,
    linear: [MEAN / 2.0 / (MEAN * MEAN + SIGMA * SIGMA), 0.5],
};

impl Objective {
    /// The size of the gradient of G's loss by a fake at this distance, with the optimal linear D.
    fn by_linear(self, distance: f64) -> f64 {
        let [w, at_boundary] = self.linear;
        (self.generator)(w * distance + at_boundary).abs() * w
    }

    /// The same with a tanh D.
    fn by_network(self, network: &Network, distance: f64) -> f64 {
        let x = [distance, 0.0];
        let size = network.gradient(&x).iter().map(|g| g * g).sum::<f64>().sqrt();
        (self.generator)(network.output(&x)).abs() * size
    }

    fn trained(self, seed: u64) -> Network {
        let mut network = Network::new(2, HIDDEN, seed);
        let slope = |at: &Place, d: f64| at.real * (self.real)(d) + at.fake * (self.fake)(d);
        network.train(&plane(), TRAINING, slope, |_, _| ());
        network
    }
}

/// Both distributions on a grid.
fn plane() -> Vec<Place> {
    let axis = |index: usize| -3.0 + 0.25 * index as f64;
    let density =
        |x: f64, y: f64, mean: f64| libm::exp(-((x - mean).powi(2) + y * y) / (2.0 * SIGMA * SIGMA));
    let grid = (0..25).flat_map(|row| (0..25).map(move |column| [axis(column), axis(row)]));
    let places =
        grid.map(|[x, y]| Place { x: vec![x, y], real: density(x, y, MEAN), fake: density(x, y, -MEAN) });
    let places: Vec<_> = places.filter(|place| place.real.max(place.fake) > 1e-6).collect();
    let [real, fake] =
        [|place: &Place| place.real, |place: &Place| place.fake].map(|of| places.iter().map(of).sum::<f64>());
    places
        .into_iter()
        .map(|place| Place { real: place.real / real, fake: place.fake / fake, ..place })
        .collect()
}

/// Computes the figure; takes a second or two.
#[must_use]
pub fn figure() -> Figure {
    let both = [CROSS_ENTROPY, LEAST_SQUARES];
    let networks = both.map(|objective| (1..=SEEDS).map(|seed| objective.trained(seed)).collect::<Vec<_>>());
    let by_networks = |index: usize, distance: f64| {
        median(networks[index].iter().map(|network| both[index].by_network(network, distance)).collect())
    };
    let mut numbers = Table::new(&["D", "loss", "at 1", "at 2", "at 4", "at 8"]);
    let mut row = |d: &str, objective: Objective, gradient: &dyn Fn(f64) -> f64| {
        let cells = DISTANCES.map(|distance| format!("{:.4}", gradient(distance)));
        numbers.rows.push([d.to_owned(), objective.name.to_owned()].into_iter().chain(cells).collect());
    };
    for objective in both {
        row("linear", objective, &|distance| objective.by_linear(distance));
    }
    for (index, objective) in both.into_iter().enumerate() {
        row("8 tanh units", objective, &|distance| by_networks(index, distance));
    }
    let line = |objective: Objective, gradient: &dyn Fn(f64) -> f64| {
        Series::line(objective.name, objective.colour, curve(0.0, FAR, 91, gradient))
    };
    let axes = || {
        (
            Axis::new("distance of the fake from the boundary", 0.0, FAR),
            Axis::new("size of its gradient", 0.0, 1.5),
        )
    };
    let size = |title: &str, series: Vec<Series>| {
        let (x, y) = axes();
        Chart { title: title.to_owned(), x, y, series, legend: Some(Corner::UpperLeft) }
    };
    let charts = vec![
        picture(),
        size("A linear D", both.map(|it| line(it, &|distance| it.by_linear(distance))).into()),
        size(
            "A D of 8 tanh units",
            [0, 1].map(|i| line(both[i], &|distance| by_networks(i, distance))).into(),
        ),
    ];
    let notes = vec![
        "with a linear D the claim holds: least squares pulls a fake the harder the further it lies from the boundary, and cross \
         entropy leaves it where it is"
            .to_owned(),
        format!(
            "with a D of tanh units it fails: D is flat far from its data, and neither loss moves the fake (median of {SEEDS} seeds)"
        ),
    ];
    Figure { charts, columns: 3, numbers, notes }
}

/// The plane: both distributions, the boundary, and far fakes with what least squares does to them.
fn picture() -> Chart {
    // Two standard deviations around each mean.
    let around = |mean: f64| {
        curve(0.0, std::f64::consts::TAU, 61, |angle| angle)
            .into_iter()
            .map(|[angle, _]| [mean + 2.0 * SIGMA * libm::cos(angle), 2.0 * SIGMA * libm::sin(angle)])
            .collect::<Vec<_>>()
    };
    let fakes = DISTANCES.map(|distance| [distance, -1.6]);
    let arrows = fakes.iter().flat_map(|&[x, y]| {
        let pull = (LEAST_SQUARES.generator)(LEAST_SQUARES.linear[0] * x + LEAST_SQUARES.linear[1]);
        [[x, y], [x - pull * LEAST_SQUARES.linear[0], y]]
    });
    Chart {
        title: "Fakes beyond the real samples".to_owned(),
        x: Axis::new("x", -3.0, FAR),
        y: Axis::new("y", -4.0, 4.0),
        series: vec![
            Series::line("real samples, 2 σ", 3, around(MEAN)),
            Series::line("fakes D was trained on, 2 σ", 4, around(-MEAN)),
            Series::new("D's boundary", 7, Mark::Dashes, vec![[0.0, -4.0], [0.0, 4.0]]),
            Series::new("far fakes", 6, Mark::Dots, fakes.to_vec()),
            Series::new("where least squares pulls them", 2, Mark::Arrows, arrows.collect()),
        ],
        legend: Some(Corner::UpperRight),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At an optimum no change of w or of the offset makes D's loss less: its derivatives over the plane are 0.
    #[test]
    fn the_linear_d_is_optimal_for_both_losses() {
        for objective in [CROSS_ENTROPY, LEAST_SQUARES] {
            let [w, offset] = objective.linear;
            let (mut by_w, mut by_offset) = (0.0, 0.0);
            // Along x alone: D does not depend on y. A fine grid, since the sum is compared with the integral.
            for step in -4000..=4000 {
                let x = f64::from(step) * 1e-3;
                let density = |mean: f64| {
                    (-(x - mean).powi(2) / (2.0 * SIGMA * SIGMA)).exp()
                        / (SIGMA * std::f64::consts::TAU.sqrt())
                        * 1e-3
                };
                let d = w * x + offset;
                let slope = density(MEAN) * (objective.real)(d) + density(-MEAN) * (objective.fake)(d);
                by_w += slope * x;
                by_offset += slope;
            }
            assert!(by_w.abs() < 1e-9 && by_offset.abs() < 1e-9, "{}: {by_w}, {by_offset}", objective.name);
        }
    }

    #[test]
    fn far_fakes_get_the_gradients_of_issue_and_paper() {
        let rounded =
            |objective: Objective| DISTANCES.map(|d| (objective.by_linear(d) * 100.0).round() / 100.0);
        assert_eq!(rounded(LEAST_SQUARES)[2..], [0.53, 1.27]);
        assert_eq!(rounded(CROSS_ENTROPY), [0.0; 4]);
        assert!(CROSS_ENTROPY.by_linear(4.0) < 1e-20);
    }

    /// What a tanh D gives depends on its initial weights; that it is next to nothing does not.
    #[test]
    fn a_tanh_d_gives_far_fakes_next_to_nothing() {
        for objective in [CROSS_ENTROPY, LEAST_SQUARES] {
            let gradients: Vec<f64> =
                (1..=SEEDS).map(|seed| objective.by_network(&objective.trained(seed), 4.0)).collect();
            let linear = LEAST_SQUARES.by_linear(4.0);
            assert!(gradients.iter().all(|&found| found < 0.1 * linear), "{}: {gradients:?}", objective.name);
        }
    }
}
