//! Resizes pictures.
//!
//! The filter is bilinear, widened when scaling down, as PIL's `BILINEAR` is (others call it bilinear with anti-aliasing).
//! It does not overshoot, so black borders stay black. It computes in integers, so vector code and plain code give the
//! same bits (tested), on every machine.

use std::cell::RefCell;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

/// The channels of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One byte.
    Grey,
    /// Red, green and blue, a byte each, as sRGB has them.
    Colour,
}

impl Channels {
    /// Bytes of a pixel.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Colour => 3,
        }
    }
}

/// Columns and rows of a picture; both are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Sides {
    fn bytes(self, channels: Channels) -> usize {
        self.width as usize * self.height as usize * channels.count()
    }
}

thread_local! {
    /// Kept for its buffers.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Resizes `pixels`, `[height, width, channels]` with the sides `from`, into `out` with the sides `to`.
///
/// # Panics
///
/// Where the length of a slice does not fit its sides.
pub fn scale(channels: Channels, from: Sides, pixels: &[u8], to: Sides, out: &mut [u8]) {
    RESIZER.with_borrow_mut(|resizer| scale_by(resizer, channels, (from, pixels), (to, out)));
}

fn scale_by(resizer: &mut Resizer, channels: Channels, from: (Sides, &[u8]), to: (Sides, &mut [u8])) {
    assert_eq!(from.1.len(), from.0.bytes(channels), "bytes of the picture");
    assert_eq!(to.1.len(), to.0.bytes(channels), "bytes for the scaled one");
    // By type and not by a tag, which would compile the crate for 13 kinds of pixels.
    match channels {
        Channels::Grey => scale_as::<U8>(resizer, from, to),
        Channels::Colour => scale_as::<U8x3>(resizer, from, to),
    }
}

fn scale_as<P: PixelTrait>(resizer: &mut Resizer, from: (Sides, &[u8]), to: (Sides, &mut [u8])) {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let source =
        TypedImageRef::<P>::from_buffer(from.0.width, from.0.height, from.1).expect("its length was checked");
    let mut target =
        TypedImage::<P>::from_buffer(to.0.width, to.0.height, to.1).expect("its length was checked");
    resizer.resize_typed(&source, &mut target, &options).expect("nothing is cropped, which could fail");
}

#[cfg(test)]
mod tests {
    use fast_image_resize::CpuExtensions;

    use super::*;

    /// All instructions that this machine has, on noise of many sizes.
    #[test]
    fn every_instruction_set_scales_to_the_same_bits() {
        let sets = [
            CpuExtensions::None,
            #[cfg(target_arch = "x86_64")]
            CpuExtensions::Sse4_1,
            #[cfg(target_arch = "x86_64")]
            CpuExtensions::Avx2,
            #[cfg(target_arch = "aarch64")]
            CpuExtensions::Neon,
        ];
        let mut noise = vec![0; 3 * 341 * 257];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let sides = |width, height| Sides { width, height };
        for (from, to) in [
            (sides(256, 256), sides(64, 64)),
            (sides(341, 256), sides(112, 84)),
            (sides(31, 17), sides(32, 32)),
            (sides(200, 257), sides(7, 300)),
            (sides(3, 5), sides(128, 1)),
        ] {
            for channels in [Channels::Grey, Channels::Colour] {
                let pixels = &noise[..from.bytes(channels)];
                let scaled_with = |set: CpuExtensions| {
                    let mut resizer = Resizer::new();
                    // SAFETY: only sets that this machine has are asked for.
                    unsafe { resizer.set_cpu_extensions(set) };
                    let mut out = vec![0; to.bytes(channels)];
                    scale_by(&mut resizer, channels, (from, pixels), (to, &mut out));
                    out
                };
                let plain = scaled_with(CpuExtensions::None);
                for set in sets.into_iter().filter(CpuExtensions::is_supported) {
                    assert!(scaled_with(set) == plain, "{set:?} differs from plain code, {from:?} to {to:?}");
                }
            }
        }
    }
}
