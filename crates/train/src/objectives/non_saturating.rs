//! Non-saturating: Goodfellow et al. 2014, arXiv 1406.2661, section 3. D's outputs are logits.

use tch::{Kind, Tensor};

use super::minimax::Minimax;
use super::{Losses, minus_log_sigmoid};

/// D plays the minimax game, G maximises log σ(D(G(z))).
#[derive(Clone, Copy, Debug)]
pub struct NonSaturating;

impl Losses for NonSaturating {
    /// −E[log σ(D(x))]
    fn real(&self, real: &Tensor) -> Tensor {
        Minimax.real(real)
    }

    /// −E[log(1 − σ(D(G(z))))]
    fn fake(&self, fake: &Tensor) -> Tensor {
        Minimax.fake(fake)
    }

    /// −E[log σ(D(G(z)))]
    fn generator(&self, fake: &Tensor) -> Tensor {
        minus_log_sigmoid(fake).mean(Kind::Float)
    }
}
