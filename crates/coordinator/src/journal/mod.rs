//! The journal: one SQLite file, in WAL mode, that outlives the coordinator.
//!
//! `schema.sql` documents every table. Writes are durable when a call returns (`synchronous = full`), because the
//! control machine's sends depend on them.

mod last;
mod queue;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lsgan_plan::Plan;
use rusqlite::{Connection, ErrorCode};

pub use last::LastWords;
pub use queue::{News, Queue};
pub use read::FinalFile;
pub use write::images_per_s;

/// Raised with every change of `schema.sql` that an older coordinator could not read.
const SCHEMA_VERSION: &str = "1";

/// How long another program may hold the file before that is an error: a person's shell may, for a moment.
const LOCKED_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks whether it still does, where it is waited for.
const LOCKED_PAUSE: Duration = Duration::from_millis(100);
/// Looks from one warning to the next; the first comes after a tenth of that.
const LOCKED_TOLD_EVERY: i32 = 100;

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// SQLite refused.
    #[error("{path}: the journal cannot be used: {source}. {}", advice(source))]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// Another version of this program wrote it.
    #[error(
        "{path}: the journal has schema version {found}, this program reads {SCHEMA_VERSION}. Use the program that wrote it, or start with --fresh."
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// A fact that every journal has is missing.
    #[error(
        "{path}: the journal says nothing of `{key}`; it is damaged. Start with --fresh, which moves it aside."
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is missing.
        key: &'static str,
    },
}

impl JournalError {
    /// Whether it may pass without anybody touching the run: a lock, a full disk, a disk that fails for a while.
    #[must_use]
    pub fn passes(&self) -> bool {
        use ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OutOfMemory,
            PermissionDenied, ReadOnly, SystemIoFailure,
        };
        matches!(
            self.code(),
            Some(
                CannotOpen
                    | DatabaseBusy
                    | DatabaseLocked
                    | DiskFull
                    | FileLockingProtocolFailed
                    | OutOfMemory
                    | PermissionDenied
                    | ReadOnly
                    | SystemIoFailure
            )
        )
    }

    /// Whether another program holds the file.
    #[must_use]
    pub fn is_lock(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite { source, .. } => source.sqlite_error_code(),
            Self::Version { .. } | Self::Missing { .. } => None,
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
        Some(DatabaseCorrupt | NotADatabase) => {
            "It is damaged: bring it back from a copy, or start with --fresh, which moves it aside."
        }
        _ => "Bring it back from a copy, or start with --fresh, which moves it aside.",
    }
}

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    db: Connection,
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one. Waits a while for another program that holds it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_with(path, |db| db.busy_timeout(LOCKED_WITHIN))
    }

    /// The same for the run's own coordinator, which waits for as long as it takes, and says so; here and whenever the
    /// journal is used until a [`Queue`] takes it over.
    pub fn open_for_run(path: &Path) -> Result<Self, JournalError> {
        Self::open_with(path, |db| db.busy_handler(Some(wait_for_lock)))
    }

    fn open_with(
        path: &Path,
        patience: impl Fn(&mut Connection) -> rusqlite::Result<()>,
    ) -> Result<Self, JournalError> {
        let open = || {
            let mut db = Connection::open(path)?;
            patience(&mut db)?;
            db.pragma_update(None, "journal_mode", "wal")?;
            db.pragma_update(None, "synchronous", "full")?;
            db.execute_batch(include_str!("schema.sql"))?;
            Ok(db)
        };
        let db = open().map_err(|source| JournalError::Sqlite { path: path.to_owned(), source })?;
        let journal = Self { path: path.to_owned(), db };
        match journal.fact("schema_version")? {
            None => journal.set_fact("schema_version", SCHEMA_VERSION)?,
            Some(found) if found == SCHEMA_VERSION => {}
            Some(found) => return Err(JournalError::Version { path: path.to_owned(), found }),
        }
        Ok(journal)
    }

    /// From now on a lock is an error after a while, and not waited for.
    fn fail_when_locked(&self) -> Result<(), JournalError> {
        self.db.busy_timeout(LOCKED_WITHIN).map_err(|source| self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Sqlite { path: self.path.clone(), source }
    }
}

/// Asked by SQLite again and again, `tries` so far, while another program holds the file.
fn wait_for_lock(tries: i32) -> bool {
    if tries % LOCKED_TOLD_EVERY == LOCKED_TOLD_EVERY / 10 {
        tracing::warn!("another program holds the journal locked, and the start waits for it");
    }
    std::thread::sleep(LOCKED_PAUSE);
    true
}

/// Now, in milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What the plan says of a position, for people who read the journal.
fn place(plan: &Plan, position: lsgan_spec::Position) -> (u64, u64) {
    (plan.epoch_of(position), plan.shard_at(position).0)
}
