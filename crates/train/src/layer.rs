//! One layer of a network: its parameters and statistics with their names, the shape of its output, its forward pass.

use tch::{Device, Tensor};

use crate::init::Init;
use crate::native;
use crate::norms::Norms;
use crate::residual::Residual;

/// One layer. Channels and sides are in numbers, strides and paddings the same in both directions.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// y = x·Wᵀ + b. W is `[outputs, inputs]` and starts as `weight`, b at 0.
    Linear {
        inputs: i64,
        outputs: i64,
        weight: Init,
    },
    /// `[n, kept + classes]` to `[n, kept + outputs]`: behind the first `kept` numbers an embedding x·Wᵀ of the others. W is
    /// `[outputs, classes]` and starts as `weight`.
    Embed {
        kept: i64,
        classes: i64,
        outputs: i64,
        weight: Init,
    },
    /// `[n, channels, …]` to `[n, channels + outputs, …]`: behind the channels an embedding t·Wᵀ of what the network is told,
    /// `[n, classes]`, the same at every place. W is `[outputs, classes]` and starts as `weight`.
    Concatenate {
        classes: i64,
        outputs: i64,
        weight: Init,
    },
    /// A convolution. W is `[outputs, inputs, kernel, kernel]`.
    Conv(Conv),
    /// A transposed convolution. W is `[inputs, outputs, kernel, kernel]`; `output_padding` rows and columns are added at
    /// one side of the output.
    ConvTranspose {
        conv: Conv,
        output_padding: i64,
    },
    /// Batch norm over `[n, channels, h, w]`. Its weight starts as `weight`, its bias at 0.
    BatchNorm {
        channels: i64,
        weight: Init,
    },
    /// max(x, 0).
    Relu,
    /// max(x, slope·x).
    LeakyRelu {
        slope: f64,
    },
    Tanh,
    /// Each pixel becomes 2×2.
    Upsample,
    /// The mean of 2×2 pixels.
    AveragePool,
    /// Layers with a way around them.
    Residual(Residual),
    /// `[n, c·h·w]` to `[n, c, h, w]`.
    Unflatten {
        shape: [i64; 3],
    },
    /// `[n, c, h, w]` to `[n, c·h·w]`.
    Flatten,
}

/// The numbers of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Channels in.
    pub inputs: i64,
    /// Channels out.
    pub outputs: i64,
    pub kernel: i64,
    pub stride: i64,
    pub padding: i64,
    /// Starts at 0.
    pub bias: Bias,
    /// How W starts.
    pub weight: Init,
}

/// Whether a layer adds a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    With,
    /// The batch norm behind the layer has one.
    Without,
}

/// Number format of a parameter in the forward and backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight or bias of a matrix product: may be computed in bfloat16.
    Product,
    /// Weight or bias of a normalisation: always f32.
    Norm,
}

/// One declared parameter.
pub(crate) struct Declared {
    pub name: String,
    pub shape: Vec<usize>,
    pub init: Init,
    pub role: Role,
}

/// How often a pass can be differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differentiable {
    /// On a CPU by convolutions of our own.
    Once,
    Twice,
}

impl Layer {
    /// Those of the layer `name`.
    pub(crate) fn parameters(&self, name: &str) -> Vec<Declared> {
        let weight = |shape: &[i64], init, role| Declared {
            name: format!("{name}.weight"),
            shape: shape.iter().map(|&n| n as usize).collect(),
            init,
            role,
        };
        let bias = |channels: i64, role| Declared {
            name: format!("{name}.bias"),
            shape: vec![channels as usize],
            init: Init::Constant(0.0),
            role,
        };
        let convolution = |conv: &Conv, first, second| {
            let mut declared =
                vec![weight(&[first, second, conv.kernel, conv.kernel], conv.weight, Role::Product)];
            if conv.bias == Bias::With {
                declared.push(bias(conv.outputs, Role::Product));
            }
            declared
        };
        match self {
            Self::Linear { inputs, outputs, weight: init } => {
                vec![weight(&[*outputs, *inputs], *init, Role::Product), bias(*outputs, Role::Product)]
            }
            Self::Embed { classes, outputs, weight: init, .. }
            | Self::Concatenate { classes, outputs, weight: init } => {
                vec![weight(&[*outputs, *classes], *init, Role::Product)]
            }
            Self::Conv(conv) => convolution(conv, conv.outputs, conv.inputs),
            Self::ConvTranspose { conv, .. } => convolution(conv, conv.inputs, conv.outputs),
            Self::BatchNorm { channels, weight: init } => {
                vec![weight(&[*channels], *init, Role::Norm), bias(*channels, Role::Norm)]
            }
            Self::Residual(residual) => {
                residual.layers(name).flat_map(|(name, layer)| layer.parameters(&name)).collect()
            }
            Self::Relu
            | Self::LeakyRelu { .. }
            | Self::Tanh
            | Self::Upsample
            | Self::AveragePool
            | Self::Unflatten { .. }
            | Self::Flatten => vec![],
        }
    }

