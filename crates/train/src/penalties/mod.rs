//! Penalties on how steep D is: each file has its paper. They are functions of D's gradient by its inputs, so their own
//! gradients by D's weights go through D twice.
//!
//! - [`r1`]: at real samples. [`gradient_penalty`]: between real samples and fakes.
//!
//! They are computed in f32, whatever the precision is, by a pass of their own, whose batch-norm statistics count nowhere.
//! `native/more.cpp`'s convolutions cannot be differentiated twice; libtorch's can.

pub(crate) mod gradient_penalty;
pub(crate) mod r1;

use lsgan_spec::{RunSpec, Step};
use tch::{Kind, Tensor};

use self::gradient_penalty::GradientPenalty;
use self::r1::R1;
use crate::draws::{Draws, Seen};
use crate::lane::Models;

/// The penalties of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Penalties {
    pub r1: Option<R1>,
    pub gradient_penalty: Option<GradientPenalty>,
}

impl Penalties {
    /// Those that a run's file asks for.
    pub fn of(spec: &RunSpec) -> Self {
        Self { r1: R1::of(&spec.regularization.r1), gradient_penalty: GradientPenalty::of(&spec.objective) }
    }

    /// Whether there is any.
    pub fn are_any(&self) -> bool {
        self.r1.is_some() || self.gradient_penalty.is_some()
    }

    /// Whether D's half of this step has what not every step has.
    pub fn are_special_at(&self, step: Step) -> bool {
        self.r1.is_some_and(|r1| r1.every > 1 && r1.is_due(step))
    }
}

/// Whether x is what D sees before it is augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Augments {
    Yes,
    No,
}

/// ∇D(x) of each sample, f32 `[n, numbers of a sample]`, with the graph that leads to D's weights (`models.precise`). Where D
/// has batch norm, it is the gradient of the sum over the batch, as usual. Where D sees `x` augmented, it is so here too.
/// `draws`: those of x, which have the classes of real samples.
fn slopes(models: &Models, x: &Tensor, draws: Option<&Draws>, augments: Augments) -> Tensor {
    let x = x.detach().to_kind(Kind::Float).set_requires_grad(true);
    let seen = match augments {
        Augments::Yes => models.augmented(&x, draws, Seen::Real),
        Augments::No => x.shallow_clone(),
    };
    let outputs = models.judge_twice(&seen, (draws, Seen::Real)); // D(x)
    let sum = outputs.sum(Kind::Float);
    Tensor::run_backward(&[&sum], &[&x], true, true).remove(0).flatten(1, -1)
}

/// Adds the gradients of a penalty, a scalar made from [`slopes`], to those of D's parameters.
fn add_gradients(models: &Models, penalty: &Tensor, gradients: &mut [Tensor]) {
    let of_penalty = Tensor::run_backward(&[penalty], &models.precise, false, false);
    for (gradient, of_penalty) in gradients.iter_mut().zip(of_penalty) {
        // The last bias has no part in D's gradient by x.
        if of_penalty.defined() {
            *gradient = gradient.to_kind(Kind::Float) + of_penalty;
        }
    }
}
