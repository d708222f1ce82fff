//! The losses of D and G.

use crate::macros::choice;
use crate::rules::Finding;
use crate::table::number;

choice! {
    /// The losses of D and G; each is one file in `train/src/objectives/`.
    Objective: Copy {
        /// The LSGAN paper's (eq. 2). D minimises ½E[(D(x)-b)²] + ½E[(D(G(z))-a)²], G minimises ½E[(D(G(z))-c)²].
        /// Its Pearson scheme is a: -1, b: 1, c: 0; its 0-1 scheme a: 0, b: 1, c: 1.
        LeastSquares = "least_squares" {
            /// D's target for fakes; another than b.
            a: f64 => number(-1e6, 1e6).required("-1").identity(),
            /// D's target for real samples.
            b: f64 => number(-1e6, 1e6).required("1").identity(),
            /// What G wants D to say of its fakes.
            c: f64 => number(-1e6, 1e6).required("0").identity(),
        },
        /// The regular GAN's, Goodfellow et al. 2014, eq. 1: G minimises E[log(1-σ(D(G(z))))]. D's outputs are logits.
        Minimax = "minimax" {},
        /// The same with the loss of G that does not saturate early: -E[log σ(D(G(z)))].
        NonSaturating = "non_saturating" {},
        /// D minimises E[max(0, 1-D(x))] + E[max(0, 1+D(G(z)))], G minimises -E[D(G(z))] (Lim and Ye 2017).
        Hinge = "hinge" {},
        /// WGAN-GP: D minimises E[D(G(z))] - E[D(x)] + λE[(‖∇D(x̂)‖-1)²], G minimises -E[D(G(z))] (Gulrajani et al. 2017, eq. 3).
        /// x̂ lies between a real sample and a fake, at a random place. D should have no batch norm: model.batch_norm.
        WganGp = "wgan_gp" {
            /// λ.
            penalty: f64 => number(0.0, 1e6).default("10.0").identity(),
        },
    }
}

impl Objective {
    /// With one target for real samples and fakes, D has nothing to learn. Targets are compared as the 32-bit floats that
    /// they become.
    pub(crate) fn equal_targets(&self) -> Option<Finding> {
        const A: &str = "objective.least_squares.a";
        const B: &str = "objective.least_squares.b";
        match *self {
            Self::LeastSquares { a, b, .. } if a as f32 == b as f32 => Some(Finding {
                path: B,
                about: vec![A, B],
                found: b.to_string(),
                accepted: "so is a, and D needs different targets for real samples (b) and fakes (a)"
                    .to_owned(),
                fix: "The paper's are a: -1, b: 1.".to_owned(),
            }),
            _ => None,
        }
    }
}
