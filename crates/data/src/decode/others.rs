//! Decodes PNG with the `image` crate, and what WebP shares with that.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};

use super::{PIXELS_MAX, check_sides, upright};
use crate::picture::Picture;

/// A pixel has at most 4 channels of 16 bits, and a decoder may need twice that.
const ALLOCATION_BYTES_MAX: u64 = 2 * 8 * PIXELS_MAX;

/// Chunks of a PNG that hold compressed data and have no effect on the pixels. The decoder would decompress them: 1 MB of
/// them can be 1 GB.
const COMPRESSED_CHUNKS: [&[u8; 4]; 3] = [b"iCCP", b"zTXt", b"iTXt"];
const PNG_MAGIC_BYTES: usize = 8;

pub(super) fn png(bytes: &[u8]) -> Result<Picture<'static>, String> {
    // The decoder stops after the last row, so it would accept a file without an end.
    let plain = plain_png(bytes).ok_or("as PNG: it ends early: its end chunk is missing")?;
    pixels(PngDecoder::with_limits(Cursor::new(plain), limits()), "PNG")
}

/// The file up to its end chunk, without [`COMPRESSED_CHUNKS`]; none if it has no complete end chunk. After the magic, each
/// chunk has a length, a name, data and a checksum.
fn plain_png(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut plain = Cow::Borrowed(bytes);
    let mut at = PNG_MAGIC_BYTES;
    loop {
        let (head, rest) = bytes.get(at..)?.split_first_chunk::<8>()?;
        let [l3, l2, l1, l0, name @ ..] = head;
        let len_bytes = u32::from_be_bytes([*l3, *l2, *l1, *l0]) as usize + 4;
        let chunk = &bytes[at..at + 8 + rest.get(..len_bytes)?.len()];
        if COMPRESSED_CHUNKS.contains(&name) {
            if let Cow::Borrowed(_) = plain {
                plain = Cow::Owned(bytes[..at].to_vec());
            }
        } else if let Cow::Owned(plain) = &mut plain {
            plain.extend_from_slice(chunk);
        }
        if name == b"IEND" {
            return Some(plain);
        }
        at += chunk.len();
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(ALLOCATION_BYTES_MAX);
    limits
}

/// The picture of a decoder, if it is not too large.
pub(super) fn pixels(
    decoder: Result<impl ImageDecoder, ImageError>,
    format: &str,
) -> Result<Picture<'static>, String> {
    let failed = |error: ImageError| format!("as {format}: {error}");
    let mut decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_sides(width, height)?;
    decoder.set_limits(limits()).map_err(failed)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok(upright(DynamicImage::from_decoder(decoder).map_err(failed)?, orientation))
}
