//! The types of a run's YAML file. `configs/reference.yaml` shows every field with its range and default.
//!
//! Every list of choices is an externally tagged enum (`{ least_squares: { a: -1, b: 1, c: 0 } }`), so that a
//! new objective, model or data source is one variant here, which says the words and their ranges, and one file
//! where it is done.

use std::path::PathBuf;
use std::time::Duration;

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::{FailureTimeout, ranges};

/// The largest seed: YAML and SQLite hold whole numbers of 63 bits.
pub const MAX_SEED: u64 = (1 << 63) - 1;

/// The largest number of steps or records, so that twice and thrice of it are far from the end of u64.
pub const MAX_STEPS: u64 = 1 << 40;

/// One training, described by one YAML file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The run's name: 1 to 63 ASCII letters, digits, `-`, `_` or `.`, the first a letter or a digit.
    #[garde(custom(ranges::run_name))]
    pub run: String,
    /// Decides the initial weights, the order of the data and the noise. 0 to 2^63 − 1.
    #[garde(range(max = MAX_SEED))]
    pub seed: u64,
    /// How many steps the run does: 1 to 2^40. Not part of the run's identity: a run can be made longer.
    #[garde(range(min = 1, max = MAX_STEPS))]
    pub steps: u64,
    /// Where the real samples come from.
    #[garde(dive)]
    pub data: DataSpec,
    /// The two networks.
    #[garde(dive)]
    pub model: ModelSpec,
    /// The losses of D and G.
    #[garde(dive)]
    pub objective: Objective,
    /// The two optimizers.
    #[garde(dive)]
    pub optimizer: OptimizersSpec,
    /// The global batch.
    #[garde(dive)]
    pub batch: BatchSpec,
    /// Exponential moving average of G's weights.
    #[serde(default)]
    #[garde(dive)]
    pub ema: EmaSpec,
    /// Number format of the forward and backward pass; weights and moments are always f32.
    #[serde(default)]
    #[garde(skip)]
    pub precision: Precision,
    /// How gradients are summed.
    #[serde(default)]
    #[garde(skip)]
    pub reduction: ReductionMode,
    /// What a worker computes on. Not part of the identity.
    #[serde(default)]
    #[garde(dive)]
    pub compute: ComputeSpec,
    /// Who takes part, and when a worker counts as dead. Not part of the identity.
    #[serde(default)]
    #[garde(dive)]
    pub cluster: ClusterSpec,
    /// Where snapshots go. Not part of the identity.
    #[garde(dive)]
    pub checkpoint: CheckpointSpec,
    /// Pictures made while training. Not part of the identity.
    #[serde(default)]
    #[garde(dive)]
    pub samples: SamplesSpec,
    /// How often metrics are read and reported. Not part of the identity.
    #[serde(default)]
    #[garde(dive)]
    pub report: ReportSpec,
}

/// Where the real samples come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// The kind of source and its place.
    #[garde(dive)]
    pub source: Source,
    /// How a picture becomes a sample. Required for pictures, refused for 2-D points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(dive)]
    pub image: Option<ImageSpec>,
    /// Records in a shard, the unit that is assigned: 1 to 1,048,576.
    #[serde(default = "defaults::shard_records")]
    #[garde(range(min = 1, max = 1_048_576))]
    pub shard_records: u64,
    /// Shards of each virtual rank whose records are shuffled together: 1 to 1,024. Its default depends on the source:
    /// [`Source::mix_by_default`], which stands in the file before it gets here.
    #[serde(default = "defaults::mix")]
    #[garde(range(min = 1, max = 1024))]
    pub mix: u32,
    /// Share of the records that may be corrupt before the run stops: a number, 0 to 1.
    #[serde(default = "defaults::max_corrupt")]
    #[garde(custom(ranges::between(0.0, 1.0)))]
    pub max_corrupt: f64,
}

impl DataSpec {
    /// A source with the defaults for everything else.
    #[must_use]
    pub fn of(source: Source, image: Option<ImageSpec>) -> Self {
        Self {
            mix: source.mix_by_default(),
            source,
            image,
            shard_records: defaults::shard_records(),
            max_corrupt: defaults::max_corrupt(),
        }
    }
}

