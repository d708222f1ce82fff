//! Decodes PNG and WebP with the `image` crate.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};

use super::{PIXELS_MAX, check_sides, upright};
use crate::picture::Picture;

/// A pixel has at most 4 channels of 16 bits, and a decoder may need twice that.
const ALLOCATION_BYTES_MAX: u64 = 2 * 8 * PIXELS_MAX;

pub(super) fn png(bytes: &[u8]) -> Result<Picture<'static>, String> {
    // The decoder stops after the last row, so it would accept a file without an end.
    if !has_png_end(bytes) {
        return Err("as PNG: it ends early: its end chunk is missing".to_owned());
    }
    pixels(PngDecoder::with_limits(Cursor::new(bytes), limits()), "PNG")
}

pub(super) fn webp(bytes: &[u8]) -> Result<Picture<'static>, String> {
    // The decoder accepts a file that lacks bytes it does not need. Bytes 4 to 8 hold the number of following bytes.
    let said = bytes.get(4..8).and_then(|len| len.try_into().ok()).map_or(0, u32::from_le_bytes);
    if bytes.len() < said as usize + 8 {
        return Err(format!(
            "as WebP: it ends early: {} of {} bytes are there",
            bytes.len(),
            u64::from(said) + 8
        ));
    }
    pixels(WebPDecoder::new(Cursor::new(bytes)), "WebP")
}

/// Whether the chunks end with a complete IEND. After the magic, each has a length, a name, data and a checksum.
fn has_png_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some(([l3, l2, l1, l0, name @ ..], behind)) = rest.split_first_chunk::<8>() {
        let len = u32::from_be_bytes([*l3, *l2, *l1, *l0]) as usize;
        let Some(next) = behind.get(len + 4..) else { return false };
        if name == b"IEND" {
            return true;
        }
        rest = next;
    }
    false
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(ALLOCATION_BYTES_MAX);
    limits
}

fn pixels(decoder: Result<impl ImageDecoder, ImageError>, format: &str) -> Result<Picture<'static>, String> {
    let failed = |error: ImageError| format!("as {format}: {error}");
    let mut decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_sides(width, height)?;
    decoder.set_limits(limits()).map_err(failed)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok(upright(DynamicImage::from_decoder(decoder).map_err(failed)?, orientation))
}
