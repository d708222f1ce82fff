//! The last bit of `reduction: exact`, chosen for each block of parameters from the state that all workers hold.
//!
//! A virtual rank's number x enters the sum as round(x · 2^k / V), ties to even, computed in f32. Integer addition is
//! associative, so the sum over all V ranks is the same whatever the order and the grouping. For a block whose largest
//! second moment, corrected for its bias (v̂ of Kingma and Ba 2015, algorithm 1), is v̂,
//!
//! ```text
//! k = min(48, 31 − H − n)    with n the smallest whole number for which √v̂ < 2^n
//! ```
//!
//! √v̂ is about the size of a gradient, so that numbers up to 2^H times that size fit into 32 bits, and the last bit is 2^−25
//! of it or finer. A number that does not fit travels in 64 bits, with the same last bit: **the container never changes a
//! bit of the sum**. docs/exact-sum.md tells it to users.

use std::ops::Range;

use crate::flat::Layout;

/// The most parameters that share a last bit.
pub(crate) const BLOCK: usize = 1024;
/// H: how many times larger than usual, as a power of two, a gradient may be in 32 bits.
pub(crate) const HEADROOM_BITS: i32 = 6;
/// The finest last bit is 2^−48, as that of `exact64`.
pub(crate) const FINEST: i32 = 48;
/// All that fits is below 2^31 · (1 − 2^−19): V ≤ 4096 shares, each rounded, then stay below 2^31 together.
const FITS: f32 = 1.0 - 1.0 / (1 << 19) as f32;

/// 2^k for −126 ≤ k ≤ 127.
pub(crate) fn power_of_two(k: i32) -> f32 {
    f32::from_bits(((k + 127) as u32) << 23)
}

/// k for a block whose largest v̂ is this one.
pub(crate) fn exponent(largest: f32) -> i32 {
    // ⌊log₂ v̂⌋, and something small for 0.
    let log2 = (largest.to_bits() >> 23) as i32 - 127;
    let n = log2.div_euclid(2) + 1;
    FINEST.min(31 - HEADROOM_BITS - n)
}

/// The largest number of a virtual rank that fits into 32 bits.
pub(crate) fn limit(k: i32) -> f32 {
    power_of_two(31 - k) * FITS
}

/// What a virtual rank's numbers are multiplied by.
pub(crate) fn factor(k: i32, virtual_ranks: u32) -> f32 {
    power_of_two(k) / virtual_ranks as f32
}

/// Blocks of a network's flat parameters. None reaches over the end of a tensor: tensors differ in size.
pub(crate) fn blocks(parameters: &Layout) -> impl Iterator<Item = Range<usize>> {
    parameters.entries().iter().flat_map(|entry| {
        let all = entry.range();
        all.clone().step_by(BLOCK).map(move |start| start..(start + BLOCK).min(all.end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_up_to_64_times_the_usual_size_fit_and_the_last_bit_is_fine() {
        for root in [1e-9_f32, 3e-6, 0.001, 0.249, 0.25, 0.7, 1.0, 1.5, 100.0, 1e6] {
            let k = exponent(root * root);
            assert!(limit(k) >= 63.9 * root || k == FINEST, "{root}: {k}");
            assert!(power_of_two(-k) <= root * 2_f32.powi(-24) || k == FINEST, "{root}: {k}");
        }
        assert_eq!([0.0, f32::MIN_POSITIVE / 2.0, 1e-30].map(exponent), [FINEST; 3]);
    }

    #[test]
    fn the_shares_of_all_ranks_fit_together() {
        for virtual_ranks in [1, 2, 3, 7, 1000, 4095, 4096] {
            for k in [-20, 0, 25, FINEST] {
                let share = (limit(k) * factor(k, virtual_ranks)).round_ties_even();
                let sum = share as i64 * i64::from(virtual_ranks);
                assert!(sum < 1 << 31, "{virtual_ranks} ranks at 2^-{k}: {sum}");
            }
        }
    }

    #[test]
    fn a_block_is_part_of_one_tensor() {
        let sizes = [("a", vec![3]), ("b", vec![5, 500]), ("c", vec![1024]), ("d", vec![2, 2, 3, 3])];
        let layout = Layout::new(sizes.map(|(name, shape)| (name.to_owned(), shape))).expect("unique");
        let blocks: Vec<_> = blocks(&layout).collect();
        let lens: Vec<_> = blocks.iter().map(Range::len).collect();
        assert_eq!(lens, [3, 1024, 1024, 452, 1024, 36]);
        assert_eq!((blocks[1].start, blocks[4].start), (16, layout.entries()[2].offset));
    }
}
