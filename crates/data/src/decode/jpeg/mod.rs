//! Decodes JPEG, tested against libjpeg-turbo.
//!
//! - [`structure`], [`frame`]: parse the file. They refuse unsupported variants by name, and skip bytes between segments as
//!   viewers do.
//! - [`scan`], [`huffman`], [`coefficients`], [`progressive`]: read the coded data. All of it is read before the picture
//!   counts as whole: other decoders fill missing parts with grey, and training would see them.
//! - [`idct`], [`planes`], [`colours`]: compute pixels, equal to libjpeg-turbo's to the bit.
//! - [`common`]: computes pixels with zune-jpeg, three times as fast, for the layouts that it decodes correctly but for
//!   roundings.
//! - `matrix.rs` tests all of it against libjpeg-turbo, over every kind of file.
//!
//! The alternatives: zune-jpeg alone garbles other layouts, and accepts files that end early. So does jpeg-decoder 0.3,
//! which is no longer developed. A C library needs an assembler to be as fast, and its errors jump over Rust frames.

mod coefficients;
mod colours;
mod common;
mod frame;
mod huffman;
mod idct;
#[cfg(test)]
mod matrix;
mod planes;
mod progressive;
mod scan;
mod structure;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use self::coefficients::WantedBlocks;
use self::colours::Colours;
use self::structure::Jpeg;
use super::upright;
use crate::picture::{Channels, Picture};

/// If grey is `wanted`, a YCbCr JPEG decodes to its luminance.
pub(super) fn decode(bytes: &[u8], wanted: Channels) -> Result<Picture<'static>, String> {
    decoded(bytes, wanted).map_err(|reason| format!("as JPEG: {reason}"))
}

fn decoded(bytes: &[u8], wanted: Channels) -> Result<Picture<'static>, String> {
    let jpeg = Jpeg::parse(bytes)?;
    let channels = channels(&jpeg, wanted);
    let fast = if common::is_common(&jpeg, channels) { common::pixels(&jpeg, channels)? } else { None };
    let pixels = fast.map_or_else(|| exact(&jpeg, channels), Ok)?;
    let side = |side: usize| u32::try_from(side).expect("a JPEG's sides have 16 bits");
    let (width, height) = (side(jpeg.frame.size.across), side(jpeg.frame.size.down));
    let orientation = jpeg.exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let image = match channels {
        Channels::Grey => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        Channels::Colour => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    Ok(upright(image.expect("a decoder gives a sample for each pixel and channel"), orientation))
}

fn channels(jpeg: &Jpeg<'_>, wanted: Channels) -> Channels {
    match jpeg.colours {
        Colours::Grey => Channels::Grey,
        Colours::YCbCr => wanted,
        Colours::Rgb | Colours::Cmyk | Colours::Ycck => Channels::Colour,
    }
}

/// The pixels of libjpeg-turbo, to the bit.
fn exact(jpeg: &Jpeg<'_>, channels: Channels) -> Result<Vec<u8>, String> {
    let coefficients = coefficients::read(jpeg, WantedBlocks::All)?;
    let count = match channels {
        Channels::Grey => 1,
        Channels::Colour => jpeg.frame.components.len(),
    };
    let planes = planes::planes(jpeg, &coefficients.planes, count, WantedBlocks::All);
    let mut planes: Vec<_> = planes.iter().map(|plane| plane.full_size(&jpeg.frame)).collect();
    Ok(match channels {
        Channels::Grey => planes.remove(0),
        Channels::Colour => jpeg.colours.to_rgb(&planes),
    })
}
