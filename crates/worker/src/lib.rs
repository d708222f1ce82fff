//! A worker: owns one device, steps its virtual ranks, and does what its coordinator says.
//!
//! Not here: the mathematics (`train`), the exchange with peers (`collective`), who computes what (the coordinator), what a
//! worker decides by itself (`control::member`).
//! Start at [`work`]; then `session` for the shell around the worker's machine and `trainer` for the thread that trains.
//!
//! - [`args`]: the command line. `faults`: what goes wrong on purpose, in tests only.
//! - `start`: opens the data, prepares the training thread, runs the session.
//! - `address`: where the other workers reach this one.
//! - [`interface`]: the network interface that NCCL is told.
//! - `reach`: reaches the coordinator, however often that must be tried.
//! - `session`: the shell around the worker's machine: receives, converts, applies, performs.
//! - `outbox`: the machine as session and training thread share it. `metric_rows`: metrics until they are stored.
//! - `orders`: what the session tells the training thread, and how it interrupts it.
//! - `trainer`: forms generations, parks, does tasks. `stepping`: one generation while it steps.
//! - `meter`: times and metrics of steps. `pace`: what a step takes this worker alone. `load`: what it takes part by part, for
//!   people. `recorder`: the same of a few steps, span by span, while an operator asks; `profiling`: what is asked, and what was
//!   recorded.
//! - `reduce`: what sums travel over: TCP for those of a CPU, NCCL for those of a GPU. `exchange`: TCP on a
//!   thread of its own.
//! - [`probe`]: what this host has to compute with.
//! - `isa`: keeps libtorch to the instructions that the run's file allows.
//! - `painter`: makes pictures on a thread of its own.
//! - `scoring`: scores a snapshot for the coordinator, in a child.
//! - `store`: the run's store, and the proof that it is the coordinator's.
//! - `snapshots`: writes snapshots on a thread of its own.
//! - `trouble`: tells the coordinator why this worker cannot start.
//! - `try_peers`: sees whether other workers are reached.

mod address;
pub mod args;
mod exchange;
mod faults;
pub mod interface;
mod isa;
mod load;
mod meter;
mod metric_rows;
mod orders;
mod outbox;
mod pace;
mod painter;
pub mod probe;
mod profiling;
mod reach;
mod recorder;
mod reduce;
mod scoring;
mod session;
mod snapshots;
mod start;
mod stepping;
mod store;
mod trainer;
mod trouble;
mod try_peers;

pub use args::Args;
pub use session::Ended;
pub use start::work;
