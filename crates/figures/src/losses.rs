//! Fig. 2 of the paper: sigmoid cross entropy and least squares over D's output for a fake, and their slopes.
//!
//! G moves a fake by the slope of its loss over D's output, times the gradient of that output. Cross entropy's slope vanishes
//! once D takes the fake for real; least squares has slope 0 at one point only, c.

use crate::figure::{Axis, Chart, Corner, Figure, Mark, Series, Table, curve};

/// What it shows.
pub const ABOUT: &str = "sigmoid cross entropy and least squares over D's output, and their slopes (Fig. 2)";

/// What G wants D to say of its fakes, in the paper's 0-1 scheme.
const C: f64 = 1.0;
const FROM: f64 = -6.0;
const TO: f64 = 8.0;

/// 1 / (1 + e^−t).
#[must_use]
pub fn sigmoid(t: f64) -> f64 {
    if t >= 0.0 { 1.0 / (1.0 + libm::exp(-t)) } else { libm::exp(t) / (1.0 + libm::exp(t)) }
}

/// log(1 + e^t), without overflow.
fn softplus(t: f64) -> f64 {
    t.max(0.0) + libm::log1p(libm::exp(-t.abs()))
}

/// A loss of G for one fake, as a function of D's output t.
struct Loss {
    name: &'static str,
    value: fn(f64) -> f64,
    slope: fn(f64) -> f64,
}

const LOSSES: [Loss; 3] = [
    // −log σ(t).
    Loss { name: "cross entropy, non-saturating", value: |t| softplus(-t), slope: |t| -sigmoid(-t) },
    // log(1 − σ(t)).
    Loss { name: "cross entropy, minimax", value: |t| -softplus(t), slope: |t| -sigmoid(t) },
    // ½(t − c)².
    Loss { name: "least squares, c = 1", value: |t| (t - C).powi(2) / 2.0, slope: |t| t - C },
];

/// Computes the figure.
#[must_use]
pub fn figure() -> Figure {
    let lines = |of: fn(&Loss) -> fn(f64) -> f64| {
        let line =
            |(colour, loss): (usize, &Loss)| Series::line(loss.name, colour, curve(FROM, TO, 141, of(loss)));
        LOSSES.iter().enumerate().map(line).collect::<Vec<_>>()
    };
    let x = || Axis::new("D(G(z))", FROM, TO);
    let mut slopes = lines(|loss| loss.slope);
    slopes.push(Series::new("no slope", 7, Mark::Dashes, vec![[FROM, 0.0], [TO, 0.0]]));
    let charts = vec![
        Chart {
            title: "G's loss for a fake".to_owned(),
            x: x(),
            y: Axis::new("loss", -8.0, 16.0),
            series: lines(|loss| loss.value),
            legend: Some(Corner::LowerLeft),
        },
        Chart {
            title: "Its slope".to_owned(),
            x: x(),
            y: Axis::new("d loss / d D(G(z))", -4.0, 7.0),
            series: slopes,
            legend: Some(Corner::UpperLeft),
        },
    ];
    let mut numbers = Table::new(&["D(G(z))", LOSSES[0].name, LOSSES[1].name, LOSSES[2].name]);
    for t in [-4.0, -2.0, 0.0, 1.0, 2.0, 4.0, 8.0] {
        let slopes = LOSSES.iter().map(|loss| format!("{:.4}", (loss.slope)(t)));
        numbers.rows.push([format!("{t}")].into_iter().chain(slopes).collect());
    }
    let notes = vec![
        "the numbers are slopes: by so much, times the gradient of D's output, a fake is moved".to_owned(),
        "cross entropy has no slope left for a fake that D takes for real; least squares has slope 0 at D = c alone, and \
         grows on both sides"
            .to_owned(),
    ];
    Figure { charts, columns: 2, numbers, notes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_the_loss_s_derivative() {
        for loss in &LOSSES {
            for t in [-30.0, -6.0, -1.0, 0.0, 0.5, 1.0, 3.0, 8.0, 30.0] {
                let step = 1e-5;
                let found = ((loss.value)(t + step) - (loss.value)(t - step)) / (2.0 * step);
                let slope = (loss.slope)(t);
                assert!(
                    (found - slope).abs() < 1e-6 * slope.abs().max(1.0),
                    "{} at {t}: {found}, {slope}",
                    loss.name
                );
            }
        }
    }

    #[test]
    fn the_losses_are_their_closed_forms_and_stay_finite() {
        let at = |index: usize, t: f64| (LOSSES[index].value)(t);
        assert!((at(0, 0.0) - 2.0_f64.ln()).abs() < 1e-15 && (at(1, 0.0) + 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!((at(2, 3.0), at(2, 1.0)), (2.0, 0.0));
        assert_eq!((at(0, -800.0), at(1, 800.0)), (800.0, -800.0));
    }
}
