//! The words of a sum.
//!
//! **Fixed**, i64: a virtual rank's number x enters the sum as round(x · 2^48 / V), ties to even, computed in f64. Integer
//! addition is associative, so the sum over all V ranks is the same whatever the order and the grouping: their mean in
//! units of 2^-48 (3.6e-15). |x| may reach 2^14; then V ranks stay below 2^62 together, and the sum cannot wrap. Gradients
//! of `reduction: exact64` are such words, and the batch-norm statistics of `exact`.
//! **Scaled**, i32 or i64: the same with a last bit for each block of parameters, see [`crate::scale`]. Gradients of
//! `reduction: exact`.
//! **Fast**, f32: x enters as x · (1 / V). The sum depends on the order of additions.
//!
//! A number that is beyond the range, or not finite, is reported instead of being added.

use tch::kind::Element;

use crate::error::Blame;
use crate::widest::widest;

/// Units in 1: 2^48.
const SCALE: f64 = (1_u64 << 48) as f64;

/// Metrics are summed at 2^24, so that |x| may reach 2^38; they are clamped there, for they decide nothing.
const METRIC_SCALE: f64 = (1_u64 << 24) as f64;
const METRIC_LIMIT: f64 = (1_u64 << 38) as f64;

/// Numbers that are checked, then converted, while they lie in the first-level cache.
const BLOCK: usize = 2048;

/// Words of a sum, for a collective to add up: one call each.
#[derive(Debug)]
pub enum Words {
    /// 64 bits of fixed point, on the host, in place.
    Wide(Vec<i64>),
    /// 32 bits of fixed point, on the host.
    Narrow {
        /// This worker's; they stay as they are.
        own: Vec<i32>,
        /// As many words for the sum over all workers.
        sum: Vec<i32>,
    },
    /// f32, on the host, in place.
    Fast(Vec<f32>),
    /// In a GPU's memory, in place.
    Device(DeviceWords),
}

/// Where the words of a sum lie in a GPU's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceWords {
    /// The first word. Valid until the replica is dropped.
    pub start: *mut std::ffi::c_void,
    /// Number of words.
    pub count: usize,
    pub kind: DeviceWordKind,
}

/// What is summed in a GPU's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceWordKind {
    /// 64 bits of fixed point.
    Wide,
    /// 32 bits of fixed point.
    Narrow,
    /// f32.
    Fast,
}

// SAFETY: it is an address. To read or write there is unsafe, wherever it is done.
unsafe impl Send for DeviceWords {}

/// A word of a sum.
pub(crate) trait Summand: Copy + Default {
    fn plus(self, other: Self) -> Self;
    /// The mean over the virtual ranks, of a word that counts `unit`s.
    fn mean(self, unit: f32) -> f32;
}

impl Summand for i64 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    /// Exact up to 2^53, then rounded twice, always alike.
    #[inline(always)]
    fn mean(self, unit: f32) -> f32 {
        (self as f64 * f64::from(unit)) as f32
    }
}

impl Summand for i32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    /// Rounds as the same number in an i64 does, since units are powers of two.
    #[inline(always)]
    fn mean(self, unit: f32) -> f32 {
        self as f32 * unit
    }
}

impl Summand for f32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn mean(self, _unit: f32) -> f32 {
        self
    }
}

/// A word with a last bit of its block: [`crate::scale`].
pub(crate) trait Scaled: Summand {
    /// A virtual rank's number, which fits.
    fn of(x: f32, factor: f32) -> Self;
}

impl Scaled for i32 {
    #[inline(always)]
    fn of(x: f32, factor: f32) -> Self {
        // SAFETY: |x| ≤ scale::limit, as the caller has checked, so it is below 2^31.
        unsafe { (x * factor).round_ties_even().to_int_unchecked() }
    }
}

impl Scaled for i64 {
    #[inline(always)]
    fn of(x: f32, factor: f32) -> Self {
        // SAFETY: |x| ≤ 2^14 and factor ≤ 2^48, as the caller has checked, so it is at most 2^62.
        unsafe { (x * factor).round_ties_even().to_int_unchecked() }
    }
}

