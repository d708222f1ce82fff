//! Networks: a plain list of layers over one flat parameter tensor.
//!
//! Layer i of a network is called `main.i`, as in a PyTorch `nn.Sequential` of that name, so a state dict of
//! one fits the other. Every option that touches a number is written out.

use std::ops::Range;

use tch::{Device, Tensor};

use crate::TrainError;
use crate::classes;
use crate::dense::Dense;
use crate::flat::{Entry, Layout};
use crate::init::Init;
pub use crate::layer::{Bias, Conv, Layer, Role};
pub(crate) use crate::layer::{Declared, Differentiable};
pub use crate::norms::Norm;
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

/// Consecutive layers whose gradients become ready together, and travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first layer.
    pub layer: usize,
    /// The layers' parameters, in the order of declaration.
    pub parameters: Range<usize>,
}

/// What a network reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Samples, or z.
    pub x: &'a Tensor,
    /// What it is told of them beside, `[n, classes]`. Networks with [`Layer::Concatenate`] need it, and others leave it.
    pub told: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Self { x, told: None }
    }
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

    /// Computes the network on its input. `weights`: one tensor for each parameter, in the order of declaration.
    pub fn forward<'a>(&self, input: impl Into<Input<'a>>, weights: &[Tensor], norm: &mut Norm) -> Tensor {
        self.forward_by_pieces(input, weights, norm).0
    }

    /// The same, and what the first layer of each piece read, in the order of the pieces; without the last, which read the input.
    pub fn forward_by_pieces<'a>(
        &self,
        input: impl Into<Input<'a>>,
        weights: &[Tensor],
        norm: &mut Norm,
    ) -> (Tensor, Vec<Tensor>) {
        let input: Input<'a> = input.into();
        match &self.dense {
            Some(dense) if input.x.device() == Device::Cpu => (dense.forward(input.x, weights), vec![]),
            _ => self.one_by_one(input, weights, norm, Differentiable::Once),
        }
    }

    /// [`Self::forward`] with a graph whose gradients have graphs of their own.
    pub(crate) fn forward_twice<'a>(
        &self,
        input: impl Into<Input<'a>>,
        weights: &[Tensor],
        norm: &mut Norm,
    ) -> Tensor {
        self.one_by_one(input, weights, norm, Differentiable::Twice).0
    }

    /// The same, layer by layer.
    pub(crate) fn one_by_one<'a>(
        &self,
        input: impl Into<Input<'a>>,
        weights: &[Tensor],
        norm: &mut Norm,
        differentiable: Differentiable,
    ) -> (Tensor, Vec<Tensor>) {
        let Input { x, told } = input.into();
        let (mut weights, mut held) = (weights.iter(), vec![]);
        let mut norm = norm.begin(self, x.device());
        let mut y = x.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 && self.pieces.iter().any(|piece| piece.layer == index) {
                held.insert(0, y.shallow_clone());
            }
            if let Layer::Concatenate { .. } = layer {
                let weight = norm.weight(weights.next().expect("every parameter has its tensor"));
                let told = told.expect("a network that reads classes is told them");
                y = classes::concatenated(&y, told, &weight);
            } else {
                y = layer.forward(&y, &mut weights, &mut norm, differentiable);
            }
        }
        (y, held)
    }
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
