//! Every model and every objective keeps its contract.

use lsgan_spec::Objective;
use lsgan_train::{models, objectives};
use tch::{Kind, Tensor};

#[test]
fn every_model_keeps_the_contract() {
    models::contract();
}

#[test]
fn every_objective_keeps_the_contract() {
    objectives::contract();
}

fn outputs(values: &[f32]) -> Tensor {
    Tensor::from_slice(values)
}

fn assert_close(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1e-3), "{what}: {found} instead of {wanted}");
}

/// ½((0.5−1)² + (−2−1)²)/2 + ½((1+1)² + (−3+1)²)/2 = 2.3125 + 2; ½(1² + (−3)²)/2 = 2.5.
#[test]
fn least_squares_has_its_closed_form() {
    let losses = objectives::losses(&Objective::LeastSquares { a: -1.0, b: 1.0, c: 0.0 });
    let (real, fake) = (outputs(&[0.5, -2.0]), outputs(&[1.0, -3.0]));
    assert_close(losses.discriminator(&real, &fake).double_value(&[]), 4.3125, "D");
    assert_close(losses.generator(&fake).double_value(&[]), 2.5, "G");
}

#[test]
fn sigmoid_losses_have_their_closed_forms() {
    let log_sigmoid = |x: f64| -(1.0 + (-x).exp()).ln();
    let (real, fake) = (outputs(&[0.5, -2.0]), outputs(&[1.0, -3.0]));
    let d = -(log_sigmoid(0.5) + log_sigmoid(-2.0)) / 2.0 - (log_sigmoid(-1.0) + log_sigmoid(3.0)) / 2.0;
    let minimax = objectives::losses(&Objective::Minimax {});
    let non_saturating = objectives::losses(&Objective::NonSaturating {});
    assert_close(minimax.discriminator(&real, &fake).double_value(&[]), d, "minimax, D");
    assert_close(non_saturating.discriminator(&real, &fake).double_value(&[]), d, "non-saturating, D");
    let g = (log_sigmoid(-1.0) + log_sigmoid(3.0)) / 2.0;
    assert_close(minimax.generator(&fake).double_value(&[]), g, "minimax, G");
    let g = -(log_sigmoid(1.0) + log_sigmoid(-3.0)) / 2.0;
    assert_close(non_saturating.generator(&fake).double_value(&[]), g, "non-saturating, G");
}

/// Margins: (0.5 + 3)/2 + (2 + 0)/2 = 2.75, of which a fake below −1 has no part; G's loss is −(1 − 3)/2.
#[test]
fn hinge_has_its_closed_form() {
    let losses = objectives::losses(&Objective::Hinge {});
    let (real, fake) = (outputs(&[0.5, -2.0]), outputs(&[1.0, -3.0]));
    assert_close(losses.discriminator(&real, &fake).double_value(&[]), 2.75, "D");
    assert_close(losses.generator(&fake).double_value(&[]), 1.0, "G");
}

/// −(0.5 − 2)/2 + (1 − 3)/2 = −0.25, and 1 for G.
#[test]
fn wgan_has_its_closed_form() {
    let losses = objectives::losses(&Objective::WganGp { penalty: 10.0 });
    let (real, fake) = (outputs(&[0.5, -2.0]), outputs(&[1.0, -3.0]));
    assert_close(losses.discriminator(&real, &fake).double_value(&[]), -0.25, "D");
    assert_close(losses.generator(&fake).double_value(&[]), 1.0, "G");
}

/// What the paper is about: a fake far on the side that D calls real teaches the sigmoid's G nothing, one that
/// D rejects with confidence teaches the minimax G nothing; least squares pulls at both.
#[test]
fn least_squares_pulls_where_the_sigmoid_losses_saturate() {
    let gradient = |objective: &Objective, output: f32| {
        let leaf = outputs(&[output]).set_requires_grad(true);
        let loss = objectives::losses(objective).generator(&leaf);
        Tensor::run_backward(&[&loss], &[&leaf], false, false)[0].to_kind(Kind::Double).double_value(&[0])
    };
    let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
    assert_close(gradient(&Objective::NonSaturating {}, 10.0), -sigma(-10.0), "non-saturating at +10");
    assert_close(gradient(&Objective::Minimax {}, -10.0), -sigma(-10.0), "minimax at −10");
    assert!((gradient(&Objective::NonSaturating {}, 10.0) + 4.5e-5).abs() < 1e-6);
    for c in [0.0, 1.0] {
        let least_squares = Objective::LeastSquares { a: -1.0, b: 1.0, c };
        for output in [10.0, -10.0] {
            assert_close(gradient(&least_squares, output), f64::from(output) - c, "least squares");
        }
    }
}
