//! Adam: Kingma and Ba 2015, arXiv 1412.6980, algorithm 1; with decay of the weights AdamW: Loshchilov and Hutter 2019, arXiv
//! 1711.05101, algorithm 2. Rounded as PyTorch does it on a CPU.

use super::power;
use crate::kernels::{OptimizerArgs, Rule};
use crate::widest::widest;
use crate::word::Summand;

/// The numbers of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// α / (1 − β1^t).
    step_size: f32,
    /// 1 − β1.
    mix1: f32,
    /// β2.
    beta2: f32,
    /// 1 − β2.
    mix2: f32,
    /// √(1 − β2^t).
    correction2: f32,
    /// ε.
    epsilon: f32,
    /// 1 − α·λ, which is exactly 1 where weights do not decay.
    kept: f32,
}

impl AdamStep {
    /// The update number `t`, counting from 1, with λ = `weight_decay`.
    #[must_use]
    pub fn new([rate, beta1, beta2, epsilon]: [f64; 4], weight_decay: f64, t: u64) -> Self {
        Self {
            step_size: (rate / (1.0 - power(beta1, t))) as f32,
            mix1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            mix2: (1.0 - beta2) as f32,
            correction2: (1.0 - power(beta2, t)).sqrt() as f32,
            epsilon: epsilon as f32,
            kept: (1.0 - rate * weight_decay) as f32,
        }
    }

    pub(super) fn args(self) -> OptimizerArgs {
        let Self { step_size, mix1, beta2, mix2, correction2, epsilon, kept } = self;
        OptimizerArgs {
            step_size,
            mix1,
            keep2: beta2,
            mix2,
            correction2,
            epsilon,
            kept,
            ..OptimizerArgs::of(Rule::Adam)
        }
    }

    /// One number: m += (g − m)(1 − β1), v = v·β2 + g²·(1 − β2), w = w·kept − step_size · m / (√v / correction2 + ε).
    #[inline(always)]
    fn update(self, g: f32, m: &mut f32, v: &mut f32, w: &mut f32) {
        *m += (g - *m) * self.mix1;
        *v = *v * self.beta2 + g * g * self.mix2;
        let root = v.sqrt() / self.correction2 + self.epsilon;
        *w = *w * self.kept - self.step_size * (*m / root);
    }

    pub(super) fn second_moment_correction(self) -> f32 {
        1.0 / (self.correction2 * self.correction2)
    }
}

widest! {
    /// Updates the weights `w` and the moments `m`, `v`, as [`super::OptimizerStep::update`] says.
    pub(super) fn adam<W: Summand>(
        step: AdamStep, sum: &[W], scale: [f32; 2], m: &mut [f32], v: &mut [f32], w: &mut [f32],
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

    use super::super::tests::{ADAM, step};

    /// By hand: m = 0.5g, v = 0.001g², both corrected to g and g², so the first step is α·g/(|g| + ε).
    #[test]
    fn the_first_step_is_the_learning_rate_against_the_gradients_sign() {
        let adam_w = Optimizer::AdamW {
            learning_rate: 0.1,
            beta1: 0.5,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.2,
        };
        for (optimizer, kept) in [(ADAM, 1.0), (adam_w, 0.98)] {
            let (mut m, mut v, mut w) = (vec![0.0; 3], vec![0.0; 3], vec![1.0; 3]);
            step(optimizer, 1).update((&[0.25_f32, -3.0, 0.0], 1.0, 1.0), [&mut m, &mut v, &mut w]);
            for (w, wanted) in w.iter().zip([kept - 0.1, kept + 0.1, kept]) {
                assert!((w - wanted).abs() < 1e-6, "{w} instead of {wanted}");
            }
            assert_eq!((m[0], m[1]), (0.125, -1.5));
        }
    }
}