/// Of so many shards the records of a folder are shuffled together: enough that a batch is of nearly as many classes as of a
/// shuffled data set, and few enough that a virtual rank is not busy with them for whole epochs of a small one.
pub(crate) const FOLDER_MIX: u32 = 16;

/// A kind of data source; each is one file in `data/src/sources/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// An IDX file of u8 pictures `[n, height, width]` as MNIST and Fashion-MNIST ship it, gzipped or not.
    Idx(#[garde(dive)] IdxSource),
    /// Pictures in a folder, one file each; the first sub-folder of a file's path is its class.
    Folder(#[garde(dive)] FolderSource),
    /// An LMDB folder as LSUN is downloaded: 40-hex keys, JPEG or WebP values.
    Lsun(#[garde(dive)] LsunSource),
    /// Tar files as the `webdataset` library has them, on a disk or in an object store.
    Webdataset(#[garde(dive)] WebdatasetSource),
    /// Points of a 2-D mixture of Gaussians, a pure function of (seed, record).
    Gaussian(#[garde(dive)] GaussianSource),
}

impl Source {
    /// `data.mix` where the file says nothing of it. A folder's records are in the order of its sub-folders, which are its
    /// classes; the others are mostly mixed by who made them.
    #[must_use]
    pub fn mix_by_default(&self) -> u32 {
        match self {
            Self::Folder(_) => FOLDER_MIX,
            Self::Idx(_) | Self::Lsun(_) | Self::Webdataset(_) | Self::Gaussian(_) => defaults::mix(),
        }
    }
}

/// An IDX file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct IdxSource {
    /// The file of pictures. A relative path is taken from the directory where the command runs.
    #[garde(custom(ranges::path))]
    pub images: PathBuf,
    /// The file of their labels, one number each, where there is one. Training does not look at it: not part of the
    /// identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(custom(ranges::optional_path))]
    pub labels: Option<PathBuf>,
}

impl IdxSource {
    /// Pictures without labels.
    #[must_use]
    pub fn of(images: impl Into<PathBuf>) -> Self {
        Self { images: images.into(), labels: None }
    }
}

/// A folder of pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct FolderSource {
    /// The folder. A relative path is taken from the directory where the command runs.
    #[garde(custom(ranges::path))]
    pub path: PathBuf,
}

/// An LMDB folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct LsunSource {
    /// The folder with `data.mdb` in it, or that file. A relative path is taken from the directory where the command
    /// runs.
    #[garde(custom(ranges::path))]
    pub path: PathBuf,
}

/// Tar shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct WebdatasetSource {
    /// A path or the URL of an object store, with braces where there are several: `train-{000000..000099}.tar`. A
    /// relative path is taken from the directory where the command runs.
    #[garde(custom(ranges::shards))]
    pub shards: String,
}

/// A 2-D mixture of Gaussians.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct GaussianSource {
    /// Where the modes lie.
    #[garde(dive)]
    pub modes: Modes,
    /// Standard deviation of each mode, in the plane's units; above 0, at most 10.
    #[garde(custom(ranges::above_zero(10.0)))]
    pub sigma: f64,
    /// How many points make an epoch: 1 to 2^40.
    #[serde(default = "defaults::gaussian_records")]
    #[garde(range(min = 1, max = MAX_STEPS))]
    pub records: u64,
}

/// Where the modes of a 2-D mixture lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Modes {
    /// `count` modes, evenly on a circle around the origin.
    Ring {
        /// Number of modes: 1 to 1,024.
        #[garde(range(min = 1, max = 1024))]
        count: u32,
        /// Radius of the circle: above 0, at most 100.
        #[garde(custom(ranges::above_zero(100.0)))]
        radius: f64,
    },
    /// `columns · rows` modes on a square grid, its middle at the origin.
    Grid {
        /// Modes side by side: 1 to 32.
        #[garde(range(min = 1, max = 32))]
        columns: u32,
        /// Modes above each other: 1 to 32.
        #[garde(range(min = 1, max = 32))]
        rows: u32,
        /// Distance of neighbours: above 0, at most 100.
        #[garde(custom(ranges::above_zero(100.0)))]
        spacing: f64,
    },
    /// `count` modes from left to right, their middle at the origin.
    Line {
        /// Number of modes: 1 to 1,024.
        #[garde(range(min = 1, max = 1024))]
        count: u32,
        /// Distance of neighbours: above 0, at most 100.
        #[garde(custom(ranges::above_zero(100.0)))]
        spacing: f64,
    },
}

