//! The model that the LSGAN paper trains on LSUN at 112 pixels: Mao et al. 2017, arXiv 1611.04076, figure 3.
//!
//! G: z → linear to 7·7·4w, batch norm, ReLU, then 3×3 transposed convolutions 4w/s2, 4w/s1, 4w/s2, 4w/s1,
//! 2w/s2, w/s2, each with batch norm and ReLU, and 3/s1 with tanh. Padding is 1 everywhere and stride 2 pads
//! its output by one more row and column, so that the sides are 7, 14, 14, 28, 28, 56, 112, 112.
//! D: 5×5 convolutions of stride 2 and padding 2 to w, 2w, 4w, 8w (112, 56, 28, 14, 7), leaky ReLU 0.2, batch
//! norm after all but the first; linear to one number. Every layer has its bias. At w = 64 and 3 channels that
//! is 15,591,427 and 4,333,441 parameters.
//! Weights start as N(0, 0.02²), batch norm's as N(1, 0.02²), biases as 0.

use crate::TrainError;
use crate::init::Init;
use crate::layers::{Bias, Conv, Layer};
use crate::models::{Normed, SampleShape, Told};

const WEIGHT: Init = Init::Normal { mean: 0.0, std: 0.02 };
const NORM: Init = Init::Normal { mean: 1.0, std: 0.02 };
/// Side of the first and of the last feature map.
const SIDE: i64 = 7;

fn channels(sample: SampleShape) -> Result<i64, TrainError> {
    match sample {
        SampleShape::Picture { size: 112, channels: channels @ (1 | 3) } => Ok(i64::from(channels)),
        _ => Err(TrainError::Samples {
            model: "lsgan112",
            accepted: "pictures of 112 pixels with 1 or 3 channels",
            found: sample.to_string(),
        }),
    }
}

fn up(inputs: i64, outputs: i64, stride: i64) -> Layer {
    let conv = Conv { inputs, outputs, kernel: 3, stride, padding: 1, bias: Bias::With, weight: WEIGHT };
    Layer::ConvTranspose { conv, output_padding: stride - 1 }
}

fn down(inputs: i64, outputs: i64) -> Layer {
    Layer::Conv(Conv { inputs, outputs, kernel: 5, stride: 2, padding: 2, bias: Bias::With, weight: WEIGHT })
}

fn norm(channels: i64) -> Layer {
    Layer::BatchNorm { channels, weight: NORM }
}

pub(super) fn generator(
    latent: u32,
    width: u32,
    normed: Normed,
    sample: SampleShape,
) -> Result<Vec<Layer>, TrainError> {
    let colours = channels(sample)?;
    let w = i64::from(width);
    let mut layers = vec![
        Layer::Linear { inputs: i64::from(latent), outputs: SIDE * SIDE * 4 * w, weight: WEIGHT },
        Layer::Unflatten { shape: [4 * w, SIDE, SIDE] }, // [n, 4w, 7, 7]
    ];
    layers.extend(normed.layer(norm(4 * w)));
    layers.push(Layer::Relu);
    let steps = [(4 * w, 2), (4 * w, 1), (4 * w, 2), (4 * w, 1), (2 * w, 2), (w, 2)];
    let mut inputs = 4 * w;
    for (outputs, stride) in steps {
        layers.push(up(inputs, outputs, stride));
        layers.extend(normed.layer(norm(outputs)));
        layers.push(Layer::Relu);
        inputs = outputs;
    }
    layers.extend([up(w, colours, 1), Layer::Tanh]); // [n, colours, 112, 112]
    Ok(layers)
}

pub(super) fn discriminator(
    width: u32,
    normed: Normed,
    (sample, told): (SampleShape, &Told),
) -> Result<Vec<Layer>, TrainError> {
    let colours = channels(sample)?;
    let w = i64::from(width);
    let leaky = Layer::LeakyRelu { slope: 0.2 };
    let mut layers = vec![down(colours, w), leaky.clone()]; // [n, w, 56, 56]
    for (inputs, outputs) in [(w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w)] {
        let beside = told.add_if(outputs == 8 * w, &mut layers); // [n, 4w + beside, 14, 14]
        layers.push(down(inputs + beside, outputs));
        layers.extend(normed.layer(norm(outputs)));
        layers.push(leaky.clone());
    }
    layers.push(Layer::Flatten); // [n, 8w·7·7]
    layers.push(Layer::Linear { inputs: 8 * w * SIDE * SIDE, outputs: told.outputs, weight: WEIGHT }); // [n, outputs]
    Ok(layers)
}
