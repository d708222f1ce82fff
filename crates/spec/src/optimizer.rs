//! The optimizers of D and G.

use crate::macros::{choice, section};
use crate::table::{above_zero, below_one, of};

section! {
    /// The two optimizers.
    OptimizersSpec: Copy {
        /// G's.
        generator: Optimizer => of::<Optimizer>(),
        /// D's.
        discriminator: Optimizer => of::<Optimizer>(),
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
    }
}
