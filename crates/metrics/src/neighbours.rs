//! Distances to neighbours, squared, by |x|² + |y|² − 2·x·y in f64.

use std::num::NonZero;

use crate::blocks;
use crate::linear_algebra::{Columns, Product};
use crate::{MetricError, Set};

/// Samples whose distances to all others are held at once.
const BLOCK: usize = 128;

/// A set prepared for many distances.
pub struct Points {
    columns: Columns,
    squares: Vec<f64>,
}

impl Points {
    /// Distances do not change when all is moved. Around the middle of the real samples the numbers are small, and less is
    /// lost in the difference of squares.
    pub fn around(middle: &[f64], set: &Set) -> Self {
        let columns = Columns::new(set.features(), set.rows()).less(middle);
        let squares = columns.squares();
        Self { columns, squares }
    }

    pub fn len(&self) -> usize {
        self.squares.len()
    }
}

/// Both sets, around the middle of the real one.
///
/// # Errors
/// Sets of other features.
pub fn both(real: &Set, generated: &Set) -> Result<(Points, Points), MetricError> {
    if real.features() != generated.features() {
        let (real, generated) = (real.features(), generated.features());
        return Err(MetricError::OtherFeatures { real, generated });
    }
    let mut middle = vec![0.0; real.features()];
    for row in real.rows() {
        middle.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    middle.iter_mut().for_each(|sum| *sum /= real.len() as f64);
    Ok((Points::around(&middle, real), Points::around(&middle, generated)))
}

/// What `see` makes of each sample of `of` and its squared distances to all of `to`, in the order of `of`.
pub fn distances<T: Send>(
    (of, to): (&Points, &Points),
    threads: NonZero<usize>,
    see: impl Fn(usize, &mut [f64]) -> T + Sync,
) -> Vec<T> {
    let blocks = blocks::map(threads, of.len().div_ceil(BLOCK), |block| {
        let range = blocks::range(block, BLOCK, of.len());
        let mut product = Product::new();
        of.columns.products(range.clone(), &to.columns, &mut product);
        let mut squared = vec![0.0; to.len()];
        let mut seen = Vec::with_capacity(range.len());
        for (within, index) in range.enumerate() {
            for ((out, product), square) in squared.iter_mut().zip(product.of(within)).zip(&to.squares) {
                *out = of.squares[index] + square - 2.0 * product;
            }
            seen.push(see(index, &mut squared));
        }
        seen
    });
    blocks.into_iter().flatten().collect()
}

/// The squared distance of each sample to its `nearest`-th neighbour of the same set. The sample itself is not one.
pub fn radii(points: &Points, nearest: usize, threads: NonZero<usize>) -> Vec<f64> {
    distances((points, points), threads, |index, squared| {
        // Rounding may leave the distance to itself above that to a twin.
        squared[index] = f64::NEG_INFINITY;
        *squared.select_nth_unstable_by(nearest, f64::total_cmp).1
    })
}
