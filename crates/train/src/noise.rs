//! Random numbers as pure functions: of (seed, parameter name) for weights, of (seed, step, virtual rank) for
//! latent noise.
//!
//! A stream is ChaCha8 whose key is a BLAKE3 derivation of what the numbers are for, made on the host, so that
//! it is the same for every device. Logarithms and sines have the bits of the `libm` crate, not of the system's C
//! library, whose last bits differ between versions.

use lsgan_spec::{Latent, Step, VirtualRank};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::normal::{PAIRS, box_muller};

/// The source of z. A run's own is [`SeededLatent`]; tests have recorded ones.
pub trait LatentSource: Send + Sync {
    /// Fills `out` (`per_rank` rows of one z each) for a virtual rank at a step.
    fn fill(&self, step: Step, virtual_rank: VirtualRank, out: &mut [f32]);

    /// Fills `out` with numbers uniform on 0..1, without 1, for what else is drawn ([`crate::draws`]).
    fn fill_draws(&self, step: Step, virtual_rank: VirtualRank, out: &mut [f32]);

    /// Fills `out` with the classes of the fakes, of so many: whole numbers.
    fn fill_classes(&self, step: Step, virtual_rank: VirtualRank, count: u32, out: &mut [f32]);
}

/// Latent noise as a pure function of (seed, step, virtual rank).
#[derive(Clone, Copy, Debug)]
pub struct SeededLatent {
    pub seed: u64,
    pub latent: Latent,
}

impl LatentSource for SeededLatent {
    fn fill(&self, step: Step, virtual_rank: VirtualRank, out: &mut [f32]) {
        Stream::of_latent(self.seed, step, virtual_rank).fill(self.latent, out);
    }

    fn fill_draws(&self, step: Step, virtual_rank: VirtualRank, out: &mut [f32]) {
        Stream::of_draws(self.seed, step, virtual_rank).fill_unit(out);
    }

    fn fill_classes(&self, step: Step, virtual_rank: VirtualRank, count: u32, out: &mut [f32]) {
        Stream::of_classes(self.seed, step, virtual_rank).fill_unit(out);
        // Below 1 by 2^-24 at least, so that with at most 2^12 classes no product is rounded up to `count`.
        out.iter_mut().for_each(|x| *x = (*x * count as f32).floor());
    }
}

