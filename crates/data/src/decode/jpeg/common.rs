//! The layouts that nearly all JPEGs have: by zune-jpeg, which is fast, and right there but for roundings and one edge.
//!
//! A column of pixels at the right edge that leans on the next sample of a plane with half as many leans there on what the
//! encoder has filled up its last block with; the same at the bottom. libjpeg leans on the last sample again. Those two
//! lines are done anew here.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::coefficients::{self, Wanted};
use super::colours::Colours;
use super::frame::{BLOCK_SIDE, Component, Frame, Process, Size};
use super::planes::{Plane, planes};
use super::structure::Jpeg;
use crate::decode::SIDE_MAX;
use crate::picture::Channels;

/// Whether the layout is one of those; `matrix.rs` shows that it is.
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
        // It decides by the ids and Adobe's marker alone.
        Colours::YCbCr => ids != b"RGB" && jpeg.adobe != Some(0),
        Colours::Grey | Colours::Rgb | Colours::Cmyk | Colours::Ycck => true,
    };
    // It has no planes in which luminance has fewer samples than colours have, none of a third, and squeezes the grey of
    // 4:4:0.
    let is_440 = first.factors == (Size { across: 1, down: 2 }) && channels == Channels::Grey;
    let factors_are_plain = first.factors == frame.most
        && frame.most.across != 3
        && frame.most.down != 3
        && !is_440
        && others.iter().all(|component| component.by(frame).across == 1 || component.samples.across > 2);
    scans_are_plain && colours_are_plain && factors_are_plain
}

/// Pixels of `channels`, row after row; none where more bytes than needed have led zune-jpeg astray.
///
/// # Errors
///
/// The coded data are not whole.
pub(super) fn pixels(jpeg: &Jpeg<'_>, channels: Channels) -> Result<Option<Vec<u8>>, String> {
    let edges = match channels {
        Channels::Grey => Wanted::Nothing,
        Channels::Colour => leaning_edges(&jpeg.frame),
    };
    let coefficients = coefficients::read(jpeg, edges)?;
    if coefficients.has_more {
        return Ok(None);
    }
    let Ok(mut pixels) = by_zune(jpeg, channels) else { return Ok(None) };
    if let Wanted::Edges { right, bottom } = edges {
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

/// The edges whose last line would lean on samples that do not belong to the picture.
fn leaning_edges(frame: &Frame) -> Wanted {
    let subsampled = |leans: fn(&Component, Size, Size) -> bool| {
        frame.components.iter().any(|component| leans(component, component.by(frame), frame.size))
    };
    let right = subsampled(|it, by, size| {
        by.across == 2 && size.across.is_multiple_of(2) && it.samples.across < it.padded.across * BLOCK_SIDE
    });
    let bottom = subsampled(|it, by, size| {
        by.down == 2 && size.down.is_multiple_of(2) && it.samples.down < it.padded.down * BLOCK_SIDE
    });
    if right || bottom { Wanted::Edges { right, bottom } } else { Wanted::Nothing }
}

fn by_zune(jpeg: &Jpeg<'_>, channels: Channels) -> Result<Vec<u8>, String> {
    // Plain code, which costs 4 %: its vector code is meant to give the same bits, but says so nowhere.
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
