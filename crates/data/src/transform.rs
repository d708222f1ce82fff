//! Turns a picture into a sample: makes it square, scales it, and maps its bytes 0..=255 to −1..1.

use std::borrow::Cow;

use lsgan_pictures::{Sides, Target, Window, scale};
use lsgan_spec::{Fit, Flip, ImageSpec};

use crate::picture::{Channels, Picture};
use crate::{DataError, SampleShape};

/// The sample of a black pixel.
const BLACK: f32 = -1.0;
const SIZE_MAX: u32 = 4096;

#[derive(Clone, Debug)]
pub struct Transform {
    size: u32,
    channels: Channels,
    fit: Fit,
    flip: Flip,
}

impl Transform {
    /// # Errors
    ///
    /// A size outside of 1 to 4,096, or channels other than 1 and 3.
    pub fn new(spec: &ImageSpec) -> Result<Self, DataError> {
        let &ImageSpec { size, channels, fit, flip } = spec;
        let channels = match channels {
            1 if (1..=SIZE_MAX).contains(&size) => Channels::Grey,
            3 if (1..=SIZE_MAX).contains(&size) => Channels::Colour,
            _ => {
                return Err(DataError::spec(format!(
                    "data.image has size {size} and channels {channels}; a size is 1 to 4,096 and channels are 1 (grey) \
                     or 3 (colour). Set them to what the model accepts."
                )));
            }
        };
        Ok(Self { size, channels, fit, flip })
    }

    #[must_use]
    pub fn sample_shape(&self) -> SampleShape {
        SampleShape::Image { size: self.size, channels: self.channels.count() as u32 }
    }

    /// The channels of the samples. A decoder may give others.
    #[must_use]
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// Whether the loader mirrors samples at random, by [`mirror`].
    #[must_use]
    pub fn flip(&self) -> Flip {
        self.flip
    }

    /// Writes the sample `[size, size, channels]` into `out`. A grey picture fills all channels; a colour picture becomes
    /// its luminance for one channel.
    pub fn apply(&self, picture: &Picture<'_>, out: &mut [f32]) {
        let (size, channels) = (self.size as usize, self.channels.count());
        assert_eq!(out.len(), size * size * channels, "a buffer for one sample");
        let to = scaled_sides(self.fit, picture.width, picture.height, self.size);
        let columns = Overlap::new(to.width as usize, size);
        let rows = Overlap::new(to.height as usize, size);
        if columns.len < size || rows.len < size {
            out.fill(BLACK);
        }
        let pixels = scaled(picture, to, &columns, &rows);
        let found = picture.channels.count();
        for (row, row_pixels) in pixels.chunks_exact(columns.len * found).enumerate() {
            let at = ((rows.to + row) * size + columns.to) * channels;
            let row_out = &mut out[at..at + columns.len * channels];
            write_row(row_pixels, picture.channels, row_out, self.channels);
        }
    }
}

fn write_row(pixels: &[u8], found: Channels, out: &mut [f32], wanted: Channels) {
    match (found, wanted) {
        (Channels::Grey, Channels::Grey) | (Channels::Colour, Channels::Colour) => {
            for (sample, &byte) in out.iter_mut().zip(pixels) {
                *sample = normalised(byte);
            }
        }
        (Channels::Grey, Channels::Colour) => {
            for (sample, &byte) in out.chunks_exact_mut(3).zip(pixels) {
                sample.fill(normalised(byte));
            }
        }
        (Channels::Colour, Channels::Grey) => {
            for (sample, pixel) in out.iter_mut().zip(pixels.chunks_exact(3)) {
                *sample = normalised(luminance([pixel[0], pixel[1], pixel[2]]));
            }
        }
    }
}

