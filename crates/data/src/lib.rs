//! Data sources, transforms and the prefetching loader.
//!
//! Not here: the order of the records (`plan`), training on a sample (`train`), granting leases (`control`).
//! Start at [`Source`]; [`open`] opens one from a run's file, and [`Loader`] reads its batches ahead of use.
//!
//! - [`source`]: the trait of data sources, and the errors of one record.
//! - [`sources`]: the kinds of sources, one file each.
//! - [`picture`], [`decode`], [`transform`]: from encoded bytes to a picture to a sample.
//! - [`file_kind`]: recognises files by their first bytes, for messages.
//! - `in_order`: numbered items, processed on several threads, in order.
//! - [`index`]: what the last start learned about a large data set.
//! - [`left_out`]: counts and names what is no record.
//! - [`leases`]: how far each virtual rank may read.
//! - [`loader`]: batches for a worker's virtual ranks, read by threads ahead of the step.
//! - `whole`: reads a bounded file as a whole.
//! - [`corrupt`]: counts records that do not decode.
//! - [`tools`]: inspect, pack and export a whole data set.
//! - [`contract`]: the tests that every source must pass.
//!
//! A record is one stored picture of a data set, or one synthetic point. A sample is a record as training sees it, a slice
//! of f32: a picture `[height, width, channels]` in −1..1 (channels last, as the convolutions want it), or a point `[2]`.

#![forbid(unsafe_code)]

pub mod contract;
pub mod corrupt;
pub mod decode;
pub mod error;
pub mod file_kind;
mod fresh;
#[cfg(test)]
mod fuzz;
mod in_order;
pub mod index;
pub mod leases;
pub mod left_out;
pub mod loader;
pub mod picture;
mod pool;
pub mod source;
pub mod sources;
pub mod tools;
pub mod transform;
mod whole;

pub use corrupt::{CorruptCount, TooManyCorrupt};
pub use error::DataError;
pub use index::Progress;
pub use leases::Leases;
pub use left_out::LeftOut;
pub use loader::{
    Loader, LoaderError, LoaderOptions, RankBatch, Replaced, SlowLoading, StepBatch, Stopper, WaitWatch,
};
pub use source::{Fingerprint, RecordError, SampleShape, Source, Stored};
pub use sources::{OpenOptions, open, open_with};
pub use whole::read_whole;
