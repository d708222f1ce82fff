//! The optimizers of D and G.

use crate::macros::{choice, section};
use crate::table::{above_zero, below_one, number, of, whole};
use crate::{Half, Reduction, ScheduleSpec, Step};

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
        /// Updates of D for each update of G (n_critic of others; 5 is usual with wgan_gp). Every step updates D; with 5, G is
        /// updated at steps 4, 9, 14 and so on. Its bias correction and the moving average count G's own updates; learning
        /// rates go by the run's steps, for both networks.
        discriminator_steps: u64 => whole(1, 1000).default("1").identity_unless("1"),
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
    /// These two, with rates that do not change, gradients of any length, and both in every step.
    #[must_use]
    pub fn of(generator: Optimizer, discriminator: Optimizer) -> Self {
        let schedule = ScheduleSpec::default();
        Self { generator, discriminator, schedule, clip_norm: 0.0, discriminator_steps: 1 }
    }

    /// That of the network which a half updates.
    #[must_use]
    pub fn of_half(&self, half: Half) -> &Optimizer {
        match half {
            Half::Discriminator => &self.discriminator,
            Half::Generator => &self.generator,
        }
    }

    /// Whether G is updated at `step`: at the last of each [`Self::discriminator_steps`].
    #[must_use]
    pub fn updates_generator(&self, step: Step) -> bool {
        step.next().0.is_multiple_of(self.discriminator_steps)
    }

    /// Whether the half that comes next, when so many reductions are applied, updates nothing: G's half of a step at which G
    /// is not updated. Its reduction sums no gradients, and is applied and counted like any other.
    #[must_use]
    pub fn is_idle(&self, applied: Reduction) -> bool {
        applied.half() == Half::Generator && !self.updates_generator(applied.step())
    }

    /// How many updates the network of a half has had when so many reductions are applied. A pure function of their number, so
    /// that no snapshot has to hold it.
    #[must_use]
    pub fn updates(&self, half: Half, applied: Reduction) -> u64 {
        match half {
            Half::Discriminator => applied.0.div_ceil(2),
            Half::Generator => applied.step().0 / self.discriminator_steps,
        }
    }

    /// `step` as the network of a half counts it: by its own updates before that step. Bias corrections go by it.
    #[must_use]
    pub fn own_step(&self, half: Half, step: Step) -> Step {
        Step(self.updates(half, step.first_reduction()))
    }

    /// The run's step at which the network of a half has the update of this number, counting from 0. Schedules go by it.
    #[must_use]
    pub fn step_of(&self, half: Half, own_step: Step) -> Step {
        match half {
            Half::Discriminator => own_step,
            Half::Generator => Step(own_step.next().0 * self.discriminator_steps - 1),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(discriminator_steps: u64) -> OptimizersSpec {
        let adam = Optimizer::Adam { learning_rate: 2e-4, beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
        OptimizersSpec { discriminator_steps, ..OptimizersSpec::of(adam, adam) }
    }

    #[test]
    fn both_are_updated_in_every_step_unless_it_is_said_otherwise() {
        let spec = with(1);
        for step in (0..5).map(Step) {
            assert!(spec.updates_generator(step));
            let counted = [Half::Discriminator, Half::Generator].map(|half| spec.own_step(half, step));
            assert_eq!(counted, [step; 2]);
        }
        assert!((0..10).map(Reduction).all(|applied| !spec.is_idle(applied)));
    }

    #[test]
    fn g_counts_its_own_updates_at_the_last_of_so_many_steps() {
        for every in [2, 3, 5] {
            let (spec, mut made) = (with(every), [0, 0]);
            for applied in (0..40).map(Reduction) {
                let (step, half) = (applied.step(), applied.half());
                let counted = [Half::Discriminator, Half::Generator].map(|half| spec.updates(half, applied));
                assert_eq!(counted, made, "{every}: {applied}");
                assert_eq!(spec.is_idle(applied), half == Half::Generator && step.0 % every != every - 1);
                if spec.is_idle(applied) {
                    continue;
                }
                let own_step = spec.own_step(half, step);
                assert_eq!(own_step.0, made[half as usize], "{every}: {applied}");
                assert_eq!(spec.step_of(half, own_step), step, "{every}: {applied}");
                made[half as usize] += 1;
            }
        }
    }
}
