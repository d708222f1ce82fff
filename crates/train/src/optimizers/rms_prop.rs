//! RMSProp: Tieleman and Hinton 2012 (lecture 6.5 of their course), rounded as PyTorch does it on a CPU; not centred.

use super::power;
use crate::kernels::{OptimizerArgs, Rule};
use crate::widest::widest;
use crate::word::Summand;

/// The numbers of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsPropStep {
    /// The learning rate.
    step_size: f32,
    /// α.
    keep: f32,
    /// 1 − α.
    mix: f32,
    /// ε.
    epsilon: f32,
    momentum: f32,
    /// 1 / (1 − α^t): how far the mean of squares, which begins at 0, falls short of the squares. The update does not read it.
    correction: f32,
}

impl RmsPropStep {
    /// The update number `t`, counting from 1.
    #[must_use]
    pub fn new([rate, alpha, epsilon, momentum]: [f64; 4], t: u64) -> Self {
        Self {
            step_size: rate as f32,
            keep: alpha as f32,
            mix: (1.0 - alpha) as f32,
            epsilon: epsilon as f32,
            momentum: momentum as f32,
            correction: (1.0 / (1.0 - power(alpha, t))) as f32,
        }
    }

    pub(super) fn args(self) -> OptimizerArgs {
        let Self { step_size, keep, mix, epsilon, momentum, .. } = self;
        OptimizerArgs {
            step_size,
            keep2: keep,
            mix2: mix,
            epsilon,
            momentum,
            ..OptimizerArgs::of(Rule::RmsProp)
        }
    }

    /// One number: v = v·α + g²·(1 − α), m = m·momentum + g / (√v + ε), w −= rate · m.
    #[inline(always)]
    fn update(self, g: f32, m: &mut f32, v: &mut f32, w: &mut f32) {
        *v = *v * self.keep + g * g * self.mix;
        *m = *m * self.momentum + g / (v.sqrt() + self.epsilon);
        *w -= self.step_size * *m;
    }

    pub(super) fn second_moment_correction(self) -> f32 {
        self.correction
    }
}

widest! {
    /// Updates the weights `w`, the mean squares `v` and the last updates `m`, as [`super::OptimizerStep::update`] says.
    pub(super) fn rms_prop<W: Summand>(
        step: RmsPropStep, sum: &[W], scale: [f32; 2], m: &mut [f32], v: &mut [f32], w: &mut [f32],
    ) -> f32 {
        let [unit, clip] = scale;
        let mut largest = 0;
        for (((sum, m), v), w) in sum.iter().zip(m).zip(v).zip(w) {
            step.update(sum.mean(unit) * clip, m, v, w);
            largest = largest.max(v.to_bits());
        }
        f32::from_bits(largest)
    }
}

#[cfg(test)]
mod tests {
    use lsgan_spec::Optimizer;

    use super::super::tests::step;

    /// By hand: v = 0.1·g², so the first step is rate · g / (√0.1·|g|); the second adds half of the first.
    #[test]
    fn the_first_steps_are_those_by_hand() {
        let optimizer = Optimizer::RmsProp { learning_rate: 0.1, alpha: 0.9, epsilon: 1e-8, momentum: 0.5 };
        let (mut m, mut v, mut w) = (vec![0.0; 2], vec![0.0; 2], vec![1.0; 2]);
        let first = 1.0 / 0.1_f32.sqrt();
        step(optimizer, 1).update((&[0.25_f32, -3.0], 1.0, 1.0), [&mut m, &mut v, &mut w]);
        for (w, wanted) in w.iter().zip([1.0 - 0.1 * first, 1.0 + 0.1 * first]) {
            assert!((w - wanted).abs() < 1e-6, "{w} instead of {wanted}");
        }
        step(optimizer, 2).update((&[0.25_f32, -3.0], 1.0, 1.0), [&mut m, &mut v, &mut w]);
        let second = 0.5 * first + 1.0 / 0.19_f32.sqrt();
        assert!((m[0] - second).abs() < 1e-5 && (v[1] - 0.19 * 9.0).abs() < 1e-5, "{m:?} {v:?}");
    }
}
