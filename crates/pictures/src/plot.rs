//! Grids of samples and density plots, as PNG.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageError, ImageFormat, Rgb, RgbImage};
use lsgan_spec::Grid;

/// Pixels between two pictures of a grid.
const GAP: u32 = 2;
/// Side of a density plot in pixels.
const PLOT_SIDE: u32 = 512;

/// Pictures in rows, black between them, as PNG. `samples`: `[n, size, size, channels]` in −1..1, at most as many as the
/// grid has places; those that are left over stay black.
///
/// # Errors
///
/// A grid that is too large for a PNG.
pub fn grid(samples: &[f32], grid: Grid, size: u32, channels: u32) -> Result<Vec<u8>, ImageError> {
    png(&grid_image(samples, grid, size, channels))
}

/// The same, not yet encoded.
#[must_use]
pub fn grid_image(samples: &[f32], grid: Grid, size: u32, channels: u32) -> RgbImage {
    let side = |count: u32| count * (size + GAP) + GAP;
    let mut out = RgbImage::new(side(grid.columns), side(grid.rows));
    for (index, sample) in samples.chunks((size * size * channels) as usize).enumerate() {
        let (column, row) = (index as u32 % grid.columns, index as u32 / grid.columns);
        let (left, top) = (column * (size + GAP) + GAP, row * (size + GAP) + GAP);
        for (place, pixel) in sample.chunks(channels as usize).enumerate() {
            let (x, y) = (place as u32 % size, place as u32 / size);
            let colour = |channel: usize| to_byte(pixel[channel.min(pixel.len() - 1)]);
            out.put_pixel(left + x, top + y, Rgb([colour(0), colour(1), colour(2)]));
        }
    }
    out
}

