//! Pictures one after another, over and over, in a file that all browsers play and that loses nothing: an animated PNG or WebP.

use image::error::EncodingError;
use image::{ImageError, ImageFormat, RgbImage};
use png::{BitDepth, ColorType, Encoder};

use crate::animated_webp;

/// How animations are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnimationFormat {
    /// Animated PNG.
    Png,
    /// Animated WebP, lossless.
    Webp,
}

/// Frames of one size, shown `frames_per_s` of them a second, over and over.
///
/// # Errors
/// No frames, more or larger ones than the format has, or an encoder error.
///
/// # Panics
/// Where a frame has another size than the first, or `frames_per_s` is 0.
pub fn animation(
    frames: &[RgbImage],
    frames_per_s: u16,
    format: AnimationFormat,
) -> Result<Vec<u8>, ImageError> {
    let (width, height) = frames.first().map_or((1, 1), RgbImage::dimensions);
    for frame in frames {
        assert_eq!(frame.dimensions(), (width, height), "all frames have the size of the first");
    }
    match format {
        AnimationFormat::Png => animated_png(frames, (width, height), frames_per_s)
            .map_err(|error| ImageError::Encoding(EncodingError::new(ImageFormat::Png.into(), error))),
        AnimationFormat::Webp => animated_webp::encode(frames, (width, height), frames_per_s),
    }
}

fn animated_png(
    frames: &[RgbImage],
    (width, height): (u32, u32),
    frames_per_s: u16,
) -> Result<Vec<u8>, png::EncodingError> {
    let mut png = vec![];
    let mut encoder = Encoder::new(&mut png, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_animated(u32::try_from(frames.len()).unwrap_or(u32::MAX), 0)?;
    encoder.set_frame_delay(1, frames_per_s)?;
    let mut writer = encoder.write_header()?;
    for frame in frames {
        writer.write_image_data(frame)?;
    }
    writer.finish()?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::png::PngDecoder;
    use image::codecs::webp::WebPDecoder;
    use image::metadata::LoopCount;
    use image::{AnimationDecoder, DynamicImage, Frame};

    use super::*;

    /// Pictures of a size that is odd, whose pixels differ, and one whose pixels do not.
    fn pictures() -> Vec<RgbImage> {
        let of = |at: u8| {
            RgbImage::from_fn(5, 3, |x, y| {
                let [x, y] = [x, y].map(|at| u8::try_from(at).expect("it is small"));
                image::Rgb([at * 40 + x, y * 100, at.wrapping_mul(x * 50 + y)])
            })
        };
        (0..6).map(of).chain([RgbImage::new(5, 3)]).collect()
    }

    fn read<'a>(decoder: impl AnimationDecoder<'a>) -> Vec<Frame> {
        assert!(matches!(decoder.loop_count(), LoopCount::Infinite));
        decoder.into_frames().collect_frames().expect("it is whole")
    }

    /// The frames of an animation in each format.
    fn both(frames: &[RgbImage], frames_per_s: u16) -> [Vec<Frame>; 2] {
        let made = |format| Cursor::new(animation(frames, frames_per_s, format).expect("it is encoded"));
        let png = PngDecoder::new(made(AnimationFormat::Png)).expect("it is a PNG");
        let webp = WebPDecoder::new(made(AnimationFormat::Webp)).expect("it is a WebP");
        assert!(webp.has_animation());
        [read(png.apng().expect("it is animated")), read(webp)]
    }

    #[test]
    fn every_frame_comes_back_with_its_time() {
        let frames = pictures();
        for read in both(&frames, 20) {
            assert_eq!(read.len(), frames.len());
            for (read, frame) in read.into_iter().zip(&frames) {
                assert_eq!(read.delay().numer_denom_ms(), (50, 1));
                let read = DynamicImage::from(read.into_buffer()).into_rgb8();
                assert!(read == *frame);
            }
        }
    }

    /// A WebP counts milliseconds, and 60 frames a second are none each.
    #[test]
    fn a_second_of_webp_takes_a_second() {
        let frames = vec![RgbImage::new(2, 2); 60];
        let [_, webp] = both(&frames, 60);
        let delays: Vec<_> = webp.iter().map(|frame| frame.delay().numer_denom_ms()).collect();
        assert_eq!(delays.iter().map(|(ms, _)| ms).sum::<u32>(), 1000);
        assert!(delays.iter().all(|delay| [(16, 1), (17, 1)].contains(delay)), "{delays:?}");
    }

    #[test]
    fn what_a_format_does_not_have_is_refused() {
        for format in [AnimationFormat::Png, AnimationFormat::Webp] {
            assert!(animation(&[], 20, format).is_err());
        }
        // 14 bits.
        let wide = [RgbImage::new(16_385, 1)];
        assert!(animation(&wide, 20, AnimationFormat::Png).is_ok());
        assert!(animation(&wide, 20, AnimationFormat::Webp).is_err());
    }
}
