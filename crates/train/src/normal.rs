//! Box and Muller 1958, many pairs at a time, to the bits of the `libm` crate.
//!
//! `libm` computes one number after another and branches at each. Here the same operations are done in the same order, without
//! branches, so that the compiler can use vectors: natural logarithm, sine and cosine of FreeBSD's msun, on the ranges that
//! Box and Muller need. Arguments close to a multiple of π/2, of which there is one in some 100,000, go to `libm`.

#![expect(clippy::excessive_precision, reason = "the constants are as msun writes them")]

use std::f64::consts::TAU;

use crate::widest::widest;

/// Pairs that are computed at a time: 8 KiB, which stay in the first-level cache.
pub(crate) const PAIRS: usize = 512;

/// Two normal numbers of each pair of uniform ones: √(−2 ln u)·(cos 2πv, sin 2πv), with u in 2^-32..=1 and v in 0..1, both
/// multiples of 2^-32. `out` has two for each of at most [`PAIRS`].
pub(crate) fn box_muller(u: &[f64], v: &[f64], out: &mut [f32]) {
    let (mut radius, mut cos, mut sin) = ([0.0; PAIRS], [0.0; PAIRS], [0.0; PAIRS]);
    let count = u.len();
    let (radius, cos, sin) = (&mut radius[..count], &mut cos[..count], &mut sin[..count]);
    radii(u, radius);
    if angles(v, cos, sin) > 0 {
        for (index, v) in v.iter().enumerate().filter(|(_, v)| is_close_to_a_quarter(TAU * **v)) {
            (sin[index], cos[index]) = libm::sincos(TAU * v);
        }
    }
    multiply(radius, cos, sin, out);
}

widest! {
    fn radii(u: &[f64], out: &mut [f64]) {
        for (u, out) in u.iter().zip(out) {
            *out = (-2.0 * ln(*u)).sqrt();
        }
    }
}

widest! {
    /// Returns how many are wrong: those close to a multiple of π/2.
    fn angles(v: &[f64], cos: &mut [f64], sin: &mut [f64]) -> u64 {
        let mut close = 0;
        for ((v, cos), sin) in v.iter().zip(cos).zip(sin) {
            close += u64::from(is_close_to_a_quarter(TAU * *v));
            (*sin, *cos) = sin_cos(TAU * *v);
        }
        close
    }
}

widest! {
    fn multiply(radius: &[f64], cos: &[f64], sin: &[f64], out: &mut [f32]) {
        let (pairs, last) = out.as_chunks_mut();
        for (((radius, cos), sin), [x, y]) in radius.iter().zip(cos).zip(sin).zip(pairs) {
            *x = (radius * cos) as f32;
            *y = (radius * sin) as f32;
        }
        if let ([x], [.., radius], [.., cos]) = (last, radius, cos) {
            *x = (radius * cos) as f32;
        }
    }
}

/// e_log.c, for normal numbers above 0.
#[inline(always)]
fn ln(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238_164_90e-01;
    const LN2_LOW: f64 = 1.908_214_929_270_587_700_02e-10;
    const L: [f64; 7] = [
        6.666_666_666_666_735_130e-01,
        3.999_999_999_940_941_908e-01,
        2.857_142_874_366_239_149e-01,
        2.222_219_843_214_978_396e-01,
        1.818_357_216_161_805_012e-01,
        1.531_383_769_920_937_332e-01,
        1.479_819_860_511_658_591e-01,
    ];
    // √½ in the high word, with which x becomes 2^k · y with y in √½..√2.
    const ROOT: u64 = 0x3fe6_a09e << 32;
    let shifted = x.to_bits() + ((0x3ff0_0000 << 32) - ROOT);
    let y = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff) + ROOT);
    // k, by way of 2^52 + k.
    let k = f64::from_bits(0x4330_0000_0000_0000 | shifted >> 52) - (4_503_599_627_370_496.0 + 1023.0);
    let f = y - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (L[1] + w * (L[3] + w * L[5]));
    let odd = z * (L[0] + w * (L[2] + w * (L[4] + w * L[6])));
    let r = odd + even;
    s * (half_square + r) + k * LN2_LOW - half_square + f + k * LN2_HIGH
}

/// The smallest number with these 32 bits in front.
const fn with_high_word(word: u64) -> f64 {
    f64::from_bits(word << 32)
}

/// Whether msun would lose bits by cancellation, if it subtracted a multiple of π/2 in one round. For 0 ≤ x < 9π/4.
#[inline(always)]
fn is_close_to_a_quarter(x: f64) -> bool {
    let high = x.to_bits() >> 32;
    // π/2 and π; 3π/2; 2π.
    (high == 0x3ff9_21fb) | (high == 0x4009_21fb) | (high == 0x4012_d97c) | (high == 0x4019_21fb)
}