/// How a picture becomes a sample of `[channels, size, size]` in −1..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Side of the square in pixels; what the models accept: dcgan 32, 64 or 128, lsgan112 112.
    #[garde(skip)]
    pub size: u32,
    /// 1 (grey) or 3 (colour).
    #[garde(custom(ranges::channels))]
    pub channels: u32,
    /// How a picture of another shape is made square.
    #[serde(default)]
    #[garde(skip)]
    pub fit: Fit,
    /// Whether pictures are mirrored now and then.
    #[serde(default)]
    #[garde(skip)]
    pub flip: Flip,
}

impl ImageSpec {
    /// Pictures of this size and these channels, with the defaults for everything else.
    #[must_use]
    pub fn of(size: u32, channels: u32) -> Self {
        Self { size, channels, fit: Fit::default(), flip: Flip::default() }
    }
}

/// Whether pictures are mirrored, left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// As they are.
    #[default]
    Never,
    /// Half of them, decided anew each time one is seen: a function of the seed and its place in the order.
    Random,
}

/// How a picture of another shape is made square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Scaled down until it fits (never up), the rest filled with black.
    #[default]
    Pad,
    /// Scaled so that the shorter side fits, the middle cut out.
    Crop,
    /// Both sides scaled to the size, as the paper does with LSUN.
    Squash,
}

/// The two networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// G: noise to sample.
    #[garde(dive)]
    pub generator: Generator,
    /// D: sample to one number.
    #[garde(dive)]
    pub discriminator: Discriminator,
}

/// A generator; each is one file in `train/src/models/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Generator {
    /// Radford et al. 2016: 4×4 transposed convolutions with batch norm. Sizes 32, 64, 128.
    Dcgan {
        /// The noise z.
        #[garde(dive)]
        latent: Latent,
        /// Channels before the last layer (ngf): 1 to 512.
        #[garde(range(min = 1, max = 512))]
        width: u32,
    },
    /// The LSGAN paper's LSUN generator, size 112: linear to 7·7·4w, then 3×3 transposed convolutions.
    Lsgan112 {
        /// The noise z; the paper's is `uniform: 1024`.
        #[garde(dive)]
        latent: Latent,
        /// Channels of the last hidden layer: 1 to 256; the paper's is 64.
        #[serde(default = "defaults::lsgan112_width")]
        #[garde(range(min = 1, max = 256))]
        width: u32,
    },
    /// Fully connected with tanh, for 2-D points.
    Mlp {
        /// The noise z.
        #[garde(dive)]
        latent: Latent,
        /// Units of each hidden layer: 1 to 4,096.
        #[garde(range(min = 1, max = 4096))]
        width: u32,
        /// Hidden layers: 1 to 8.
        #[garde(range(min = 1, max = 8))]
        depth: u32,
        /// Gain of the orthogonal initialisation: above 0, at most 10.
        #[serde(default = "defaults::mlp_gain")]
        #[garde(custom(ranges::above_zero(10.0)))]
        gain: f64,
    },
}

/// A discriminator; each is one file in `train/src/models/`, beside its generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Discriminator {
    /// Radford et al. 2016: 4×4 convolutions of stride 2, leaky ReLU 0.2, batch norm. Sizes 32, 64, 128.
    Dcgan {
        /// Channels after the first layer (ndf): 1 to 512.
        #[garde(range(min = 1, max = 512))]
        width: u32,
    },
    /// The LSGAN paper's LSUN discriminator, size 112: 5×5 convolutions of stride 2, then linear.
    Lsgan112 {
        /// Channels after the first layer: 1 to 256; the paper's is 64.
        #[serde(default = "defaults::lsgan112_width")]
        #[garde(range(min = 1, max = 256))]
        width: u32,
    },
    /// Fully connected with tanh, for 2-D points.
    Mlp {
        /// Units of each hidden layer: 1 to 4,096.
        #[garde(range(min = 1, max = 4096))]
        width: u32,
        /// Hidden layers: 1 to 8.
        #[garde(range(min = 1, max = 8))]
        depth: u32,
        /// Gain of the orthogonal initialisation: above 0, at most 10.
        #[serde(default = "defaults::mlp_gain")]
        #[garde(custom(ranges::above_zero(10.0)))]
        gain: f64,
    },
}

