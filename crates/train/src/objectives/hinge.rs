//! Hinge: Lim and Ye 2017, arXiv 1705.02894; as Miyato et al. 2018, arXiv 1802.05957, equations 16 and 17, write it.

use tch::{Kind, Tensor};

use super::Losses;

/// D's outputs are pushed beyond a margin of 1 on their side, and no further; G's loss is linear.
#[derive(Clone, Copy, Debug)]
pub struct Hinge;

impl Losses for Hinge {
    /// E[max(0, 1 − D(x))]
    fn real(&self, real: &Tensor) -> Tensor {
        (1.0_f64 - real).relu().mean(Kind::Float)
    }

    /// E[max(0, 1 + D(G(z)))]
    fn fake(&self, fake: &Tensor) -> Tensor {
        (1.0_f64 + fake).relu().mean(Kind::Float)
    }

    /// −E[D(G(z))]
    fn generator(&self, fake: &Tensor) -> Tensor {
        -fake.mean(Kind::Float)
    }
}
