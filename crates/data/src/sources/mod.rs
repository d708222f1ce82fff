//! The kinds of sources. A new one is one file here, its variant in `spec`, and a line in each of the two lists
//! below; `tests/contract.rs` fails until it has a row for it.

mod encoded;
pub mod folder;
pub mod gaussian;
pub mod idx;
pub mod lsun;
pub mod webdataset;

use std::path::PathBuf;

use lsgan_spec::{DataSpec, Source as Spec};

use crate::index::{Indexing, OnProgress};
use crate::{DataError, Source};

/// Every kind's word in a run's file.
pub const KINDS: [&str; 5] = [idx::KIND, folder::KIND, lsun::KIND, webdataset::KIND, gaussian::KIND];

/// Opens the data set that a run's file names. `seed`, the run's, decides the points of a made-up data set.
///
/// # Errors
///
/// A file that is missing, damaged or of another kind; a description that makes no samples.
pub fn open(spec: &DataSpec, seed: u64) -> Result<Box<dyn Source>, DataError> {
    open_with(spec, &OpenOptions::new(seed))
}

/// What else can be said when a data set is opened.
pub struct OpenOptions<'a> {
    /// The run's seed, which decides the points of a made-up data set.
    pub seed: u64,
    /// Where the index of a large data set is kept. Without one: beside the data, or where that may not be written, in
    /// the user's cache.
    pub index_dir: Option<PathBuf>,
    /// Hears how far the making of an index has come; not called where one is found.
    pub progress: OnProgress<'a>,
}

impl OpenOptions<'_> {
    /// The seed, and nothing else.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, index_dir: None, progress: &|_: Indexing| () }
    }
}

/// As [`open`], with more to say.
///
/// # Errors
///
/// As [`open`].
pub fn open_with(spec: &DataSpec, options: &OpenOptions<'_>) -> Result<Box<dyn Source>, DataError> {
    let image = spec.image.as_ref();
    Ok(match &spec.source {
        Spec::Idx(source) => Box::new(idx::Idx::open(source, image)?),
        Spec::Folder(source) => Box::new(folder::Folder::open(source, image, options)?),
        Spec::Lsun(source) => Box::new(lsun::Lsun::open(source, image, options)?),
        Spec::Webdataset(source) => Box::new(webdataset::Webdataset::open(source, image, options)?),
        Spec::Gaussian(source) => Box::new(gaussian::Gaussian::open(source, image, options.seed)?),
    })
}