/// One sample, `[size, size, channels]` in −1..1, as a PNG of its size: grey where it has one channel.
///
/// # Errors
/// An encoder error.
///
/// # Panics
/// Where `sample` has another length, or other channels than 1 or 3.
pub fn single(sample: &[f32], size: u32, channels: u32) -> Result<Vec<u8>, ImageError> {
    let bytes: Vec<u8> = sample.iter().map(|&x| to_byte(x)).collect();
    let picture = match channels {
        1 => GrayImage::from_raw(size, size, bytes).map(DynamicImage::from),
        _ => RgbImage::from_raw(size, size, bytes).map(DynamicImage::from),
    };
    let mut png = Cursor::new(vec![]);
    picture.expect("as many numbers as pixels").write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// Reads a PNG.
///
/// # Errors
/// It is none, or is not whole.
pub fn read(png: &[u8]) -> Result<RgbImage, ImageError> {
    Ok(image::load_from_memory_with_format(png, ImageFormat::Png)?.into_rgb8())
}

fn png(picture: &RgbImage) -> Result<Vec<u8>, ImageError> {
    let mut png = Cursor::new(vec![]);
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// −1..1 to 0..255.
fn to_byte(x: f32) -> u8 {
    ((x.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

/// Bright where many points fall, with a circle of three standard deviations around each real mode, as PNG. `points`:
/// `[n, 2]`; `modes` and `sigma` in the same units.
///
/// # Errors
///
/// An encoder error; the plot always has the same size, so none is expected.
pub fn density(points: &[f32], modes: &[[f64; 2]], sigma: f64) -> Result<Vec<u8>, ImageError> {
    let reach = modes.iter().flatten().map(|x| x.abs()).fold(0.0, f64::max) + 8.0 * sigma;
    let half = reach.max(f64::MIN_POSITIVE) * 1.4;
    let to_pixel = |v: f64| ((v / half + 1.0) / 2.0 * f64::from(PLOT_SIDE)).floor();
    let mut hits = vec![0_u32; (PLOT_SIDE * PLOT_SIDE) as usize];
    for point in points.chunks(2) {
        let (x, y) = (to_pixel(f64::from(point[0])), to_pixel(f64::from(-point[1])));
        let inside = |v: f64| (0.0..f64::from(PLOT_SIDE)).contains(&v);
        if inside(x) && inside(y) {
            hits[y as usize * PLOT_SIDE as usize + x as usize] += 1;
        }
    }
    let most = f64::from(hits.iter().copied().max().unwrap_or(0).max(1));
    let mut out = RgbImage::from_fn(PLOT_SIDE, PLOT_SIDE, |x, y| {
        heat((f64::from(hits[(y * PLOT_SIDE + x) as usize]) / most).powf(0.35))
    });
    let radius = 3.0 * sigma / half / 2.0 * f64::from(PLOT_SIDE);
    for &[x, y] in modes {
        ring(&mut out, to_pixel(x), to_pixel(-y), radius.max(4.0));
    }
    png(&out)
}

/// Dark blue over red to white.
fn heat(share: f64) -> Rgb<u8> {
    let ramp = |from: f64| (((share - from) * 3.0).clamp(0.0, 1.0) * 255.0) as u8;
    let blue = if share > 0.0 { 60 } else { 16 };
    Rgb([ramp(0.0).max(8), ramp(1.0 / 3.0).max(8), ramp(2.0 / 3.0).max(blue)])
}

fn ring(out: &mut RgbImage, x: f64, y: f64, radius: f64) {
    let steps = (radius * 8.0).ceil() as u32;
    for step in 0..steps {
        let angle = std::f64::consts::TAU * f64::from(step) / f64::from(steps);
        let (x, y) = ((x + radius * angle.cos()).round(), (y + radius * angle.sin()).round());
        if x >= 0.0 && y >= 0.0 && x < f64::from(PLOT_SIDE) && y < f64::from(PLOT_SIDE) {
            out.put_pixel(x as u32, y as u32, Rgb([70, 200, 120]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(png: Result<Vec<u8>, ImageError>) -> RgbImage {
        super::read(&png.expect("a PNG is written")).expect("it is read again")
    }

    #[test]
    fn a_single_sample_has_its_own_size_and_channels() {
        for (channels, colour) in [(1, image::ColorType::L8), (3, image::ColorType::Rgb8)] {
            let sample: Vec<f32> = (0..4 * channels).map(|at| at as f32 / 6.0 - 1.0).collect();
            let png = single(&sample, 2, channels).expect("a PNG is written");
            let picture = image::load_from_memory(&png).expect("it is read again");
            assert_eq!((picture.width(), picture.height(), picture.color()), (2, 2, colour));
            assert_eq!(picture.as_bytes()[channels as usize], to_byte(sample[channels as usize]));
        }
    }

    #[test]
    fn a_grid_has_each_sample_in_its_place_and_black_where_there_is_none() {
        let samples = [[-1.0_f32; 4], [1.0; 4], [0.0; 4]].concat();
        let picture = read(grid(&samples, Grid { columns: 2, rows: 2 }, 2, 1));
        assert_eq!(picture.dimensions(), (10, 10));
        let at = |x, y| picture.get_pixel(x, y).0;
        assert_eq!(
            [at(2, 2), at(6, 2), at(2, 6), at(6, 6), at(5, 5)],
            [[0; 3], [255; 3], [128; 3], [0; 3], [0; 3]]
        );
    }

    #[test]
    fn colours_keep_their_order() {
        let picture = read(grid(&[1.0, 0.0, -1.0], Grid { columns: 1, rows: 1 }, 1, 3));
        assert_eq!(picture.get_pixel(2, 2).0, [255, 128, 0]);
    }

    #[test]
    fn a_plot_is_bright_where_the_points_are() {
        let picture = read(density(&[0.5, 0.5].repeat(9), &[[-0.5, -0.5], [0.5, 0.5]], 0.01));
        let brightest =
            picture.enumerate_pixels().max_by_key(|(_, _, pixel)| pixel.0[0]).expect("it has pixels");
        assert!(brightest.0 > 256 && brightest.1 < 256, "up and to the right: {brightest:?}");
    }
}
