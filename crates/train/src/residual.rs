//! Residual blocks: He, Zhang, Ren and Sun 2016, arXiv 1603.05027, with the activation before the product.

use std::slice::Iter;

use tch::Tensor;

use crate::layers::{Differentiable, Layer};
use crate::norms::Norms;

/// y = block(x) + shortcut(x). Both give the same shape; a shortcut without layers is x itself.
///
/// Layer j of them is called `block.j` and `shortcut.j`, as in a PyTorch module with two `nn.Sequential`s of these names.
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    block: Vec<Layer>,
    shortcut: Vec<Layer>,
}

impl Residual {
    /// # Panics
    /// Where one of them begins with an activation other than ReLU, which would change x in place for the other.
    #[must_use]
    pub fn new(block: Vec<Layer>, shortcut: Vec<Layer>) -> Self {
        for layers in [&block, &shortcut] {
            assert!(!matches!(layers.first(), Some(Layer::LeakyRelu { .. })), "it would work in place");
        }
        Self { block, shortcut }
    }

    /// The layers of the block, and those of the shortcut.
    pub(crate) fn parts(&self) -> [&[Layer]; 2] {
        [&self.block, &self.shortcut]
    }

    /// All layers with their names below `name`, in the order of computation.
    pub(crate) fn layers(&self, name: &str) -> impl Iterator<Item = (String, &Layer)> {
        let named = |layers: &'_ [Layer], part: &'static str| {
            (0..layers.len()).map(|index| format!("{name}.{part}.{index}")).collect::<Vec<_>>()
        };
        let (block, shortcut) = (named(&self.block, "block"), named(&self.shortcut, "shortcut"));
        block.into_iter().chain(shortcut).zip(self.block.iter().chain(&self.shortcut))
    }

    /// Shape of its output for one input of `shape`.
    pub(crate) fn output(&self, shape: &[i64]) -> Vec<i64> {
        self.block.iter().fold(shape.to_vec(), |shape, layer| layer.output(&shape))
    }

    /// How many numbers its layers' outputs have for one input of `shape`, with its own.
    pub(crate) fn numbers(&self, shape: &[i64]) -> u64 {
        let along = |layers: &[Layer]| {
            let mut shape = shape.to_vec();
            let mut numbers = |layer: &Layer| {
                let numbers = layer.numbers(&shape);
                shape = layer.output(&shape);
                numbers
            };
            layers.iter().map(&mut numbers).sum::<u64>()
        };
        along(&self.block) + along(&self.shortcut) + self.output(shape).iter().product::<i64>() as u64
    }

    pub(crate) fn forward(
        &self,
        x: &Tensor,
        weights: &mut Iter<Tensor>,
        norm: &mut Norms,
        differentiable: Differentiable,
    ) -> Tensor {
        let mut along = |layers: &[Layer]| {
            // ReLU works in place elsewhere; here the other way reads x too.
            let (y, layers) = match layers.split_first() {
                Some((Layer::Relu, others)) => (x.relu(), others),
                _ => (x.shallow_clone(), layers),
            };
            layers.iter().fold(y, |y, layer| layer.forward(&y, weights, norm, differentiable))
        };
        let y = along(&self.block);
        y + along(&self.shortcut)
    }
}
