//! Kernel inception distance: the squared maximum mean discrepancy under the kernel (x·y/d + 1)³; 0 is best, and the
//! estimate, which is unbiased for any number of samples, may lie below.
//!
//! Bińkowski et al., "Demystifying MMD GANs", arXiv 1801.01401. The numbers are those of torch-fidelity on the same
//! features and subsets: the mean and the standard deviation over subsets of both sets.
//!
//! The subsets are a function of the seed: subset s of the real samples is drawn without repetition by ChaCha8 with the seed
//! as its key and the stream 2·s, that of the generated samples with the stream 2·s + 1, by the first steps of a Fisher-Yates
//! shuffle.

use std::num::NonZero;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::blocks;
use crate::linear_algebra::{Columns, Product};
use crate::{MetricError, Set};

/// A sum is taken in so many parts, which the CPU adds at once.
const LANES: usize = 8;

/// Which subsets are compared. The defaults are torch-fidelity's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsets {
    /// How many.
    pub count: usize,
    /// Samples of each; of sets with fewer samples, all.
    pub size: usize,
    /// Decides which samples.
    pub seed: u64,
}

impl Default for Subsets {
    fn default() -> Self {
        Self { count: 100, size: 1000, seed: 2020 }
    }
}

/// Mean and standard deviation of the distance over the subsets; 0 for the latter where both sets are compared as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kid {
    /// The distance.
    pub mean: f64,
    /// How much subsets differ.
    pub deviation: f64,
}

/// The distance over subsets that the seed decides.
///
/// # Errors
/// Sets of other features.
pub fn kid(
    real: &Set,
    generated: &Set,
    subsets: Subsets,
    threads: NonZero<usize>,
) -> Result<Kid, MetricError> {
    let size = subsets.size.min(real.len()).min(generated.len());
    let draw = |subset: usize| {
        let of = |set: &Set, stream: usize| match set.len() == size {
            true => (0..size).collect(),
            false => drawn(subsets.seed, stream as u64, set.len(), size),
        };
        (of(real, 2 * subset), of(generated, 2 * subset + 1))
    };
    let all_are_the_same = size == real.len() && size == generated.len();
    let count = if all_are_the_same { 1 } else { subsets.count };
    of_subsets(real, generated, (count, &draw), threads)
}

/// The distance over given subsets: as many as the number says, each a list of real and of generated samples of one length, at
/// least 2.
///
/// # Errors
/// Sets of other features.
pub fn of_subsets(
    real: &Set,
    generated: &Set,
    (count, subset): (usize, &(dyn Fn(usize) -> (Vec<usize>, Vec<usize>) + Sync)),
    threads: NonZero<usize>,
) -> Result<Kid, MetricError> {
    if real.features() != generated.features() {
        let (real, generated) = (real.features(), generated.features());
        return Err(MetricError::OtherFeatures { real, generated });
    }
    let distances = blocks::map(threads, count, |index| {
        let (of_real, of_generated) = subset(index);
        squared_discrepancy(&chosen(real, &of_real), &chosen(generated, &of_generated), real.features())
    });
    let mean = distances.iter().sum::<f64>() / count as f64;
    let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / count as f64;
    Ok(Kid { mean, deviation: variance.sqrt() })
}

fn chosen(set: &Set, indices: &[usize]) -> Columns {
    Columns::new(set.features(), indices.iter().map(|&index| set.row(index)))
}

/// The unbiased estimate: mean k(x, x') + mean k(y, y') − 2·mean k(x, y), without pairs of a sample and itself.
fn squared_discrepancy(x: &Columns, y: &Columns, features: usize) -> f64 {
    let gamma = 1.0 / features as f64;
    let mut product = Product::new();
    let mut within = |set: &Columns| {
        set.own_products(&mut product);
        // Below the diagonal: each pair once.
        (0..set.len()).map(|sample| kernel_sum(&product.of(sample)[sample + 1..], gamma)).sum::<f64>()
    };
    let pairs = (x.len() * (x.len() - 1)) as f64;
    let own = 2.0 * (within(x) + within(y)) / pairs;
    x.products(0..x.len(), y, &mut product);
    let cross: f64 = (0..x.len()).map(|sample| kernel_sum(product.of(sample), gamma)).sum();
    own - 2.0 * cross / (x.len() * y.len()) as f64
}

/// Σ (gamma·p + 1)³.
fn kernel_sum(products: &[f64], gamma: f64) -> f64 {
    let kernel = |product: f64| (product * gamma + 1.0).powi(3);
    let (chunks, rest) = products.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &product)| *sum += kernel(product));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&product| kernel(product)).sum::<f64>()
}

/// `size` different numbers below `total`.
fn drawn(seed: u64, stream: u64, total: usize, size: usize) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    random.set_stream(stream);
    let mut all: Vec<usize> = (0..total).collect();
    for at in 0..size {
        // The high half of a product: even to 2^-32 for as many samples as a memory holds.
        let left = (total - at) as u128;
        all.swap(at, at + ((u128::from(random.next_u64()) * left) >> 64) as usize);
    }
    all.truncate(size);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_samples_differ_and_are_a_function_of_seed_and_stream() {
        let mut all = drawn(7, 3, 100, 100);
        assert_eq!(drawn(7, 3, 100, 60), all[..60]);
        assert_ne!(drawn(7, 4, 100, 60), all[..60]);
        assert_ne!(drawn(8, 3, 100, 60), all[..60]);
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }
}
