//! Resizes pictures.
//!
//! The filter is bilinear, widened when scaling down, as PIL's `BILINEAR` is (others call it bilinear with anti-aliasing).
//! It does not overshoot, so black borders stay black. It computes in integers, so vector code and plain code give the
//! same bits (tested), on every machine.

use std::cell::RefCell;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{CropBox, FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

/// How many times larger than the picture and the result a picture on the way to it may be. Beyond that, scaling takes a way
/// with other roundings, so the bound is one that no picture of a data set reaches: sides of 8 to 1, or a picture that is
/// stretched along one side and shrunk along the other, by 8 each.
const ON_THE_WAY_MAX: u64 = 8;

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

    fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Columns before it.
    pub left: u32,
    /// Rows before it.
    pub top: u32,
    /// Its own.
    pub sides: Sides,
}

/// What a picture is scaled to: the `window` of the picture that has the sides `to`. Only the window is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The whole picture, which need not fit in memory.
    pub to: Sides,
    /// What is wanted of it; it lies within.
    pub window: Window,
}

impl Target {
    /// All of a picture with the sides `to`.
    #[must_use]
    pub fn whole(to: Sides) -> Self {
        Self { to, window: Window { left: 0, top: 0, sides: to } }
    }

    /// What the window shows of a picture with the sides `from`.
    fn seen(&self, from: Sides) -> CropBox {
        let along = |first: u32, len: u32, from: u32, to: u32| {
            let (from, to) = (f64::from(from), f64::from(to));
            let first = f64::from(first) * from / to;
            // Rounded, the end could lie behind the picture's.
            (first, (f64::from(len) * from / to).min(from - first))
        };
        let Self { to, window: Window { left, top, sides } } = *self;
        let (left, width) = along(left, sides.width, from.width, to.width);
        let (top, height) = along(top, sides.height, from.height, to.height);
        CropBox { left, top, width, height }
    }

    /// The most pixels that a picture may have on the way from one with the sides `from`.
    fn pixels_max(&self, from: Sides) -> u64 {
        ON_THE_WAY_MAX * from.area().max(self.window.sides.area())
    }

    /// Whether the picture between the two passes, of all columns and the window's rows, would be too large.
    fn is_columns_first(&self, from: Sides) -> bool {
        // The triangle of the filter looks a pixel, or a pixel of the result, beyond what is seen.
        let beyond = 2.0 * (1.0 + f64::from(from.width) / f64::from(self.to.width));
        let columns = (self.seen(from).width + beyond).min(from.width.into());
        columns * f64::from(self.window.sides.height) > self.pixels_max(from) as f64
    }
}

