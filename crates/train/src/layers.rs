//! Networks: a plain list of layers over one flat parameter tensor.
//!
//! Layer i of a network is called `main.i`, as in a PyTorch `nn.Sequential` of that name, so a state dict of
//! one fits the other. Every option that touches a number is written out.

use std::ops::Range;

use tch::{Device, Tensor};

use crate::TrainError;
use crate::dense::Dense;
use crate::flat::{Entry, Layout};
use crate::init::Init;
use crate::native;
pub use crate::norms::Norm;
use crate::norms::Norms;
use crate::residual::Residual;
use crate::word::Summand;

/// A piece of a network has at least so many parameters, but the first layers': 512 KiB in f32.
const PIECE: usize = 1 << 17;

/// Added to a batch's variance before its root is taken: PyTorch's default.
pub const BATCH_NORM_EPSILON: f64 = 1e-5;
/// Share of a new batch in the running statistics: PyTorch's default.
pub const BATCH_NORM_MOMENTUM: f32 = 0.1;

/// r ← 0.9·r + 0.1·batch: running statistics and the mean batch-norm statistics of a pass, whose words count `unit`s. Behind the
/// first `mixed` the batch's take their place.
pub(crate) fn mix_running<W: Summand>(running: &mut [f32], batch: &[W], unit: f32, mixed: usize) {
    let (mixing, replaced) = running.split_at_mut(mixed);
    let (batch, replacing) = batch.split_at(mixed);
    for (running, batch) in mixing.iter_mut().zip(batch) {
        *running = (1.0 - BATCH_NORM_MOMENTUM) * *running + BATCH_NORM_MOMENTUM * batch.mean(unit);
    }
    for (running, batch) in replaced.iter_mut().zip(replacing) {
        *running = batch.mean(unit);
    }
}

/// One layer. Channels and sides are in numbers, strides and paddings the same in both directions.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// y = x·Wᵀ + b. W is `[outputs, inputs]` and starts as `weight`, b at 0.
    Linear {
        inputs: i64,
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
struct Declared {
    name: String,
    shape: Vec<usize>,
    init: Init,
    role: Role,
}

/// Consecutive layers whose gradients become ready together, and travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first layer.
    pub layer: usize,
    /// The layers' parameters, in the order of declaration.
    pub parameters: Range<usize>,
}

/// A list of layers with the layout of its parameters and of its running statistics.
#[derive(Clone, Debug)]
pub struct Network {
    /// `generator` or `discriminator`: tells their initial weights apart.
    pub name: &'static str,
    /// Shape of one input, without the batch.
    pub input: Vec<i64>,
    /// In the order of computation.
    pub layers: Vec<Layer>,
    /// Weights and biases, in the order of declaration.
    pub parameters: Layout,
    /// Running mean and running variance of each batch norm, in the order of declaration; behind them, where the network is
    /// spectrally normalised, the vector u of each product.
    pub statistics: Layout,
    /// So many numbers of them are batch norm's.
    pub mixed: usize,
    /// Weights are divided by their largest singular value.
    pub is_spectral: bool,
    /// How each parameter starts.
    pub inits: Vec<Init>,
    /// What each parameter is for.
    pub roles: Vec<Role>,
    /// In the order in which a backward pass comes by them: the last layers first.
    pub pieces: Vec<Piece>,
    /// Of a network whose layers a CPU computes together.
    pub(crate) dense: Option<Dense>,
}

impl Network {
    /// Lays out the parameters of a list of layers. `name`: `generator` or `discriminator`.
    pub fn new(name: &'static str, input: Vec<i64>, layers: Vec<Layer>) -> Result<Self, TrainError> {
        Self::with(name, input, layers, false)
    }

    /// The same, with each weight of a product divided by its largest singular value: [`crate::spectral`].
    pub fn spectral(name: &'static str, input: Vec<i64>, layers: Vec<Layer>) -> Result<Self, TrainError> {
        Self::with(name, input, layers, true)
    }

    fn with(
        name: &'static str,
        input: Vec<i64>,
        layers: Vec<Layer>,
        is_spectral: bool,
    ) -> Result<Self, TrainError> {
        let name_of = |index: usize| format!("main.{index}");
        let declared: Vec<Declared> =
            layers.iter().enumerate().flat_map(|(index, layer)| layer.parameters(&name_of(index))).collect();
        let of_norms = layers.iter().enumerate().flat_map(|(index, layer)| layer.statistics(&name_of(index)));
        let of_norms: Vec<_> = of_norms.collect();
        let weights = declared.iter().filter(|d| is_spectral && d.role == Role::Product && d.shape.len() > 1);
        let vectors = weights.map(|d| (format!("{}_u", d.name), d.shape[..1].to_vec()));
        let mixed = Layout::new(of_norms.clone())?.len();
        let pieces = pieces(&layers);
        Ok(Self {
            name,
            input,
            statistics: Layout::new(of_norms.into_iter().chain(vectors))?,
            mixed,
            is_spectral,
            parameters: Layout::new(declared.iter().map(|d| (d.name.clone(), d.shape.clone())))?,
            // Where gradients travel in pieces, the layers are so large that their numbers take the time.
            dense: Dense::of(&layers).filter(|_| pieces.len() == 1 && !is_spectral),
            pieces,
            inits: declared.iter().map(|d| d.init).collect(),
            roles: declared.iter().map(|d| d.role).collect(),
            layers,
        })
    }