/// The distribution of the noise z, with its dimension (1 to 16,384).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "snake_case")]
pub enum Latent {
    /// Independent N(0, 1).
    Normal(#[garde(range(min = 1, max = 16_384))] u32),
    /// Independent uniform on −1..1.
    Uniform(#[garde(range(min = 1, max = 16_384))] u32),
}

impl Latent {
    /// How many numbers one z has.
    #[must_use]
    pub fn dimension(self) -> u32 {
        match self {
            Self::Normal(n) | Self::Uniform(n) => n,
        }
    }
}

/// The losses of D and G; each is one file in `train/src/objectives/`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// Least squares (Mao et al., eq. 2). D: ½E[(D(x)−b)²] + ½E[(D(G(z))−a)²]. G: ½E[(D(G(z))−c)²].
    LeastSquares {
        /// D's target for fakes: within −10^6 to 10^6, as `b` and `c`, and another than `b`.
        #[garde(custom(ranges::within(1.0e6)))]
        a: f64,
        /// D's target for real samples.
        #[garde(custom(ranges::within(1.0e6)))]
        b: f64,
        /// What G wants D to say of its fakes.
        #[garde(custom(ranges::within(1.0e6)))]
        c: f64,
    },
    /// Goodfellow et al. 2014, eq. 1: G minimises E[log(1−σ(D(G(z))))]. D's outputs are logits.
    Minimax {},
    /// Goodfellow et al. 2014, section 3: G minimises −E[log σ(D(G(z)))]. D's outputs are logits.
    NonSaturating {},
}

/// The two optimizers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct OptimizersSpec {
    /// G's.
    #[garde(dive)]
    pub generator: Optimizer,
    /// D's.
    #[garde(dive)]
    pub discriminator: Optimizer,
}

/// An optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Kingma and Ba 2015, algorithm 1, with bias correction as PyTorch does it.
    Adam {
        /// Step size: above 0, at most 1.
        #[garde(custom(ranges::above_zero(1.0)))]
        learning_rate: f64,
        /// Decay of the first moment: at least 0, below 1.
        #[serde(default = "defaults::adam_beta1")]
        #[garde(custom(ranges::below_one))]
        beta1: f64,
        /// Decay of the second moment: at least 0, below 1.
        #[serde(default = "defaults::adam_beta2")]
        #[garde(custom(ranges::below_one))]
        beta2: f64,
        /// Added to the root of the second moment: above 0, at most 1.
        #[serde(default = "defaults::adam_epsilon")]
        #[garde(custom(ranges::above_zero(1.0)))]
        epsilon: f64,
    },
}

/// The global batch: `virtual_ranks · per_rank` samples, whatever the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct BatchSpec {
    /// V, the number of fixed slices of the global batch: 1 to 4,096. Also the most workers that can compute.
    #[garde(range(min = 1, max = 4096))]
    pub virtual_ranks: u32,
    /// Samples of one virtual rank in a step, over which batch norm takes its statistics: 1 to 65,536.
    #[garde(range(min = 1, max = 65_536))]
    pub per_rank: u32,
}

/// Exponential moving average of G's weights, kept beside them and saved as `generator_ema.safetensors`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct EmaSpec {
    /// Share of the old average that a step keeps: at least 0, below 1.
    #[garde(custom(ranges::below_one))]
    pub decay: f64,
}

impl Default for EmaSpec {
    fn default() -> Self {
        Self { decay: 0.999 }
    }
}

/// Number format of the forward and backward pass; weights and moments are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats throughout.
    #[default]
    F32,
    /// 32-bit floats whose products a GPU rounds to TensorFloat-32, 10 bits of mantissa. Not on a CPU.
    Tf32,
    /// Convolutions and linear layers in bfloat16, batch norm and losses in f32.
    Bf16,
}

/// How gradients are summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReductionMode {
    /// 64-bit fixed point: the same bits for any grouping of the virtual ranks.
    #[default]
    Exact,
    /// Plain f32: half the bytes, and the bits depend on the number of workers.
    Fast,
}