/// 0 is −1, 255 is 1.
fn normalised(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

/// ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, rounded, as in PIL.
fn luminance([r, g, b]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 0x8000;
    (sum >> 16) as u8
}

/// Mirrors a sample `[size, size, channels]`, left to right.
pub fn mirror(sample: &mut [f32], size: u32, channels: u32) {
    let (size, channels) = (size as usize, channels as usize);
    for row in sample.chunks_exact_mut(size * channels) {
        for left in 0..size / 2 {
            let right = size - 1 - left;
            for channel in 0..channels {
                row.swap(left * channels + channel, right * channels + channel);
            }
        }
    }
}

/// The sides to which a picture is scaled before it is cropped or padded to `size` × `size`. Only the part that stays is
/// computed: a picture of 65,535 × 1 would have 4 million columns.
fn scaled_sides(fit: Fit, width: u32, height: u32, size: u32) -> Sides {
    // Rounded to the nearest, at least 1; the side that is the divisor becomes exactly `size`.
    let scaled_by = |side: u32, divisor: u32| {
        let (side, size, divisor) = (u64::from(side), u64::from(size), u64::from(divisor));
        u32::try_from(((2 * side * size + divisor) / (2 * divisor)).max(1)).unwrap_or(u32::MAX)
    };
    let both_by =
        |divisor: u32| Sides { width: scaled_by(width, divisor), height: scaled_by(height, divisor) };
    match fit {
        Fit::Squash => Sides { width: size, height: size },
        Fit::Crop => both_by(width.min(height)),
        Fit::Pad if width.max(height) > size => both_by(width.max(height)),
        Fit::Pad => Sides { width, height },
    }
}

/// The pixels of `picture` that lie in `columns` and `rows` when it is scaled to the sides `to`.
fn scaled<'a>(picture: &'a Picture<'_>, to: Sides, columns: &Overlap, rows: &Overlap) -> Cow<'a, [u8]> {
    let side = |len: usize| u32::try_from(len).expect("it is at most a picture's side");
    let sides = Sides { width: side(columns.len), height: side(rows.len) };
    let window = Window { left: side(columns.from), top: side(rows.from), sides };
    let from = Sides { width: picture.width, height: picture.height };
    if from == to && sides == to {
        return Cow::Borrowed(&picture.pixels);
    }
    let mut out = vec![0; columns.len * rows.len * picture.channels.count()];
    scale(picture.channels, from, &picture.pixels, Target { to, window }, &mut out);
    Cow::Owned(out)
}

/// The overlap of a side of `found` pixels with a side of `wanted` pixels whose middles coincide, or differ by half a
/// pixel towards the start.
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
        let transform = Transform::new(&ImageSpec { fit, ..ImageSpec::of(size, channels) }).unwrap();
        let channels =
            if pixels.len() == (height * width) as usize { Channels::Grey } else { Channels::Colour };
        let mut out = vec![f32::NAN; transform.sample_shape().len()];
        transform.apply(&Picture { height, width, channels, pixels: pixels.into() }, &mut out);
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
        let sides = |fit, width, height, size| {
            let Sides { width, height } = scaled_sides(fit, width, height, size);
            (width, height)
        };
        assert_eq!(sides(Fit::Pad, 1000, 1, 32), (32, 1));
        assert_eq!(sides(Fit::Pad, 28, 28, 64), (28, 28));
        assert_eq!(sides(Fit::Pad, 3, 2, 2), (2, 1));
        assert_eq!(sides(Fit::Crop, 640, 480, 112), (149, 112));
        assert_eq!(sides(Fit::Crop, 1, 65_535, 4096), (4096, 268_431_360));
    }

    #[test]
    fn a_shape_that_no_sample_has_is_refused() {
        for (size, channels) in [(0, 1), (5000, 1), (32, 2)] {
            let error = Transform::new(&ImageSpec::of(size, channels)).unwrap_err();
            assert!(error.to_string().starts_with("data.image has size"), "{error}");
        }
    }

    #[test]
    fn one_channel_of_a_colour_picture_is_its_luminance() {
        let out = transformed(Fit::Pad, 2, 1, (2, 2), &[255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]);
        assert_eq!(out, [76, 150, 29, 9].map(normalised));
    }

    #[test]
    fn a_mirrored_sample_has_its_columns_in_reverse() {
        let mut sample: Vec<f32> = (0..18).map(|i| i as f32).collect();
        mirror(&mut sample, 3, 2);
        let row = |r: f32| [4., 5., 2., 3., 0., 1.].map(|x| x + r);
        assert_eq!(sample, [row(0.), row(6.), row(12.)].concat());
        mirror(&mut sample, 3, 2);
        assert_eq!(sample, (0..18).map(|i| i as f32).collect::<Vec<_>>());
    }

    /// 16 columns of 0, 16, 32 … to 4: the filter is a triangle of 8 columns around each middle, cut off at the borders.
    /// Column 1 looks at columns 2..10 with weights 1 3 5 7 7 5 3 1 of 32: 16 · 5.5 = 88.
    #[test]
    fn scaling_down_is_a_triangle_as_wide_as_two_pixels() {
        let row: Vec<u8> = (0..16).map(|i| i * 16).collect();
        let out = transformed(Fit::Squash, 4, 1, (16, 16), &row.repeat(16));
        let bytes: Vec<f32> = out[..4].iter().map(|x| ((x + 1.0) * 127.5).round()).collect();
        assert_eq!(bytes[1..3], [88.0, 152.0]);
        // At the border the weights 5 7 7 5 3 1 of 28 are left.
        let left = (0..6).zip([5., 7., 7., 5., 3., 1.]).map(|(i, w)| 16.0 * i as f32 * w).sum::<f32>() / 28.0;
        assert_eq!((bytes[0], bytes[3]), (left.round(), 240.0 - left.round()));
    }
}
