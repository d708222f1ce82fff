//! The kinds of data sources, one file each.
//!
//! A new kind is one file here, its variant in [`lsgan_spec::Source`], its `mod`, and its line in `sources!` below. The
//! file has `KIND`, `open` and `at`; if it reads pictures, it implements [`pictures::Records`]. `tests/contract.rs` fails
//! until it has a row for the kind.

mod cifar10;
pub mod folder;
mod gaussian;
mod idx;
mod lsun;
mod pictures;
pub mod webdataset;

use std::path::PathBuf;

use lsgan_spec::{DataSpec, Source as Spec};

use crate::index::{OnProgress, Progress};
use crate::{DataError, Source};

macro_rules! sources {
    ($($variant:ident: $module:ident, $reads:literal;)*) => {
        /// Every kind's word in a run's file.
        pub const KINDS: &[&str] = &[$($module::KIND),*];

        /// What each kind reads, as messages name it; empty for a kind that reads no files.
        pub(crate) const READS: &[&str] = &[$($reads),*];

        /// As [`open`], with options.
        ///
        /// # Errors
        ///
        /// As [`open`].
        pub fn open_with(spec: &DataSpec, options: &OpenOptions<'_>) -> Result<Box<dyn Source>, DataError> {
            match &spec.source {
                $(Spec::$variant(source) => $module::open(source, spec.image.as_ref(), options),)*
            }
        }

        /// The source of a kind at a path, URL or pattern; none if there is no such kind, or if it reads no files.
        #[must_use]
        pub fn at(kind: &str, place: &str) -> Option<Spec> {
            match kind {
                $($module::KIND => $module::at(place).map(Spec::$variant),)*
                _ => None,
            }
        }
    };
}

sources! {
    Folder: folder, "folders of pictures";
    Lsun: lsun, "LMDB folders";
    Webdataset: webdataset, "tar shards";
    Idx: idx, "IDX files";
    Cifar10: cifar10, "CIFAR-10's binary files";
    Gaussian: gaussian, "";
}

/// Opens the data set of a run. `seed` is the run's and decides the points of a synthetic data set.
///
/// # Errors
///
/// A file that is missing, damaged or of another kind; a description that gives no samples.
pub fn open(spec: &DataSpec, seed: u64) -> Result<Box<dyn Source>, DataError> {
    open_with(spec, &OpenOptions::new(seed))
}

pub struct OpenOptions<'a> {
    pub seed: u64,
    /// The directory for the index of a large data set. By default it lies beside the data, or in the user's cache where
    /// that place is not writable.
    pub index_dir: Option<PathBuf>,
    /// Called while an index is built.
    pub progress: OnProgress<'a>,
}

impl OpenOptions<'_> {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, index_dir: None, progress: &|_: Progress| () }
    }
}
