//! The whole trainable state in one flat tensor on the host: weights, running statistics, Adam's moments, the
//! moving average, and how many reductions are applied. Peers broadcast it, snapshots hold it, hashes cover it.

use std::ops::Range;
use std::sync::Arc;

use lsgan_spec::{Half, Reduction, RunSpec, Updates};
use tch::{Device, Kind, Tensor};

use crate::TrainError;
use crate::flat::{ALIGNMENT, Entry, Layout};
use crate::init::initialise;
use crate::layers::Network;
use crate::models::{self, SampleShape};
use crate::noise::Stream;

/// Numbers before the first region: the reduction (u64, little endian), the layout's fingerprint (u64), zeros.
const HEADER: usize = ALIGNMENT;

/// The two networks of a run.
#[derive(Clone, Debug)]
pub struct Networks {
    pub generator: Network,
    pub discriminator: Network,
}

impl Networks {
    /// The networks that a run's file names.
    pub fn of(spec: &RunSpec) -> Result<Self, TrainError> {
        let sample = SampleShape::of(spec)?;
        Ok(Self {
            generator: models::generator(&spec.model, sample)?,
            discriminator: models::discriminator(&spec.model, sample)?,
        })
    }

    /// The network that a half updates.
    #[must_use]
    pub fn network(&self, half: Half) -> &Network {
        match half {
            Half::Discriminator => &self.discriminator,
            Half::Generator => &self.generator,
        }
    }
}

/// Where the numbers of one network lie in the state.
#[derive(Clone, Debug)]
pub struct NetworkRegions {
    pub weights: Range<usize>,
    /// Running statistics of batch norm.
    pub statistics: Range<usize>,
    pub first_moments: Range<usize>,
    pub second_moments: Range<usize>,
}

impl NetworkRegions {
    /// All of a network's regions, which lie one behind another.
    #[must_use]
    pub fn all(&self) -> Range<usize> {
        self.weights.start..self.second_moments.end
    }
}

/// Where everything lies in the state, in this order.
#[derive(Clone, Debug)]
pub struct Regions {
    pub discriminator: NetworkRegions,
    pub generator: NetworkRegions,
    /// The moving average of G's weights.
    pub average_weights: Range<usize>,
    /// The moving average of G's running statistics.
    pub average_statistics: Range<usize>,
    /// D's weights as G's half reads them where the updates are simultaneous: between two steps they are D's, and D's half
    /// does not touch them. So a worker that enters in the middle of a step finds them in the state.
    pub held: Option<Range<usize>>,
    pub len: usize,
}

impl Regions {
    /// Lays the regions of two networks one after another.
    #[must_use]
    pub fn new(networks: &Networks, updates: Updates) -> Self {
        let mut end = HEADER;
        let mut take = |layout: &Layout| {
            let start = end;
            end += layout.len();
            start..end
        };
        let mut network = |network: &Network| NetworkRegions {
            weights: take(&network.parameters),
            statistics: take(&network.statistics),
            first_moments: take(&network.parameters),
            second_moments: take(&network.parameters),
        };
        let discriminator = network(&networks.discriminator);
        let generator = network(&networks.generator);
        let average_weights = take(&networks.generator.parameters);
        let average_statistics = take(&networks.generator.statistics);
        let held = (updates == Updates::Simultaneous).then(|| take(&networks.discriminator.parameters));
        Self { discriminator, generator, average_weights, average_statistics, held, len: end }
    }

    /// The regions of the network that a half updates.
    #[must_use]
    pub fn of(&self, half: Half) -> &NetworkRegions {
        match half {
            Half::Discriminator => &self.discriminator,
            Half::Generator => &self.generator,
        }
    }

    /// Each moving average, and what it is the average of.
    #[must_use]
    pub fn averages(&self) -> [(&Range<usize>, &Range<usize>); 2] {
        [
            (&self.average_weights, &self.generator.weights),
            (&self.average_statistics, &self.generator.statistics),
        ]
    }
}

/// The whole trainable state.
pub struct State {
    tensor: Tensor,
    regions: Arc<Regions>,
}

impl State {
    /// The state before step 0: a pure function of the seed and the parameters' names.
    #[must_use]
    pub fn fresh(seed: u64, networks: &Networks, regions: Arc<Regions>) -> Self {
        let tensor = Tensor::zeros([regions.len as i64], (Kind::Float, Device::Cpu));
        let mut state = Self { tensor, regions };
        state.reset(seed, networks);
        state
    }

