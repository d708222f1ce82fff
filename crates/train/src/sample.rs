//! Pictures of what a generator makes of fixed z, with running statistics, in f32 on the host.
//!
//! Pictures become a grid; 2-D points become a density plot over the real modes.

use std::path::Path;

use lsgan_pictures::{density, grid as tile};
use lsgan_spec::{Grid, Part, RunSpec};
use tch::{Device, Kind, Tensor};

use crate::TrainError;
use crate::device;
use crate::export::{ExportError, Exported, Format, export};
use crate::flat::Layout;
use crate::layers::{Network, Norm};
use crate::models::{self, SampleShape};
use crate::noise::Stream;
use crate::parts;
use crate::tensors::view;

/// How many points a density plot shows for each cell of the grid.
const POINTS_PER_CELL: u32 = 1024;
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

/// The same, on their own.
#[derive(Clone, Debug)]
pub struct OwnedWeights {
    weights: Vec<f32>,
    statistics: Vec<f32>,
}

impl OwnedWeights {
    /// What makes samples of them.
    #[must_use]
    pub fn as_weights(&self) -> Weights<'_> {
        Weights { weights: &self.weights, statistics: &self.statistics }
    }
}

/// A run's generator as it was at one time.
#[derive(Clone, Debug)]
pub struct FrozenGenerator {
    spec: RunSpec,
    weights: Vec<f32>,
    statistics: Vec<f32>,
}

impl FrozenGenerator {
    pub(crate) fn new(spec: &RunSpec, Weights { weights, statistics }: Weights) -> Self {
        Self { spec: spec.clone(), weights: weights.to_vec(), statistics: statistics.to_vec() }
    }

    /// A picture of what it makes of the run's fixed z, as PNG.
    pub fn picture(&self) -> Result<Vec<u8>, TrainError> {
        let weights = Weights { weights: &self.weights, statistics: &self.statistics };
        Sampler::new(&self.spec)?.picture(&weights, self.spec.samples.grid)
    }
}

/// Which z samples are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// A run's own are of its seed.
    pub seed: u64,
    /// Numbers beyond ± this are drawn again (the truncation trick: Brock et al. 2019, arXiv 1809.11096, section 3.1): fewer
    /// kinds of samples, and better ones.
    pub truncation: Option<f32>,
    /// The class of all samples, where the networks are told classes; by default one after another.
    pub class: Option<u32>,
}

/// Makes pictures with a run's generator.
pub struct Sampler {
    network: Network,
    sample: SampleShape,
    spec: RunSpec,
}

impl Sampler {
    pub fn new(spec: &RunSpec) -> Result<Self, TrainError> {
        let sample = SampleShape::of(spec)?;
        Ok(Self { network: models::generator(&spec.model, sample)?, sample, spec: spec.clone() })
    }

    /// The weights of a saved `generator` or `generator_ema`.
    pub fn load(&self, part: &Part) -> Result<OwnedWeights, TrainError> {
        let mut weights = vec![0.0; self.network.parameters.len()];
        let mut statistics = vec![0.0; self.network.statistics.len()];
        parts::import_network(&self.network, part, &mut weights, &mut statistics)?;
        Ok(OwnedWeights { weights, statistics })
    }

    /// What its samples are.
    #[must_use]
    pub fn shape(&self) -> SampleShape {
        self.sample
    }

    /// A picture, as PNG: the first `grid.count()` samples of the run's fixed z, or a density plot.
    pub fn picture(&self, weights: &Weights, grid: Grid) -> Result<Vec<u8>, TrainError> {
        self.picture_of(weights, grid, self.fixed())
    }

    /// The same of other z.
    pub fn picture_of(&self, weights: &Weights, grid: Grid, draw: Draw) -> Result<Vec<u8>, TrainError> {
        let samples = |count: u32| -> Vec<f32> {
            let latents = self.latents_of(draw, count as usize);
            latents.flat_map(|z| self.samples_of(weights, &z)).collect()
        };
        Ok(match self.sample {
            SampleShape::Picture { size, channels } => tile(&samples(grid.count()), grid, size, channels)?,
            SampleShape::Point => {
                let points = samples(grid.count() * POINTS_PER_CELL);
                let mixture = self.spec.data.source.mixture();
                let (modes, sigma) = mixture.map_or((vec![], 1.0), |it| (it.modes.centres(), it.sigma));
                density(&points, &modes, sigma)?
            }
        })
    }

