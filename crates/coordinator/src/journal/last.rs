//! The last words of a run whose coordinator is not there: read as any tool would, without changing the journal.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::JournalError;

/// What the journal of a run that is not live says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    /// The run's name.
    pub run: String,
    /// Hash of what decides its mathematics.
    pub identity: String,
    /// Steps done, as far as metrics or snapshots tell.
    pub step: u64,
    /// Steps asked for; none if its specification is of another version.
    pub steps: Option<u64>,
    /// Steps done in the newest snapshot.
    pub snapshot_step: Option<u64>,
    /// Who paused it, if it is paused.
    pub paused_by: Option<String>,
    /// `complete`, `stopped` or `failed`; none for a run whose coordinator ended before it.
    pub outcome: Option<String>,
    /// More about the outcome, in a sentence.
    pub why: String,
}

impl LastWords {
    /// Reads them from a run's directory; none if it has no journal.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn of(run_dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = run_dir.join("journal.sqlite");
        if !path.is_file() {
            return Ok(None);
        }
        read(&path).map(Some).map_err(|source| JournalError::Sqlite { path, source })
    }
}

fn read(path: &Path) -> rusqlite::Result<LastWords> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(super::LOCKED_WITHIN)?;
    let fact = |key: &str| -> rusqlite::Result<Option<String>> {
        db.query_row("select value from meta where key = ?1", [key], |row| row.get(0)).optional()
    };
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, Option<u64>>(0));
    let snapshot_step = number("select max(step) from checkpoints where deleted_ms is null")?;
    let measured = number("select max(step) + 1 from metrics")?;
    let spec = fact("spec_yaml")?.and_then(|yaml| lsgan_runfile::parse(&yaml, "the journal", &[]).ok());
    Ok(LastWords {
        run: fact("run")?.unwrap_or_default(),
        identity: fact("identity")?.unwrap_or_default(),
        step: measured.max(snapshot_step).unwrap_or(0),
        steps: spec.map(|spec| spec.steps),
        snapshot_step,
        paused_by: fact("paused_by")?,
        outcome: fact("outcome")?,
        why: fact("outcome_why")?.unwrap_or_default(),
    })
}