/// s_sin.c and s_cos.c, for 0 ≤ x < 9π/4 that is not [close to a multiple of π/2](is_close_to_a_quarter).
#[inline(always)]
fn sin_cos(x: f64) -> (f64, f64) {
    const HALF_PI: f64 = 1.570_796_326_734_125_614_17;
    const HALF_PI_TAIL: f64 = 6.077_100_506_506_192_249_32e-11;
    const S: [f64; 6] = [
        -1.666_666_666_666_663_243_48e-01,
        8.333_333_333_322_489_461_24e-03,
        -1.984_126_982_985_794_931_34e-04,
        2.755_731_370_707_006_767_89e-06,
        -2.505_076_025_340_686_341_95e-08,
        1.589_690_995_211_550_102_21e-10,
    ];
    const C: [f64; 6] = [
        4.166_666_666_666_660_190_37e-02,
        -1.388_888_888_887_410_957_49e-03,
        2.480_158_728_947_672_941_78e-05,
        -2.755_731_435_139_066_330_35e-07,
        2.087_572_321_298_174_827_90e-09,
        -1.135_964_755_778_819_482_65e-11,
    ];
    // The borders of rem_pio2.c: π/4, 3π/4, 5π/4, 7π/4.
    const BORDERS: [f64; 4] = [
        with_high_word(0x3fe9_21fc),
        with_high_word(0x4002_d97d),
        with_high_word(0x400f_6a7b),
        with_high_word(0x4015_fdbd),
    ];
    let passed = |border: usize| if x >= BORDERS[border] { 1.0 } else { 0.0 };
    let quarters = passed(0) + passed(1) + passed(2) + passed(3);
    let z = x - quarters * HALF_PI;
    let tail = quarters * HALF_PI_TAIL;
    let (y, rest) = (z - tail, (z - (z - tail)) - tail);

    let z = y * y;
    let w = z * z;
    let r = S[1] + z * (S[2] + z * S[3]) + z * w * (S[4] + z * S[5]);
    let v = z * y;
    let sin_alone = y + v * (S[0] + z * r);
    let sin_with_rest = y - ((z * (0.5 * rest - v * r) - rest) - v * S[0]);
    let sin = if quarters == 0.0 { sin_alone } else { sin_with_rest };

    let r = z * (C[0] + z * (C[1] + z * C[2])) + w * w * (C[3] + z * (C[4] + z * C[5]));
    let half = 0.5 * z;
    let w = 1.0 - half;
    let cos = w + (((1.0 - w) - half) + (z * r - y * rest));

    let is_odd = quarters == 1.0 || quarters == 3.0;
    let (a, b) = (if is_odd { cos } else { sin }, if is_odd { sin } else { cos });
    let minus_a = quarters == 2.0 || quarters == 3.0;
    let minus_b = quarters == 1.0 || quarters == 2.0;
    (if minus_a { -a } else { a }, if minus_b { -b } else { b })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `u` and `v` come from 32 random bits.
    fn uniforms(bits: u32) -> (f64, f64) {
        ((f64::from(bits) + 1.0) * 2f64.powi(-32), f64::from(bits) * 2f64.powi(-32))
    }

    fn check(all: impl Iterator<Item = u32>) {
        let all: Vec<_> = all.collect();
        let (u, v): (Vec<_>, Vec<_>) = all.iter().map(|bits| uniforms(*bits)).unzip();
        let (mut radius, mut cos, mut sin) = (vec![0.0; u.len()], vec![0.0; u.len()], vec![0.0; u.len()]);
        radii(&u, &mut radius);
        angles(&v, &mut cos, &mut sin);
        for (index, bits) in all.into_iter().enumerate() {
            let wanted = libm::sqrt(-2.0 * libm::log(u[index]));
            assert_eq!(radius[index].to_bits(), wanted.to_bits(), "radius of {bits:#x}");
            let x = TAU * v[index];
            if !is_close_to_a_quarter(x) {
                let (wanted_sin, wanted_cos) = libm::sincos(x);
                assert_eq!(sin[index].to_bits(), wanted_sin.to_bits(), "sine of {bits:#x}");
                assert_eq!(cos[index].to_bits(), wanted_cos.to_bits(), "cosine of {bits:#x}");
            }
        }
    }

    /// All of them, 2^32, were checked once; it takes minutes.
    #[test]
    fn the_bits_are_those_of_libm() {
        check((0..1 << 20).map(|index: u32| index.wrapping_mul(0x9e37_79b1)));
        for border in (0..=16_u64).map(|eighth| (eighth << 32) / 16) {
            let around = border.saturating_sub(1 << 12)..(border + (1 << 12)).min(1 << 32);
            check(around.map(|bits| bits as u32));
        }
        for power in 0..32 {
            let around = (1_u32 << power).saturating_sub(100)..=(1_u32 << power).saturating_add(100);
            check(around);
        }
    }

    #[test]
    #[ignore = "takes minutes; run it when this file changes"]
    fn all_bits_are_those_of_libm() {
        for start in (0..1_u64 << 32).step_by(1 << 20) {
            check((start..start + (1 << 20)).map(|bits| bits as u32));
        }
    }

    /// Arguments that go to `libm` are rare, and are among those that come out.
    #[test]
    fn pairs_have_the_bits_of_libm() {
        let bits: Vec<u32> = (0..PAIRS as u32 - 4)
            .map(|index| index.wrapping_mul(0x9e37_79b1))
            .chain([0x4000_0000, 0x8000_0000, 0xc000_0000, 0xffff_ffff])
            .collect();
        let (u, v): (Vec<_>, Vec<_>) = bits.iter().map(|bits| uniforms(*bits)).unzip();
        let mut out = vec![0.0; 2 * PAIRS - 1];
        box_muller(&u, &v, &mut out);
        for (index, pair) in out.chunks(2).enumerate() {
            let radius = libm::sqrt(-2.0 * libm::log(u[index]));
            let (sin, cos) = libm::sincos(TAU * v[index]);
            let wanted = [(radius * cos) as f32, (radius * sin) as f32];
            assert_eq!(
                pair.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
                wanted[..pair.len()].iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            );
        }
    }
}