/// What a worker computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct ComputeSpec {
    /// Which device.
    #[garde(skip)]
    pub device: Device,
    /// Virtual ranks that a worker computes at once, on OS threads of its own: 1 to 256. Never changes a bit.
    #[garde(range(min = 1, max = 256))]
    pub threads: u32,
    /// Threads that decode and transform records ahead of the step: 1 to 256.
    #[garde(range(min = 1, max = 256))]
    pub loader_threads: u32,
    /// The most that libtorch's kernels on a CPU may use of it.
    #[garde(skip)]
    pub cpu_isa: CpuIsa,
    /// Whether a GPU's kernels must give the same bits each time. Without it some are faster, and the run does not
    /// promise bits. A CPU's always are.
    #[garde(skip)]
    pub deterministic: bool,
    /// Whether a GPU's work is recorded once and replayed.
    #[garde(skip)]
    pub cuda_graphs: CudaGraphs,
}

impl Default for ComputeSpec {
    fn default() -> Self {
        Self {
            device: Device::Auto,
            threads: 1,
            loader_threads: 1,
            cpu_isa: CpuIsa::Native,
            deterministic: true,
            cuda_graphs: CudaGraphs::Off,
        }
    }
}

/// Which device a worker computes on: in a file `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// A GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU of the worker's host: the workers of a host take one after another.
    Cuda,
    /// The GPU with this index on every host, 0 to 1,023.
    CudaIndex(u32),
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let index = |text: &str| text.strip_prefix("cuda:")?.parse().ok().filter(|index| *index <= 1023);
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            text => index(text)
                .map(Self::CudaIndex)
                .ok_or_else(|| format!("`{text}` is no device; write auto, cpu, cuda or cuda:N")),
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        match device {
            Device::Auto => "auto".to_owned(),
            Device::Cpu => "cpu".to_owned(),
            Device::Cuda => "cuda".to_owned(),
            Device::CudaIndex(index) => format!("cuda:{index}"),
        }
    }
}

/// What libtorch's kernels may use of a CPU. Kernels for other instructions round differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuIsa {
    /// All that it has.
    #[default]
    Native,
    /// No more than AVX2, so that CPUs with AVX-512 compute the bits of those without, more slowly.
    Avx2,
}

/// Whether what a step queues on a GPU is recorded once and replayed, which spares the host the many calls. Never changes
/// a bit: a step is done both ways first and compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CudaGraphs {
    /// Where it can be done, and gives the same sums. Not seen on hardware yet, and so not the default.
    Auto,
    /// Never.
    #[default]
    Off,
}

/// Who takes part, and when a worker counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Training starts, and goes on, with at least this many workers: 1 to `batch.virtual_ranks`.
    #[garde(range(min = 1, max = 4096))]
    pub min_workers: u32,
    /// Workers beyond this many stand by: `min_workers` to 4,096.
    #[garde(range(min = 1, max = 4096))]
    pub max_workers: u32,
    /// Silence longer than this is a death: auto, or 200ms to 1h.
    #[garde(custom(ranges::failure_timeout))]
    pub failure_timeout: FailureTimeout,
    /// How long the first generation waits for workers to come, once `min_workers` are there: 0s to 1h.
    #[serde(with = "humantime_serde")]
    #[garde(custom(ranges::duration(Duration::ZERO, Duration::from_secs(3600))))]
    pub gather: Duration,
    /// How far ahead of use data is leased, in steps: 1 to 1,000,000. So long can the coordinator be away.
    #[garde(range(min = 1, max = 1_000_000))]
    pub lease_horizon_steps: u64,
    /// Whether workers that would compute other bits than the run's first one are refused.
    #[garde(skip)]
    pub numerics: NumericsPolicy,
    /// A worker that takes longer for a virtual rank than so many times the median of the others is a straggler: 1.1
    /// to 100.
    #[garde(custom(ranges::between(1.1, 100.0)))]
    pub straggler_factor: f64,
    /// What happens to stragglers.
    #[garde(skip)]
    pub stragglers: StragglerPolicy,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            min_workers: 1,
            max_workers: 64,
            failure_timeout: FailureTimeout::Auto,
            gather: Duration::from_millis(200),
            lease_horizon_steps: 2000,
            numerics: NumericsPolicy::Same,
            straggler_factor: 2.0,
            stragglers: StragglerPolicy::Report,
        }
    }
}

