//! Spectral normalisation: Miyato et al. 2018, arXiv 1802.05957, algorithm 1, as PyTorch's `spectral_norm` does it.
//!
//! W, as a matrix `[outputs, rest]`, is divided by its largest singular value σ = u'ᵀWv, whose singular vectors power iteration
//! follows from step to step. u is a part of the state, among the running statistics. All virtual ranks start from the same u and
//! the same W, so that all find the same new u; it rides in the sum as batch-norm statistics do, and takes the old one's place.
//! u and v are constants to the gradient.

use tch::{Kind, Tensor};

/// Added to a norm before it divides: PyTorch's default.
const EPSILON: f64 = 1e-12;

/// W / σ after so many power iterations from `u`, f32 `[outputs]`; and the u that they end with.
pub(crate) fn normalised(weight: &Tensor, u: &Tensor, iterations: u32) -> (Tensor, Tensor) {
    let matrix = weight.to_kind(Kind::Float).flatten(1, -1); // [outputs, rest]
    let (u, v) = tch::no_grad(|| {
        let matrix = matrix.detach();
        let (mut u, mut v) = (u.copy(), Tensor::new());
        for _ in 0..iterations {
            v = unit(&matrix.tr().mv(&u)); // Wᵀu
            u = unit(&matrix.mv(&v)); // Wv
        }
        (u, v)
    });
    let sigma = u.dot(&matrix.mv(&v)); // u'ᵀWv
    (weight / sigma.to_kind(weight.kind()), u)
}

fn unit(x: &Tensor) -> Tensor {
    x / x.norm().clamp_min(EPSILON)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn the_largest_singular_value_becomes_1() {
        let weight = (Tensor::arange(6 * 20, (Kind::Float, Device::Cpu)) * 0.7).sin().view([6, 5, 2, 2]);
        let mut u = Tensor::ones([6], (Kind::Float, Device::Cpu));
        for _ in 0..40 {
            (_, u) = normalised(&weight, &u, 2);
        }
        let (normed, _) = normalised(&weight, &u, 1);
        let (_, singular, _) = normed.flatten(1, -1).svd(true, true);
        let largest = singular.double_value(&[0]);
        assert!((largest - 1.0).abs() < 1e-5, "{largest}");
    }
}
