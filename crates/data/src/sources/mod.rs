//! The kinds of sources. A new one is one file here, its variant in `spec`, and a line in each of the two lists
//! below; `tests/contract.rs` fails until it has a row for it.

pub mod gaussian;
pub mod idx;

use lsgan_spec::{DataSpec, Source as Spec};

use crate::{DataError, Source};

/// Every kind's word in a run's file.
pub const KINDS: [&str; 2] = [idx::KIND, gaussian::KIND];

/// Opens the data set that a run's file names. `seed`, the run's, decides the points of a made-up data set.
///
/// # Errors
///
/// A file that is missing, damaged or of another kind; a description that makes no samples.
pub fn open(spec: &DataSpec, seed: u64) -> Result<Box<dyn Source>, DataError> {
    Ok(match &spec.source {
        Spec::Idx(source) => Box::new(idx::Idx::open(source, spec.image.as_ref())?),
        Spec::Gaussian(source) => Box::new(gaussian::Gaussian::open(source, spec.image.as_ref(), seed)?),
    })
}