/// One endless sequence of random numbers.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream that a parameter's initial values come from.
    #[must_use]
    pub fn of_parameter(seed: u64, network: &str, name: &str) -> Self {
        Self::keyed(
            "lsgan 2025 initial weights",
            &[&seed.to_le_bytes(), network.as_bytes(), b"/", name.as_bytes()],
        )
    }

    /// The stream that z of a virtual rank at a step comes from.
    #[must_use]
    pub fn of_latent(seed: u64, step: Step, virtual_rank: VirtualRank) -> Self {
        let (step, rank) = (step.0.to_le_bytes(), virtual_rank.0.to_le_bytes());
        Self::keyed("lsgan 2025 latent noise", &[&seed.to_le_bytes(), &step, &rank])
    }

    /// The stream that augmentations and mixtures of a virtual rank at a step come from.
    #[must_use]
    pub fn of_draws(seed: u64, step: Step, virtual_rank: VirtualRank) -> Self {
        let (step, rank) = (step.0.to_le_bytes(), virtual_rank.0.to_le_bytes());
        Self::keyed("lsgan 2026 augmentations and mixtures", &[&seed.to_le_bytes(), &step, &rank])
    }

    /// The stream that the classes of a virtual rank's fakes at a step come from.
    #[must_use]
    pub fn of_classes(seed: u64, step: Step, virtual_rank: VirtualRank) -> Self {
        let (step, rank) = (step.0.to_le_bytes(), virtual_rank.0.to_le_bytes());
        Self::keyed("lsgan 2026 classes of fakes", &[&seed.to_le_bytes(), &step, &rank])
    }

    /// The stream that the fixed z of the sample pictures comes from.
    #[must_use]
    pub fn of_samples(seed: u64) -> Self {
        Self::keyed("lsgan 2025 sample pictures", &[&seed.to_le_bytes()])
    }

    fn keyed(purpose: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        parts.iter().for_each(|part| {
            hasher.update(part);
        });
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// Fills `out` from the latent distribution.
    pub fn fill(&mut self, latent: Latent, out: &mut [f32]) {
        match latent {
            Latent::Normal(_) => self.fill_normal(out),
            Latent::Uniform(_) => self.fill_uniform(out),
        }
    }

    /// Fills `out` from the latent distribution as far as it lies within ± `limit`: numbers beyond it are drawn again.
    ///
    /// # Panics
    /// Where `limit` is so small that hardly a number lies within it.
    pub fn fill_within(&mut self, latent: Latent, limit: f32, out: &mut [f32]) {
        assert!(limit >= 1e-3, "a limit of {limit} would take for ever");
        let mut drawn = [0.0; 2 * PAIRS];
        let mut places = out.iter_mut();
        loop {
            self.fill(latent, &mut drawn);
            for x in drawn.iter().filter(|x| x.abs() <= limit) {
                match places.next() {
                    Some(place) => *place = *x,
                    None => return,
                }
            }
        }
    }

    /// Fills `out` with N(0, 1) by Box and Muller 1958: √(−2 ln u)·(cos 2πv, sin 2πv), two at a time.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        let (mut u, mut v, mut bits) = ([0.0; PAIRS], [0.0; PAIRS], [[0; 8]; PAIRS]);
        for out in out.chunks_mut(2 * PAIRS) {
            let pairs = out.len().div_ceil(2);
            self.0.fill_bytes(bits[..pairs].as_flattened_mut());
            for ((u, v), bits) in u.iter_mut().zip(&mut v).zip(&bits[..pairs]) {
                let bits = u64::from_le_bytes(*bits);
                let (of_u, of_v) = (bits as u32, (bits >> 32) as u32);
                // u in (0, 1], so that its logarithm is finite; at 2^-32 that reaches 6.66 standard deviations.
                *u = (f64::from(of_u) + 1.0) * 2f64.powi(-32);
                *v = f64::from(of_v) * 2f64.powi(-32);
            }
            box_muller(&u[..pairs], &v[..pairs], out);
        }
    }

    /// Fills `out` with numbers uniform on 0..1, without 1: the 2^24 multiples of 2^-24, evenly.
    pub fn fill_unit(&mut self, out: &mut [f32]) {
        for x in out {
            *x = (self.0.next_u32() >> 8) as f32 * 2f32.powi(-24);
        }
    }

    /// Fills `out` with numbers uniform on −1..1: the 2^24 odd multiples of 2^-24, evenly.
    pub fn fill_uniform(&mut self, out: &mut [f32]) {
        for x in out {
            let k = (self.0.next_u32() >> 8) as i32;
            *x = (2 * k + 1 - (1 << 24)) as f32 * 2f32.powi(-24);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(latent: Latent, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; count];
        SeededLatent { seed: 7, latent }.fill(Step(3), VirtualRank(2), &mut out);
        out
    }

    fn moments(x: &[f32]) -> (f64, f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let central = |k| x.iter().map(|&x| (f64::from(x) - mean).powi(k)).sum::<f64>() / n;
        (mean, central(2), central(4) / central(2).powi(2))
    }

    #[test]
    fn normal_noise_has_the_moments_of_a_normal_distribution() {
        let (mean, variance, kurtosis) = moments(&drawn(Latent::Normal(1), 1 << 18));
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01 && (kurtosis - 3.0).abs() < 0.05);
    }

    #[test]
    fn every_class_is_drawn_about_as_often_as_the_others() {
        let mut out = vec![0.0; 10_000];
        let source = SeededLatent { seed: 7, latent: Latent::Normal(1) };
        source.fill_classes(Step(3), VirtualRank(2), 10, &mut out);
        for class in 0..10 {
            let found = out.iter().filter(|&&x| x == class as f32).count();
            assert!((900..1100).contains(&found), "class {class} comes {found} times");
        }
    }

    #[test]
    fn truncated_noise_is_the_same_without_what_lies_beyond() {
        let stream = || Stream::of_samples(5);
        for latent in [Latent::Normal(1), Latent::Uniform(1)] {
            let (mut all, mut within) = (vec![0.0; 4096], vec![0.0; 1000]);
            stream().fill(latent, &mut all);
            stream().fill_within(latent, 0.7, &mut within);
            let wanted: Vec<f32> = all.into_iter().filter(|x| x.abs() <= 0.7).take(1000).collect();
            assert_eq!(within, wanted);
        }
    }

    #[test]
    fn uniform_noise_has_the_moments_of_a_uniform_distribution_and_stays_inside() {
        let x = drawn(Latent::Uniform(1), 1 << 18);
        let (mean, variance, kurtosis) = moments(&x);
        assert!(mean.abs() < 0.01 && (variance - 1.0 / 3.0).abs() < 0.01 && (kurtosis - 1.8).abs() < 0.05);
        assert!(x.iter().all(|x| x.abs() < 1.0));
    }

    #[test]
    fn noise_differs_between_seeds_steps_and_ranks_and_is_repeated_for_the_same() {
        let of = |seed, step, rank| {
            let mut out = [0.0; 4];
            SeededLatent { seed, latent: Latent::Normal(4) }.fill(Step(step), VirtualRank(rank), &mut out);
            out
        };
        let reference = of(1, 2, 3);
        assert_eq!(reference, of(1, 2, 3));
        for other in [of(2, 2, 3), of(1, 3, 3), of(1, 2, 4), of(1, 3, 2)] {
            assert_ne!(reference, other);
        }
    }

    /// These numbers are the promise: a run of an older build goes on with the same noise.
    #[test]
    fn noise_never_changes_between_versions() {
        let x = drawn(Latent::Normal(1), 1000);
        let hash = blake3::hash(&x.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect::<Vec<_>>());
        assert_eq!(
            hash.to_hex().as_str(),
            "19e7b78c7e6c21e365d2aec200b3aa8f5850f0124eca4ef6e337df6621c2a212"
        );
    }
}
