//! Decodes WebP with the `image` crate, which allocates what the headers of chunks and frames say before it reads them: what
//! they say is compared with the file and with the picture first.
//!
//! The layout: `RIFF`, a length, `WEBP`, then chunks of a name, a length, data, and a byte where that is odd. `VP8X` has the
//! sides of the canvas, `ANMF` holds the chunks of a frame behind 16 bytes.
//! Source: <https://developers.google.com/speed/webp/docs/riff_container>.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;

use super::others::pixels;
use crate::picture::Picture;

/// Chunks that the decoder reads.
const CHUNKS: [&[u8; 4]; 9] =
    [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "];
const CHUNKS_BEGIN_BYTES: usize = 12;
/// Bytes of a lossless picture for each of its pixels: a pixel has 4, and its codes take less than as many again.
const LOSSLESS_PIXEL_BYTES_MAX: u64 = 8;
/// And for its codes themselves, however few pixels there are.
const LOSSLESS_CODES_BYTES_MAX: u64 = 64 << 10;
const FRAME_HEADER_BYTES: usize = 16;

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
    check_chunks(bytes.get(CHUNKS_BEGIN_BYTES..).unwrap_or_default())?;
    pixels(WebPDecoder::new(Cursor::new(bytes)), "WebP")
}

/// Refuses chunks that are longer than the file, frames that are larger than the canvas, and lossless pictures with far more
/// bytes than their pixels need.
///
/// A lossless picture brings the tables of its Huffman codes, up to 65,536 groups of five, whether a pixel uses them or not. A
/// table of 4 KiB takes 12 bytes of a file, and longer codes cost no less: so tables take less than 400 times the file's bytes, and
/// with these bounds 3.2 KB for a pixel and 26 MB for any picture. A file of 4 MB and one pixel took 1.3 GB.
fn check_chunks(chunks: &[u8]) -> Result<(), String> {
    let mut canvas = None;
    each_chunk(chunks, |name, data| match name {
        b"VP8X" => {
            canvas = data.get(4..10).map(|sides| (1 + number(&sides[..3]), 1 + number(&sides[3..])));
            Ok(())
        }
        b"VP8 " => check_frame(data, canvas),
        b"VP8L" => check_lossless(data, lossless_pixels(data)),
        // The first byte says whether what follows is compressed as a lossless picture is, without its header.
        b"ALPH" if data.first().is_some_and(|flags| flags & 3 == 1) => {
            check_lossless(data, canvas.map(|(width, height)| width * height))
        }
        b"ANMF" => each_chunk(data.get(FRAME_HEADER_BYTES..).unwrap_or_default(), |name, data| match name {
            b"VP8 " => check_frame(data, canvas),
            b"VP8L" => check_lossless(data, lossless_pixels(data)),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })
}

/// Calls `check` with the name and the data of each chunk.
fn each_chunk(
    chunks: &[u8],
    mut check: impl FnMut(&[u8; 4], &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut left = chunks;
    while let Some((name, rest)) = left.split_first_chunk::<4>() {
        let Some((len, rest)) = rest.split_first_chunk::<4>() else { break };
        let len_bytes = u32::from_le_bytes(*len) as usize;
        let Some(data) = rest.get(..len_bytes) else {
            // Behind the picture there may be anything.
            return match CHUNKS.contains(&name) {
                true => Err(format!(
                    "as WebP: it ends early: its chunk {} has {len_bytes} bytes, of which {} are there",
                    String::from_utf8_lossy(name).trim_end(),
                    rest.len()
                )),
                false => Ok(()),
            };
        };
        check(name, data)?;
        left = rest.get(len_bytes.next_multiple_of(2)..).unwrap_or_default();
    }
    Ok(())
}

/// A lossy frame has its sides in 14 bits each (RFC 6386, 9.1). Without a canvas they are those of the picture.
fn check_frame(frame: &[u8], canvas: Option<(u64, u64)>) -> Result<(), String> {
    let (Some((width, height)), Some(sides)) = (canvas, frame.get(6..10)) else { return Ok(()) };
    let [across, down] = [&sides[..2], &sides[2..]].map(|side| number(side) & 0x3fff);
    if across > width || down > height {
        return Err(format!(
            "as WebP: a frame has {across} x {down} pixels, and the picture has {width} x {height}"
        ));
    }
    Ok(())
}

/// The pixels of a lossless picture: after a byte its sides, each less one, in 14 bits.
fn lossless_pixels(data: &[u8]) -> Option<u64> {
    let sides = number(data.get(1..5)?);
    Some(((sides & 0x3fff) + 1) * ((sides >> 14 & 0x3fff) + 1))
}

fn check_lossless(data: &[u8], pixels: Option<u64>) -> Result<(), String> {
    let Some(pixels) = pixels else { return Ok(()) };
    let most = LOSSLESS_PIXEL_BYTES_MAX * pixels + LOSSLESS_CODES_BYTES_MAX;
    match data.len() as u64 > most {
        true => Err(format!(
            "as WebP: its {pixels} pixels take {} bytes without loss; at most {most} are accepted",
            data.len()
        )),
        false => Ok(()),
    }
}

/// The lowest byte first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
