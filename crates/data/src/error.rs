//! What can be wrong with a data set.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use crate::file_kind::FileKind;

/// What to do about a file that is cut off or damaged.
pub(crate) const FETCH: &str = "Fetch or copy the file again.";

/// Why a data set could not be opened. Each text says what is wrong, where, what is accepted and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// There is no such file.
    #[error("{}: there is no such file. Relative paths start at the current directory; check data.source.", path.display())]
    Missing { path: PathBuf },
    /// The operating system refused or failed.
    #[error("{}: the file cannot be read: {source}. Check that it is a file and that this user may read it.", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// What lies there is known, and is something else.
    #[error("{place}: this is {found}, and no {wanted}. {advice}")]
    OtherKind { place: String, found: FileKind, wanted: &'static str, advice: String },
    /// What lies there cannot be used: it is of another format, cut off, damaged, or has nothing in it.
    #[error("{place}: {what}")]
    Unusable {
        /// The file, directory or URL.
        place: String,
        what: String,
    },
    /// The store refused or failed.
    #[error("{place}: the object store says: {reason}. {advice}")]
    Store { place: String, reason: String, advice: &'static str },
    /// A URL that names no object, or a bucket without settings or credentials.
    #[error("data.source.webdataset.shards: {0}")]
    Objects(#[from] lsgan_objects::Error),
    /// The run's file asks for samples that its source cannot give.
    #[error("{text}")]
    Spec { text: String },
}

impl DataError {
    pub(crate) fn unusable(place: impl Display, what: impl Into<String>) -> Self {
        Self::Unusable { place: place.to_string(), what: what.into() }
    }

    pub(crate) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::Unreadable { path: path.into(), source }
    }

    pub(crate) fn spec(text: impl Into<String>) -> Self {
        Self::Spec { text: text.into() }
    }

    /// A data set of the source `kind` without records.
    pub(crate) fn no_pictures(place: impl Display, advice: &str) -> Self {
        let what = format!("there are no pictures in it; at least one JPEG, PNG or WebP is needed. {advice}");
        Self::unusable(place, what)
    }

    /// It changed while it was looked through.
    pub(crate) fn changing(place: impl Display, reason: &str) -> Self {
        let what = format!(
            "it changed while it was being read: {reason}. Wait until it is complete, then start again."
        );
        Self::unusable(place, what)
    }
}
