//! Files of other programs may have numbers of 16 bits, and each is read as the f32 of its value; a snapshot has none.

use lsgan_snapshots::snapshot::from_bytes;
use lsgan_snapshots::{TensorData, parse_part};
use safetensors::tensor::{Dtype, TensorView};

/// The value of a binary number of IEEE 754 with so many bits of exponent and of mantissa.
fn value(bits: u16, exponent_bits: u32, mantissa_bits: u32) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from((bits & 0x7fff) >> mantissa_bits);
    let mantissa = f64::from(bits & ((1 << mantissa_bits) - 1)) / 2_f64.powi(mantissa_bits as i32);
    let (largest, bias) = ((1 << exponent_bits) - 1, (1 << (exponent_bits - 1)) - 1);
    match exponent {
        0 => sign * mantissa * 2_f64.powi(1 - bias),
        _ if exponent < largest => sign * (1.0 + mantissa) * 2_f64.powi(exponent - bias),
        _ if mantissa == 0.0 => sign * f64::INFINITY,
        _ => f64::NAN,
    }
}

#[test]
fn every_number_of_16_bits_is_read_as_the_f32_of_its_value() {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for (dtype, exponent_bits, mantissa_bits) in [(Dtype::F16, 5, 10), (Dtype::BF16, 8, 7)] {
        let view = TensorView::new(dtype, vec![256, 256], &all).expect("it has as many bytes");
        let file = safetensors::serialize([("w", view)], None).expect("it can be written");
        let part = parse_part("generator", &file, "g.safetensors").expect("it is read");
        let [tensor] = &part.tensors[..] else { panic!("it has one") };
        let TensorData::F32(numbers) = &tensor.data else { panic!("{:?}", tensor.data) };
        assert_eq!((tensor.shape.as_slice(), numbers.len()), (&[256, 256][..], 1 << 16));
        for (bits, number) in (0..=u16::MAX).zip(numbers) {
            let wanted = value(bits, exponent_bits, mantissa_bits) as f32;
            let is_it = number.to_bits() == wanted.to_bits() || number.is_nan() && wanted.is_nan();
            assert!(is_it, "{dtype} {bits:#06x}: {number} instead of {wanted}");
        }
        assert!(from_bytes("generator", &file, "g.safetensors").is_err(), "it is no snapshot's");
    }
}

#[test]
fn another_type_is_refused_with_those_that_are_accepted() {
    let view = TensorView::new(Dtype::F64, vec![1], &[0; 8]).expect("it has as many bytes");
    let file = safetensors::serialize([("w", view)], None).expect("it can be written");
    let told = parse_part("generator", &file, "g.safetensors").expect_err("it is f64");
    assert_eq!(told, "tensor `w` of `g.safetensors` is F64; F32, F16, BF16 and I64 are accepted");
}
