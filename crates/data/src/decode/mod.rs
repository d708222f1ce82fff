//! Decodes pictures.
//!
//! The first bytes decide the format, not the name. The result is the picture as a viewer shows it: rotated as the EXIF
//! data say, 16 bits rounded to 8, CMYK converted to RGB, transparency dropped. Grey stays grey: the
//! [`Transform`](crate::transform::Transform) converts it, with fewer pixels.
//!
//! Every decoder here is plain Rust that does not choose instructions at run time, so that all machines compute the same
//! bits. The alternative was libjpeg-turbo with scaling in the DCT's domain. For a 256-pixel JPEG of quality 75 on one
//! core, zune-jpeg takes 263 µs, and 252 with AVX2. libjpeg-turbo takes 299 in full size; at half size it takes 211 with
//! its assembly, which nasm must build, and 334 without. That gain is not worth a C library and an assembler.
//!
//! A picture that ends early is corrupt, even if decoders show the rest: training would see the missing half.

mod jpeg;
mod others;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::DynamicImage;
use image::metadata::Orientation;

use crate::picture::{Channels, Picture};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With Huffman codes and 8 bits per sample: baseline, extended or progressive.
    Jpeg,
    Png,
    /// Lossy or lossless; the first picture of an animation.
    Webp,
}

/// The longest side: JPEG has 16 bits for it.
const SIDE_MAX: u32 = 65_535;
/// 8,192 × 8,192. A damaged header must not allocate gigabytes.
const PIXELS_MAX: u64 = 1 << 26;

impl Format {
    /// Recognises a format by the first bytes; none for another format.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            // A marker should follow, but viewers skip bytes before it.
            [0xff, 0xd8, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            _ => None,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Webp => "WebP",
        }
    }
}

/// Decodes a picture. If grey is `wanted`, a YCbCr JPEG decodes to its luminance, which takes a third less time. All other
/// pictures keep their own channels.
///
/// # Errors
///
/// The reason why the picture does not decode: another format or an unsupported variant, a damaged picture or one that ends
/// early, or more than 2^26 pixels. A pure function of the bytes.
pub fn decode(bytes: &[u8], wanted: Channels) -> Result<Picture<'static>, String> {
    let format = Format::of(bytes).ok_or_else(|| unknown(bytes))?;
    // A panic of a decoder makes the record corrupt and does not end the run.
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Jpeg => jpeg::decode(bytes, wanted),
        Format::Png => others::png(bytes),
        Format::Webp => webp::webp(bytes),
    }));
    decoded.unwrap_or_else(|_| Err(format!("the decoder for {format:?} panicked")))
}

fn unknown(bytes: &[u8]) -> String {
    let begin: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    match begin.is_empty() {
        true => "it is empty".to_owned(),
        false => format!("it begins with {}, which is neither JPEG, PNG nor WebP", begin.join(" ")),
    }
}

/// Refuses a picture by its header, before its pixels are allocated.
fn check_sides(width: u32, height: u32) -> Result<(), String> {
    let sides = 1..=SIDE_MAX;
    if !sides.contains(&width)
        || !sides.contains(&height)
        || u64::from(width) * u64::from(height) > PIXELS_MAX
    {
        return Err(format!(
            "it says that it has {width} x {height} pixels; at least 1 and at most 2^26 are decoded"
        ));
    }
    Ok(())
}

/// The picture as a viewer shows it: turned as its EXIF orientation says, in grey or RGB of 8 bits. Turned last, because
/// that may copy the picture, and 8 bytes a pixel would be copied where 3 suffice.
fn upright(image: DynamicImage, orientation: Orientation) -> Picture<'static> {
    let channels = if image.color().has_color() { Channels::Colour } else { Channels::Grey };
    let mut image = match channels {
        Channels::Grey => DynamicImage::from(image.into_luma8()),
        Channels::Colour => DynamicImage::from(image.into_rgb8()),
    };
    image.apply_orientation(orientation);
    let (height, width) = (image.height(), image.width());
    Picture { height, width, channels, pixels: image.into_bytes().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_no_picture_are_refused_with_a_reason() {
        let reason = |bytes: &[u8]| decode(bytes, Channels::Colour).unwrap_err();
        assert_eq!(reason(b""), "it is empty");
        assert_eq!(reason(b"GIF89a"), "it begins with 47 49 46 38, which is neither JPEG, PNG nor WebP");
        for magic in [&b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"] {
            assert!(!reason(magic).is_empty());
        }
    }
}
