//! Why a data set could not be looked through, packed or exported.

use std::io;
use std::path::{Path, PathBuf};

use crate::RecordError;

/// Each text says what is wrong, where, what is accepted and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Points are not pictures.
    #[error(
        "the source {kind} makes its points when they are read; only pictures are written. Take another source."
    )]
    NoPictures { kind: &'static str },
    /// The directory holds other files.
    #[error(
        "{}: the directory holds other files, `{found}` for one; accepted is an empty one, one that is not there yet, or \
         one that the same command left unfinished. Choose another.",
        dir.display()
    )]
    Taken { dir: PathBuf, found: String },
    /// The directory holds what was made from other data, or in another way.
    #[error(
        "{}: the directory holds what was made otherwise: {difference}. Choose another, or remove it.",
        dir.display()
    )]
    Other { dir: PathBuf, difference: String },
    /// Another process writes there.
    #[error("{}: another process writes there at this time. Wait for its end, or choose another directory.", dir.display())]
    Busy { dir: PathBuf },
    /// The operating system refused or failed.
    #[error("{}: it cannot be written: {source}. {}", path.display(), advice(source))]
    Io { path: PathBuf, source: io::Error },
    /// A path that a webdataset pattern would take for several.
    #[error("{}: a path with braces cannot be named in data.source.webdataset.shards. Choose another.", dir.display())]
    Braces { dir: PathBuf },
    /// More shards than there are names.
    #[error("there would be more than {most} shards. Make them larger: --shard-mib or --shard-records.")]
    TooManyShards { most: u64 },
    /// A shard came out differently the second time.
    #[error(
        "{}: made again from the same records it is another than before. The data set changed under its names: remove \
         the directory, and start anew.",
        path.display()
    )]
    Changed { path: PathBuf },
    /// Nothing is left.
    #[error("none of the {records} records decodes; the first says: {reason}. Check data.source.")]
    NothingDecodes { records: u64, reason: String },
    /// A picture that cannot be encoded.
    #[error("record {record} cannot be encoded: {reason}. This is a bug, please report it.")]
    Encode { record: u64, reason: String },
    /// The data set changed or went away.
    #[error("{0} What is finished is kept: the same command goes on from there.")]
    Lost(RecordError),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "Make room; what is finished is kept, and the same command goes on from there."
        }
        io::ErrorKind::PermissionDenied => {
            "Check that this user may write there, or choose another directory."
        }
        io::ErrorKind::ReadOnlyFilesystem => "Choose a directory that can be written.",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "Choose a path where no file is in the way."
        }
        _ => "What is finished is kept, and the same command goes on from there.",
    }
}

/// For `map_err`, where `path` is being written.
pub(super) fn writing(path: &Path) -> impl Fn(io::Error) -> ToolError + '_ {
    move |source| ToolError::Io { path: path.to_owned(), source }
}
