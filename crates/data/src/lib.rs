//! Data sources, transforms and the prefetching loader.
//!
//! Not here: which record comes when (`plan`), what is done with a sample (`train`), who may read what (`control`
//! decides, [`Leases`] keeps its word).
//! Start at [`Source`]; [`open`] makes one from a run's file, and [`Loader`] turns it into batches ahead of use.
//!
//! - [`source`]: what a source of samples is, and what can be wrong with one record.
//! - [`sources`]: the kinds of sources, one file each.
//! - [`picture`], [`decode`], [`transform`]: encoded bytes become a picture, and a picture a sample.
//! - [`found`]: what a file is that was named as data, for messages.
//! - [`index`]: what is known of a large data set from the last start.
//! - [`left_out`]: what a source leaves out, counted and named.
//! - [`leases`]: how far each virtual rank may read.
//! - [`loader`]: batches for a worker's virtual ranks, read by threads ahead of the step.
//! - [`corrupt`]: counting records that do not decode.
//! - [`tools`]: a whole data set looked through, packed or exported.
//! - [`contract`]: what every source has to keep, run over all of them.
//!
//! A sample is a slice of f32: a picture `[height, width, channels]` in −1..1 (channels last, as the convolutions
//! want it), a point `[2]` in the plane's units.

pub mod contract;
pub mod corrupt;
pub mod decode;
pub mod error;
pub mod found;
mod fresh;
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

pub use corrupt::{Corrupt, TooManyCorrupt};
pub use error::DataError;
pub use index::Indexing;
pub use leases::Leases;
pub use left_out::LeftOut;
pub use loader::{
    Loader, LoaderError, LoaderOptions, RankBatch, Replaced, SlowLoading, StepBatch, Stopper, WaitWatch,
};
pub use source::{Fingerprint, RecordError, SampleShape, Source, Stored};
pub use sources::{OpenOptions, open, open_with};
