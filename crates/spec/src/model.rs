//! The two networks.

use crate::Half;
use crate::macros::{choice, section, words};
use crate::table::{Kind, above_zero, field, of, whole};

section! {
    /// The two networks.
    ModelSpec {
        /// G, from noise to a sample.
        generator: Generator => of::<Generator>(),
        /// D, from a sample to one number; of the same kind as G.
        discriminator: Discriminator => of::<Discriminator>(),
        /// What both are told of a sample besides its pixels.
        classes: ClassesSpec => of::<ClassesSpec>(),
        /// Which of them has batch norm, in models of pictures. A layer without it has a bias.
        batch_norm: BatchNorm => of::<BatchNorm>().default("both").identity_unless("both"),
        /// Whether the weights of D's layers are divided by their largest singular value (Miyato et al. 2018), found by power
        /// iteration: D then cannot be steep.
        spectral_norm: bool => field(Kind::YesNo).default("false").identity_unless("false"),
    }
}

section! {
    /// The classes of a conditional GAN.
    ClassesSpec: Copy, Eq {
        /// How many there are: the data set's records must have classes, counted from 0. 0: G and D are told none.
        count: u32 => whole(0, 4096).default("0").identity_unless("0"),
        /// Numbers that G makes of a class, beside z, and D too by concatenation; the paper's are 256.
        embedding: u32 => whole(1, 4096).default("256").identity_unless("256"),
        /// How D uses the class of a sample.
        discriminator: Conditioning => of::<Conditioning>().default("projection").identity_unless("projection"),
    }
}

words! {
    /// How D uses the class of a sample.
    Conditioning {
        /// D says one more number for each class, and that of the sample's own is added (Miyato and Koyama 2018)
        Projection = "projection",
        /// an embedding of the class goes beside what D's last hidden layer reads, in the way of the LSGAN paper
        Concatenation = "concatenation",
    }
}

words! {
    /// Which networks have batch norm.
    BatchNorm {
        /// G and D, as their papers have it
        Both = "both",
        /// G alone, as gradient penalties want it, which are made for single samples
        Generator = "generator",
        /// D alone
        Discriminator = "discriminator",
        /// neither
        None = "none",
    }
}

impl BatchNorm {
    /// Whether the network that a half updates has it.
    #[must_use]
    pub fn is_in(self, half: Half) -> bool {
        match (self, half) {
            (Self::Both, _)
            | (Self::Generator, Half::Generator)
            | (Self::Discriminator, Half::Discriminator) => true,
            (Self::Generator, Half::Discriminator)
            | (Self::Discriminator, Half::Generator)
            | (Self::None, _) => false,
        }
    }
}

impl ModelSpec {
    /// These two, as their papers have them.
    #[must_use]
    pub fn of(generator: Generator, discriminator: Discriminator) -> Self {
        Self {
            generator,
            discriminator,
            classes: ClassesSpec::default(),
            batch_norm: BatchNorm::Both,
            spectral_norm: false,
        }
    }
}

/// The sides of the pictures, in pixels, that each kind of model makes and judges; none for 2-D points.
pub const SIDES: &[(&str, &[u32])] =
    &[("dcgan", &[32, 64, 128, 256]), ("lsgan112", &[112]), ("resnet", &[32, 64, 128]), ("mlp", &[])];

/// The sides that a kind of model accepts.
#[must_use]
pub fn sides(model: &str) -> &'static [u32] {
    SIDES.iter().find(|(name, _)| *name == model).map_or(&[], |(_, sides)| sides)
}

choice! {
    /// A generator; each is one file in `train/src/models/`.
    Generator {
        /// Radford et al. 2016: 4x4 transposed convolutions with batch norm, for 32, 64, 128 or 256 pixels.
        Dcgan = "dcgan" {
            /// The noise z.
            latent: Latent => of::<Latent>(),
            /// Channels before the last layer (ngf).
            width: u32 => whole(1, 512).required("32").identity(),
        },
        /// The LSGAN paper's LSUN generator, for 112 pixels: linear to 7·7·4w, then 3x3 transposed convolutions.
        Lsgan112 = "lsgan112" {
            /// The noise z; the paper's is `uniform: 1024`.
            latent: Latent => of::<Latent>(),
            /// Channels of the last hidden layer; the paper's are 64.
            width: u32 => whole(1, 256).default("64").identity(),
        },
        /// Residual blocks with batch norm (Gulrajani et al. 2017), which double the side from 4 to 32, 64 or 128 pixels.
        Resnet = "resnet" {
            /// The noise z.
            latent: Latent => of::<Latent>(),
            /// Channels behind the last block; the paper's are 64. The first has 4, 8 or 16 times as many.
            width: u32 => whole(1, 256).required("64").identity(),
        },
        /// Fully connected with tanh, for the 2-D points of the gaussian source.
        Mlp = "mlp" {
            /// The noise z.
            latent: Latent => of::<Latent>(),
            /// Units of each hidden layer.
            width: u32 => whole(1, 4096).required("128").identity(),
            /// Hidden layers.
            depth: u32 => whole(1, 8).required("2").identity(),
            /// Gain of the orthogonal initialisation.
            gain: f64 => above_zero(10.0).default("1.0").identity(),
        },
    }
}

choice! {
    /// A discriminator; each is one file in `train/src/models/`, beside its generator.
    Discriminator {
        /// Radford et al. 2016: 4x4 convolutions of stride 2, leaky ReLU 0.2, batch norm.
        Dcgan = "dcgan" {
            /// Channels after the first layer (ndf).
            width: u32 => whole(1, 512).required("32").identity(),
        },
        /// The LSGAN paper's LSUN discriminator, for 112 pixels: 5x5 convolutions of stride 2, then linear.
        Lsgan112 = "lsgan112" {
            /// Channels after the first layer; the paper's are 64.
            width: u32 => whole(1, 256).default("64").identity(),
        },
        /// Residual blocks with batch norm (Gulrajani et al. 2017), which halve the side to 4 pixels, then linear.
        Resnet = "resnet" {
            /// Channels before the first block; the paper's are 64.
            width: u32 => whole(1, 256).required("64").identity(),
        },
        /// Fully connected with tanh, for 2-D points.
        Mlp = "mlp" {
            /// Units of each hidden layer.
            width: u32 => whole(1, 4096).required("128").identity(),
            /// Hidden layers.
            depth: u32 => whole(1, 8).required("2").identity(),
            /// Gain of the orthogonal initialisation.
            gain: f64 => above_zero(10.0).default("1.0").identity(),
        },
    }
}

choice! {
    /// The distribution of the noise z, with its dimension.
    Latent: Copy, Eq {
        /// Independent N(0, 1): how many numbers one z has.
        Normal = "normal" (u32 => whole(1, 16_384).required("100").identity()),
        /// Independent and uniform on -1..1: how many numbers one z has.
        Uniform = "uniform" (u32 => whole(1, 16_384).required("100").identity()),
    }
}

impl Latent {
    /// How many numbers one z has.
    #[must_use]
    pub fn dimension(self) -> u32 {
        match self {
            Self::Normal(n) | Self::Uniform(n) => n,
        }
    }
}
