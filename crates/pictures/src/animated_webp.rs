//! The container of animated WebP, RFC 9649, section 2.7, around frames that `image` encodes: it writes single pictures alone.
//!
//! A chunk is a name of four letters, a length and so many bytes, padded to an even number. The file is a chunk RIFF of: VP8X (what
//! else there is, and the size), ANIM (how often it is played), and for each frame ANMF (its place and time, then its chunk VP8L).

use std::io;

use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageError, RgbImage};

/// Of the flags in VP8X: it is animated, and has neither alpha nor metadata.
const ANIMATED: u8 = 1 << 1;
/// Of the flags of a frame: it replaces what was there before.
const NOT_BLENDED: u8 = 1 << 1;
/// Plays that never end.
const FOREVER: u16 = 0;
/// What comes before the first chunk of a picture's file: RIFF, its length, and WEBP.
const FILE_HEADER_BYTES: usize = 12;

/// Frames of one size as WebP, without loss.
///
/// # Errors
/// No frames, a size of more than 16,384 pixels, a file of more than 4 GiB.
pub fn encode(
    frames: &[RgbImage],
    (width, height): (u32, u32),
    frames_per_s: u16,
) -> Result<Vec<u8>, ImageError> {
    if frames.is_empty() {
        return Err(refused("an animation has one frame or more"));
    }
    // In 24 bits each. The encoder of the frames refuses more than 14.
    let size = [width, height].map(|pixels| int24(pixels.saturating_sub(1))).concat();
    let mut body = b"WEBP".to_vec();
    chunk(&mut body, *b"VP8X", &[&[ANIMATED, 0, 0, 0], &size])?;
    let background = [0_u8; 4];
    chunk(&mut body, *b"ANIM", &[&background, &FOREVER.to_le_bytes()])?;
    for (frame, duration_ms) in frames.iter().zip(durations_ms(frames_per_s)) {
        let mut file: Vec<u8> = vec![];
        WebPEncoder::new_lossless(&mut file).encode(frame, width, height, ExtendedColorType::Rgb8)?;
        let place = [0_u8; 6];
        let picture = &file[FILE_HEADER_BYTES..];
        chunk(&mut body, *b"ANMF", &[&place, &size, &int24(duration_ms), &[NOT_BLENDED], picture])?;
    }
    let mut file = vec![];
    chunk(&mut file, *b"RIFF", &[&body])?;
    Ok(file)
}

/// A time for each frame in whole milliseconds: after n frames it is never further than half of one from n / `frames_per_s`.
fn durations_ms(frames_per_s: u16) -> impl Iterator<Item = u32> {
    let rate = u64::from(frames_per_s);
    let begins_ms = move |frame: u64| (frame * 1000 + rate / 2) / rate;
    (0..).map(move |frame| (begins_ms(frame + 1) - begins_ms(frame)) as u32)
}

fn chunk(out: &mut Vec<u8>, name: [u8; 4], parts: &[&[u8]]) -> Result<(), ImageError> {
    let len_bytes = u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>())
        .map_err(|_| refused("the file would be larger than 4 GiB. Ask for fewer frames"))?;
    out.extend(name);
    out.extend(len_bytes.to_le_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.resize(out.len() + (len_bytes % 2) as usize, 0);
    Ok(())
}

/// The lower 24 bits.
fn int24(number: u32) -> [u8; 3] {
    let [a, b, c, _] = number.to_le_bytes();
    [a, b, c]
}

fn refused(problem: &'static str) -> ImageError {
    ImageError::IoError(io::Error::new(io::ErrorKind::InvalidInput, problem))
}
