//! Clipping by norm: Pascanu, Mikolov and Bengio 2013, arXiv 1211.5063, algorithm 1, as PyTorch's `clip_grad_norm_` does it.
//!
//! What is clipped is the mean gradient of the global batch, after the sum: the same numbers on all workers. The norm is added
//! up in the order of the parameters, block by block, as a kernel on a CPU does it.

use crate::word::Summand;

/// Added to the norm, as PyTorch does.
pub(crate) const NORM_EPSILON: f64 = 1e-6;

/// What the gradients are multiplied by: min(1, `norm_max` / (norm + 10⁻⁶)).
pub(crate) fn factor(norm_max: f64, square_sum: f64) -> f32 {
    let factor = norm_max / (square_sum.sqrt() + NORM_EPSILON);
    (if factor < 1.0 { factor } else { 1.0 }) as f32
}

/// Σ g² of the mean gradients in a block of parameters, whose words count `unit`s.
pub(crate) fn square_sum<W: Summand>(words: &[W], unit: f32) -> f64 {
    words.iter().fold(0.0, |sum, word| {
        let g = f64::from(word.mean(unit));
        sum + g * g
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gradient_is_scaled_to_the_norm_and_a_short_one_is_left_as_it_is() {
        let g = [3.0_f32, 4.0];
        let squares = square_sum(&g, 1.0);
        assert_eq!(squares, 25.0);
        let clipped = f64::from(factor(2.5, squares)) * 5.0;
        assert!((clipped - 2.5).abs() < 1e-6, "{clipped}");
        assert_eq!((factor(5.0001, squares), factor(1e6, 0.0)), (1.0, 1.0));
    }
}
