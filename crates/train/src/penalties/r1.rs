//! R1: Mescheder, Geiger and Nowozin 2018, arXiv 1801.04406, equation 9; at some steps only, as Karras et al. 2020, arXiv
//! 1912.04958, section 3.1, do it.

use lsgan_spec::{R1Spec, Step};
use tch::{Kind, Tensor};

use super::{Augments, add_gradients, slopes};
use crate::draws::Draws;
use crate::lane::Models;

/// γ/2 E[‖∇D(x)‖²] at real samples x, at every so-manieth step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct R1 {
    pub gamma: f64,
    /// Steps from one that has it to the next.
    pub every: u64,
}

impl R1 {
    /// None where γ is 0.
    pub fn of(spec: &R1Spec) -> Option<Self> {
        let R1Spec { gamma, every } = *spec;
        (gamma > 0.0).then_some(Self { gamma, every })
    }

    pub fn is_due(self, step: Step) -> bool {
        step.0.is_multiple_of(self.every)
    }

    /// Adds its gradients at `x`, the real samples of one virtual rank, to those of D's parameters.
    pub fn add(self, models: &Models, x: &Tensor, draws: Option<&Draws>, gradients: &mut [Tensor]) {
        let squares = slopes(models, x, draws, Augments::Yes).square().sum_dim_intlist(
            [1].as_slice(),
            false,
            Kind::Float,
        ); // [n]
        let weight = 0.5 * self.gamma * self.every as f64;
        add_gradients(models, &(squares.mean(Kind::Float) * weight), gradients);
    }
}
