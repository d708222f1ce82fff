//! Pictures one after another, as an animated PNG: all browsers show it, and it loses nothing.

use image::RgbImage;
use png::{BitDepth, ColorType, Encoder, EncodingError};

/// Frames of one size, shown `frames_per_s` of them a second, over and over, as PNG.
///
/// # Errors
/// No frames, or an encoder error.
///
/// # Panics
/// Where a frame has another size than the first.
pub fn animation(frames: &[RgbImage], frames_per_s: u16) -> Result<Vec<u8>, EncodingError> {
    let (width, height) = frames.first().map_or((1, 1), RgbImage::dimensions);
    let mut png = vec![];
    let mut encoder = Encoder::new(&mut png, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_animated(u32::try_from(frames.len()).unwrap_or(u32::MAX), 0)?;
    encoder.set_frame_delay(1, frames_per_s)?;
    let mut writer = encoder.write_header()?;
    for frame in frames {
        assert_eq!(frame.dimensions(), (width, height), "all frames have the size of the first");
        writer.write_image_data(frame)?;
    }
    writer.finish()?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::png::PngDecoder;
    use image::{AnimationDecoder as _, Rgb};

    use super::*;

    #[test]
    fn every_frame_comes_back_with_its_time() {
        let frames: Vec<_> = (0..3).map(|at| RgbImage::from_pixel(5, 4, Rgb([at * 40, 1, 2]))).collect();
        let png = animation(&frames, 20).expect("it is encoded");
        let decoder = PngDecoder::new(Cursor::new(png)).expect("it is a PNG").apng().expect("it is animated");
        let read = decoder.into_frames().collect_frames().expect("it is whole");
        assert_eq!(read.len(), 3);
        for (read, frame) in read.iter().zip(&frames) {
            assert_eq!(read.delay().numer_denom_ms(), (50, 1));
            let pixel = read.buffer().get_pixel(4, 3).0;
            assert_eq!(pixel[..3], frame.get_pixel(4, 3).0);
        }
        assert!(animation(&[], 20).is_err());
    }
}
