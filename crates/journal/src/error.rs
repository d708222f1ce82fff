//! What can go wrong with a journal, and the one policy for what passes by itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use crate::migrations::VERSION;

/// Between two tries of what could not be done.
const RETRY: Duration = Duration::from_millis(500);
/// How long another program may hold the file before anyone is told: a person's shell may, for a moment.
const LOCK_UNTOLD: Duration = Duration::from_secs(1);

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It could not be opened or read.
    #[error("{path}: the journal cannot be used: {source}. {}", advice(source))]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// It was open, and could not be written.
    #[error("{path}: the journal cannot be used: {source}. {}", advice(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// It is something else.
    #[error(
        "{path}: the journal cannot be used: it is {what}. Name the directory of a run, or start with --fresh, which moves \
         what is there aside."
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Another version of this program wrote it.
    #[error(
        "{path}: the journal has schema version {found}, this program reads 1 to {VERSION}. Use the program that wrote it, \
         or start with --fresh."
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// A copy of it has what this program does not know.
    #[error(
        "{path}: the journal cannot be brought back from its copy: {what}, which this program does not know. Use the \
         version that wrote it."
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is not known.
        what: String,
    },
    /// An entry is not what its kind says.
    #[error("{path}: entry {sequence} of the journal cannot be read: {why}. {DAMAGED}")]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which.
        sequence: u64,
        /// What is wrong with it.
        why: String,
    },
}

const DAMAGED: &str =
    "It is damaged: bring it back from a copy, or start with --fresh, which moves it aside.";

impl JournalError {
    pub(crate) fn open(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Open { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    /// Whether it may pass without a change to the run: a lock or a full disk. While a run goes on, so may a disk that
    /// fails for a while; where it cannot even be opened, that is an answer.
    #[must_use]
    pub fn passes(&self) -> bool {
        use ErrorCode::{
            CannotOpen, DiskFull, FileLockingProtocolFailed, OutOfMemory, PermissionDenied, ReadOnly,
            SystemIoFailure,
        };
        let fails_for_a_while =
            [CannotOpen, FileLockingProtocolFailed, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure];
        match (self, self.code()) {
            (_, None) => false,
            (_, Some(DiskFull)) => true,
            (Self::Write { .. }, Some(code)) if fails_for_a_while.contains(&code) => true,
            (_, Some(_)) => self.is_lock(),
        }
    }

    /// Whether what was to be written is at fault, a number that no column takes or a second row of one key, and not the file:
    /// the next write may succeed.
    #[must_use]
    pub fn is_of_the_row(&self) -> bool {
        use ErrorCode::{ConstraintViolation, ParameterOutOfRange, TooBig, TypeMismatch};
        let Self::Write { source, .. } = self else { return false };
        match source {
            rusqlite::Error::ToSqlConversionFailure(_) | rusqlite::Error::IntegralValueOutOfRange(..) => true,
            _ => self.code().is_some_and(|code| {
                [ConstraintViolation, ParameterOutOfRange, TooBig, TypeMismatch].contains(&code)
            }),
        }
    }

    /// Whether another program holds the file.
    #[must_use]
    pub fn is_lock(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Open { source, .. } | Self::Write { source, .. } => source.sqlite_error_code(),
            Self::NotOurs { .. } | Self::Version { .. } | Self::Newer { .. } | Self::Entry { .. } => None,
        }
    }
}

/// What a person can do.
fn advice(source: &rusqlite::Error) -> &'static str {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, PermissionDenied,
        ReadOnly, SystemIoFailure,
    };
    match source.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => "Another program holds it locked: end what it does there.",
        Some(DiskFull) => "Free space on its disk.",
        Some(SystemIoFailure) => "Look at its disk, and whether that is full.",
        Some(ReadOnly | PermissionDenied | CannotOpen) => "Look at its disk and its permissions.",
        Some(DatabaseCorrupt | NotADatabase) => DAMAGED,
        _ => "Bring it back from a copy, or start with --fresh, which moves it aside.",
    }
}

/// What [`patiently`] has to say.
#[derive(Debug)]
pub enum Wait {
    /// It cannot be done at the moment, and is tried again and again; why.
    Begins(JournalError),
    /// It could be done after all.
    Ends,
}

/// The one policy: what [passes](JournalError::passes) is waited for, for as long as it takes, and said once. Anything else is
/// the caller's to end with.
///
/// # Errors
/// What does not pass.
pub fn patiently<T>(
    mut work: impl FnMut() -> Result<T, JournalError>,
    mut tell: impl FnMut(Wait),
) -> Result<T, JournalError> {
    let (begin, mut told) = (Instant::now(), false);
    loop {
        match work() {
            Err(error) if error.passes() => {
                if !told && (!error.is_lock() || begin.elapsed() >= LOCK_UNTOLD) {
                    tell(Wait::Begins(error));
                    told = true;
                }
                std::thread::sleep(RETRY);
            }
            result => {
                if told && result.is_ok() {
                    tell(Wait::Ends);
                }
                return result;
            }
        }
    }
}
