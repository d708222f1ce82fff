//! The optimizers of D and G.

use crate::macros::{choice, section};
use crate::table::{above_zero, below_one, number, of};
use crate::{Half, ScheduleSpec};

section! {
    /// The two optimizers, and what both have.
    OptimizersSpec: Copy {
        /// G's.
        generator: Optimizer => of::<Optimizer>(),
        /// D's.
        discriminator: Optimizer => of::<Optimizer>(),
        /// How both learning rates change with the steps.
        schedule: ScheduleSpec => of::<ScheduleSpec>(),
        /// The largest Euclidean norm of a network's gradient: a longer one, the mean over the global batch, is scaled down
        /// to it before the update (Pascanu et al. 2013). 0: any.
        clip_norm: f64 => number(0.0, 1e6).default("0.0").identity_unless("0.0"),
    }
}

choice! {
    /// An optimizer.
    Optimizer: Copy {
        /// Kingma and Ba 2015, algorithm 1, with bias correction as PyTorch does it.
        Adam = "adam" {
            /// Step size.
            learning_rate: f64 => above_zero(1.0).required("0.0002").identity(),
            /// Decay of the first moment.
            beta1: f64 => below_one().default("0.5").identity(),
            /// Decay of the second moment.
            beta2: f64 => below_one().default("0.999").identity(),
            /// Added to the root of the second moment.
            epsilon: f64 => above_zero(1.0).default("1.0e-8").identity(),
        },
        /// Adam whose weights also decay, beside the gradient (Loshchilov and Hutter 2019), as PyTorch does it.
        AdamW = "adamw" {
            /// Step size.
            learning_rate: f64 => above_zero(1.0).required("0.0002").identity(),
            /// Decay of the first moment.
            beta1: f64 => below_one().default("0.5").identity(),
            /// Decay of the second moment.
            beta2: f64 => below_one().default("0.999").identity(),
            /// Added to the root of the second moment.
            epsilon: f64 => above_zero(1.0).default("1.0e-8").identity(),
            /// Each update takes this share of the learning rate from each weight.
            weight_decay: f64 => number(0.0, 1.0).default("0.01").identity(),
        },
        /// RMSProp (Tieleman and Hinton 2012) as PyTorch does it: not centred.
        RmsProp = "rmsprop" {
            /// Step size.
            learning_rate: f64 => above_zero(1.0).required("0.0002").identity(),
            /// Decay of the mean of squares.
            alpha: f64 => below_one().default("0.99").identity(),
            /// Added to the root of the mean of squares.
            epsilon: f64 => above_zero(1.0).default("1.0e-8").identity(),
            /// Share of the last update that is added to the next.
            momentum: f64 => below_one().default("0.0").identity(),
        },
    }
}

impl OptimizersSpec {
    /// These two, with rates that do not change and gradients of any length.
    #[must_use]
    pub fn of(generator: Optimizer, discriminator: Optimizer) -> Self {
        Self { generator, discriminator, schedule: ScheduleSpec::default(), clip_norm: 0.0 }
    }

    /// That of the network which a half updates.
    #[must_use]
    pub fn of_half(&self, half: Half) -> &Optimizer {
        match half {
            Half::Discriminator => &self.discriminator,
            Half::Generator => &self.generator,
        }
    }
}

impl Optimizer {
    /// The step size before the schedule.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        match *self {
            Self::Adam { learning_rate, .. }
            | Self::AdamW { learning_rate, .. }
            | Self::RmsProp { learning_rate, .. } => learning_rate,
        }
    }
}
