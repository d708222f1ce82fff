//! Pure: which records and which noise each virtual rank sees at each step.
//!
//! Not here: reading a record or waiting for a lease (`data`), granting leases (`control`), drawing the noise (`train`). No
//! clock, no file, no system randomness: integers and arguments.
//! Start at [`Plan`]; `README.md` beside this crate explains how the sequence is built and why seeking needs no walk.
//!
//! - [`geometry`]: the numbers that the order depends on, checked once, and their errors.
//! - [`plan`]: positions, shards and cursors.
//! - [`batch`]: the records of a virtual rank at a step.
//! - `tails`: the positions of the short last shard, and the arithmetic of seeking.
//! - [`shuffle`]: a seeded permutation in constant memory.
//! - [`streams`]: keys for noise, and coins.
//!
//! # Properties
//!
//! `tests/properties.rs` tests each under its name.
//!
//! - **exactly once**: in an epoch, the virtual ranks together see every record exactly once.
//! - **pure**: the order depends on the seed and the geometry, and on nothing else.
//! - **seekable**: the cursor of step t is the state after a walk of t steps.
//! - **bijection**: a shuffle of n items yields each item once.
//! - **uniform**: over the epochs every shard is equally often at every place.
//! - **mixed**: the records of `mix` positions come in an order that is uniform over all of them.
//! - **bounded**: no virtual rank touches more positions in n steps than [`Plan::max_positions_per_steps`] says.

#![forbid(unsafe_code)]

pub mod batch;
pub mod geometry;
pub mod plan;
pub mod shuffle;
pub mod streams;
mod tails;

pub use batch::Batch;
pub use geometry::{Geometry, PlanError};
pub use plan::{Cursor, Plan, RecordRef, Visit};
pub use shuffle::Shuffle;
pub use streams::{coin, stream_key};
