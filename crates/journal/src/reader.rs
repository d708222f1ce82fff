//! Reading a journal without a trace: nothing is created, nothing migrated, and what is no journal is refused.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lsgan_control::OutcomeKind;
use lsgan_spec::scalars::{ALL, Scalar};
use rusqlite::{Connection, OpenFlags};

use crate::migrations::{self, APPLICATION_ID, Format};
use crate::writer::LOCKED_WITHIN;
use crate::{FILE, JournalError, Known, derived, here, reads, scalars};

/// SQLite's header: the magic bytes, and where the application's id stands.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const APPLICATION_ID_AT: usize = 68;

const EMPTY: &str = "an empty file";
pub(crate) const OTHER: &str = "the database of another program";

/// A journal that is open for reading.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    db: Connection,
}

impl Reader {
    /// Opens the journal at `path`, of this version or an older one.
    ///
    /// # Errors
    /// It cannot be read now, or it is no journal.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = JournalError::open(path);
        let not_ours = |what| JournalError::NotOurs { path: path.to_owned(), what };
        if !here::is_written(path)
            && let Some(what) = what_else(path).map_err(|error| failed(cannot_open(&error)))?
        {
            return Err(not_ours(what));
        }
        let db = connect(path).map_err(&failed)?;
        match migrations::format_of(&db).map_err(&failed)? {
            Format::Journal(version) => migrations::check_version(version, path)?,
            Format::Empty => return Err(not_ours(EMPTY)),
            Format::Other => return Err(not_ours(OTHER)),
        }
        derived::show(&db).map_err(&failed)?;
        Ok(Self { path: path.to_owned(), db })
    }

    /// What the journal says of its run.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn known(&mut self) -> Result<Known, JournalError> {
        reads::known(&mut self.db).map_err(JournalError::open(&self.path))
    }

    /// Reads the tables that `schema.sql` documents, in one transaction, so that the parts fit. `metrics` has the derived scalars too.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read<T>(
        &mut self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let read = self.db.transaction().and_then(|transaction| query(&transaction));
        read.map_err(JournalError::open(&self.path))
    }

    /// The scalars of the registry that `metrics` has a column for, in the registry's order: a journal of an older version has
    /// fewer.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn scalars(&self) -> Result<Vec<Scalar>, JournalError> {
        let known = scalars::columns(&self.db).map_err(JournalError::open(&self.path))?;
        Ok(ALL.iter().copied().filter(|scalar| known.contains(scalar.name)).collect())
    }
}

/// What the file is by its header, if it is surely no journal.
fn what_else(path: &Path) -> std::io::Result<Option<&'static str>> {
    let mut header = Vec::new();
    File::open(path)?.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(Some(EMPTY));
    }
    if header.len() < HEADER_BYTES || !header.starts_with(MAGIC) {
        return Ok(Some("no database"));
    }
    let id = &header[APPLICATION_ID_AT..APPLICATION_ID_AT + 4];
    let is_known = [0_u32, APPLICATION_ID].iter().any(|known| id == known.to_be_bytes());
    Ok((!is_known).then_some(OTHER))
}

/// SQLite's error for a file that the system does not open.
fn cannot_open(error: &std::io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}

/// Without a `-wal` file beside it no program has the file open, and it is read as it lies there: SQLite would otherwise make
/// files beside it, and could not read it where it may not.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let wal = path.with_extension("sqlite-wal");
    let db = match path.to_str().filter(|_| !wal.exists()) {
        Some(path) => {
            let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = format!("file:{path}?immutable=1");
            Connection::open_with_flags(uri, read_only | OpenFlags::SQLITE_OPEN_URI)?
        }
        None => Connection::open_with_flags(path, read_only)?,
    };
    db.busy_timeout(LOCKED_WITHIN)?;
    Ok(db)
}

/// What the journal of a run that is not live says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    /// The run's name.
    pub run: String,
    /// Hash of what decides its mathematics.
    pub identity: String,
    /// The run's file as it was last.
    pub spec_yaml: Option<String>,
    /// Steps done, as far as metrics or snapshots tell.
    pub step: u64,
    /// Steps done in the newest snapshot.
    pub snapshot_step: Option<u64>,
    /// Who paused it, if it is paused.
    pub paused_by: Option<String>,
    /// How it ended; none for a run whose coordinator ended before it.
    pub outcome: Option<OutcomeKind>,
    /// More about the outcome, in a sentence.
    pub why: String,
}

impl LastWords {
    /// Reads them from a run's directory; none if it has no journal.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn of(run_dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = run_dir.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let known = Reader::open(&path)?.known()?;
        let fact = |name| known.fact(name).map(str::to_owned);
        let snapshot_step = known.snapshots.last().copied();
        Ok(Some(Self {
            run: fact("run").unwrap_or_default(),
            identity: fact("identity").unwrap_or_default(),
            spec_yaml: fact("spec_yaml"),
            step: known.metrics_until().max(snapshot_step.unwrap_or(0)),
            snapshot_step,
            paused_by: fact("paused_by"),
            outcome: known.outcome(),
            why: fact("outcome_why").unwrap_or_default(),
        }))
    }
}
