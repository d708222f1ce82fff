//! What tells the numbers in a device's memory apart, without a copy of them to the host.
//!
//! Σ xᵢ·mᵢ modulo 2^64, over the bits xᵢ of the numbers, with an odd factor mᵢ for each place. It is the same in whatever order
//! a device adds, and another where one bit is. It finds what went wrong, and is no proof against an attacker, as BLAKE3 is.

use tch::{Device, Kind, Tensor};

/// Numbers that are taken at a time: 8 MiB for each of the few tensors between.
const AT_ONCE: usize = 1 << 20;
/// Of SplitMix64 (Steele et al. 2014), as signed numbers.
const STEP: i64 = 0x9e37_79b9_7f4a_7c15_u64.cast_signed();
const MIX: i64 = 0xbf58_476d_1ce4_e5b9_u64.cast_signed();

/// The sum, of f32 in one dimension. Waits for the device.
pub(super) fn fingerprint(numbers: &Tensor) -> u64 {
    let device = numbers.device();
    let places = Tensor::arange(AT_ONCE.min(numbers.numel()) as i64, (Kind::Int64, device));
    let mut sum = Tensor::zeros([0_i64; 0], (Kind::Int64, device));
    for start in (0..numbers.numel()).step_by(AT_ONCE) {
        let len = AT_ONCE.min(numbers.numel() - start) as i64;
        let bits = numbers.narrow(0, start as i64, len).view_dtype(Kind::Int).to_kind(Kind::Int64);
        sum += (bits * factors(&places.narrow(0, 0, len), start as i64)).sum(Kind::Int64);
    }
    sum.to_device(Device::Cpu).int64_value(&[]).cast_unsigned()
}

/// An odd factor for each place from `start` on.
fn factors(places: &Tensor, start: i64) -> Tensor {
    let spread = (places + (start + 1)) * STEP;
    let mixed = spread.bitwise_xor_tensor(&spread.bitwise_right_shift_tensor_scalar(30)) * MIX;
    mixed.bitwise_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[f32]) -> u64 {
        fingerprint(&Tensor::from_slice(numbers))
    }

    #[test]
    fn each_bit_of_each_number_counts_and_so_does_its_place() {
        let numbers: Vec<f32> = (0..100).map(|i| i as f32 - 50.0).collect();
        let whole = of(&numbers);
        for at in [0, 1, 50, 99] {
            for bit in [0, 7, 23, 31] {
                let mut other = numbers.clone();
                other[at] = f32::from_bits(other[at].to_bits() ^ 1 << bit);
                assert_ne!(of(&other), whole, "bit {bit} of number {at}");
            }
        }
        let mut swapped = numbers.clone();
        swapped.swap(3, 4);
        assert_ne!(of(&swapped), whole);
        assert_eq!(of(&numbers), whole);
    }

    /// As the definition says, with numbers on both sides of a border between the parts.
    #[test]
    fn the_parts_are_one_sum() {
        let len = AT_ONCE + 3;
        let numbers = Tensor::arange(len as i64, (Kind::Int, Device::Cpu)).view_dtype(Kind::Float);
        let wanted = (0..len as i64).fold(0_i64, |sum, place| {
            let spread = (place + 1).wrapping_mul(STEP);
            let factor = (spread ^ spread >> 30).wrapping_mul(MIX) | 1;
            sum.wrapping_add(place.wrapping_mul(factor))
        });
        assert_eq!(fingerprint(&numbers), wanted.cast_unsigned());
    }
}
