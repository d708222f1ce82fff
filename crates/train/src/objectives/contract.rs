//! What every objective must keep.

use lsgan_spec::Objective;
use tch::{Kind, Tensor};

use super::{Term, losses};

/// Every objective, with numbers of its own.
pub const ROWS: [(&str, Objective); 6] = [
    ("least_squares, Pearson", Objective::LeastSquares { a: -1.0, b: 1.0, c: 0.0 }),
    ("least_squares, 0-1", Objective::LeastSquares { a: 0.0, b: 1.0, c: 1.0 }),
    ("minimax", Objective::Minimax {}),
    ("non_saturating", Objective::NonSaturating {}),
    ("hinge", Objective::Hinge {}),
    ("wgan_gp", Objective::WganGp { penalty: 10.0 }),
];

/// Runs every check over every objective. Panics with the objective's name and what it broke.
pub fn contract() {
    for (name, objective) in ROWS {
        losses_are_scalars_and_means_over_the_rank(name, &objective);
        gradients_agree_with_finite_differences(name, &objective);
        gradients_are_autograds(name, &objective);
        large_outputs_stay_finite(name, &objective);
    }
}

fn outputs(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).to_kind(Kind::Float)
}

fn losses_are_scalars_and_means_over_the_rank(name: &str, objective: &Objective) {
    let losses = losses(objective);
    let (real, fake) = (outputs(&[0.3, -0.7]), outputs(&[1.1, -2.0]));
    let twice = |x: &Tensor| Tensor::cat(&[x, x], 0);
    let pairs = [
        (losses.discriminator(&real, &fake), losses.discriminator(&twice(&real), &twice(&fake))),
        (losses.generator(&fake), losses.generator(&twice(&fake))),
    ];
    for (once, doubled) in pairs {
        assert_eq!((once.size(), once.kind()), (vec![], Kind::Float), "{name}: a loss is an f32 scalar");
        let (once, doubled) = (once.double_value(&[]), doubled.double_value(&[]));
        assert!((once - doubled).abs() < 1e-6, "{name}: {doubled} for a batch twice, {once} for it once");
    }
}

/// Central differences in f64: ∂L/∂y ≈ (L(y + h) − L(y − h)) / 2h.
fn gradients_agree_with_finite_differences(name: &str, objective: &Objective) {
    let losses = losses(objective);
    let f64_leaf = |values: &[f64]| Tensor::from_slice(values).set_requires_grad(true);
    let points = ([0.4, -1.3, 2.5, 0.0], [-0.2, 1.7, -3.1, 0.9]);
    type Loss<'a> = Box<dyn Fn(&Tensor, &Tensor) -> Tensor + 'a>;
    let each: [(&str, Loss); 2] = [
        ("D", Box::new(|real, fake| losses.discriminator(real, fake))),
        ("G", Box::new(|real, fake| losses.generator(fake) + real.sum(Kind::Double) * 0.0)),
    ];
    for (half, loss) in each {
        let (real, fake) = (f64_leaf(&points.0), f64_leaf(&points.1));
        let gradients = Tensor::run_backward(&[loss(&real, &fake)], &[&real, &fake], false, false);
        for (input, gradient) in gradients.iter().enumerate() {
            for i in 0..4 {
                let shifted = |h: f64| {
                    let mut values = [points.0, points.1];
                    values[input][i] += h;
                    loss(&Tensor::from_slice(&values[0]), &Tensor::from_slice(&values[1])).double_value(&[])
                };
                // The losses are means in f32, so h is wide and the tolerance is that of f32 over 2h.
                let difference = (shifted(0.05) - shifted(-0.05)) / 0.1;
                let exact = gradient.double_value(&[i as i64]);
                assert!(
                    (difference - exact).abs() < 2e-4,
                    "{name}, {half}'s loss, input {input}[{i}]: gradient {exact}, finite difference {difference}"
                );
            }
        }
    }
}

/// To the bit, also where a batch's size is no power of two.
fn gradients_are_autograds(name: &str, objective: &Objective) {
    let losses = losses(objective);
    for count in [1, 2, 3, 7, 64, 100] {
        for term in Term::ALL {
            let values: Vec<_> = (0..count).map(|i| f64::from(i * 7919 % 1000) * 0.003 - 1.5).collect();
            let leaf = outputs(&values).set_requires_grad(true);
            let wanted = losses.term(term, &leaf);
            let by_outputs = Tensor::run_backward(&[&wanted], &[&leaf], false, false).remove(0);
            let (loss, gradient) = losses.with_gradient(term, &leaf);
            assert!(!loss.requires_grad() && !gradient.requires_grad(), "{name}, {term:?}");
            assert!(loss.equal(&wanted.detach()), "{name}, {term:?} of {count}: {loss:?}, wanted {wanted:?}");
            assert!(gradient.equal(&by_outputs), "{name}, {term:?} of {count}: another gradient");
        }
    }
}

fn large_outputs_stay_finite(name: &str, objective: &Objective) {
    let losses = losses(objective);
    for magnitude in [1e2, 1e4, 1e8] {
        let leaf = || outputs(&[magnitude, -magnitude]).set_requires_grad(true);
        let (real, fake, fake_again) = (leaf(), leaf(), leaf());
        let (d, g) = (losses.discriminator(&real, &fake), losses.generator(&fake_again));
        let gradients = Tensor::run_backward(&[&d, &g], &[&real, &fake, &fake_again], false, false);
        for value in [&d, &g].into_iter().chain(&gradients) {
            let finite = value.isfinite().all().int64_value(&[]) == 1;
            assert!(finite, "{name}: a loss or gradient at outputs of ±{magnitude} is not finite");
        }
    }
}
