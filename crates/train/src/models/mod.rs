//! The models: each file has a generator and the discriminator beside it.
//!
//! - [`dcgan`]: 32, 64, 128 or 256 pixels, 1 or 3 channels.
//! - [`lsgan112`]: the LSGAN paper's LSUN model.
//! - [`resnet`]: residual blocks, 32, 64 or 128 pixels, 1 or 3 channels.
//! - [`mlp`]: for 2-D points.
//!
//! [`contract`] checks every row of its table: output shapes, names, parameter counts, flat views.

mod contract;
mod dcgan;
mod lsgan112;
mod mlp;
mod resnet;

use lsgan_spec::{
    ClassesSpec, Conditioning, Discriminator, Generator, Half, Latent, ModelSpec, RunSpec, Source,
};

use crate::TrainError;
use crate::init::Init;
use crate::layers::{Layer, Network};

pub use contract::contract;

/// What one sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleShape {
    /// A square picture: its side in pixels, and 1 or 3 channels.
    Picture { size: u32, channels: u32 },
    /// A point of the plane.
    Point,
}

impl SampleShape {
    /// What the run's data are.
    pub fn of(spec: &RunSpec) -> Result<Self, TrainError> {
        match (&spec.data.source, &spec.data.image) {
            (Source::Gaussian(_), None) => Ok(Self::Point),
            (Source::Gaussian(_), Some(_)) => {
                Err(TrainError::Data { problem: "2-D points have no image size" })
            }
            (_, Some(image)) => Ok(Self::Picture { size: image.size, channels: image.channels }),
            (_, None) => Err(TrainError::Data { problem: "pictures need their size and channels" }),
        }
    }

    /// How many numbers one sample has.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Picture { size, channels } => (size * size * channels) as usize,
            Self::Point => 2,
        }
    }

    /// No sample is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        false
    }

    /// Shape of `count` samples in libtorch: `[count, channels, size, size]` or `[count, 2]`.
    #[must_use]
    pub fn size(self, count: usize) -> Vec<i64> {
        match self {
            Self::Picture { size, channels } => {
                vec![count as i64, i64::from(channels), i64::from(size), i64::from(size)]
            }
            Self::Point => vec![count as i64, 2],
        }
    }
}

impl std::fmt::Display for SampleShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Picture { size, channels } => write!(f, "[{size}, {size}, {channels}]"),
            Self::Point => write!(f, "[2]"),
        }
    }
}

/// Whether a network has its batch norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Normed {
    Yes,
    No,
}

impl Normed {
    fn of(model: &ModelSpec, half: Half) -> Self {
        if model.batch_norm.is_in(half) { Self::Yes } else { Self::No }
    }

    /// This batch norm, where there are any.
    fn layer(self, norm: Layer) -> Option<Layer> {
        (self == Self::Yes).then_some(norm)
    }
}

/// How an embedding of classes starts.
const EMBEDDING: Init = Init::Normal { mean: 0.0, std: 0.02 };

/// How D is told of classes.
struct Told {
    /// How many numbers D says of a sample.
    outputs: i64,
    /// Puts an embedding beside what D's last hidden layer reads.
    concatenate: Option<Layer>,
    /// How many numbers that has.
    beside: i64,
}

impl Told {
    /// Of nothing.
    fn nothing(outputs: i64) -> Self {
        Self { outputs, concatenate: None, beside: 0 }
    }

    fn of(classes: ClassesSpec) -> Self {
        let (count, beside) = (i64::from(classes.count), i64::from(classes.embedding));
        match classes.discriminator {
            Conditioning::Concatenation if count > 0 => {
                let concatenate = Layer::Concatenate { classes: count, outputs: beside, weight: EMBEDDING };
                Self { outputs: 1, concatenate: Some(concatenate), beside }
            }
            Conditioning::Concatenation | Conditioning::Projection => Self::nothing(1 + count),
        }
    }

    /// Adds the embedding to what comes out of `layers`, if these are all before the last hidden layer. Returns how many channels
    /// that reads more.
    fn add_if(&self, is_last: bool, layers: &mut Vec<Layer>) -> i64 {
        if !is_last {
            return 0;
        }
        layers.extend(self.concatenate.clone());
        self.beside
    }
}

/// The generator that a run's file names: z to samples; or z with the classes behind it.
pub fn generator(model: &ModelSpec, sample: SampleShape) -> Result<Network, TrainError> {
    let (spec, norm) = (&model.generator, Normed::of(model, Half::Generator));
    let (latent, classes) = (latent(spec).dimension(), model.classes);
    // What the first layer of the model itself reads.
    let wide = latent + if classes.count > 0 { classes.embedding } else { 0 };
    let input = match spec {
        Generator::Dcgan { .. } => vec![i64::from(wide), 1, 1],
        Generator::Lsgan112 { .. } | Generator::Resnet { .. } | Generator::Mlp { .. } => {
            vec![i64::from(wide)]
        }
    };
    let layers = match spec {
        Generator::Dcgan { width, .. } => dcgan::generator(wide, *width, norm, sample)?,
        Generator::Lsgan112 { width, .. } => lsgan112::generator(wide, *width, norm, sample)?,
        Generator::Resnet { width, .. } => resnet::generator(wide, *width, norm, sample)?,
        Generator::Mlp { width, depth, gain, .. } => {
            mlp::generator(wide, mlp::Hidden { width: *width, depth: *depth, gain: *gain }, sample)?
        }
    };
    if classes.count == 0 {
        return Network::new("generator", input, layers);
    }
    let (kept, classes, outputs) = (latent.into(), classes.count.into(), classes.embedding.into());
    let embed = Layer::Embed { kept, classes, outputs, weight: EMBEDDING };
    let shaped = match input[..] {
        [c, h, w] => Some(Layer::Unflatten { shape: [c, h, w] }),
        _ => None,
    };
    let layers = std::iter::once(embed).chain(shaped).chain(layers).collect();
    Network::new("generator", vec![kept + classes], layers)
}

/// The distribution of z that a run's file names.
#[must_use]
pub fn latent(spec: &Generator) -> Latent {
    match spec {
        Generator::Dcgan { latent, .. }
        | Generator::Lsgan112 { latent, .. }
        | Generator::Resnet { latent, .. }
        | Generator::Mlp { latent, .. } => *latent,
    }
}

/// The discriminator that a run's file names: samples to one number each, and by projection one more for each class.
pub fn discriminator(model: &ModelSpec, sample: SampleShape) -> Result<Network, TrainError> {
    let (norm, told) = (Normed::of(model, Half::Discriminator), &Told::of(model.classes));
    let layers = match &model.discriminator {
        Discriminator::Dcgan { width } => dcgan::discriminator(*width, norm, (sample, told))?,
        Discriminator::Lsgan112 { width } => lsgan112::discriminator(*width, norm, (sample, told))?,
        Discriminator::Resnet { width } => resnet::discriminator(*width, norm, (sample, told))?,
        Discriminator::Mlp { width, depth, gain } => {
            mlp::discriminator(mlp::Hidden { width: *width, depth: *depth, gain: *gain }, (sample, told))?
        }
    };
    let input = sample.size(1)[1..].to_vec();
    if model.spectral_norm {
        return Network::spectral("discriminator", input, layers);
    }
    Network::new("discriminator", input, layers)
}
