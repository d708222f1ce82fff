//! Minimax: Goodfellow et al. 2014, arXiv 1406.2661, equation 1. D's outputs are logits.

use tch::{Kind, Tensor};

use super::{Losses, minus_log_sigmoid};

#[derive(Clone, Copy, Debug)]
pub struct Minimax;

impl Losses for Minimax {
    /// −E[log σ(D(x))]
    fn real(&self, real: &Tensor) -> Tensor {
        minus_log_sigmoid(real).mean(Kind::Float)
    }

    /// −E[log(1 − σ(D(G(z))))], where 1 − σ(y) = σ(−y)
    fn fake(&self, fake: &Tensor) -> Tensor {
        minus_log_sigmoid(&-fake).mean(Kind::Float)
    }

    /// E[log(1 − σ(D(G(z))))]
    fn generator(&self, fake: &Tensor) -> Tensor {
        -minus_log_sigmoid(&-fake).mean(Kind::Float)
    }
}
