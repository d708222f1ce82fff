//! DCGAN: Radford, Metz and Chintala 2016, arXiv 1511.06434, laid out as in PyTorch's tutorial.
//!
//! G: z `[n, latent, 1, 1]` → 4×4 transposed convolution to 4×4 pixels, then 4×4 transposed convolutions of stride 2, each of which
//! doubles the side and halves the channels; batch norm and ReLU after each, tanh after the last.
//! D: 4×4 convolutions of stride 2, each of which halves the side and doubles the channels; leaky ReLU 0.2,
//! batch norm after all but the first; a 4×4 convolution to one number. No sigmoid: D says a number, and the
//! objective says what it means. No biases but those of batch norm; layers that lack theirs have biases of their own.
//! Weights start as N(0, 0.02²), batch norm's as N(1, 0.02²), its biases as 0.

use crate::TrainError;
use crate::init::Init;
use crate::layers::{Bias, Conv, Layer};
use crate::models::{Normed, SampleShape, Told};

const WEIGHT: Init = Init::Normal { mean: 0.0, std: 0.02 };
const NORM: Init = Init::Normal { mean: 1.0, std: 0.02 };

/// Channels and the number of doublings between 4×4 pixels and half the picture's side.
fn shape(sample: SampleShape) -> Result<(i64, u32), TrainError> {
    let refused = || TrainError::Samples {
        model: "dcgan",
        accepted: "pictures of 32, 64, 128 or 256 pixels with 1 or 3 channels",
        found: sample.to_string(),
    };
    let SampleShape::Picture { size, channels: channels @ (1 | 3) } = sample else { return Err(refused()) };
    match size {
        32 => Ok((i64::from(channels), 2)),
        64 => Ok((i64::from(channels), 3)),
        128 => Ok((i64::from(channels), 4)),
        256 => Ok((i64::from(channels), 5)),
        _ => Err(refused()),
    }
}

fn conv(inputs: i64, outputs: i64, stride: i64, padding: i64) -> Conv {
    Conv { inputs, outputs, kernel: 4, stride, padding, bias: Bias::Without, weight: WEIGHT }
}

fn up(conv: Conv) -> Layer {
    Layer::ConvTranspose { conv, output_padding: 0 }
}

/// A convolution, and the batch norm behind it or a bias.
fn normed(conv: Conv, normed: Normed, layer: impl FnOnce(Conv) -> Layer) -> Vec<Layer> {
    let norm = normed.layer(Layer::BatchNorm { channels: conv.outputs, weight: NORM });
    let bias = if norm.is_some() { Bias::Without } else { Bias::With };
    std::iter::once(layer(Conv { bias, ..conv })).chain(norm).collect()
}

pub(super) fn generator(
    latent: u32,
    width: u32,
    norm: Normed,
    sample: SampleShape,
) -> Result<Vec<Layer>, TrainError> {
    let (channels, doublings) = shape(sample)?;
    let mut wide = i64::from(width) << doublings;
    let mut layers = normed(conv(i64::from(latent), wide, 1, 0), norm, up); // [n, w·2^doublings, 4, 4]
    layers.push(Layer::Relu);
    for _ in 0..doublings {
        layers.extend(normed(conv(wide, wide / 2, 2, 1), norm, up)); // twice the side
        layers.push(Layer::Relu);
        wide /= 2;
    }
    layers.extend([up(conv(wide, channels, 2, 1)), Layer::Tanh]); // [n, channels, size, size]
    Ok(layers)
}

pub(super) fn discriminator(
    width: u32,
    norm: Normed,
    (sample, told): (SampleShape, &Told),
) -> Result<Vec<Layer>, TrainError> {
    let (channels, halvings) = shape(sample)?;
    let leaky = Layer::LeakyRelu { slope: 0.2 };
    let mut wide = i64::from(width);
    let mut layers = vec![Layer::Conv(conv(channels, wide, 2, 1)), leaky.clone()]; // [n, width, size/2, size/2]
    for index in 1..=halvings {
        let beside = told.add_if(index == halvings, &mut layers); // [n, channels + beside, 8, 8]
        layers.extend(normed(conv(wide + beside, wide * 2, 2, 1), norm, Layer::Conv)); // half the side
        layers.push(leaky.clone());
        wide *= 2;
    }
    layers.push(Layer::Conv(conv(wide, told.outputs, 1, 0))); // [n, outputs, 1, 1]
    Ok(layers)
}
