//! The gradient penalty of WGAN-GP: Gulrajani et al. 2017, arXiv 1704.00028, equation 3 and algorithm 1.

use lsgan_spec::Objective;
use tch::{Kind, Tensor};

use super::{Augments, add_gradients, slopes};
use crate::draws::Draws;
use crate::lane::Models;

/// λE[(‖∇D(x̂)‖ − 1)²] at mixtures x̂ of real samples and fakes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GradientPenalty {
    /// λ.
    weight: f64,
}

impl GradientPenalty {
    /// None where the objective has none.
    pub fn of(objective: &Objective) -> Option<Self> {
        match *objective {
            Objective::WganGp { penalty } => (penalty > 0.0).then_some(Self { weight: penalty }),
            Objective::LeastSquares { .. }
            | Objective::Minimax {}
            | Objective::NonSaturating {}
            | Objective::Hinge {} => None,
        }
    }

    /// Adds its gradients to those of D's parameters. `real`, `fake`: what D sees of one virtual rank. A mixture has the class
    /// of its real sample.
    pub fn add(self, models: &Models, [real, fake]: [&Tensor; 2], draws: &Draws, gradients: &mut [Tensor]) {
        let share = draws.mixture(); // of the real sample in each
        let sides = vec![1; real.dim() - 1];
        let share = share.view([&[-1], sides.as_slice()].concat().as_slice()); // [n, 1, …]
        let [real, fake] = [real, fake].map(|x| x.detach().to_kind(Kind::Float));
        let mixed = real * &share + fake * (1.0 - &share); // x̂
        let lengths =
            slopes(models, &mixed, Some(draws), Augments::No).norm_scalaropt_dim(2, [1].as_slice(), false); // [n]
        let penalty = (lengths - 1.0).square().mean(Kind::Float) * self.weight;
        add_gradients(models, &penalty, gradients);
    }
}
