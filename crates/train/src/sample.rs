//! Pictures of what a generator makes of fixed z, with running statistics, in f32 on the host.
//!
//! Pictures become a grid; 2-D points become a density plot over the real modes.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use lsgan_spec::{Grid, Modes, RunSpec, Source};
use tch::{Device, Kind, Tensor};

use crate::TrainError;
use crate::device;
use crate::flat::Layout;
use crate::layers::{Network, Norm};
use crate::models::{self, SampleShape};
use crate::noise::Stream;
use crate::parts::{self, Part};
use crate::step::view;

/// Pixels between two pictures of a grid.
const GAP: u32 = 2;
/// Side of a density plot in pixels.
const PLOT_SIDE: u32 = 512;
/// How many points a density plot shows for each place of the grid.
const POINTS_PER_PLACE: u32 = 1024;
/// Pictures that are computed at once.
const BATCH: usize = 64;

/// The weights and running statistics of a generator, flat.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Laid out like the network's parameters.
    pub weights: &'a [f32],
    /// Laid out like its running statistics.
    pub statistics: &'a [f32],
}

/// Makes pictures with a run's generator.
pub struct Sampler {
    network: Network,
    sample: SampleShape,
    spec: RunSpec,
}

impl Sampler {
    /// For the generator that a run's file names.
    pub fn new(spec: &RunSpec) -> Result<Self, TrainError> {
        let sample = SampleShape::of(spec)?;
        Ok(Self { network: models::generator(&spec.model.generator, sample)?, sample, spec: spec.clone() })
    }

    /// A picture from a saved `generator` or `generator_ema`, as PNG.
    pub fn picture_of_part(&self, part: &Part, grid: Grid) -> Result<Vec<u8>, TrainError> {
        let mut weights = vec![0.0; self.network.parameters.len()];
        let mut statistics = vec![0.0; self.network.statistics.len()];
        parts::import_network(&self.network, part, &mut weights, &mut statistics)?;
        self.picture(&Weights { weights: &weights, statistics: &statistics }, grid)
    }

    /// A picture, as PNG: the first `grid.count()` samples of the run's fixed z, or a density plot.
    pub fn picture(&self, weights: &Weights, grid: Grid) -> Result<Vec<u8>, TrainError> {
        let picture = match self.sample {
            SampleShape::Picture { size, channels } => {
                tile(&self.samples(weights, grid.count() as usize), grid, size, channels)
            }
            SampleShape::Point => {
                let points = self.samples(weights, (grid.count() * POINTS_PER_PLACE) as usize);
                density(&points, &self.spec.data.source)
            }
        };
        let mut png = Cursor::new(vec![]);
        picture.write_to(&mut png, ImageFormat::Png)?;
        Ok(png.into_inner())
    }

    /// The first `count` samples of the run's fixed z: `[count, height, width, channels]` or `[count, 2]`.
    #[must_use]
    pub fn samples(&self, weights: &Weights, count: usize) -> Vec<f32> {
        device::one_thread();
        let mut stream = Stream::of_samples(self.spec.seed);
        let leaves = views(&self.network.parameters, weights.weights);
        let running = views(&self.network.statistics, weights.statistics);
        let batch = |start: usize| {
            let size = self.network.input_size(BATCH.min(count - start));
            let mut z = vec![0.0; size.iter().product::<i64>() as usize];
            stream.fill(models::latent(&self.spec.model.generator), &mut z);
            let z = Tensor::from_slice(&z).view(size.as_slice());
            let y = tch::no_grad(|| self.network.forward(&z, &leaves, &mut Norm::Running(running.iter())));
            let last = match self.sample {
                SampleShape::Picture { .. } => y.permute([0, 2, 3, 1]),
                SampleShape::Point => y,
            };
            Vec::<f32>::try_from(last.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().flatten(0, -1))
                .expect("samples are f32 on the host")
        };
        (0..count).step_by(BATCH).flat_map(batch).collect()
    }
}

fn views(layout: &Layout, flat: &[f32]) -> Vec<Tensor> {
    let base = Tensor::from_slice(flat);
    layout.entries().iter().map(|entry| view(&base, entry)).collect()
}

/// Pictures in rows, black between them.
fn tile(samples: &[f32], grid: Grid, size: u32, channels: u32) -> RgbImage {
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

/// −1..1 to 0..255.
fn to_byte(x: f32) -> u8 {
    ((x.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

/// Bright where many points fall, with a circle of three standard deviations around each real mode.
fn density(points: &[f32], source: &Source) -> RgbImage {
    let (modes, sigma) = real_modes(source);
    let reach = modes.iter().flat_map(|(x, y)| [x.abs(), y.abs()]).fold(0.0, f64::max) + 8.0 * sigma;
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
    for (x, y) in modes {
        ring(&mut out, to_pixel(x), to_pixel(-y), radius.max(4.0));
    }
    out
}

fn real_modes(source: &Source) -> (Vec<(f64, f64)>, f64) {
    let Source::Gaussian(gaussian) = source else { return (vec![], 1.0) };
    let Modes::Ring { count, radius } = gaussian.modes;
    let angle = |mode: u32| std::f64::consts::TAU * f64::from(mode) / f64::from(count);
    let modes = (0..count).map(|mode| (radius * angle(mode).cos(), radius * angle(mode).sin()));
    (modes.collect(), gaussian.sigma)
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
