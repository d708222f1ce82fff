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

use std::panic::{AssertUnwindSafe, catch_unwind};

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
        Format::Webp => others::webp(bytes),
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

/// Turns a picture as its EXIF orientation says.
fn upright(picture: Picture<'static>, orientation: Orientation) -> Picture<'static> {
    let Picture { height, width, channels, pixels } = picture;
    // The source of the pixel (row, column): sides swapped, then rows and columns counted from the other end.
    let (swapped, rows_back, columns_back) = match orientation {
        Orientation::NoTransforms => return Picture { height, width, channels, pixels },
        Orientation::FlipHorizontal => (false, false, true),
        Orientation::Rotate180 => (false, true, true),
        Orientation::FlipVertical => (false, true, false),
        Orientation::Rotate90FlipH => (true, false, false),
        Orientation::Rotate90 => (true, true, false),
        Orientation::Rotate270FlipH => (true, true, true),
        Orientation::Rotate270 => (true, false, true),
    };
    let (out_height, out_width) = if swapped { (width, height) } else { (height, width) };
    let count = channels.count();
    let mut out = Vec::with_capacity(pixels.len());
    for row in 0..out_height {
        for column in 0..out_width {
            let (row, column) = if swapped { (column, row) } else { (row, column) };
            let row = if rows_back { height - 1 - row } else { row };
            let column = if columns_back { width - 1 - column } else { column };
            let at = (row as usize * width as usize + column as usize) * count;
            out.extend_from_slice(&pixels[at..at + count]);
        }
    }
    Picture { height: out_height, width: out_width, channels, pixels: out.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 rows, 3 columns: `abc / def`.
    #[test]
    fn an_orientation_turns_the_picture_as_exif_says() {
        let wanted = [
            (1, "abc/def"),
            (2, "cba/fed"),
            (3, "fed/cba"),
            (4, "def/abc"),
            (5, "ad/be/cf"),
            (6, "da/eb/fc"),
            (7, "fc/eb/da"),
            (8, "cf/be/ad"),
        ];
        for (exif, wanted) in wanted {
            let pixels = b"abcdef".as_slice().into();
            let picture = Picture { height: 2, width: 3, channels: Channels::Grey, pixels };
            let turned = upright(picture, Orientation::from_exif(exif).expect("1 to 8 are orientations"));
            let rows: Vec<_> = turned.pixels.chunks(turned.width as usize).collect();
            assert_eq!(String::from_utf8(rows.join(&b'/')).unwrap(), wanted, "orientation {exif}");
        }
    }

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
