//! `FixedSum`: gradients as 64-bit fixed point, so that a sum does not depend on its order.
//!
//! A virtual rank's number x enters the sum as round(x · 2^48 / V), ties to even, computed in f64. The sum over
//! all V ranks is then the mean over them in units of 2^-48 (3.6e-15), whatever the order and the grouping.
//! |x| may reach [`LIMIT`] = 2^14; then V ranks stay below 2^62 together, and the sum cannot wrap. A number
//! beyond it, or one that is not finite, is reported instead of being added.

use crate::error::Blame;
use crate::widest::widest;

/// Units in 1: 2^48.
pub const SCALE: f64 = (1_u64 << 48) as f64;
/// The largest magnitude that a virtual rank may add: 2^14.
pub const LIMIT: f32 = 16384.0;

/// Numbers that are checked, then converted, while they lie in the first-level cache.
const BLOCK: usize = 2048;

/// Whether a contribution replaces what is in the sum, or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first of a sum.
    Set,
    /// Any other.
    Add,
}

/// The factor that a virtual rank's numbers are multiplied by: 2^48 / V.
#[must_use]
pub fn factor(virtual_ranks: u32) -> f64 {
    SCALE / f64::from(virtual_ranks)
}

/// Puts round(x · factor) for every x into `sum`, or says what is wrong with the numbers.
pub fn accumulate(x: &[f32], factor: f64, place: Place, sum: &mut [i64]) -> Result<(), Blame> {
    assert_eq!(x.len(), sum.len(), "a sum is as long as its contributions");
    let mut worst = 0;
    for (x, sum) in x.chunks(BLOCK).zip(sum.chunks_mut(BLOCK)) {
        let magnitude = largest_magnitude(x);
        worst = worst.max(magnitude);
        if magnitude <= LIMIT.to_bits() {
            match place {
                Place::Set => set(x, factor, sum),
                Place::Add => add(x, factor, sum),
            }
        }
    }
    verdict(worst)
}

/// What the largest magnitude of a contribution, as bits, says about it.
pub fn verdict(magnitude_bits: u32) -> Result<(), Blame> {
    if magnitude_bits >= f32::INFINITY.to_bits() {
        Err(Blame::NotFinite)
    } else if magnitude_bits > LIMIT.to_bits() {
        Err(Blame::OutOfRange)
    } else {
        Ok(())
    }
}

/// A sum's number as f32: the mean over the virtual ranks. Exact up to 2^53, then rounded twice, always alike.
#[inline(always)]
#[must_use]
pub fn to_f32(sum: i64) -> f32 {
    (sum as f64 * (1.0 / SCALE)) as f32
}

widest! {
    /// The bits of the largest magnitude. Floats without a sign order like their bits, infinities and NaNs last.
    pub fn largest_magnitude(x: &[f32]) -> u32 {
        x.iter().fold(0, |worst, x| worst.max(x.to_bits() & 0x7fff_ffff))
    }
}

widest! {
    fn set(x: &[f32], factor: f64, sum: &mut [i64]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum = fixed(*x, factor);
        }
    }
}

widest! {
    fn add(x: &[f32], factor: f64, sum: &mut [i64]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum = sum.wrapping_add(fixed(*x, factor));
        }
    }
}

#[inline(always)]
fn fixed(x: f32, factor: f64) -> i64 {
    let scaled = (f64::from(x) * factor).round_ties_even();
    // SAFETY: |x| ≤ 2^14 was checked for the whole block, so |scaled| ≤ 2^62.
    unsafe { scaled.to_int_unchecked() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudo_random(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        (0..count)
            .map(|_| (next() as f32 / 2f32.powi(30) - 1.0) * 2f32.powi((next() % 40) as i32 - 30))
            .collect()
    }

    #[test]
    fn every_order_and_grouping_gives_the_same_sum() {
        let ranks: Vec<_> = (0..7).map(|rank| pseudo_random(5000, rank)).collect();
        let sum_of = |order: &[usize]| {
            let mut sum = vec![0; 5000];
            for &rank in order {
                accumulate(&ranks[rank], factor(7), Place::Add, &mut sum).expect("in range");
            }
            sum
        };
        let reference = sum_of(&[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(reference, sum_of(&[6, 2, 0, 5, 1, 4, 3]));
        let grouped: Vec<i64> =
            sum_of(&[1, 5]).iter().zip(sum_of(&[0, 2, 3, 4, 6])).map(|(a, b)| a + b).collect();
        assert_eq!(reference, grouped);
    }

    #[test]
    fn the_sum_is_the_mean_over_the_virtual_ranks() {
        let ranks: Vec<_> = (0..4).map(|rank| pseudo_random(3000, rank + 10)).collect();
        let mut sum = vec![0; 3000];
        for (index, rank) in ranks.iter().enumerate() {
            let place = if index == 0 { Place::Set } else { Place::Add };
            accumulate(rank, factor(4), place, &mut sum).expect("in range");
        }
        for i in 0..3000 {
            let mean = ranks.iter().map(|rank| f64::from(rank[i])).sum::<f64>() / 4.0;
            let error = (f64::from(to_f32(sum[i])) - mean).abs();
            assert!(error <= mean.abs() * 1e-7 + 1e-14, "{i}: {} instead of {mean}", to_f32(sum[i]));
        }
    }

    #[test]
    fn the_widest_vectors_and_single_numbers_give_the_same_bits() {
        let x = pseudo_random(10_001, 99);
        for ranks in [1, 3, 4, 4096] {
            let mut sum = vec![5; x.len()];
            accumulate(&x, factor(ranks), Place::Add, &mut sum).expect("in range");
            for (x, sum) in x.iter().zip(&sum) {
                let exact = std::hint::black_box(f64::from(*x) * factor(ranks)).round_ties_even() as i64;
                assert_eq!(*sum, 5 + exact);
            }
        }
    }

    #[test]
    fn all_ranks_at_the_limit_do_not_wrap() {
        for (ranks, sign) in [(1, 1.0), (3, -1.0), (4096, 1.0), (4095, -1.0)] {
            let mut sum = vec![0];
            for _ in 0..ranks {
                accumulate(&[sign * LIMIT], factor(ranks), Place::Add, &mut sum)
                    .expect("the limit is inside");
            }
            assert_eq!(to_f32(sum[0]), sign * LIMIT);
        }
    }

    #[test]
    fn a_number_beyond_the_range_is_reported_wherever_it_stands() {
        for (bad, blame) in [
            (LIMIT.next_up(), Blame::OutOfRange),
            (-1e20, Blame::OutOfRange),
            (f32::NAN, Blame::NotFinite),
            (-f32::NAN, Blame::NotFinite),
            (f32::INFINITY, Blame::NotFinite),
            (f32::NEG_INFINITY, Blame::NotFinite),
        ] {
            for at in [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 6] {
                let mut x = vec![1.0; 2 * BLOCK + 7];
                x[at] = bad;
                let mut sum = vec![0; x.len()];
                assert_eq!(accumulate(&x, factor(2), Place::Add, &mut sum), Err(blame), "{bad} at {at}");
            }
        }
    }
}
