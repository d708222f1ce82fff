//! The mathematics on libtorch: models, objectives, the exact sum, the step.
//!
//! Not here: where samples come from (`data`), how sums travel (`collective`), who computes which virtual rank
//! (`control`), files (`snapshots`).
//! Start at `step`: a whole step on one screen. Then [`Replica`]: what a worker calls.
//!
//! - `step`: forward, losses, backward, sum and update.
//! - [`replica`]: one device's copy of the state; compute, (all-reduce), apply. `queue`: updates that are queued. `builder`:
//!   which parts it has.
//! - [`engine`]: where state and sums lie, on the host or on a device. `graphs`: what is queued on a GPU at every step is
//!   recorded once.
//! - `kernels`: what a GPU's engine does with sums and state.
//! - `dense`: small networks in one operation. `augment`: what D sees, changed at random. `draws`: by which numbers. `classes`: what networks
//!   are told of samples.
//! - `batch`: real samples as they come. `lane`: what one thread computes a virtual rank with; `contribution`: what comes of it; `lanes`: several ranks at once; `feed`: batches and noise on
//!   their way to a device.
//! - `header`: the layout of a sum, and what rides in its header; `word`: fixed point or f32; `scale`: the last bit of each
//!   block; `sums`: a sum on the host.
//! - [`models`], [`objectives`]: each a file, each kind with its contract; `penalties`, `spectral`: against a steep D; [`layers`]: a
//!   network is a list of them, each a `layer` or a `residual` block; `norms`: what normalises a pass.
//! - [`flat`]: many named tensors in one; [`state`]: the whole state in one; [`parts`]: the state as PyTorch names it.
//! - `fingerprint`: what workers compare of it.
//! - [`optimizers`], [`ema`]: updates over flat slices; `clip`: their norm; [`init`], [`noise`]: random numbers as pure
//!   functions.
//! - [`sample`]: pictures; [`export`]: generators for other programs; [`numerics`]: what decides a device's bits; [`device`]: what is computed on; [`gpu`]: what the
//!   driver shows; [`memory`]: what a step needs.
//! - [`rehearsal`]: for tests.

mod augment;
mod batch;
mod beside;
mod builder;
mod classes;
mod clip;
mod contribution;
mod dense;
mod draws;
mod feed;
mod fingerprint;
mod gpu_libraries;
mod graphs;
mod header;
mod kernels;
mod lane;
mod lanes;
mod layer;
mod native;
mod normal;
mod norms;
mod penalties;
mod queue;
mod residual;
mod scale;
mod spectral;
mod step;
mod sums;
mod tensors;
mod widest;
mod word;

pub mod allocator;
pub mod device;
pub mod ema;
pub mod engine;
pub mod error;
pub mod export;
pub mod flat;
pub mod gpu;
pub mod init;
pub mod layers;
pub mod libtorch;
pub mod memory;
pub mod models;
pub mod noise;
pub mod numerics;
pub mod objectives;
pub mod optimizers;
pub mod parts;
pub mod rehearsal;
pub mod replica;
pub mod sample;
pub mod state;

pub use batch::RankBatch;
pub use beside::Beside;
pub use builder::Builder;
pub use engine::Finished;
pub use error::{Blame, NotApplied, TrainError};
pub use graphs::{Notice, has_cuda_graphs};
pub use header::{ControlWord, ControlWords};
pub use noise::{LatentSource, SeededLatent};
pub use numerics::numerics;
pub use parts::StateCopy;
pub use queue::Queue;
pub use replica::{Applied, HalfMetrics, Metrics, Replica};
pub use sample::{Draw, FrozenGenerator, OwnedWeights, Sampler};
pub use tch::Device;
pub use word::{DeviceWordKind, DeviceWords, Words};
