//! Networks of linear layers with activations between them: on a CPU one node of the graph, where libtorch would spend
//! more time on its operations than on their numbers.
//!
//! The bits are those of the layers one by one.

use tch::Tensor;

use crate::layers::Layer;
use crate::native;

/// What follows a linear layer, in the numbers of `native/dense.cpp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
enum Activation {
    None,
    Relu,
    LeakyRelu,
    Tanh,
}

/// The layers of such a network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    /// One of each linear layer.
    activations: Vec<i64>,
    /// Of the leaky ReLUs; 0 elsewhere.
    slopes: Vec<f64>,
}

impl Dense {
    /// None where `layers` are others, or in another order.
    pub fn of(layers: &[Layer]) -> Option<Self> {
        let mut dense = Self { activations: vec![], slopes: vec![] };
        for layer in layers {
            let (activation, slope) = match layer {
                Layer::Linear { .. } => (Activation::None, 0.0),
                Layer::Relu => (Activation::Relu, 0.0),
                Layer::LeakyRelu { slope } => (Activation::LeakyRelu, *slope),
                Layer::Tanh => (Activation::Tanh, 0.0),
                Layer::Conv(_)
                | Layer::ConvTranspose { .. }
                | Layer::BatchNorm { .. }
                | Layer::Embed { .. }
                | Layer::Concatenate { .. }
                | Layer::Upsample
                | Layer::AveragePool
                | Layer::Residual(_)
                | Layer::Unflatten { .. }
                | Layer::Flatten => return None,
            };
            if activation == Activation::None {
                dense.activations.push(activation as i64);
                dense.slopes.push(slope);
                continue;
            }
            let last = dense.activations.last_mut().filter(|last| **last == Activation::None as i64)?;
            *last = activation as i64;
            *dense.slopes.last_mut()? = slope;
        }
        (!dense.activations.is_empty()).then_some(dense)
    }

    /// Outputs for `x`, `[n, inputs]` on a CPU. `weights`: weight and bias of each linear layer.
    pub fn forward(&self, x: &Tensor, weights: &[Tensor]) -> Tensor {
        native::dense(x, weights, &self.activations, &self.slopes)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::init::Init;
    use crate::layers::{Conv, Network, Norm};

    const WEIGHT: Init = Init::Constant(0.0);

    fn linear(inputs: i64, outputs: i64) -> Layer {
        Layer::Linear { inputs, outputs, weight: WEIGHT }
    }

    fn numbers(size: &[i64], kind: Kind) -> Tensor {
        let line = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu));
        ((line * 0.7).sin() * 0.5).view(size).to_kind(kind)
    }

    /// The outputs, the gradient by x and those by all parameters, as bits.
    fn all_of(network: &Network, x: &Tensor, weights: &[Tensor], one_by_one: bool) -> Vec<Vec<f64>> {
        let leaf = |tensor: &Tensor| tensor.detach().set_requires_grad(true);
        let (x, weights) = (leaf(x), weights.iter().map(leaf).collect::<Vec<_>>());
        let mut statistics = vec![];
        let norm = &mut Norm::Batch(&mut statistics);
        let y = if one_by_one {
            network.one_by_one(&x, &weights, norm, crate::layers::Differentiable::Once).0
        } else {
            network.forward(&x, &weights, norm)
        };
        let loss = (&y * numbers(&y.size(), y.kind())).sum(Kind::Float);
        let inputs: Vec<_> = std::iter::once(&x).chain(&weights).collect();
        let mut all = Tensor::run_backward(&[&loss], &inputs, false, false);
        all.insert(0, y.detach());
        let exact =
            |tensor: &Tensor| Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).expect("numbers");
        all.iter().map(exact).collect()
    }

    #[test]
    fn the_bits_are_those_of_the_layers_one_by_one() {
        crate::device::one_thread();
        let activations = [None, Some(Layer::Relu), Some(Layer::LeakyRelu { slope: 0.2 }), Some(Layer::Tanh)];
        for (kind, per_rank) in
            [(Kind::Float, 256), (Kind::Float, 1), (Kind::Float, 33), (Kind::BFloat16, 64)]
        {
            for between in &activations {
                for last in &activations {
                    let mut layers = vec![];
                    for (inputs, outputs) in [(96, 128), (128, 64), (64, 2)] {
                        layers.push(linear(inputs, outputs));
                        layers.extend(if outputs == 2 { last.clone() } else { between.clone() });
                    }
                    let network = Network::new("generator", vec![96], layers).expect("its names are unique");
                    assert!(network.dense.is_some());
                    let entries = network.parameters.entries();
                    let weights: Vec<_> = entries.iter().map(|entry| numbers(&entry.size(), kind)).collect();
                    let x = numbers(&[per_rank, 96], kind);
                    let (ours, wanted) =
                        (all_of(&network, &x, &weights, false), all_of(&network, &x, &weights, true));
                    assert_eq!(ours, wanted, "{kind:?} {per_rank} {between:?} {last:?}");
                }
            }
        }
    }

    #[test]
    fn other_networks_are_left_alone() {
        let conv = Layer::Conv(Conv {
            inputs: 1,
            outputs: 1,
            kernel: 1,
            stride: 1,
            padding: 0,
            bias: crate::layers::Bias::With,
            weight: WEIGHT,
        });
        for layers in [
            vec![],
            vec![Layer::Tanh],
            vec![Layer::Tanh, linear(2, 2)],
            vec![linear(2, 2), Layer::Tanh, Layer::Relu],
            vec![linear(2, 2), Layer::Unflatten { shape: [2, 1, 1] }, conv],
        ] {
            assert_eq!(Dense::of(&layers), None, "{layers:?}");
        }
        let two = Dense::of(&[linear(2, 3), linear(3, 2), Layer::LeakyRelu { slope: 0.2 }]);
        assert_eq!(two, Some(Dense { activations: vec![0, 2], slopes: vec![0.0, 0.2] }));
    }
}
