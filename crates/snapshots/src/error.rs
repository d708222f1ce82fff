//! Everything that can go wrong, each with its place and what to do.

use std::io;
use std::path::PathBuf;

use lsgan_objects::{FailureKind, StoreFailure};
use lsgan_spec::Step;

use crate::lock::Holder;
use crate::manifest;

/// What can go wrong with snapshots and run directories. A variant of its own has what a caller decides by; a `text` is
/// the whole message, with path and advice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `checkpoint.to` names no store that can be used.
    #[error("{text}")]
    Url { text: String },
    /// The local file system refuses a directory or a file of a run.
    #[error("cannot {action}: {source}. {advice}")]
    Disk {
        /// With its path.
        action: String,
        source: io::Error,
        advice: &'static str,
    },
    /// A store that was to be read does not exist.
    #[error("there is no directory `{}`. Check the path; a run makes it when it writes its first snapshot.", path.display())]
    NoStore { path: PathBuf },
    /// No room: nothing of the snapshot stays, older snapshots are untouched.
    #[error(
        "no room left to write `{path}`: {source}. The unfinished snapshot was taken back and older ones are \
         untouched. Free some space or lower checkpoint.keep_last; writing again is safe."
    )]
    Full { path: String, source: object_store::Error },
    /// A local store failed for another reason.
    #[error(
        "cannot {action} `{path}`: {source}. Check that the store is reachable and writable, then try again."
    )]
    Store {
        /// `read`, `write`, `list`, `move` or `delete`.
        action: &'static str,
        path: String,
        source: object_store::Error,
    },
    /// A bucket did not do what it was asked, after all patience where asking again could help.
    #[error("cannot {action} `{path}`: {answer}")]
    Bucket { action: &'static str, path: String, answer: StoreFailure },
    /// Nothing is done, so that no snapshot of another writer or archive is lost.
    #[error("`{path}` {text}")]
    Unsafe { path: String, text: String },
    /// A part, a tensor or a manifest that would not be read back.
    #[error("{text}")]
    Unwritable { text: String },
    /// The step has a valid snapshot of another state.
    #[error(
        "`{path}` is there already and differs: its {what} is {theirs}, this one's is {ours}. \
         A published snapshot is never overwritten: move it away, or write to another store."
    )]
    OtherSnapshot {
        path: String,
        /// `identity`, `part generator` …
        what: String,
        theirs: String,
        ours: String,
    },
    /// Nothing is there for the step.
    #[error(
        "there is no snapshot of step {step} at `{path}`. `lsgan checkpoints list` shows which there are."
    )]
    NoSnapshot { step: Step, path: String },
    /// Parts without a manifest: a write that was interrupted, or is still going on.
    #[error(
        "`{path}` has no manifest.json: its write did not come to its end, or is still going on. \
         Use another snapshot; leftovers go away by themselves."
    )]
    Unfinished { path: String },
    /// The manifest is of another version of the format. Never overwritten: newer software may have written it.
    #[error(
        "manifest `{path}` has format {found}; this build reads format {}. \
         Use the version of lsgan that wrote it, or another snapshot.",
        manifest::FORMAT
    )]
    Format { path: String, found: u64 },
    /// A file of a published snapshot is missing, or is not as it was written.
    #[error("{text}")]
    Damaged { text: String },
    /// The snapshot has no part of this name.
    #[error("`{path}` has no part `{part}`; it has {parts}.")]
    NoPart { path: String, part: String, parts: String },
    /// A live coordinator has the run directory.
    #[error(
        "run directory in use: `{}` is held by {holder}. Stop that coordinator, or choose another --run-dir.",
        path.display()
    )]
    InUse { path: PathBuf, holder: Holder },
}

impl Error {
    /// Whether a snapshot is unusable as it lies there, so that an older one has to do.
    ///
    /// False for a store that does not answer: then nothing is known of the snapshot, and passing over it
    /// would lose steps.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::NoSnapshot { .. }
            | Self::Unfinished { .. }
            | Self::Format { .. }
            | Self::Damaged { .. } => true,
            Self::Url { .. }
            | Self::Disk { .. }
            | Self::NoStore { .. }
            | Self::Full { .. }
            | Self::Store { .. }
            | Self::Bucket { .. }
            | Self::Unsafe { .. }
            | Self::Unwritable { .. }
            | Self::OtherSnapshot { .. }
            | Self::NoPart { .. }
            | Self::InUse { .. } => false,
        }
    }

    /// Whether the store cannot be reached or cannot serve now: trying again later may help.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Bucket { answer, .. } if answer.kind == FailureKind::Away)
    }

    /// A store's failure, told apart from a full one by the operating system's error below it.
    pub(crate) fn store(action: &'static str, path: String, source: object_store::Error) -> Self {
        if is_full(&source) { Self::Full { path, source } } else { Self::Store { action, path, source } }
    }

    /// A part of a snapshot that cannot be written.
    pub(crate) fn part(part: &str, problem: impl std::fmt::Display) -> Self {
        let advice = "Part names are 1 to 100 of a-z, 0-9 and _, each once.";
        Self::Unwritable { text: format!("part `{part}` cannot be written: {problem}. {advice}") }
    }
}

/// Whether the cause is a full disk or a used-up quota: the chain of sources ends in such an I/O error.
fn is_full(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        }
        cause = error.source();
    }
    false
}

impl From<lsgan_objects::Error> for Error {
    fn from(error: lsgan_objects::Error) -> Self {
        Self::Url { text: format!("checkpoint store: {error}") }
    }
}
