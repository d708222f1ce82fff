//! Encodes samples as PNG or WebP, without loss.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder as _, ImageResult};
use serde::{Deserialize, Serialize};

use crate::picture::{Channels, Picture};

/// The format of packed pictures. Both are lossless, so that training gives the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackFormat {
    /// Decodes fast.
    #[default]
    Png,
    /// Lossless; smaller.
    Webp,
}

impl PackFormat {
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Webp => "webp",
        }
    }

    pub(super) fn encode(self, picture: &Picture<'_>) -> ImageResult<Vec<u8>> {
        let mut out = Vec::new();
        let Picture { height, width, channels, pixels } = picture;
        let kind = match channels {
            Channels::Grey => ExtendedColorType::L8,
            Channels::Colour => ExtendedColorType::Rgb8,
        };
        match self {
            Self::Png => {
                PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Adaptive)
                    .write_image(pixels, *width, *height, kind)?;
            }
            Self::Webp => WebPEncoder::new_lossless(&mut out).write_image(pixels, *width, *height, kind)?,
        }
        Ok(out)
    }
}

/// The picture of a sample `[size, size, channels]` in −1..1, with exactly the bytes that the transform mapped. If the
/// three channels are equal in every pixel, the picture is grey: it is smaller, and gives the same sample.
pub(super) fn picture_of(sample: &[f32], size: u32, channels: u32) -> Picture<'static> {
    let pixels: Vec<u8> = sample.iter().map(|x| ((x + 1.0) * 127.5).round() as u8).collect();
    let is_grey = channels == 1 || pixels.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]);
    let (channels, pixels) = match (is_grey, channels) {
        (true, 3) => (Channels::Grey, pixels.chunks_exact(3).map(|pixel| pixel[0]).collect()),
        (true, _) => (Channels::Grey, pixels),
        (false, _) => (Channels::Colour, pixels),
    };
    Picture { height: size, width: size, channels, pixels: pixels.into() }
}

#[cfg(test)]
mod tests {
    use lsgan_spec::{Fit, ImageSpec};

    use super::*;
    use crate::decode::decode;
    use crate::transform::Transform;

    /// Pictures with all 256 bytes in every channel: grey, colour, and colour with equal channels. Each format and each
    /// fit.
    #[test]
    fn an_encoded_sample_is_the_same_sample_again() {
        let bytes: Vec<u8> = (0..=255).collect();
        let rotated: Vec<u8> = (0..256_usize).flat_map(|i| [i, i + 85, i + 170].map(|x| x as u8)).collect();
        let tripled: Vec<u8> = bytes.iter().flat_map(|byte| [*byte; 3]).collect();
        for (channels, kind, pixels) in [
            (1, Channels::Grey, &bytes),
            (3, Channels::Grey, &bytes),
            (3, Channels::Colour, &rotated),
            (3, Channels::Colour, &tripled),
            (1, Channels::Colour, &rotated),
        ] {
            for fit in [Fit::Pad, Fit::Crop, Fit::Squash] {
                let transform = Transform::new(&ImageSpec { fit, ..ImageSpec::of(16, channels) }).unwrap();
                let sample_of = |picture: &Picture<'_>| {
                    let mut out = vec![f32::NAN; transform.sample_shape().len()];
                    transform.apply(picture, &mut out);
                    out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let pixels = pixels.as_slice().into();
                let sample = sample_of(&Picture { height: 16, width: 16, channels: kind, pixels });
                let floats: Vec<f32> = sample.iter().map(|bits| f32::from_bits(*bits)).collect();
                let picture = picture_of(&floats, 16, channels);
                for format in [PackFormat::Png, PackFormat::Webp] {
                    let encoded = format.encode(&picture).unwrap();
                    let again = decode(&encoded, transform.channels()).unwrap();
                    assert_eq!(sample_of(&again), sample, "{channels} of {kind:?}, {fit:?}, {format:?}");
                }
            }
        }
    }
}
