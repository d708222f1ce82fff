//! Adam over flat slices: Kingma and Ba 2015, arXiv 1412.6980, algorithm 1, rounded as PyTorch does it on a CPU.
//!
//! Plain loops that read the gradient right out of the sum: 4 ms where flat tensor operations took 21 ms.

use lsgan_spec::{Half, Optimizer, OptimizersSpec, Reduction};

use crate::kernels::AdamArgs;
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
}

impl AdamStep {
    /// The update number `t`, counting from 1.
    #[must_use]
    pub fn new(optimizer: &Optimizer, t: u64) -> Self {
        let Optimizer::Adam { learning_rate, beta1, beta2, epsilon } = *optimizer;
        Self {
            step_size: (learning_rate / (1.0 - power(beta1, t))) as f32,
            mix1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            mix2: (1.0 - beta2) as f32,
            correction2: (1.0 - power(beta2, t)).sqrt() as f32,
            epsilon: epsilon as f32,
        }
    }

    /// The last update of this half's network, when so many reductions are applied; none before its first.
    #[must_use]
    pub(crate) fn last(optimizers: &OptimizersSpec, half: Half, applied: Reduction) -> Option<Self> {
        let (optimizer, updates) = match half {
            Half::Discriminator => (&optimizers.discriminator, applied.0.div_ceil(2)),
            Half::Generator => (&optimizers.generator, applied.0 / 2),
        };
        (updates > 0).then(|| Self::new(optimizer, updates))
    }

    /// The same for a kernel, which rounds alike.
    pub(crate) fn args(self) -> AdamArgs {
        let Self { step_size, mix1, beta2, mix2, correction2, epsilon } = self;
        AdamArgs { step_size, mix1, beta2, mix2, correction2, epsilon }
    }

    /// One number: m += (g − m)(1 − β1), v = v·β2 + g²·(1 − β2), w −= step_size · m / (√v / correction2 + ε).
    #[inline(always)]
    fn update(self, g: f32, m: &mut f32, v: &mut f32, w: &mut f32) {
        *m += (g - *m) * self.mix1;
        *v = *v * self.beta2 + g * g * self.mix2;
        let root = v.sqrt() / self.correction2 + self.epsilon;
        *w -= self.step_size * (*m / root);
    }

    /// What corrects a second moment for its bias: 1 / (1 − β2^t).
    pub(crate) fn second_moment_correction(self) -> f32 {
        1.0 / (self.correction2 * self.correction2)
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

widest! {
    /// Updates the weights `w` and the moments `m`, `v` by the mean gradients in a sum whose words count `unit`s. Returns the
    /// largest of `v`.
    pub(crate) fn adam<W: Summand>(step: AdamStep, sum: &[W], unit: f32, m: &mut [f32], v: &mut [f32], w: &mut [f32]) -> f32 {
        let mut largest = 0.0_f32;
        for (((sum, m), v), w) in sum.iter().zip(m).zip(v).zip(w) {
            step.update(sum.mean(unit), m, v, w);
            largest = if *v > largest { *v } else { largest };
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word::{Mode, Word, put};

    const ADAM: Optimizer = Optimizer::Adam { learning_rate: 0.1, beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };

    /// By hand: m = 0.5g, v = 0.001g², both corrected to g and g², so the first step is α·g/(|g| + ε).
    #[test]
    fn the_first_step_is_the_learning_rate_against_the_gradients_sign() {
        let (mut m, mut v, mut w) = (vec![0.0; 3], vec![0.0; 3], vec![1.0; 3]);
        adam(AdamStep::new(&ADAM, 1), &[0.25, -3.0, 0.0], 1.0, &mut m, &mut v, &mut w);
        for (w, wanted) in w.iter().zip([0.9, 1.1, 1.0]) {
            assert!((w - wanted).abs() < 1e-6, "{w} instead of {wanted}");
        }
        assert_eq!((m[0], m[1]), (0.125, -1.5));
    }

    #[test]
    fn a_minimum_is_found() {
        let (mut m, mut v, mut w) = (vec![0.0; 1], vec![0.0; 1], vec![4.0]);
        for t in 1..=500 {
            let gradient = [2.0 * (w[0] - 3.0)];
            adam(AdamStep::new(&ADAM, t), &gradient, 1.0, &mut m, &mut v, &mut w);
        }
        assert!((w[0] - 3.0_f32).abs() < 1e-2, "{}", w[0]);
    }

    #[test]
    fn a_fixed_point_sum_and_its_value_give_the_same_bits() {
        let g: Vec<f32> = (0..1000).map(|i| (i as f32 - 500.0) / 4096.0).collect();
        let mut sum = vec![0; g.len()];
        put(&g, i64::factor(1), Mode::Set, &mut sum).expect("in range");
        let run = |exact: bool| {
            let (mut m, mut v, mut w) = (vec![0.1; 1000], vec![0.2; 1000], vec![0.3; 1000]);
            for t in 1..4 {
                let step = AdamStep::new(&ADAM, t);
                if exact {
                    adam(step, &sum, i64::UNIT, &mut m, &mut v, &mut w);
                } else {
                    adam(step, &g, 1.0, &mut m, &mut v, &mut w);
                }
            }
            (m, v, w)
        };
        assert_eq!(run(true), run(false));
    }
}
