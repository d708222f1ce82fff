//! Fully connected networks for 2-D points: the toy on which the LSGAN paper shows mode collapse.
//!
//! G: z → `depth` hidden layers of `width` tanh units → linear to 2. D: 2 → the same → linear to 1.
//! Every weight starts orthogonal times `gain` (Saxe et al. 2014), every bias as 0.

use crate::TrainError;
use crate::init::Init;
use crate::layers::Layer;
use crate::models::{SampleShape, Told};

/// The hidden layers.
pub(super) struct Hidden {
    pub width: u32,
    pub depth: u32,
    pub gain: f64,
}

fn layers(inputs: u32, hidden: &Hidden, told: &Told) -> Vec<Layer> {
    let weight = Init::Orthogonal { gain: hidden.gain };
    let mut layers = vec![];
    let mut wide = i64::from(inputs);
    for index in 1..=hidden.depth {
        wide += told.add_if(index == hidden.depth, &mut layers);
        layers.push(Layer::Linear { inputs: wide, outputs: i64::from(hidden.width), weight });
        layers.push(Layer::Tanh);
        wide = i64::from(hidden.width);
    }
    layers.push(Layer::Linear { inputs: wide, outputs: told.outputs, weight });
    layers
}

fn points_only(sample: SampleShape) -> Result<(), TrainError> {
    match sample {
        SampleShape::Point => Ok(()),
        SampleShape::Picture { .. } => {
            Err(TrainError::Samples { model: "mlp", accepted: "2-D points", found: sample.to_string() })
        }
    }
}

pub(super) fn generator(latent: u32, hidden: Hidden, sample: SampleShape) -> Result<Vec<Layer>, TrainError> {
    points_only(sample)?;
    Ok(layers(latent, &hidden, &Told::nothing(2))) // [n, 2]
}

pub(super) fn discriminator(
    hidden: Hidden,
    (sample, told): (SampleShape, &Told),
) -> Result<Vec<Layer>, TrainError> {
    points_only(sample)?;
    Ok(layers(2, &hidden, told)) // [n, outputs]
}
