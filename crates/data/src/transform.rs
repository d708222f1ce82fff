//! How a picture becomes a sample: made square, scaled, and its bytes 0..=255 put on −1..1.
//!
//! Scaling is `image`'s triangle filter, widened when scaling down (what others call bilinear with anti-aliasing):
//! it makes no overshoots, so that black borders stay black, and it is plain f32 arithmetic without a choice of
//! instructions at run time, so that every machine gets the same bits. `fast_image_resize` is faster and promises no
//! such thing.

use std::borrow::Cow;

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma};
use lsgan_spec::{Fit, ImageSpec};

use crate::{DataError, SampleShape};

/// The sample of a black pixel.
const BLACK: f32 = -1.0;
const SIZE_MAX: u32 = 4096;

/// A grey picture, `[height, width]`, row after row; 0 is black. Both sides are at least 1.
pub struct GreyPicture<'a> {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// `height · width` bytes.
    pub pixels: &'a [u8],
}

/// What is done with every picture of a data set.
#[derive(Clone, Debug)]
pub struct Transform {
    size: u32,
    channels: u32,
    fit: Fit,
}

impl Transform {
    /// What `spec` says.
    ///
    /// # Errors
    ///
    /// [`DataError::ImageShape`] for a size outside of 1 to 4,096, or channels other than 1 and 3.
    pub fn new(spec: &ImageSpec) -> Result<Self, DataError> {
        let &ImageSpec { size, channels, fit } = spec;
        if !(1..=SIZE_MAX).contains(&size) || ![1, 3].contains(&channels) {
            return Err(DataError::ImageShape { size, channels });
        }
        Ok(Self { size, channels, fit })
    }

    /// What comes out.
    #[must_use]
    pub fn sample_shape(&self) -> SampleShape {
        SampleShape::Image { size: self.size, channels: self.channels }
    }

    /// Writes the sample `[size, size, channels]` into `out`; a grey picture fills every channel with the same.
    pub fn apply(&self, picture: &GreyPicture<'_>, out: &mut [f32]) {
        let (size, channels) = (self.size as usize, self.channels as usize);
        assert_eq!(out.len(), size * size * channels, "a buffer for one sample");
        let (width, height) = scaled_sides(self.fit, picture.width, picture.height, self.size);
        let pixels = scaled(picture, width, height);
        let columns = Overlap::new(width as usize, size);
        let rows = Overlap::new(height as usize, size);
        if columns.len < size || rows.len < size {
            out.fill(BLACK);
        }
        for row in 0..rows.len {
            let from = (rows.from + row) * width as usize + columns.from;
            let to = ((rows.to + row) * size + columns.to) * channels;
            let row_pixels = &pixels[from..from + columns.len];
            let row_out = &mut out[to..to + columns.len * channels];
            for (sample, &byte) in row_out.chunks_exact_mut(channels).zip(row_pixels) {
                sample.fill(normalised(byte));
            }
        }
    }
}

/// 0 is −1, 255 is 1.
fn normalised(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

/// Width and height to which a picture is scaled before it is cut or bordered to `size` × `size`.
fn scaled_sides(fit: Fit, width: u32, height: u32, size: u32) -> (u32, u32) {
    // Rounded to the nearest; a side never vanishes, and the side that decides becomes exactly `size`.
    let scaled_by = |side: u32, divisor: u32| {
        let (side, size, divisor) = (u64::from(side), u64::from(size), u64::from(divisor));
        u32::try_from(((2 * side * size + divisor) / (2 * divisor)).max(1)).unwrap_or(u32::MAX)
    };
    let both_by = |divisor: u32| (scaled_by(width, divisor), scaled_by(height, divisor));
    match fit {
        Fit::Squash => (size, size),
        Fit::Crop => both_by(width.min(height)),
        Fit::Pad if width.max(height) > size => both_by(width.max(height)),
        Fit::Pad => (width, height),
    }
}

fn scaled<'a>(picture: &GreyPicture<'a>, width: u32, height: u32) -> Cow<'a, [u8]> {
    if (width, height) == (picture.width, picture.height) {
        return Cow::Borrowed(picture.pixels);
    }
    let buffer = ImageBuffer::<Luma<u8>, &[u8]>::from_raw(picture.width, picture.height, picture.pixels)
        .expect("a picture has height times width bytes");
    Cow::Owned(resize(&buffer, width, height, FilterType::Triangle).into_raw())
}

