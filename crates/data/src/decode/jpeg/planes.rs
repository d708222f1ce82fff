//! Converts blocks to planes of the picture's size.
//!
//! Planes with fewer samples are scaled up as libjpeg does by default, with the same roundings: planes with half the samples
//! by a triangle filter over the two nearest samples, with weights 3 and 1; others by repetition.

use super::coefficients::{Plane as Coefficients, WantedBlocks};
use super::frame::{BLOCK_SIDE, Component, Frame, Size};
use super::idct;
use super::scan::BlockAt;
use super::structure::Jpeg;

/// The samples of one component that belong to the picture.
pub(super) struct Plane {
    size: Size,
    samples: Vec<u8>,
    /// The pixels that a sample covers.
    by: Size,
}

/// The planes of the first `count` components; samples of blocks that are not wanted stay 0.
pub(super) fn planes(
    jpeg: &Jpeg<'_>,
    coefficients: &[Coefficients],
    count: usize,
    wanted: WantedBlocks,
) -> Vec<Plane> {
    let components = jpeg.frame.components.iter().zip(coefficients).take(count);
    components.map(|(component, blocks)| Plane::new(component, &jpeg.frame, blocks, wanted)).collect()
}

impl Plane {
    fn new(component: &Component, frame: &Frame, blocks: &Coefficients, wanted: WantedBlocks) -> Self {
        let quantization =
            component.quantization.as_ref().expect("the coefficients' reader checked that it is there");
        let size = component.samples;
        let mut samples = vec![0; size.area()];
        for row in 0..component.blocks.down {
            for column in 0..component.blocks.across {
                let place = BlockAt { row, column };
                if !wanted.has(component, place) {
                    continue;
                }
                let block = idct::samples(blocks.block(place), quantization);
                let (top, left) = (row * BLOCK_SIDE, column * BLOCK_SIDE);
                let width = BLOCK_SIDE.min(size.across - left);
                for (y, line) in block.chunks_exact(BLOCK_SIDE).take(size.down - top).enumerate() {
                    let at = (top + y) * size.across + left;
                    samples[at..at + width].copy_from_slice(&line[..width]);
                }
            }
        }
        Self { size, samples, by: component.by(frame) }
    }

    /// The plane with a sample for each pixel, row after row.
    pub(super) fn full_size(&self, frame: &Frame) -> Vec<u8> {
        let mut out = Vec::with_capacity(frame.size.area());
        let mut line = Vec::with_capacity(self.size.across * self.by.across);
        for y in 0..frame.size.down {
            line.clear();
            self.line(y, 0, &mut line);
            out.extend(&line[..frame.size.across]);
        }
        out
    }

    /// The last pixel of row `y` in a picture of `width`; it needs only the last column of samples.
    pub(super) fn last_pixel(&self, y: usize, width: usize) -> u8 {
        let last = self.size.across - 1;
        let mut line = Vec::with_capacity(self.by.across);
        self.line(y, last, &mut line);
        line[width - 1 - last * self.by.across]
    }

    /// Appends the pixels of row `y` from the sample `first` on.
    pub(super) fn line(&self, y: usize, first: usize, out: &mut Vec<u8>) {
        let row = |row: usize| {
            let row = row.min(self.size.down - 1);
            &self.samples[row * self.size.across + first..(row + 1) * self.size.across]
        };
        let nearest = row(y / self.by.down);
        // The second row for smooth scaling: above for the upper half of a sample, below for the lower half.
        let is_upper = y.is_multiple_of(2);
        let other = row(if is_upper { (y / 2).saturating_sub(1) } else { y / 2 + 1 });
        match (self.by.across, self.by.down) {
            (1, 1) => out.extend(nearest),
            (2, 1) if self.is_wide() => smooth_across(nearest, out),
            (1, 2) => smooth_down(nearest, other, is_upper, out),
            (2, 2) if self.is_wide() => smooth_both(nearest, other, out),
            (across, _) => {
                out.extend(nearest.iter().flat_map(|&sample| std::iter::repeat_n(sample, across)));
            }
        }
    }

    /// libjpeg repeats the samples of rows that are too short for its filter.
    fn is_wide(&self) -> bool {
        self.size.across > 2
    }
}

/// Alternates between rounding down and up, so that the picture becomes neither brighter nor darker.
fn smooth_across(row: &[u8], out: &mut Vec<u8>) {
    let at = |x: usize| u16::from(row[x]);
    let last = row.len() - 1;
    for x in 0..row.len() {
        out.push(((3 * at(x) + at(x.saturating_sub(1)) + 1) >> 2) as u8);
        out.push(((3 * at(x) + at((x + 1).min(last)) + 2) >> 2) as u8);
    }
}

fn smooth_down(nearest: &[u8], other: &[u8], is_upper: bool, out: &mut Vec<u8>) {
    let bias = if is_upper { 1 } else { 2 };
    let both = nearest.iter().zip(other);
    out.extend(both.map(|(&near, &far)| ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8));
}

fn smooth_both(nearest: &[u8], other: &[u8], out: &mut Vec<u8>) {
    let at = |x: usize| 3 * u16::from(nearest[x]) + u16::from(other[x]);
    let last = nearest.len() - 1;
    for x in 0..nearest.len() {
        out.push(((3 * at(x) + at(x.saturating_sub(1)) + 8) >> 4) as u8);
        out.push(((3 * at(x) + at((x + 1).min(last)) + 7) >> 4) as u8);
    }
}
