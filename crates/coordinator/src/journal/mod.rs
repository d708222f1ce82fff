//! The journal: one SQLite file, in WAL mode, that outlives the coordinator.
//!
//! `schema.sql` documents every table. Writes are durable when a call returns (`synchronous = full`), because the
//! control machine's sends depend on them.

mod last;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lsgan_plan::Plan;
use rusqlite::Connection;

pub use last::LastWords;
pub use read::FinalFile;
pub use write::images_per_s;

/// Raised with every change of `schema.sql` that an older coordinator could not read.
const SCHEMA_VERSION: &str = "1";

/// How long another process's lock is waited for: a person's shell may hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// SQLite refused.
    #[error(
        "{path}: the journal cannot be used: {source}. Is the disk full or the file damaged? Move the run's directory aside or start with --fresh."
    )]
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

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    db: Connection,
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let open = || {
            let db = Connection::open(path)?;
            db.busy_timeout(BUSY_TIMEOUT)?;
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

    fn error(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Sqlite { path: self.path.clone(), source }
    }
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
