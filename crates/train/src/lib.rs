//! The mathematics on libtorch: models, objectives, the exact sum, the step.
//!
//! Not here: where samples come from (`data`), how sums travel (`collective`), who computes which virtual rank
//! (`control`), files (`snapshots`).
//! Start at [`Replica`]: one device's copy of the state and the two halves of a step on it.
//!
//! - [`replica`]: the halves of a step as a worker calls them: compute, (all-reduce), apply.
//! - `step`: the mathematics of a half for one virtual rank; `lanes`: several ranks at once on threads.
//! - [`sums`]: the buffer of a reduction with its header; [`fixed_sum`]: order-free sums.
//! - [`models`], [`objectives`]: each a file, each kind with its contract; [`layers`]: a network is a list of them.
//! - `on_host`, `on_device`: where sums are made and the state is updated; `feed`: batches and noise on their way there.
//! - `graphs`: what a GPU is told again and again, by one call.
//! - [`flat`]: many named tensors in one; [`state`]: the whole state in one; [`parts`]: the state as PyTorch names it.
//! - [`adam`], [`ema`]: updates over flat slices; [`init`], [`noise`]: random numbers as pure functions.
//! - [`sample`]: pictures; [`numerics`]: what decides a device's bits; [`device`]: what is computed on; [`gpu`]: what the driver shows;
//!   [`memory`]: what a step needs.

#![warn(missing_docs)]

mod feed;
mod graphs;
mod lanes;
mod native;
mod on_device;
mod on_host;
mod step;
mod widest;

pub mod adam;
pub mod allocator;
pub mod device;
pub mod ema;
pub mod error;
pub mod fixed_sum;
pub mod flat;
pub mod gpu;
pub mod init;
pub mod layers;
pub mod memory;
pub mod models;
pub mod noise;
pub mod numerics;
pub mod objectives;
pub mod parts;
pub mod replica;
pub mod sample;
pub mod state;
pub mod sums;

pub use error::{Blame, NotApplied, TrainError};
pub use graphs::{Notice, has_cuda_graphs, rehearsal::Rehearsal};
pub use noise::{LatentSource, SeededLatent};
pub use numerics::{Numerics, numerics};
pub use parts::{NamedTensor, Part, StateCopy, TensorData};
pub use replica::{Applied, HalfMetrics, Metrics, Placement, RankBatch, Replica};
pub use sample::Sampler;
pub use sums::{ControlWord, ControlWords, DeviceWords, Means, Sums, WordsMut};
pub use tch::Device;
