//! What is added to D's loss.

use crate::macros::section;
use crate::table::{number, of, whole};

section! {
    /// What is added to D's loss; nothing unless it is said here.
    RegularizationSpec: Copy {
        /// A penalty on how steep D is at real samples.
        r1: R1Spec => of::<R1Spec>(),
    }
}

section! {
    /// The R1 penalty (Mescheder et al. 2018, eq. 9).
    R1Spec: Copy {
        /// γ of γ/2 E[‖∇D(x)‖²], which is added to D's loss at real samples x. The scalar loss_d does not have it. 0: nothing
        /// is added.
        gamma: f64 => number(0.0, 1e6).default("0.0").identity_unless("0.0"),
        /// Steps from one that has it to the next; it then counts so many times, so that γ means the same (Karras et al. 2020,
        /// section 3.1). Step 0 has it.
        every: u64 => whole(1, 1_000_000).default("16").identity_unless("16"),
    }
}