    /// Makes it the state before step 0 again.
    pub fn reset(&mut self, seed: u64, networks: &Networks) {
        let regions = self.regions.clone();
        let numbers = self.numbers_mut();
        numbers.fill(0.0);
        for (network, at) in
            [(&networks.discriminator, &regions.discriminator), (&networks.generator, &regions.generator)]
        {
            initialise(
                seed,
                network.name,
                &network.parameters,
                &network.inits,
                &mut numbers[at.weights.clone()],
            );
            for entry in
                network.statistics.entries().iter().filter(|entry| entry.name.ends_with("running_var"))
            {
                numbers[at.statistics.clone()][entry.range()].fill(1.0);
            }
            for entry in network.vectors() {
                unit_vector(seed, network.name, entry, &mut numbers[at.statistics.clone()][entry.range()]);
            }
        }
        numbers.copy_within(regions.generator.weights.clone(), regions.average_weights.start);
        numbers.copy_within(regions.generator.statistics.clone(), regions.average_statistics.start);
        self.hold_discriminator();
        self.set_header(Reduction(0), fingerprint(networks));
    }

    /// Between two steps: lets G's half of the next one read D's weights as they are now, if the updates are simultaneous.
    pub fn hold_discriminator(&mut self) {
        let regions = self.regions.clone();
        if let Some(held) = &regions.held {
            self.numbers_mut().copy_within(regions.discriminator.weights.clone(), held.start);
        }
    }

    #[must_use]
    pub fn regions(&self) -> &Arc<Regions> {
        &self.regions
    }

    /// The flat tensor, f32 on the host.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// All numbers.
    #[must_use]
    pub fn numbers(&self) -> &[f32] {
        // SAFETY: the tensor is contiguous f32 on the host and lives as long as `self`. libtorch reads it through
        // views but writes it nowhere; writers need `&mut self`.
        unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast(), self.regions.len) }
    }

    /// All numbers, to be changed while no graph that needs them is alive.
    pub fn numbers_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; `&mut self` makes this the only slice, and libtorch computes only inside of calls
        // that borrow the replica, which owns this state.
        unsafe { std::slice::from_raw_parts_mut(self.tensor.data_ptr().cast(), self.regions.len) }
    }

    /// All bytes, header included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let numbers = self.numbers();
        // SAFETY: every f32 is four bytes without padding.
        unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
    }

    /// All bytes, to be overwritten with a peer's.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let numbers = self.numbers_mut();
        // SAFETY: as above, and every four bytes are an f32.
        unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), size_of_val(numbers)) }
    }

    /// How many reductions are applied.
    #[must_use]
    pub fn reduction(&self) -> Reduction {
        reduction_of(self.numbers())
    }

    /// The fingerprint of the layout that these bytes have.
    #[must_use]
    pub fn layout_fingerprint(&self) -> u64 {
        read_u64(&self.numbers()[2..4])
    }

    /// Sets the number of applied reductions.
    pub fn set_reduction(&mut self, reduction: Reduction) {
        let fingerprint = self.layout_fingerprint();
        self.set_header(reduction, fingerprint);
    }

    fn set_header(&mut self, reduction: Reduction, fingerprint: u64) {
        let header = &mut self.numbers_mut()[..4];
        for (word, half) in [reduction.0, fingerprint].into_iter().zip(header.chunks_mut(2)) {
            half[0] = f32::from_bits(word as u32);
            half[1] = f32::from_bits((word >> 32) as u32);
        }
    }
}

/// A random direction, as a function of the seed and the name.
fn unit_vector(seed: u64, network: &str, entry: &Entry, out: &mut [f32]) {
    Stream::of_parameter(seed, network, &entry.name).fill_normal(out);
    let norm = out.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    out.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
}

/// How many reductions the state in these numbers has applied.
pub(crate) fn reduction_of(numbers: &[f32]) -> Reduction {
    Reduction(read_u64(&numbers[..2]))
}

fn read_u64(halves: &[f32]) -> u64 {
    u64::from(halves[0].to_bits()) | u64::from(halves[1].to_bits()) << 32
}

/// Tells layouts apart: a hash of every name, shape and offset.
#[must_use]
pub fn fingerprint(networks: &Networks) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("lsgan 2025 layout of the state, version 1");
    for network in [&networks.discriminator, &networks.generator] {
        for entry in network.parameters.entries().iter().chain(network.statistics.entries()) {
            hasher.update(
                format!("{}/{} {:?} {}\n", network.name, entry.name, entry.shape, entry.offset).as_bytes(),
            );
        }
    }
    let hash = hasher.finalize();
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a BLAKE3 hash has 32 bytes"))
}
