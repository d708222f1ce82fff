//! The optimizers: each file has its paper and the update of one number.
//!
//! - [`adam`]: Adam, and AdamW.
//! - [`rms_prop`]: the one that divides by a mean of squares.
//!
//! Plain loops over flat slices that read the gradient right out of the sum: 4 ms where flat tensor operations took 21 ms. A
//! GPU's kernel (`native/kernels/update.h`) has the same operations in the same order.
//!
//! The largest second moment is found by the bits of the floats, which have no sign and so are in the same order: the compiler
//! vectorises no loop that looks for the largest float, since NaN is neither larger nor smaller.

pub mod adam;
pub mod rms_prop;

use lsgan_spec::{Half, Optimizer, OptimizersSpec, Reduction, Step};

use self::adam::AdamStep;
use self::rms_prop::RmsPropStep;
use crate::kernels::{OptimizerArgs, Rule};
use crate::word::Summand;

/// The numbers of one update of one network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimizerStep {
    Adam(AdamStep),
    RmsProp(RmsPropStep),
}

impl OptimizerStep {
    /// The update that this half of `step` ends with.
    #[must_use]
    pub fn new(optimizers: &OptimizersSpec, half: Half, step: Step) -> Self {
        Self::own(optimizers, half, optimizers.own_step(half, step))
    }

    /// The update that the network's own step ends with, whose number is that step's, counting from 1. Its rate is that of the
    /// run's step.
    fn own(optimizers: &OptimizersSpec, half: Half, own_step: Step) -> Self {
        let optimizer = optimizers.of_half(half);
        let share = optimizers.schedule.share(optimizers.step_of(half, own_step));
        let (rate, t) = (optimizer.learning_rate() * share, own_step.0 + 1);
        match *optimizer {
            Optimizer::Adam { beta1, beta2, epsilon, .. } => {
                Self::Adam(AdamStep::new([rate, beta1, beta2, epsilon], 0.0, t))
            }
            Optimizer::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                Self::Adam(AdamStep::new([rate, beta1, beta2, epsilon], weight_decay, t))
            }
            Optimizer::RmsProp { alpha, epsilon, momentum, .. } => {
                Self::RmsProp(RmsPropStep::new([rate, alpha, epsilon, momentum], t))
            }
        }
    }

    /// The last update of this half's network, when so many reductions are applied; none before its first.
    #[must_use]
    pub(crate) fn last(optimizers: &OptimizersSpec, half: Half, applied: Reduction) -> Option<Self> {
        let last = optimizers.updates(half, applied).checked_sub(1);
        last.map(|own_step| Self::own(optimizers, half, Step(own_step)))
    }

    /// What corrects a second moment for its bias: 1 / (1 − β2^t), or α for β2.
    pub(crate) fn second_moment_correction(self) -> f32 {
        match self {
            Self::Adam(step) => step.second_moment_correction(),
            Self::RmsProp(step) => step.second_moment_correction(),
        }
    }

    /// The same for a kernel, which rounds alike.
    pub(crate) fn args(self) -> OptimizerArgs {
        match self {
            Self::Adam(step) => step.args(),
            Self::RmsProp(step) => step.args(),
        }
    }

    /// Updates the weights `w` and the moments `m`, `v` by the mean gradients in a sum whose words count `unit`s, scaled by
    /// `clip`. Returns the largest of `v`.
    pub(crate) fn update<W: Summand>(
        self,
        (sum, unit, clip): (&[W], f32, f32),
        [m, v, w]: [&mut [f32]; 3],
    ) -> f32 {
        match self {
            Self::Adam(step) => adam::adam(step, sum, [unit, clip], m, v, w),
            Self::RmsProp(step) => rms_prop::rms_prop(step, sum, [unit, clip], m, v, w),
        }
    }
}

impl OptimizerArgs {
    /// Numbers that no rule reads are 0.
    fn of(rule: Rule) -> Self {
        Self {
            rule,
            step_size: 0.0,
            mix1: 0.0,
            keep2: 0.0,
            mix2: 0.0,
            correction2: 1.0,
            epsilon: 0.0,
            kept: 1.0,
            momentum: 0.0,
        }
    }
}

