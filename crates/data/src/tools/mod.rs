//! What is done with a whole data set once: looked through, packed, exported.
//!
//! - [`inspect`]: what is in it, and what of it does not decode.
//! - [`mixing`]: of how many classes a run's batches are.
//! - [`pack`]: any source becomes tar shards of pictures in a run's size, which train to the same bits.
//! - [`export`]: any source becomes a folder of files.
//! - `in_order`: all records on all cores, and what comes of them in their order.
//! - `out`: a directory that is filled bit by bit, by one process at a time, and later by another where the first died.
//! - `shard`, `manifest`: a tar file that is the same bytes from the same members, and what all of them are known by.
//! - `encode`: samples become PNG or WebP again.
//!
//! What is written is a function of the data set and the options: not of the threads, nor of how often it was killed.

mod encode;
mod error;
pub mod export;
mod in_order;
pub mod inspect;
mod manifest;
pub mod mixing;
mod out;
pub mod pack;
mod shard;

pub use encode::PackFormat;
pub use error::ToolError;
pub use export::{Exported, export};
pub use inspect::{Classes, Looked, Spread, Which, classes, look, spread_over};
pub use mixing::{Mixed, Mixing, mixing};
pub use pack::{Cut, PackOptions, Packed, pack};

use serde::{Deserialize, Serialize};

/// A record that does not decode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// Its number.
    pub record: u64,
    /// Its name in the data set.
    pub key: String,
    /// What the decoder said.
    pub reason: String,
}
