//! WGAN: Arjovsky et al. 2017, arXiv 1701.07875, equations 2 and 3. With the gradient penalty of Gulrajani et al. 2017, arXiv
//! 1704.00028, which is in `penalties/gradient_penalty.rs`.

use tch::{Kind, Tensor};

use super::Losses;

/// D's mean output is pulled apart for real samples and fakes.
#[derive(Clone, Copy, Debug)]
pub struct Wgan;

impl Losses for Wgan {
    /// −E[D(x)]
    fn real(&self, real: &Tensor) -> Tensor {
        -real.mean(Kind::Float)
    }

    /// E[D(G(z))]
    fn fake(&self, fake: &Tensor) -> Tensor {
        fake.mean(Kind::Float)
    }

    /// −E[D(G(z))]
    fn generator(&self, fake: &Tensor) -> Tensor {
        -fake.mean(Kind::Float)
    }
}
