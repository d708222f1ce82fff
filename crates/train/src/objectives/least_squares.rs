//! Least squares: Mao et al. 2017, arXiv 1611.04076, equation 2.

use tch::{Kind, Tensor};

use super::Losses;

/// D's target a for fakes and b for real samples; c is what G wants D to say of its fakes.
#[derive(Clone, Copy, Debug)]
pub struct LeastSquares {
    pub a: f64,
    pub b: f64,
    pub c: f64,
}

impl Losses for LeastSquares {
    /// ½E[(D(x)−b)²]
    fn real(&self, real: &Tensor) -> Tensor {
        half_mean_square(real, self.b)
    }

    /// ½E[(D(G(z))−a)²]
    fn fake(&self, fake: &Tensor) -> Tensor {
        half_mean_square(fake, self.a)
    }

    /// ½E[(D(G(z))−c)²]
    fn generator(&self, fake: &Tensor) -> Tensor {
        half_mean_square(fake, self.c)
    }
}

/// ½E[(x − target)²]
fn half_mean_square(x: &Tensor, target: f64) -> Tensor {
    (x - target).square().mean(Kind::Float) * 0.5
}
