//! Decodes the layouts of nearly all JPEGs with zune-jpeg, which is fast, and correct there but for roundings and two edges.
//!
//! To scale up a plane with half the samples, zune-jpeg interpolates the last column of pixels with the next sample, which
//! at the right edge is the encoder's padding of the last block; likewise at the bottom. libjpeg repeats the last sample
//! instead. This module computes those two lines again.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::coefficients::{self, WantedBlocks};
use super::colours::Colours;
use super::frame::{BLOCK_SIDE, Component, Frame, Process, Size};
use super::planes::{Plane, planes};
use super::structure::Jpeg;
use crate::decode::SIDE_MAX;
use crate::picture::Channels;

/// Whether the layout is one of those; `matrix.rs` tests this.
pub(super) fn is_common(jpeg: &Jpeg<'_>, channels: Channels) -> bool {
    let frame = &jpeg.frame;
    let scans_are_plain =
        !jpeg.late_quantization && (frame.process == Process::Progressive || jpeg.scans.len() == 1);
    let [first, others @ ..] = &frame.components[..] else { unreachable!("a frame has components") };
    if others.is_empty() {
        return scans_are_plain;
    }
    let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
    let colours_are_plain = match jpeg.colours {
        // zune-jpeg decides by the ids and Adobe's marker alone.
        Colours::YCbCr => ids != b"RGB" && jpeg.adobe != Some(0),
        Colours::Grey | Colours::Rgb | Colours::Cmyk | Colours::Ycck => true,
    };
    // zune-jpeg does not support luminance with fewer samples than the colours, nor a third of the samples, and distorts
    // the grey of 4:4:0.
    let is_440 = first.factors == (Size { across: 1, down: 2 }) && channels == Channels::Grey;
    let factors_are_plain = first.factors == frame.most
        && frame.most.across != 3
        && frame.most.down != 3
        && !is_440
        && others.iter().all(|component| component.by(frame).across == 1 || component.samples.across > 2);
    scans_are_plain && colours_are_plain && factors_are_plain
}

/// The pixels in `channels`, row after row; none if zune-jpeg cannot decode the file, because it has surplus bytes.
///
/// # Errors
///
/// Incomplete or damaged coded data.
pub(super) fn pixels(jpeg: &Jpeg<'_>, channels: Channels) -> Result<Option<Vec<u8>>, String> {
    let edges = match channels {
        Channels::Grey => WantedBlocks::Nothing,
        Channels::Colour => leaning_edges(&jpeg.frame),
    };
    let coefficients = coefficients::read(jpeg, edges)?;
    if coefficients.has_more {
        return Ok(None);
    }
    let Ok(mut pixels) = by_zune(jpeg, channels) else { return Ok(None) };
    if let WantedBlocks::Edges { right, bottom } = edges {
        let planes = planes(jpeg, &coefficients.planes, jpeg.frame.components.len(), edges);
        if right {
            mend_right(jpeg, &planes, &mut pixels);
        }
        if bottom {
            mend_bottom(jpeg, &planes, &mut pixels);
        }
    }
    Ok(Some(pixels))
}

fn mend_right(jpeg: &Jpeg<'_>, planes: &[Plane], pixels: &mut [u8]) {
    let Size { across: width, down: height } = jpeg.frame.size;
    let column = |plane: &Plane| (0..height).map(|y| plane.last_pixel(y, width)).collect();
    let column = jpeg.colours.to_rgb(&planes.iter().map(column).collect::<Vec<_>>());
    for (row, pixel) in pixels.chunks_exact_mut(3 * width).zip(column.chunks_exact(3)) {
        row[3 * (width - 1)..].copy_from_slice(pixel);
    }
}

fn mend_bottom(jpeg: &Jpeg<'_>, planes: &[Plane], pixels: &mut [u8]) {
    let Size { across: width, down: height } = jpeg.frame.size;
    let line = |plane: &Plane| {
        let mut line = Vec::with_capacity(width);
        plane.line(height - 1, 0, &mut line);
        line.truncate(width);
        line
    };
    let line = jpeg.colours.to_rgb(&planes.iter().map(line).collect::<Vec<_>>());
    pixels[3 * width * (height - 1)..].copy_from_slice(&line);
}

/// The edges whose last line depends on samples outside of the picture.
fn leaning_edges(frame: &Frame) -> WantedBlocks {
    let subsampled = |leans: fn(&Component, Size, Size) -> bool| {
        frame.components.iter().any(|component| leans(component, component.by(frame), frame.size))
    };
    let right = subsampled(|it, by, size| {
        by.across == 2 && size.across.is_multiple_of(2) && it.samples.across < it.padded.across * BLOCK_SIDE
    });
    let bottom = subsampled(|it, by, size| {
        by.down == 2 && size.down.is_multiple_of(2) && it.samples.down < it.padded.down * BLOCK_SIDE
    });
    if right || bottom { WantedBlocks::Edges { right, bottom } } else { WantedBlocks::Nothing }
}

fn by_zune(jpeg: &Jpeg<'_>, channels: Channels) -> Result<Vec<u8>, String> {
    // Plain code, which is 4 % slower: nothing documents that its vector code gives the same bits.
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(true)
        .set_max_width(SIDE_MAX as usize)
        .set_max_height(SIDE_MAX as usize)
        .jpeg_set_out_colorspace(match channels {
            Channels::Grey => ColorSpace::Luma,
            Channels::Colour => ColorSpace::RGB,
        });
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&jpeg.plain[..]), options);
    let mut pixels = vec![0; jpeg.frame.size.area() * channels.count()];
    decoder.decode_into(&mut pixels).map_err(|error| error.to_string().trim_end().to_owned())?;
    Ok(pixels)
}
