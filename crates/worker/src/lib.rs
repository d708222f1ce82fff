//! A worker: owns one device, steps its virtual ranks, and does what its coordinator says.
//!
//! Not here: the mathematics (`train`), the exchange with peers (`collective`), who computes what (the coordinator).
//! Start at [`work`]; then [`session`] for the conversation with the coordinator and [`trainer`] for the thread that
//! trains.
//!
//! - [`args`]: the command line.
//! - [`address`]: where the other workers reach this one.
//! - [`session`]: attaches, keeps the stream alive, turns what comes into orders, comes back when it breaks.
//! - [`orders`]: what the session tells the training thread, and how it interrupts it.
//! - [`outbox`]: what the training thread has to say, kept until the coordinator is there to hear it.
//! - [`trainer`]: forms generations and steps.
//! - [`meter`]: times and metrics of steps. [`pace`]: what a step takes this worker alone.
//! - [`reduce`]: what sums travel over: TCP for a CPU's, NCCL for a GPU's.
//! - [`probe`]: what this host has to compute with.
//! - [`isa`]: keeps libtorch to the instructions that the run's file allows.
//! - [`store`]: the run's store, and the proof that it is the coordinator's.
//! - `trouble`: what keeps it from training, told to the coordinator.
//! - `try_peers`: sees whether other workers are reached.
//! - [`snapshots`]: writes snapshots on a thread of its own.

pub mod address;
pub mod args;
pub mod isa;
pub mod meter;
pub mod orders;
pub mod outbox;
pub mod pace;
pub mod probe;
pub mod reduce;
pub mod session;
pub mod snapshots;
pub mod store;
pub mod trainer;
mod trouble;
mod try_peers;

pub use args::Args;
pub use session::{Ended, work};