    /// Those of the layer `name`.
    pub(crate) fn statistics(&self, name: &str) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::BatchNorm { channels, .. } => {
                let named = |what: &str| (format!("{name}.{what}"), vec![*channels as usize]);
                vec![named("running_mean"), named("running_var")]
            }
            Self::Residual(residual) => {
                residual.layers(name).flat_map(|(name, layer)| layer.statistics(&name)).collect()
            }
            _ => vec![],
        }
    }

    /// How many numbers its output has for one input of `shape`, with those of the layers in it.
    pub(crate) fn numbers(&self, shape: &[i64]) -> u64 {
        match self {
            Self::Residual(residual) => residual.numbers(shape),
            _ => self.output(shape).iter().product::<i64>() as u64,
        }
    }

    /// Shape of its output for one input of `shape`.
    pub(crate) fn output(&self, shape: &[i64]) -> Vec<i64> {
        match self {
            Self::Linear { outputs, .. } => vec![*outputs],
            Self::Embed { kept, outputs, .. } => vec![kept + outputs],
            Self::Concatenate { outputs, .. } => [&[shape[0] + outputs], &shape[1..]].concat(),
            Self::Conv(conv) => {
                let side = |side: i64| (side + 2 * conv.padding - conv.kernel) / conv.stride + 1;
                vec![conv.outputs, side(shape[1]), side(shape[2])]
            }
            Self::ConvTranspose { conv, output_padding } => {
                let side =
                    |side: i64| (side - 1) * conv.stride - 2 * conv.padding + conv.kernel + output_padding;
                vec![conv.outputs, side(shape[1]), side(shape[2])]
            }
            Self::Upsample => vec![shape[0], 2 * shape[1], 2 * shape[2]],
            Self::AveragePool => vec![shape[0], shape[1] / 2, shape[2] / 2],
            Self::Residual(residual) => residual.output(shape),
            Self::Unflatten { shape } => shape.to_vec(),
            Self::Flatten => vec![shape.iter().product()],
            Self::BatchNorm { .. } | Self::Relu | Self::LeakyRelu { .. } | Self::Tanh => shape.to_vec(),
        }
    }

    pub(crate) fn forward(
        &self,
        x: &Tensor,
        weights: &mut std::slice::Iter<Tensor>,
        norm: &mut Norms,
        differentiable: Differentiable,
    ) -> Tensor {
        if let Self::Residual(residual) = self {
            return residual.forward(x, weights, norm, differentiable);
        }
        let mut next = || weights.next().expect("every parameter has its tensor");
        let is_ours = x.device() == Device::Cpu && differentiable == Differentiable::Once;
        match self {
            Self::Linear { .. } => {
                let weight = norm.weight(next());
                x.linear(&weight, Some(next()))
            }
            Self::Embed { kept, classes, .. } => {
                let embedded = x.narrow(1, *kept, *classes).linear(&norm.weight(next()), None::<&Tensor>);
                Tensor::cat(&[x.narrow(1, 0, *kept), embedded], 1)
            }
            Self::Conv(conv) => {
                let weight = &norm.weight(next());
                let bias = (conv.bias == Bias::With).then(next);
                if is_ours {
                    return native::conv(x, weight, bias, conv.stride, conv.padding);
                }
                x.conv2d(weight, bias, [conv.stride; 2], [conv.padding; 2], [1; 2], 1)
            }
            Self::ConvTranspose { conv, output_padding } => {
                let weight = &norm.weight(next());
                let bias = (conv.bias == Bias::With).then(next);
                if is_ours {
                    let paddings = [conv.padding, *output_padding];
                    return native::conv_transpose(x, weight, bias, conv.stride, paddings);
                }
                let (stride, padding, extra) = ([conv.stride; 2], [conv.padding; 2], [*output_padding; 2]);
                x.conv_transpose2d(weight, bias, stride, padding, extra, 1, [1; 2])
            }
            Self::BatchNorm { .. } => {
                let weight = next();
                norm.apply(x, weight, next())
            }
            // In place: the layer before (a product or batch norm) does not need its output for its gradient.
            Self::Relu => x.shallow_clone().relu_(),
            Self::LeakyRelu { slope } => native::leaky_relu_in_place(x, *slope),
            Self::Tanh => x.tanh(),
            Self::Upsample => {
                let sides = [2 * x.size()[2], 2 * x.size()[3]];
                x.upsample_nearest2d(sides, None, None)
            }
            Self::AveragePool => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
            Self::Residual(_) => unreachable!("it is made of layers"),
            Self::Concatenate { .. } => unreachable!("its network computes it, which is told of classes"),
            Self::Unflatten { shape: [c, h, w] } => native::channels_last(&x.view([-1, *c, *h, *w])),
            Self::Flatten => x.flatten(1, -1),
        }
    }
}
