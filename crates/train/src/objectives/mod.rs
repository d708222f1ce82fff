//! The objectives: each file has its paper and its losses as functions of D's outputs.
//!
//! - [`least_squares`]: the paper's.
//! - [`minimax`] and [`non_saturating`]: sigmoid cross entropy from logits, what the paper compares with.
//! - [`hinge`]: margins, which later work uses most.
//! - [`wgan`]: means; its penalty is in `penalties`.
//!
//! [`contract`] checks every row of its table: gradients against finite differences, shapes, large outputs.

mod contract;
pub mod hinge;
pub mod least_squares;
pub mod minimax;
pub mod non_saturating;
pub mod wgan;

use lsgan_spec::Objective;
use tch::Tensor;

pub use contract::contract;

/// The losses of D and G as functions of D's outputs.
///
/// `real`, `fake`: D's outputs for one virtual rank, f32 `[per_rank]`. Each loss is a scalar on the same device,
/// a mean over this virtual rank only. D's loss is a sum of two terms, so that the one of real samples, in which G has no
/// part, can be computed before G is known.
pub trait Losses: Send + Sync {
    /// The term of what D minimises that depends on real samples.
    fn real(&self, real: &Tensor) -> Tensor;
    /// The term that depends on fakes.
    fn fake(&self, fake: &Tensor) -> Tensor;
    /// What G minimises.
    fn generator(&self, fake: &Tensor) -> Tensor;

    /// A term with its gradient by `outputs`, which are constants here.
    fn with_gradient(&self, term: Term, outputs: &Tensor) -> (Tensor, Tensor) {
        let leaf = outputs.detach().set_requires_grad(true);
        let loss = self.term(term, &leaf);
        let mut gradients = Tensor::run_backward(&[&loss], &[&leaf], false, false);
        (loss.detach(), gradients.remove(0))
    }

    /// One of the terms.
    fn term(&self, term: Term, outputs: &Tensor) -> Tensor {
        match term {
            Term::Real => self.real(outputs),
            Term::Fake => self.fake(outputs),
            Term::Generator => self.generator(outputs),
        }
    }

    /// What D minimises.
    fn discriminator(&self, real: &Tensor, fake: &Tensor) -> Tensor {
        self.real(real) + self.fake(fake)
    }
}

/// A function of D's outputs of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// [`Losses::real`].
    Real,
    /// [`Losses::fake`].
    Fake,
    /// [`Losses::generator`].
    Generator,
}

impl Term {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Real, Self::Fake, Self::Generator];
}

/// The losses that a run's file names.
#[must_use]
pub fn losses(objective: &Objective) -> Box<dyn Losses> {
    match *objective {
        Objective::LeastSquares { a, b, c } => Box::new(least_squares::LeastSquares { a, b, c }),
        Objective::Minimax {} => Box::new(minimax::Minimax),
        Objective::NonSaturating {} => Box::new(non_saturating::NonSaturating),
        Objective::Hinge {} => Box::new(hinge::Hinge),
        Objective::WganGp { .. } => Box::new(wgan::Wgan),
    }
}

/// −log σ(x) = log(1 + e^−x), elementwise; finite for every finite x.
fn minus_log_sigmoid(x: &Tensor) -> Tensor {
    -x.log_sigmoid()
}
