//! Operations over a whole data set.
//!
//! - [`inspect`]: reports formats, sizes, classes and corrupt records.
//! - [`mixing`]: measures how many classes the batches of a run have.
//! - [`pack`]: writes tar shards of pictures in a run's size, which train to the same bits.
//! - [`export`]: writes a folder of picture files.
//! - `output_dir`: a directory that one process fills, and that a later process can complete.
//! - `shard`, `manifest`: reproducible tar files, and their description.
//! - `encode`: converts samples back to PNG or WebP.
//!
//! The written files are a function of the data set and the options. Neither the number of threads nor interruptions change
//! them.

mod encode;
mod error;
pub mod export;
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

use crate::file_kind::instead_of_a_picture;
use crate::{RecordError, Source};

/// Records that a thread processes at a time.
const CHUNK: u64 = 16;
/// Records between two progress reports.
const PROGRESS_RECORDS: u64 = 64;

/// A record that does not decode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorruptRecord {
    pub record: u64,
    pub key: String,
    pub reason: String,
}

impl CorruptRecord {
    /// Of an error of the record, if that is because it does not decode; otherwise the error.
    fn of(record: u64, error: RecordError) -> Result<Self, RecordError> {
        match error {
            RecordError::Undecodable { key, reason, .. } => Ok(Self { record, key, reason }),
            error => Err(error),
        }
    }

    /// Of the record's bytes, which do not decode for a `reason`.
    fn of_bytes(source: &dyn Source, record: u64, bytes: &[u8], reason: String) -> Result<Self, RecordError> {
        Ok(Self { record, key: source.key(record)?, reason: instead_of_a_picture(bytes, reason) })
    }
}