/// One word of a sum that has the same last bit everywhere.
pub(crate) trait Word: Summand + Element + Send + 'static {
    /// What a virtual rank's numbers are multiplied by.
    type Factor: Copy + Into<f64>;
    /// The largest magnitude that a virtual rank may add.
    const LIMIT: f32;
    /// What [`Summand::mean`] is told.
    const UNIT: f32;
    /// As a device has it.
    const IN_A_DEVICE: DeviceWordKind;

    fn factor(virtual_ranks: u32) -> Self::Factor;
    /// A virtual rank's number, at most [`Self::LIMIT`] in magnitude.
    fn of(x: f32, factor: Self::Factor) -> Self;

    /// Marks and control words of the header.
    fn of_count(count: i64) -> Self;
    fn count(self) -> i64;

    /// A virtual rank's share in a metric's mean.
    fn of_metric(share: f64) -> Self;
    fn metric(self) -> f64;

    /// For a collective, and back.
    fn into_words(words: Vec<Self>) -> Words;
    fn from_words(words: Words) -> Vec<Self>;
}

impl Word for i64 {
    type Factor = f64;
    const LIMIT: f32 = 16384.0; // 2^14
    const UNIT: f32 = (1.0 / SCALE) as f32;
    const IN_A_DEVICE: DeviceWordKind = DeviceWordKind::Wide;

    fn factor(virtual_ranks: u32) -> f64 {
        SCALE / f64::from(virtual_ranks)
    }

    #[inline(always)]
    fn of(x: f32, factor: f64) -> Self {
        let scaled = (f64::from(x) * factor).round_ties_even();
        // SAFETY: |x| ≤ 2^14, as the caller has checked, so |scaled| ≤ 2^62.
        unsafe { scaled.to_int_unchecked() }
    }

    fn of_count(count: i64) -> Self {
        count
    }

    fn count(self) -> i64 {
        self
    }

    fn of_metric(share: f64) -> Self {
        (share.clamp(-METRIC_LIMIT, METRIC_LIMIT) * METRIC_SCALE).round_ties_even() as i64
    }

    fn metric(self) -> f64 {
        self as f64 / METRIC_SCALE
    }

    fn into_words(words: Vec<Self>) -> Words {
        Words::Wide(words)
    }

    fn from_words(words: Words) -> Vec<Self> {
        let Words::Wide(words) = words else { panic!("words come back as they were taken") };
        words
    }
}

impl Word for f32 {
    type Factor = f32;
    const LIMIT: f32 = f32::MAX;
    const UNIT: f32 = 1.0;
    const IN_A_DEVICE: DeviceWordKind = DeviceWordKind::Fast;

    fn factor(virtual_ranks: u32) -> f32 {
        1.0 / virtual_ranks as f32
    }

    #[inline(always)]
    fn of(x: f32, factor: f32) -> Self {
        x * factor
    }

    fn of_count(count: i64) -> Self {
        count as f32
    }

    fn count(self) -> i64 {
        self as i64
    }

    fn of_metric(share: f64) -> Self {
        share as f32
    }

    fn metric(self) -> f64 {
        f64::from(self)
    }

    fn into_words(words: Vec<Self>) -> Words {
        Words::Fast(words)
    }

    fn from_words(words: Words) -> Vec<Self> {
        let Words::Fast(words) = words else { panic!("words come back as they were taken") };
        words
    }
}

/// Whether a contribution replaces what is in the sum, or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The first of a sum.
    Set,
    /// Any other.
    Add,
}

/// Puts a virtual rank's numbers into `sum`, or says what is wrong with them.
pub(crate) fn put<W: Word>(x: &[f32], factor: W::Factor, mode: Mode, sum: &mut [W]) -> Result<(), Blame> {
    assert_eq!(x.len(), sum.len(), "a sum is as long as its contributions");
    let mut worst = 0;
    for (x, sum) in x.chunks(BLOCK).zip(sum.chunks_mut(BLOCK)) {
        let magnitude = largest_magnitude(x);
        worst = worst.max(magnitude);
        if magnitude <= W::LIMIT.to_bits() {
            match mode {
                Mode::Set => set(x, factor, sum),
                Mode::Add => add(x, factor, sum),
            }
        }
    }
    within(worst, W::LIMIT)
}