/// base^exponent by squaring. f64::powi and powf may differ between hosts in the last bit, this does not.
fn power(base: f64, exponent: u64) -> f64 {
    let (mut result, mut square, mut left) = (1.0, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use lsgan_spec::{Decay, ScheduleSpec};

    use super::*;
    use crate::word::{Mode, Word, put};

    pub(super) const ADAM: Optimizer =
        Optimizer::Adam { learning_rate: 0.1, beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
    const EACH: [Optimizer; 3] = [
        ADAM,
        Optimizer::AdamW { learning_rate: 0.1, beta1: 0.5, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 },
        Optimizer::RmsProp { learning_rate: 0.1, alpha: 0.9, epsilon: 1e-8, momentum: 0.5 },
    ];

    pub(super) fn step(optimizer: Optimizer, t: u64) -> OptimizerStep {
        OptimizerStep::new(&OptimizersSpec::of(optimizer, optimizer), Half::Generator, Step(t - 1))
    }

    #[test]
    fn a_minimum_is_found() {
        let slow = |optimizer| OptimizersSpec {
            schedule: ScheduleSpec { decay: Decay::Cosine, decay_steps: 500, ..ScheduleSpec::default() },
            ..OptimizersSpec::of(optimizer, optimizer)
        };
        // AdamW's weight decay pulls to 0.
        for optimizer in [EACH[0], EACH[2]] {
            let (mut m, mut v, mut w) = (vec![0.0; 1], vec![0.0; 1], vec![4.0]);
            for t in 0..500 {
                let gradient = [2.0 * (w[0] - 3.0)];
                OptimizerStep::new(&slow(optimizer), Half::Generator, Step(t))
                    .update((&gradient, 1.0, 1.0), [&mut m, &mut v, &mut w]);
            }
            assert!((w[0] - 3.0_f32).abs() < 1e-2, "{optimizer:?}: {}", w[0]);
        }
    }

    #[test]
    fn the_largest_second_moment_is_returned() {
        let g: Vec<f32> = (0..1000).map(|i| ((i * 389) % 1000) as f32 / 512.0 - 1.0).collect();
        for optimizer in EACH {
            let (mut m, mut v, mut w) = (vec![0.0; 1000], vec![0.0; 1000], vec![0.3; 1000]);
            for t in 1..3 {
                let largest = step(optimizer, t).update((&g, 1.0, 1.0), [&mut m, &mut v, &mut w]);
                assert_eq!(largest, v.iter().copied().fold(0.0, f32::max), "{optimizer:?}");
            }
        }
    }

    #[test]
    fn a_fixed_point_sum_and_its_value_give_the_same_bits() {
        let g: Vec<f32> = (0..1000).map(|i| (i as f32 - 500.0) / 4096.0).collect();
        let mut sum = vec![0; g.len()];
        put(&g, i64::factor(1), Mode::Set, &mut sum).expect("in range");
        for optimizer in EACH {
            let run = |exact: bool| {
                let (mut m, mut v, mut w) = (vec![0.1; 1000], vec![0.2; 1000], vec![0.3; 1000]);
                for t in 1..4 {
                    let state = [&mut *m, &mut *v, &mut *w];
                    match exact {
                        true => step(optimizer, t).update((&sum, i64::UNIT, 0.5), state),
                        false => step(optimizer, t).update((&g, 1.0, 0.5), state),
                    };
                }
                (m, v, w)
            };
            assert_eq!(run(true), run(false), "{optimizer:?}");
        }
    }

    /// So bias corrections are those of a run with fewer steps, as with PyTorch's optimizers, which count the calls of their own
    /// `step`.
    #[test]
    fn where_d_has_several_updates_for_each_of_g_s_g_counts_its_own() {
        for optimizer in EACH {
            let alone = OptimizersSpec::of(optimizer, optimizer);
            let among = OptimizersSpec { discriminator_steps: 5, ..alone };
            for own in 0..4 {
                let wanted = OptimizerStep::new(&alone, Half::Generator, Step(own));
                let step = Step(5 * own + 4);
                assert_eq!(OptimizerStep::new(&among, Half::Generator, step), wanted, "{optimizer:?}");
                // Until its next update, whatever D does meanwhile.
                for applied in 2 * step.0 + 2..2 * step.0 + 12 {
                    let last = OptimizerStep::last(&among, Half::Generator, Reduction(applied));
                    assert_eq!(last, Some(wanted), "{optimizer:?}, {applied}");
                }
                let of_d = [&among, &alone].map(|spec| OptimizerStep::new(spec, Half::Discriminator, step));
                assert_eq!(of_d[0], of_d[1], "{optimizer:?}");
            }
            assert_eq!(OptimizerStep::last(&among, Half::Generator, Reduction(9)), None, "{optimizer:?}");
        }
    }

    /// A fresh weight's moments and itself after its update at this step.
    fn updated(spec: &OptimizersSpec, half: Half, step: Step) -> (f32, f32, f32) {
        let (mut m, mut v, mut w) = (vec![0.0; 1], vec![0.0; 1], vec![0.0]);
        OptimizerStep::new(spec, half, step).update((&[0.25_f32], 1.0, 1.0), [&mut m, &mut v, &mut w]);
        (m[0], v[0], w[0])
    }

    #[test]
    fn the_rates_of_both_go_by_the_steps_of_the_run() {
        for optimizer in EACH {
            let mut alone = OptimizersSpec::of(optimizer, optimizer);
            alone.schedule =
                ScheduleSpec { decay: Decay::Linear, decay_steps: 10, floor: 0.5, ..ScheduleSpec::default() };
            let among = OptimizersSpec { discriminator_steps: 5, ..alone };
            // G's first update is behind the step at which the rates have fallen by as much as D's.
            let full = OptimizersSpec { schedule: ScheduleSpec::default(), ..alone };
            let [(.., first), (.., unscaled)] =
                [(&among, 4), (&full, 0)].map(|(spec, step)| updated(spec, Half::Generator, Step(step)));
            // 1 − 0.5 · 4/10
            let share = first / unscaled;
            assert!((share - 0.8).abs() < 1e-6, "{optimizer:?}: {share}");
        }
    }

    #[test]
    fn the_schedule_scales_the_step_and_nothing_else() {
        for optimizer in EACH {
            let mut spec = OptimizersSpec::of(optimizer, optimizer);
            spec.schedule.warm_up_steps = 2;
            let [half, full] = [spec, OptimizersSpec::of(optimizer, optimizer)]
                .map(|spec| updated(&spec, Half::Discriminator, Step(0)));
            assert_eq!((half.0, half.1, half.2 * 2.0), full, "{optimizer:?}");
        }
    }
}
