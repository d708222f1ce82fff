//! Everything that can go wrong, each with its place and what to do.

use std::io;
use std::path::PathBuf;

use lsgan_objects::{Answer, Meaning};
use lsgan_spec::Step;

use crate::lock::Holder;
use crate::manifest;

/// What can go wrong with snapshots and run directories.
///
/// [`Error::is_damage`] tells a snapshot that cannot be used from a store that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // ---- opening ----
    /// A URL that names no store, or a bucket without settings or credentials.
    #[error("checkpoint store: {0}")]
    Objects(#[source] lsgan_objects::Error),
    /// Not a URL, or a file:// URL that names no directory of this host.
    #[error(
        "checkpoint store `{to}` is not a usable URL ({problem}). Write file:///directory or a plain directory."
    )]
    Url {
        /// As the user wrote it.
        to: String,
        /// Why.
        problem: String,
    },
    /// The directory of a store cannot be made or used.
    #[error(
        "cannot use `{}` as a checkpoint directory: {source}. \
         Check the path and its permissions, or write another directory.",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A store that was to be read does not exist.
    #[error("there is no directory `{}`. Check the path; a run makes it when it writes its first snapshot.", path.display())]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },

    // ---- the store ----
    /// No room: nothing of the snapshot stays, older snapshots are untouched.
    #[error(
        "no room left to write `{path}`: {source}. The unfinished snapshot was taken back and older ones are \
         untouched. Free some space or lower checkpoint.keep_last; writing again is safe."
    )]
    Full {
        /// The object that did not fit.
        path: String,
        /// As the store said it.
        source: object_store::Error,
    },
    /// The store failed for another reason.
    #[error(
        "cannot {action} `{path}`: {source}. Check that the store is reachable and writable, then try again."
    )]
    Store {
        /// `read`, `write`, `list` or `delete`.
        action: &'static str,
        /// The object or folder.
        path: String,
        /// As the store said it.
        source: object_store::Error,
    },

    /// A bucket did not do what it was asked, after all patience where asking again could help.
    #[error("cannot {action} `{path}`: {answer}")]
    Bucket {
        /// `read`, `write`, `list`, `move` or `delete`.
        action: &'static str,
        /// The object or folder.
        path: String,
        /// What the store said.
        answer: Answer,
    },
    /// What was to be deleted or moved lies behind a link, where it may be somebody's archive.
    #[error(
        "`{path}` lies behind the link `{}`, and nothing behind a link is deleted or moved. Move it away yourself, or \
         put a directory in the link's place.",
        link.display()
    )]
    BehindLink {
        /// The object or folder.
        path: String,
        /// The link.
        link: PathBuf,
    },
    /// A bucket overwrites where it is told to create: then no snapshot in it is safe from another writer.
    #[error(
        "`{path}` was created twice: this store does not know `If-None-Match: *`, by which a snapshot is published only \
         once. Use a newer version of it, another store, or a directory."
    )]
    NotCreateOnly {
        /// The object that it was tried with.
        path: String,
    },

    // ---- a snapshot that cannot be written ----
    /// A part's name cannot be a file's name, or is there twice.
    #[error(
        "part `{part}` cannot be written: {problem}. Part names are 1 to 100 of a-z, 0-9 and _, each once."
    )]
    PartName {
        /// The part.
        part: String,
        /// `its name …`.
        problem: &'static str,
    },
    /// A tensor's name is reserved, or is there twice.
    #[error(
        "tensor `{tensor}` of part `{part}` cannot be written: {problem}. Give each tensor a name of its own."
    )]
    TensorName {
        /// The part.
        part: String,
        /// The tensor.
        tensor: String,
        /// `its name …`.
        problem: &'static str,
    },
    /// A tensor's shape does not have as many elements as its data.
    #[error(
        "tensor `{tensor}` of part `{part}` has the shape {shape:?} but {len_elements} elements. \
         The product of the shape must be the number of elements."
    )]
    TensorShape {
        /// The part.
        part: String,
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Elements in its data.
        len_elements: usize,
    },
    /// The safetensors crate refused the part.
    #[error(
        "part `{part}` cannot be written as safetensors: {source}. Make its tensors fewer or their names shorter."
    )]
    Encode {
        /// The part.
        part: String,
        /// As the crate said it.
        source: safetensors::SafeTensorError,
    },
    /// The texts of the manifest would not be read back.
    #[error(
        "the manifest of step {step} would have {len_bytes} bytes; at most {} are accepted. Shorten the run's file.",
        manifest::MAX_BYTES
    )]
    ManifestTooLong {
        /// The step.
        step: Step,
        /// Size of the manifest.
        len_bytes: u64,
    },
    /// The step has a valid snapshot of another state.
    #[error(
        "`{path}` is there already and differs: its {what} is {theirs}, this one's is {ours}. \
         A published snapshot is never overwritten: move it away, or write to another store."
    )]
    OtherSnapshot {
        /// The folder of the step.
        path: String,
        /// `identity`, `part generator` …
        what: String,
        /// What is in the store.
        theirs: String,
        /// What was to be written.
        ours: String,
    },

    // ---- a snapshot that cannot be read ----
    /// Nothing is there for the step.
    #[error(
        "there is no snapshot of step {step} at `{path}`. `lsgan checkpoints list` shows which there are."
    )]
    NoSnapshot {
        /// The step asked for.
        step: Step,
        /// The folder of the step.
        path: String,
    },
    /// Parts without a manifest: a write that did not come to its end, or is still going on.
    #[error(
        "`{path}` has no manifest.json: its write did not come to its end, or is still going on. \
         Use another snapshot; leftovers go away by themselves."
    )]
    Unfinished {
        /// The folder of the step.
        path: String,
    },
    /// The manifest is larger than any that this crate writes.
    #[error(
        "manifest `{path}` has {len_bytes} bytes; at most {} are accepted. Use another snapshot.",
        manifest::MAX_BYTES
    )]
    ManifestSize {
        /// The manifest.
        path: String,
        /// Its size.
        len_bytes: u64,
    },
    /// The manifest is not the JSON that it should be.
    #[error("manifest `{path}` cannot be read: {source}. It is damaged: use another snapshot.")]
    ManifestSyntax {
        /// The manifest.
        path: String,
        /// With line and column.
        source: serde_json::Error,
    },
    /// The manifest is of another version of the format. Never overwritten: newer software may have written it.
    #[error(
        "manifest `{path}` has format {found}; this build reads format {}. \
         Use the version of lsgan that wrote it, or another snapshot.",
        manifest::FORMAT
    )]
    ManifestFormat {
        /// The manifest.
        path: String,
        /// The version that it states.
        found: u64,
    },
    /// The manifest's own hash does not fit its content.
    #[error(
        "manifest `{path}` states BLAKE3 {stated} of its content, which is {found}. It was changed: use another snapshot."
    )]
    ManifestHash {
        /// The manifest.
        path: String,
        /// As stated.
        stated: String,
        /// As computed.
        found: String,
    },
    /// The manifest is of another step than its folder, or names a file that cannot be.
    #[error("manifest `{path}` does not belong here: {problem}. Use another snapshot.")]
    ManifestPlace {
        /// The manifest.
        path: String,
        /// What does not fit.
        problem: String,
    },
    /// A part is not there.
    #[error("`{path}` is missing, though its manifest names it. Use another snapshot.")]
    PartMissing {
        /// The part's file.
        path: String,
    },
    /// A part was cut short or has grown.
    #[error(
        "`{path}` has {found_bytes} bytes; its manifest says {expected_bytes}. It is damaged: use another snapshot."
    )]
    PartSize {
        /// The part's file.
        path: String,
        /// By the manifest.
        expected_bytes: u64,
        /// By the store.
        found_bytes: u64,
    },
    /// A part has other bytes than were written.
    #[error(
        "`{path}` has the BLAKE3 hash {found}; its manifest says {expected}. It is damaged: use another snapshot."
    )]
    PartHash {
        /// The part's file.
        path: String,
        /// By the manifest.
        expected: String,
        /// As computed.
        found: String,
    },
    /// A part has the right hash and is still no safetensors file.
    #[error("`{path}` is not a safetensors file: {source}. Use another snapshot.")]
    PartSyntax {
        /// The part's file.
        path: String,
        /// As the crate said it.
        source: safetensors::SafeTensorError,
    },
    /// A part has a tensor of a kind that no snapshot holds.
    #[error("tensor `{tensor}` of `{path}` is {dtype}; F32 and I64 are accepted. Use another snapshot.")]
    PartDtype {
        /// The part's file.
        path: String,
        /// The tensor.
        tensor: String,
        /// Its number format.
        dtype: String,
    },
    /// The snapshot has no part of this name.
    #[error("`{path}` has no part `{part}`; it has {parts}.")]
    NoPart {
        /// The manifest.
        path: String,
        /// The part asked for.
        part: String,
        /// Those that there are, with commas.
        parts: String,
    },
    /// The snapshot is of another run.
    #[error(
        "snapshot of step {step} belongs to a run of identity {found}, not {expected}. \
         Write another checkpoint.to, or start anew with --fresh."
    )]
    OtherRun {
        /// The snapshot's step.
        step: Step,
        /// The manifest's identity.
        found: String,
        /// The run's identity.
        expected: String,
    },

    // ---- run directories ----
    /// A live coordinator has the run directory.
    #[error(
        "run directory in use: `{}` is held by {holder}. Stop that coordinator, or choose another --run-dir.",
        path.display()
    )]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as the file says.
        holder: Holder,
    },
    /// The lock file cannot be made, locked or written.
    #[error("cannot lock `{}`: {source}. Check the directory and its permissions.", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An old run cannot be moved aside.
    #[error(
        "cannot move `{}` aside to `{}`: {source}. \
         The directory above must be writable and on the same file system; or choose another --run-dir.",
        dir.display(), to.display()
    )]
    MoveAside {
        /// The directory.
        dir: PathBuf,
        /// Where it should have gone.
        to: PathBuf,
        /// Why.
        source: io::Error,
    },
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
            | Self::ManifestSize { .. }
            | Self::ManifestSyntax { .. }
            | Self::ManifestFormat { .. }
            | Self::ManifestHash { .. }
            | Self::ManifestPlace { .. }
            | Self::PartMissing { .. }
            | Self::PartSize { .. }
            | Self::PartHash { .. }
            | Self::PartSyntax { .. }
            | Self::PartDtype { .. } => true,
            Self::Objects(_)
            | Self::Url { .. }
            | Self::Directory { .. }
            | Self::NoStore { .. }
            | Self::Full { .. }
            | Self::Store { .. }
            | Self::Bucket { .. }
            | Self::BehindLink { .. }
            | Self::NotCreateOnly { .. }
            | Self::PartName { .. }
            | Self::TensorName { .. }
            | Self::TensorShape { .. }
            | Self::Encode { .. }
            | Self::ManifestTooLong { .. }
            | Self::OtherSnapshot { .. }
            | Self::NoPart { .. }
            | Self::OtherRun { .. }
            | Self::InUse { .. }
            | Self::Lock { .. }
            | Self::MoveAside { .. } => false,
        }
    }

    /// Whether the store cannot be reached or cannot serve now: trying again later may help.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Bucket { answer, .. } if answer.meaning == Meaning::Away)
    }

    /// A store's failure, told apart from a full one by the operating system's error below it.
    pub(crate) fn store(action: &'static str, path: String, source: object_store::Error) -> Self {
        if is_full(&source) { Self::Full { path, source } } else { Self::Store { action, path, source } }
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
        Self::Objects(error)
    }
}