    /// Names of the batch norms, as `main.1`.
    pub fn batch_norms(&self) -> impl Iterator<Item = String> {
        let norm = |entry: &Entry| entry.name.strip_suffix(".running_mean").map(str::to_owned);
        self.statistics.entries().iter().filter_map(norm)
    }

    /// The places of the vectors of spectral normalisation among the statistics; none where there is none.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = &Entry> {
        self.statistics.entries().iter().filter(|entry| entry.offset >= self.mixed)
    }

    /// Shape of `count` inputs.
    #[must_use]
    pub fn input_size(&self, count: usize) -> Vec<i64> {
        [&[count as i64], self.input.as_slice()].concat()
    }

    /// How many numbers the outputs of all layers have for one input: about what its graph keeps.
    #[must_use]
    pub fn graph_numbers(&self) -> u64 {
        let mut shape = self.input.clone();
        let mut numbers = |layer: &Layer| {
            let numbers = layer.numbers(&shape);
            shape = layer.output(&shape);
            numbers
        };
        self.layers.iter().map(&mut numbers).sum()
    }

    /// Computes the network on `x`. `weights`: one tensor for each parameter, in the order of declaration.
    pub fn forward(&self, x: &Tensor, weights: &[Tensor], norm: &mut Norm) -> Tensor {
        self.forward_by_pieces(x, weights, norm).0
    }

    /// The same, and what the first layer of each piece read, in the order of the pieces; without the last, which read `x`.
    pub fn forward_by_pieces(
        &self,
        x: &Tensor,
        weights: &[Tensor],
        norm: &mut Norm,
    ) -> (Tensor, Vec<Tensor>) {
        match &self.dense {
            Some(dense) if x.device() == Device::Cpu => (dense.forward(x, weights), vec![]),
            _ => self.one_by_one(x, weights, norm, Differentiable::Once),
        }
    }

    /// [`Self::forward`] with a graph whose gradients have graphs of their own.
    pub(crate) fn forward_twice(&self, x: &Tensor, weights: &[Tensor], norm: &mut Norm) -> Tensor {
        self.one_by_one(x, weights, norm, Differentiable::Twice).0
    }

    /// The same, layer by layer.
    pub(crate) fn one_by_one(
        &self,
        x: &Tensor,
        weights: &[Tensor],
        norm: &mut Norm,
        differentiable: Differentiable,
    ) -> (Tensor, Vec<Tensor>) {
        let (mut weights, mut held) = (weights.iter(), vec![]);
        let mut norm = norm.begin(self, x.device());
        let mut y = x.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 && self.pieces.iter().any(|piece| piece.layer == index) {
                held.insert(0, y.shallow_clone());
            }
            y = layer.forward(&y, &mut weights, &mut norm, differentiable);
        }
        (y, held)
    }
}

/// How often a pass can be differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differentiable {
    /// On a CPU by convolutions of our own.
    Once,
    Twice,
}

/// Cuts a list of layers into pieces.
fn pieces(layers: &[Layer]) -> Vec<Piece> {
    let (mut pieces, mut numbers) = (vec![], 0);
    let sizes = |layer: &Layer| -> Vec<usize> {
        layer.parameters("").iter().map(|declared| declared.shape.iter().product()).collect()
    };
    let mut end: usize = layers.iter().map(|layer| sizes(layer).len()).sum();
    let mut first = end;
    for (index, layer) in layers.iter().enumerate().rev() {
        let sizes = sizes(layer);
        first -= sizes.len();
        numbers += sizes.iter().sum::<usize>();
        // Cut before a layer that reads its input and leaves it as it is.
        if numbers >= PIECE && !sizes.is_empty() && first > 0 {
            pieces.push(Piece { layer: index, parameters: first..end });
            (end, numbers) = (first, 0);
        }
    }
    pieces.push(Piece { layer: 0, parameters: 0..end });
    pieces
}

impl Layer {
    /// Those of the layer `name`.
    fn parameters(&self, name: &str) -> Vec<Declared> {
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
    fn statistics(&self, name: &str) -> Vec<(String, Vec<usize>)> {
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
            Self::Unflatten { shape: [c, h, w] } => native::channels_last(&x.view([-1, *c, *h, *w])),
            Self::Flatten => x.flatten(1, -1),
        }
    }
}