/// Which part of a side of `found` pixels comes where on a side of `wanted`: the middles lie on each other, half
/// a pixel to the start where they cannot.
struct Overlap {
    from: usize,
    to: usize,
    len: usize,
}

impl Overlap {
    fn new(found: usize, wanted: usize) -> Self {
        Self {
            from: found.saturating_sub(wanted) / 2,
            to: wanted.saturating_sub(found) / 2,
            len: found.min(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transformed(
        fit: Fit,
        size: u32,
        channels: u32,
        (height, width): (u32, u32),
        pixels: &[u8],
    ) -> Vec<f32> {
        let transform = Transform::new(&ImageSpec { size, channels, fit }).unwrap();
        let mut out = vec![f32::NAN; transform.sample_shape().len()];
        transform.apply(&GreyPicture { height, width, pixels }, &mut out);
        out
    }

    #[test]
    fn bytes_lie_on_minus_1_to_1() {
        assert_eq!([0, 255].map(normalised), [-1.0, 1.0]);
        assert!((normalised(127) + normalised(128)).abs() < 1e-6);
        assert!((0..255u8).all(|byte| normalised(byte) < normalised(byte + 1)));
    }

    #[test]
    fn a_picture_of_the_right_size_is_only_normalised() {
        for fit in [Fit::Pad, Fit::Crop, Fit::Squash] {
            assert_eq!(transformed(fit, 2, 1, (2, 2), &[0, 255, 51, 0]), [-1.0, 1.0, -0.6, -1.0]);
        }
    }

    #[test]
    fn pad_puts_a_small_picture_in_the_middle_of_black() {
        let b = BLACK;
        #[rustfmt::skip]
        let wanted = [
            b, b, b, b, b,
            b, 1., 1., b, b,
            b, b, b, b, b,
            b, b, b, b, b,
            b, b, b, b, b,
        ];
        assert_eq!(transformed(Fit::Pad, 5, 1, (2, 2), &[255, 255, 0, 0]), wanted);
    }

    #[test]
    fn pad_scales_a_large_picture_down_until_it_fits() {
        let b = BLACK;
        let wanted = [b, b, b, b, 1., 1., 1., 1., 1., 1., 1., 1., b, b, b, b];
        assert_eq!(transformed(Fit::Pad, 4, 1, (4, 8), &[255; 32]), wanted);
    }

    #[test]
    fn crop_takes_the_middle_of_the_longer_side() {
        assert_eq!(
            transformed(Fit::Crop, 2, 1, (2, 4), &[0, 255, 51, 0, 0, 51, 255, 0]),
            [1.0, -0.6, -0.6, 1.0]
        );
        assert_eq!(transformed(Fit::Crop, 4, 1, (1, 2), &[255, 255]), [1.0; 16]);
    }

    /// A band of 2 white columns in 8 keeps its share of the light when 8 columns become 4.
    #[test]
    fn squash_scales_both_sides_and_keeps_the_light() {
        let row = [0, 0, 0, 255, 255, 0, 0, 0];
        let out = transformed(Fit::Squash, 4, 1, (2, 8), &[row, row].concat());
        let light: f32 = out.iter().map(|x| (x + 1.0) / 2.0).sum::<f32>() / 16.0;
        assert!((light - 0.25).abs() < 0.01, "mean light {light}: {out:?}");
        assert!(out.chunks(4).all(|row| row == &out[..4]), "all rows are the same: {out:?}");
    }

    #[test]
    fn three_channels_are_the_grey_one_three_times_channel_last() {
        let out = transformed(Fit::Pad, 2, 3, (2, 2), &[0, 255, 51, 0]);
        assert_eq!(out, [-1., -1., -1., 1., 1., 1., -0.6, -0.6, -0.6, -1., -1., -1.]);
    }

    #[test]
    fn sides_are_rounded_and_never_vanish() {
        assert_eq!(scaled_sides(Fit::Pad, 1000, 1, 32), (32, 1));
        assert_eq!(scaled_sides(Fit::Pad, 28, 28, 64), (28, 28));
        assert_eq!(scaled_sides(Fit::Pad, 3, 2, 2), (2, 1));
        assert_eq!(scaled_sides(Fit::Crop, 640, 480, 112), (149, 112));
    }

    #[test]
    fn a_shape_that_no_sample_has_is_refused() {
        for (size, channels) in [(0, 1), (5000, 1), (32, 2)] {
            let error = Transform::new(&ImageSpec { size, channels, fit: Fit::Pad }).unwrap_err();
            assert!(matches!(error, DataError::ImageShape { .. }), "{error}");
        }
    }
}
