//! Operations over a whole data set.
//!
//! - [`inspect`]: reports formats, sizes, classes and corrupt records.
//! - [`mixing`]: measures how many classes the batches of a run have.
//! - [`pack`]: writes tar shards of pictures in a run's size, which train to the same bits.
//! - [`export`]: writes a folder of picture files.
//! - `in_order`: processes all records on several threads, and passes the results in order.
//! - `output_dir`: a directory that one process fills, and that a later process can complete.
//! - `shard`, `manifest`: reproducible tar files, and their description.
//! - `encode`: converts samples back to PNG or WebP.
//!
//! The written files are a function of the data set and the options. Neither the number of threads nor interruptions change
//! them.

mod encode;
mod error;
pub mod export;
mod in_order;
pub mod inspect;
mod manifest;
pub mod mixing;
mod output_dir;
pub mod pack;
mod shard;

pub use encode::PackFormat;
pub use error::ToolError;
pub use export::{Exported, export};
pub use inspect::{Classes, Inspection, Selection, Spread, classes, inspect, spread_over};
pub use mixing::{ClassCount, ClassMixing, mixing};
pub use pack::{PackOptions, Packed, ShardLimit, pack};

use serde::{Deserialize, Serialize};

/// A record that does not decode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorruptRecord {
    pub record: u64,
    pub key: String,
    pub reason: String,
}
