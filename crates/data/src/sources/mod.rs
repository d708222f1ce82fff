//! The kinds of data sources, one file each.
//!
//! A new kind is one file here, its variant in [`lsgan_spec::Source`], its `mod`, and its line in `sources!` below. The
//! file has `KIND`, `open`, `at` and `find`; if it reads pictures, it implements [`pictures::Records`]. `tests/it/contract.rs`
//! fails until it has a row for the kind and a place where the kind is found.

mod cifar10;
pub mod folder;
mod gaussian;
mod idx;
mod lsun;
mod pictures;
mod webdataset;

use std::path::{Path, PathBuf};

use lsgan_spec::{DataSpec, Source as Spec};

use crate::file_kind::{FileKind, other_kind};
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

        /// The source that reads what lies at a path, URL or pattern. What several kinds could read belongs to the first of
        /// them in the table.
        ///
        /// # Errors
        ///
        /// A place that cannot be looked at, or that no kind reads.
        pub fn find(place: &str) -> Result<Spec, DataError> {
            let looked = FileKind::at(Path::new(place));
            $(if let Some(source) = $module::find(place, looked.as_ref().ok()) {
                return Ok(Spec::$variant(source));
            })*
            Err(match looked {
                Ok(found) => other_kind(place.to_owned(), found, "data set that is read"),
                Err(error) => {
                    DataError::unusable(place, format!("{error}. Relative paths start at the current directory."))
                }
            })
        }
    };
}

sources! {
    Lsun: lsun, "LMDB folders";
    Webdataset: webdataset, "tar shards";
    Idx: idx, "IDX files";
    Cifar10: cifar10, "CIFAR-10's binary files";
    Gaussian: gaussian, "";
    // The last one: any directory may be one.
    Folder: folder, "folders of pictures";
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
