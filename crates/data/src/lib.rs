//! Data sources, transforms and the prefetching loader.
//!
//! Not here: which record comes when (`plan`), what is done with a sample (`train`), who may read what (`control`
//! decides, [`Leases`] keeps its word).
//! Start at [`Source`]; [`open`] makes one from a run's file, and [`Loader`] turns it into batches ahead of use.
//!
//! - [`source`]: what a source of samples is, and what can be wrong with one record.
//! - [`sources`]: the kinds of sources, one file each.
//! - [`transform`]: how a picture becomes a sample.
//! - [`leases`]: how far each virtual rank may read.
//! - [`loader`]: batches for a worker's virtual ranks, read by threads ahead of the step.
//! - [`contract`]: what every source has to keep, run over all of them.
//!
//! A sample is a slice of f32: a picture `[height, width, channels]` in −1..1 (channels last, as the convolutions
//! want it), a point `[2]` in the plane's units.

pub mod contract;
pub mod error;
pub mod leases;
pub mod loader;
mod pool;
pub mod source;
pub mod sources;
pub mod transform;

pub use error::DataError;
pub use leases::Leases;
pub use loader::{Loader, LoaderError, LoaderOptions, RankBatch, Replaced, StepBatch, Stopper};
pub use source::{Fingerprint, RecordError, SampleShape, Source};
pub use sources::open;
