//! JPEG by zune-jpeg.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{SIDE_MAX, check_sides, upright};
use crate::picture::{Channels, Picture};

/// `wanted`: grey takes the luminance alone out of a JPEG that keeps it apart.
pub(super) fn decode(bytes: &[u8], wanted: Channels) -> Result<Picture<'static>, String> {
    // Plain code, which costs 4 %: its vector code is meant to give the same bits, but says so nowhere. Strict, or the
    // missing half of a picture that is cut off would be grey, and trained on.
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(true)
        .set_max_width(SIDE_MAX as usize)
        .set_max_height(SIDE_MAX as usize);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    // Some of its errors end with a new line.
    let failed =
        |error: zune_jpeg::errors::DecodeErrors| format!("as JPEG: {}", error.to_string().trim_end());
    decoder.decode_headers().map_err(failed)?;
    let info = decoder.info().ok_or("as JPEG: it has no header")?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_sides(width, height)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let (channels, out) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (Channels::Grey, ColorSpace::Luma),
        Some(ColorSpace::YCbCr) if wanted == Channels::Grey => (Channels::Grey, ColorSpace::Luma),
        _ => (Channels::Colour, ColorSpace::RGB),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let mut pixels = vec![0; width as usize * height as usize * channels.count()];
    decoder.decode_into(&mut pixels).map_err(failed)?;
    let picture = Picture { height, width, channels, pixels: pixels.into() };
    Ok(upright(picture, orientation.unwrap_or(Orientation::NoTransforms)))
}