/// Whether workers that would compute other bits are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumericsPolicy {
    /// Refused, with both sides shown.
    #[default]
    Same,
    /// Admitted; the final weights then depend on who computed what.
    Any,
}

/// What happens to stragglers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StragglerPolicy {
    /// They are named, and the others wait for them at every step.
    #[default]
    Report,
    /// They are named, and stand by while `min_workers` others are there.
    Evict,
}

/// Where snapshots go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSpec {
    /// A directory, or the URL of an object store that every worker reaches. Its `snapshots/` and `final/` are used.
    #[garde(custom(ranges::destination))]
    pub to: String,
    /// Steps between snapshots: 0 to 2^40; 0 for none but those at a stop and at the end.
    #[serde(default = "defaults::checkpoint_every")]
    #[garde(range(max = MAX_STEPS))]
    pub every: u64,
    /// How many of the newest snapshots are kept: 1 to 1,000,000.
    #[serde(default = "defaults::checkpoint_keep_last")]
    #[garde(range(min = 1, max = 1_000_000))]
    pub keep_last: u32,
}

/// Pictures made while training, in `<run dir>/samples/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct SamplesSpec {
    /// Columns × rows, each 1 to 64, as `8x8`. A density plot of 2-D points uses 1,024 times as many.
    #[garde(skip)]
    pub grid: Grid,
    /// Steps between pictures: 0 to 2^40; 0 for none.
    #[garde(range(max = MAX_STEPS))]
    pub every: u64,
    /// Which of G's weights make them.
    #[garde(skip)]
    pub weights: SampleWeights,
}

impl Default for SamplesSpec {
    fn default() -> Self {
        Self { grid: Grid { columns: 8, rows: 8 }, every: 500, weights: SampleWeights::Ema }
    }
}

/// Which of G's weights make the pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleWeights {
    /// The moving average.
    #[default]
    Ema,
    /// The weights as they are.
    Raw,
}

/// Columns and rows of a grid of pictures, written `8x8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grid {
    /// Pictures side by side.
    pub columns: u32,
    /// Pictures on top of each other.
    pub rows: u32,
}

impl Grid {
    /// Pictures in the grid.
    #[must_use]
    pub fn count(self) -> u32 {
        self.columns * self.rows
    }
}

impl TryFrom<String> for Grid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let sides =
            text.split_once('x').and_then(|(c, r)| Some((c.trim().parse().ok()?, r.trim().parse().ok()?)));
        match sides {
            Some((columns @ 1..=64, rows @ 1..=64)) => Ok(Self { columns, rows }),
            _ => Err(format!("`{text}` is not a grid; write columns x rows, each 1 to 64, as 8x8")),
        }
    }
}

impl From<Grid> for String {
    fn from(grid: Grid) -> Self {
        format!("{}x{}", grid.columns, grid.rows)
    }
}

/// How often metrics are read and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSpec {
    /// Steps between two rows of metrics: 1 to 1,000,000.
    #[garde(range(min = 1, max = 1_000_000))]
    pub every: u64,
    /// Steps after which all workers compare hashes of their state: 0 to 2^40; 0 for never.
    #[garde(range(max = MAX_STEPS))]
    pub state_hash_every: u64,
}

impl Default for ReportSpec {
    fn default() -> Self {
        Self { every: 10, state_hash_every: 100 }
    }
}

mod defaults {
    pub fn shard_records() -> u64 {
        256
    }
    pub fn mix() -> u32 {
        1
    }
    pub fn max_corrupt() -> f64 {
        0.001
    }
    pub fn gaussian_records() -> u64 {
        1 << 20
    }
    pub fn lsgan112_width() -> u32 {
        64
    }
    pub fn mlp_gain() -> f64 {
        1.0
    }
    pub fn adam_beta1() -> f64 {
        0.5
    }
    pub fn adam_beta2() -> f64 {
        0.999
    }
    pub fn adam_epsilon() -> f64 {
        1e-8
    }
    pub fn checkpoint_every() -> u64 {
        1000
    }
    pub fn checkpoint_keep_last() -> u32 {
        3
    }
}