    /// The first `count` samples of the run's fixed z: `[count, height, width, channels]` or `[count, 2]`.
    #[must_use]
    pub fn samples(&self, weights: &Weights, count: usize) -> Vec<f32> {
        self.latents(count).iter().flat_map(|z| self.samples_of(weights, z)).collect()
    }

    /// The run's fixed z for the first `count` samples, in batches of 64.
    #[must_use]
    pub fn latents(&self, count: usize) -> Vec<Vec<f32>> {
        self.latents_of(self.fixed(), count).collect()
    }

    /// How the run's fixed z are drawn.
    fn fixed(&self) -> Draw {
        Draw { seed: self.spec.seed, truncation: None, class: None }
    }

    /// Other z, drawn as those are, with what the networks are told of classes behind each. A longer sequence begins as a shorter one.
    pub fn latents_of(&self, draw: Draw, count: usize) -> impl Iterator<Item = Vec<f32>> {
        let mut stream = Stream::of_samples(draw.seed);
        let latent = models::latent(&self.spec.model.generator);
        let (numbers, classes) = (latent.dimension() as usize, self.spec.model.classes.count as usize);
        let batch = move |start: usize| {
            let count = BATCH.min(count - start);
            let mut z = vec![0.0; count * numbers];
            match draw.truncation {
                None => stream.fill(latent, &mut z),
                Some(limit) => stream.fill_within(latent, limit, &mut z),
            }
            if classes == 0 {
                return z;
            }
            let told = |(at, z): (usize, &[f32])| {
                let class = draw.class.map_or((start + at) % classes, |class| class as usize);
                let one_hot = (0..classes).map(move |other| if other == class { 1.0 } else { 0.0 });
                z.iter().copied().chain(one_hot).collect::<Vec<f32>>()
            };
            z.chunks(numbers).enumerate().flat_map(told).collect()
        };
        (0..count).step_by(BATCH).map(batch)
    }

    /// Writes these z to a file of NumPy, f32 `[count, numbers of one z]`, of which an exported generator makes the same samples.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn write_latents(&self, draw: Draw, count: usize, path: &Path) -> Result<(), ExportError> {
        let z: Vec<f32> = self.latents_of(draw, count).flatten().collect();
        let z = Tensor::from_slice(&z).view([count as i64, -1]);
        z.write_npy(path).map_err(|error| ExportError::new(path, error))
    }

    /// Writes the generator with these weights to a file that other programs run.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn export(&self, weights: &Weights, format: Format, path: &Path) -> Result<(), ExportError> {
        let tensors = [
            views(&self.network.parameters, weights.weights),
            views(&self.network.statistics, weights.statistics),
        ];
        let [weights, running] = &tensors;
        export(&Exported { network: &self.network, weights, running }, format, path)
    }

    /// What it makes of a batch of z, on the calling thread.
    #[must_use]
    pub fn samples_of(&self, weights: &Weights, z: &[f32]) -> Vec<f32> {
        device::one_thread();
        let leaves = views(&self.network.parameters, weights.weights);
        let running = views(&self.network.statistics, weights.statistics);
        let one = self.network.input_size(1).iter().product::<i64>() as usize;
        let z = Tensor::from_slice(z).view(self.network.input_size(z.len() / one).as_slice());
        let y = tch::no_grad(|| self.network.forward(&z, &leaves, &mut Norm::Running(running.iter())));
        let last = match self.sample {
            SampleShape::Picture { .. } => y.permute([0, 2, 3, 1]),
            SampleShape::Point => y,
        };
        Vec::<f32>::try_from(last.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().flatten(0, -1))
            .expect("samples are f32 on the host")
    }
}

fn views(layout: &Layout, flat: &[f32]) -> Vec<Tensor> {
    let base = Tensor::from_slice(flat);
    layout.entries().iter().map(|entry| view(&base, entry)).collect()
}