/// Says what is wrong with numbers whose largest magnitude has these bits.
pub(crate) fn within(worst: u32, limit: f32) -> Result<(), Blame> {
    if worst >= f32::INFINITY.to_bits() {
        Err(Blame::NotFinite)
    } else if worst > limit.to_bits() {
        Err(Blame::OutOfRange)
    } else {
        Ok(())
    }
}

widest! {
    /// The bits of the largest magnitude. Floats without a sign order like their bits, infinities and NaNs last.
    pub(crate) fn largest_magnitude(x: &[f32]) -> u32 {
        x.iter().fold(0, |worst, x| worst.max(x.to_bits() & 0x7fff_ffff))
    }
}

widest! {
    fn set<W: Word>(x: &[f32], factor: W::Factor, sum: &mut [W]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum = W::of(*x, factor);
        }
    }
}

widest! {
    fn add<W: Word>(x: &[f32], factor: W::Factor, sum: &mut [W]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum = sum.plus(W::of(*x, factor));
        }
    }
}

/// Puts a block of a virtual rank's numbers, which fit, into `sum`.
pub(crate) fn put_scaled<W: Scaled>(x: &[f32], factor: f32, mode: Mode, sum: &mut [W]) {
    assert_eq!(x.len(), sum.len(), "a sum is as long as its contributions");
    match mode {
        Mode::Set => set_scaled(x, factor, sum),
        Mode::Add => add_scaled(x, factor, sum),
    }
}

widest! {
    fn set_scaled<W: Scaled>(x: &[f32], factor: f32, sum: &mut [W]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum = W::of(*x, factor);
        }
    }
}

widest! {
    fn add_scaled<W: Scaled>(x: &[f32], factor: f32, sum: &mut [W]) {
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum = sum.plus(W::of(*x, factor));
        }
    }
}

/// Partial sums that the compiler may hold in one register; their number fixes the order of additions.
const PARTIAL_SUMS: usize = 8;

widest! {
    /// Σ g² of mean gradients.
    pub(crate) fn square_sum<W: Summand>(words: &[W], unit: f32) -> f64 {
        let mut partial = [0.0_f64; PARTIAL_SUMS];
        for chunk in words.chunks(PARTIAL_SUMS) {
            for (partial, word) in partial.iter_mut().zip(chunk) {
                let g = f64::from(word.mean(unit));
                *partial += g * g;
            }
        }
        partial.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: f32 = i64::LIMIT;
    const UNIT: f32 = i64::UNIT;

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
                put(&ranks[rank], i64::factor(7), Mode::Add, &mut sum).expect("in range");
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
            let mode = if index == 0 { Mode::Set } else { Mode::Add };
            put(rank, i64::factor(4), mode, &mut sum).expect("in range");
        }
        for i in 0..3000 {
            let mean = ranks.iter().map(|rank| f64::from(rank[i])).sum::<f64>() / 4.0;
            let error = (f64::from(sum[i].mean(UNIT)) - mean).abs();
            assert!(error <= mean.abs() * 1e-7 + 1e-14, "{i}: {} instead of {mean}", sum[i].mean(UNIT));
        }
    }

    #[test]
    fn the_widest_vectors_and_single_numbers_give_the_same_bits() {
        let x = pseudo_random(10_001, 99);
        for ranks in [1, 3, 4, 4096] {
            let mut sum = vec![5; x.len()];
            put(&x, i64::factor(ranks), Mode::Add, &mut sum).expect("in range");
            for (x, sum) in x.iter().zip(&sum) {
                let exact = std::hint::black_box(f64::from(*x) * i64::factor(ranks)).round_ties_even() as i64;
                assert_eq!(*sum, 5 + exact);
            }
        }
    }

    #[test]
    fn all_ranks_at_the_limit_do_not_wrap() {
        for (ranks, sign) in [(1, 1.0), (3, -1.0), (4096, 1.0), (4095, -1.0)] {
            let mut sum = vec![0];
            for _ in 0..ranks {
                put(&[sign * LIMIT], i64::factor(ranks), Mode::Add, &mut sum).expect("the limit is inside");
            }
            assert_eq!(sum[0].mean(UNIT), sign * LIMIT);
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
                assert_eq!(put(&x, i64::factor(2), Mode::Add, &mut sum), Err(blame), "{bad} at {at}");
            }
        }
    }
}