thread_local! {
    /// Kept for its buffers.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Resizes `pixels`, `[height, width, channels]` with the sides `from`, and writes the target's window into `out`.
/// Memory and time are bounded by those of `pixels` and `out`, whatever the target's whole sides are.
///
/// # Panics
///
/// Where the length of a slice does not fit its sides, or the window does not lie within the target.
pub fn scale(channels: Channels, from: Sides, pixels: &[u8], target: Target, out: &mut [u8]) {
    RESIZER.with_borrow_mut(|resizer| scale_by(resizer, channels, (from, pixels), target, out));
}

fn scale_by(
    resizer: &mut Resizer,
    channels: Channels,
    picture: (Sides, &[u8]),
    target: Target,
    out: &mut [u8],
) {
    let Target { to, window } = target;
    if window.sides == to || to.area() > target.pixels_max(picture.0) {
        return scale_window(resizer, channels, picture, target, out);
    }
    // The weights of a window's filter are rounded otherwise than those of the whole, from which it is therefore cut.
    let mut whole = vec![0; to.bytes(channels)];
    scale_window(resizer, channels, picture, Target::whole(to), &mut whole);
    let (row, out_row) =
        (to.width as usize * channels.count(), window.sides.width as usize * channels.count());
    let rows = whole.chunks_exact(row).skip(window.top as usize);
    for (out, row) in out.chunks_exact_mut(out_row).zip(rows) {
        out.copy_from_slice(&row[window.left as usize * channels.count()..][..out_row]);
    }
}

/// Computes nothing but the window.
fn scale_window(
    resizer: &mut Resizer,
    channels: Channels,
    (from, pixels): (Sides, &[u8]),
    target: Target,
    out: &mut [u8],
) {
    if !target.is_columns_first(from) {
        return pass(resizer, channels, (from, pixels), target, out);
    }
    let Target { to, window } = target;
    let between = Sides { width: window.sides.width, height: from.height };
    let mut columns = vec![0; between.bytes(channels)];
    let first = Target {
        to: Sides { width: to.width, height: from.height },
        window: Window { top: 0, sides: between, ..window },
    };
    pass(resizer, channels, (from, pixels), first, &mut columns);
    let second = Target {
        to: Sides { width: between.width, height: to.height },
        window: Window { left: 0, ..window },
    };
    pass(resizer, channels, (between, &columns), second, out);
}

fn pass(
    resizer: &mut Resizer,
    channels: Channels,
    (from, pixels): (Sides, &[u8]),
    target: Target,
    out: &mut [u8],
) {
    assert_eq!(pixels.len(), from.bytes(channels), "bytes of the picture");
    assert_eq!(out.len(), target.window.sides.bytes(channels), "bytes for the scaled one");
    // By type and not by a tag, which would compile the crate for 13 kinds of pixels.
    match channels {
        Channels::Grey => pass_as::<U8>(resizer, (from, pixels), target, out),
        Channels::Colour => pass_as::<U8x3>(resizer, (from, pixels), target, out),
    }
}

fn pass_as<P: PixelTrait>(
    resizer: &mut Resizer,
    (from, pixels): (Sides, &[u8]),
    target: Target,
    out: &mut [u8],
) {
    let seen = target.seen(from);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
        seen.left,
        seen.top,
        seen.width,
        seen.height,
    );
    let source =
        TypedImageRef::<P>::from_buffer(from.width, from.height, pixels).expect("its length was checked");
    let Sides { width, height } = target.window.sides;
    let mut window = TypedImage::<P>::from_buffer(width, height, out).expect("its length was checked");
    resizer.resize_typed(&source, &mut window, &options).expect("the window lies within the target");
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
                    scale_by(&mut resizer, channels, (from, pixels), Target::whole(to), &mut out);
                    out
                };
                let plain = scaled_with(CpuExtensions::None);
                for set in sets.into_iter().filter(CpuExtensions::is_supported) {
                    assert!(scaled_with(set) == plain, "{set:?} differs from plain code, {from:?} to {to:?}");
                }
            }
        }
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    fn scaled(channels: Channels, from: Sides, target: Target) -> Vec<u8> {
        let mut out = vec![0; target.window.sides.bytes(channels)];
        scale(channels, from, &noise(from.bytes(channels)), target, &mut out);
        out
    }

    /// The middle square of pictures of many sides, cut from the whole and computed alone. They differ by roundings only,
    /// and not at all where the whole is small enough to be computed.
    #[test]
    fn a_window_is_a_cut_of_the_whole_scaled_picture() {
        let (mut compared, mut alone) = (0, 0);
        for (long, short) in
            (1..=180_u32).flat_map(|long| (1..=long).step_by(7).map(move |short| (long, short)))
        {
            for size in [1, 2, 16, 28, 33, 64] {
                let scaled_long = (2 * long * size + short) / (2 * short);
                let to = Sides { width: scaled_long, height: size };
                let (from, left) = (Sides { width: long, height: short }, (scaled_long - size) / 2);
                let square = Sides { width: size, height: size };
                let target = Target { to, window: Window { left, top: 0, sides: square } };
                let mut whole = vec![0; to.bytes(Channels::Grey)];
                let pixels = noise(from.bytes(Channels::Grey));
                pass(&mut Resizer::new(), Channels::Grey, (from, &pixels), Target::whole(to), &mut whole);
                let cut =
                    whole.chunks(to.width as usize).flat_map(|row| &row[left as usize..][..size as usize]);
                let window = scaled(Channels::Grey, from, target);
                let is_alone = to.area() > target.pixels_max(from);
                let most = window.iter().zip(cut).map(|(a, b)| a.abs_diff(*b)).max();
                let accepted = if is_alone { 0..=1 } else { 0..=0 };
                assert!(
                    most.is_some_and(|most| accepted.contains(&most)),
                    "{from:?} to {to:?}, {size}: {most:?}"
                );
                compared += 1;
                alone += u32::from(is_alone);
            }
        }
        assert!(alone > 1_000 && compared > 2 * alone, "{alone} of {compared}");
    }

    /// The two orders of the passes differ by roundings only.
    #[test]
    fn a_picture_that_is_stretched_and_shrunk_is_scaled_by_columns_first() {
        let (from, to) = (Sides { width: 300, height: 3 }, Sides { width: 20, height: 40 });
        assert!(Target::whole(to).is_columns_first(from));
        let quick = scaled(Channels::Colour, from, Target::whole(to));
        let mut usual = vec![0; to.bytes(Channels::Colour)];
        let pixels = noise(from.bytes(Channels::Colour));
        pass(&mut Resizer::new(), Channels::Colour, (from, &pixels), Target::whole(to), &mut usual);
        assert!(quick.iter().zip(&usual).all(|(a, b)| a.abs_diff(*b) <= 1));
    }
}
