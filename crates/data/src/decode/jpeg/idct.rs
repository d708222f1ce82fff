//! The inverse cosine transform in whole numbers: from coefficients to samples.
//!
//! Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications" (ICASSP 1989), columns
//! first, with the same numbers of bits as libjpeg's accurate transform, so that every sample equals libjpeg's.

use super::frame::{BLOCK, BLOCK_SIDE, Quantization};

/// Fraction bits of the constants.
const CONSTANT_BITS: u32 = 13;
/// Fraction bits between the pass over columns and that over rows.
const BETWEEN_BITS: u32 = 2;
/// The two passes scale by 8 in total.
const SCALE_BITS: u32 = 3;
/// The value of a sample whose coefficients are zero.
const MIDDLE: i32 = 128;

/// The constants of the paper's flow graph, times 2^13, rounded.
const fn fixed(constant: f64) -> i32 {
    (constant * (1 << CONSTANT_BITS) as f64 + 0.5) as i32
}

/// Samples of one block, row after row.
pub(super) fn samples(coefficients: &[i16; BLOCK], quantization: &Quantization) -> [u8; BLOCK] {
    let mut between = [0; BLOCK];
    for column in 0..BLOCK_SIDE {
        let inputs = std::array::from_fn(|row| {
            let at = row * BLOCK_SIDE + column;
            i32::from(coefficients[at]).wrapping_mul(quantization[at].into())
        });
        for (row, sum) in one_dimension(inputs).into_iter().enumerate() {
            between[row * BLOCK_SIDE + column] = rounded(sum, CONSTANT_BITS - BETWEEN_BITS);
        }
    }
    let mut out = [0; BLOCK];
    for (row, out) in between.chunks_exact(BLOCK_SIDE).zip(out.chunks_exact_mut(BLOCK_SIDE)) {
        let inputs = std::array::from_fn(|column| row[column]);
        for (sample, sum) in out.iter_mut().zip(one_dimension(inputs)) {
            let value = rounded(sum, CONSTANT_BITS + BETWEEN_BITS + SCALE_BITS).saturating_add(MIDDLE);
            *sample = value.clamp(0, 255) as u8;
        }
    }
    out
}

fn rounded(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// Eight outputs, times 2^13. Overflow in damaged files wraps.
fn one_dimension(x: [i32; BLOCK_SIDE]) -> [i32; BLOCK_SIDE] {
    let x = x.map(std::num::Wrapping);
    let times = |value: std::num::Wrapping<i32>, constant: i32| value * std::num::Wrapping(constant);
    // Even part.
    let rotated = times(x[2] + x[6], const { fixed(0.541_196_100) });
    let low = rotated + times(x[2], const { fixed(0.765_366_865) });
    let high = rotated - times(x[6], const { fixed(1.847_759_065) });
    let sum = (x[0] + x[4]) << CONSTANT_BITS as usize;
    let difference = (x[0] - x[4]) << CONSTANT_BITS as usize;
    let even = [sum + low, difference + high, difference - high, sum - low];
    // Odd part.
    let across = times(x[7] + x[3] + x[5] + x[1], const { fixed(1.175_875_602) });
    let outer = times(x[7] + x[1], const { fixed(0.899_976_223) });
    let inner = times(x[5] + x[3], const { fixed(2.562_915_447) });
    let left = across - times(x[7] + x[3], const { fixed(1.961_570_560) });
    let right = across - times(x[5] + x[1], const { fixed(0.390_180_644) });
    let odd = [
        times(x[1], const { fixed(1.501_321_110) }) - outer + right,
        times(x[3], const { fixed(3.072_711_026) }) - inner + left,
        times(x[5], const { fixed(2.053_119_869) }) - inner + right,
        times(x[7], const { fixed(0.298_631_336) }) - outer + left,
    ];
    std::array::from_fn(|i| if i < 4 { even[i] + odd[i] } else { even[7 - i] - odd[7 - i] }.0)
}
