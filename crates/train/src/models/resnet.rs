//! A residual network: Gulrajani et al. 2017, arXiv 1704.00028, appendix, whose 64 pixels are Miyato et al.'s 32 and 128 (2018,
//! arXiv 1802.05957, table 3) with another number of blocks.
//!
//! G: z → linear to 4·4·c, then residual blocks that double the side (nearest pixel) up to half of them and halve the channels but
//! in the first; batch norm, ReLU, 3×3 convolution, tanh.
//! D: 3×3 convolution, then residual blocks that halve the side (mean of 2×2) and double the channels but in the last; ReLU, linear
//! to one number. A block is twice (batch norm, ReLU, 3×3 convolution) beside a 1×1 convolution.
//! Weights start as N(0, 0.02²), batch norm's as N(1, 0.02²), biases as 0.

use crate::TrainError;
use crate::init::Init;
use crate::layers::{Bias, Conv, Layer};
use crate::models::{Normed, SampleShape, Told};
use crate::residual::Residual;

const WEIGHT: Init = Init::Normal { mean: 0.0, std: 0.02 };
const NORM: Init = Init::Normal { mean: 1.0, std: 0.02 };
/// Side of the first and of the last feature map.
const SIDE: i64 = 4;

/// Channels, and the number of doublings between 4×4 pixels and the picture.
fn shape(sample: SampleShape) -> Result<(i64, u32), TrainError> {
    let refused = || TrainError::Samples {
        model: "resnet",
        accepted: "pictures of 32, 64 or 128 pixels with 1 or 3 channels",
        found: sample.to_string(),
    };
    match sample {
        SampleShape::Picture { size: size @ (32 | 64 | 128), channels: channels @ (1 | 3) } => {
            Ok((i64::from(channels), size.ilog2() - 2))
        }
        _ => Err(refused()),
    }
}

fn conv(inputs: i64, outputs: i64, kernel: i64, bias: Bias) -> Layer {
    Layer::Conv(Conv { inputs, outputs, kernel, stride: 1, padding: kernel / 2, bias, weight: WEIGHT })
}

/// Batch norm, where there is one, and ReLU.
fn activated(channels: i64, normed: Normed) -> Vec<Layer> {
    normed.layer(Layer::BatchNorm { channels, weight: NORM }).into_iter().chain([Layer::Relu]).collect()
}

/// A block with another side: `before` the first 3×3 convolution, or behind the second.
fn block([inputs, outputs]: [i64; 2], normed: Normed, side: Layer) -> Layer {
    let bias = if normed == Normed::Yes { Bias::Without } else { Bias::With };
    let [first, second] = [conv(inputs, outputs, 3, bias), conv(outputs, outputs, 3, Bias::With)];
    let point = conv(inputs, outputs, 1, Bias::With);
    let (before, between) = (activated(inputs, normed), activated(outputs, normed));
    let (block, shortcut) = match side {
        Layer::Upsample => (
            [before, vec![side.clone(), first], between, vec![second]].concat(), // [n, outputs, 2h, 2w]
            vec![side, point],
        ),
        _ => (
            [before, vec![first], between, vec![second, side.clone()]].concat(), // [n, outputs, h/2, w/2]
            vec![side, point],
        ),
    };
    Layer::Residual(Residual::new(block, shortcut))
}

pub(super) fn generator(
    latent: u32,
    width: u32,
    normed: Normed,
    sample: SampleShape,
) -> Result<Vec<Layer>, TrainError> {
    let (channels, doublings) = shape(sample)?;
    let mut wide = i64::from(width) << (doublings - 1);
    let mut layers = vec![
        Layer::Linear { inputs: i64::from(latent), outputs: SIDE * SIDE * wide, weight: WEIGHT },
        Layer::Unflatten { shape: [wide, SIDE, SIDE] }, // [n, w·2^(doublings − 1), 4, 4]
    ];
    for index in 0..doublings {
        let outputs = if index == 0 { wide } else { wide / 2 };
        layers.push(block([wide, outputs], normed, Layer::Upsample)); // twice the side
        wide = outputs;
    }
    layers.extend(activated(wide, normed));
    layers.extend([conv(wide, channels, 3, Bias::With), Layer::Tanh]); // [n, channels, size, size]
    Ok(layers)
}

pub(super) fn discriminator(
    width: u32,
    normed: Normed,
    (sample, told): (SampleShape, &Told),
) -> Result<Vec<Layer>, TrainError> {
    let (channels, halvings) = shape(sample)?;
    let mut wide = i64::from(width);
    let mut layers = vec![conv(channels, wide, 3, Bias::With)]; // [n, width, size, size]
    for index in 1..=halvings {
        let next = if index == halvings { wide } else { 2 * wide };
        let beside = told.add_if(index == halvings, &mut layers); // [n, wide + beside, 8, 8]
        layers.push(block([wide + beside, next], normed, Layer::AveragePool)); // half the side
        wide = next;
    }
    layers.extend(activated(wide, normed));
    layers.push(Layer::Flatten); // [n, 16·wide]
    layers.push(Layer::Linear { inputs: SIDE * SIDE * wide, outputs: told.outputs, weight: WEIGHT }); // [n, outputs]
    Ok(layers)
}
