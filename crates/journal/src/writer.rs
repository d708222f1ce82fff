//! The one connection that writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lsgan_control::{Entry, Recovered};
use lsgan_plan::Plan;
use lsgan_spec::{Incarnation, Step};
use rusqlite::{Connection, OpenFlags, params};

use crate::changes::{self, Touched};
use crate::here::Here;
use crate::migrations::{self, Format};
use crate::{
    Beginning, Changes, CorruptRecord, JournalError, Known, Snapshot, StepRow, entries, projections, reader,
    reads, scalars, thinning, wall_ms,
};

/// A base is written after so many entries, so that a replay reads no more than these: milliseconds.
pub const BASE_EVERY: u64 = 10_000;

/// How long one try waits for another program that holds the file.
pub(crate) const LOCKED_WITHIN: Duration = Duration::from_secs(1);

/// The journal of one run, for its coordinator. What a call has written lasts when it returns (`synchronous = full`),
/// because the control machine's sends depend on it.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    db: Connection,
    /// What the entries say so far.
    recovered: Recovered,
    /// Entries since the newest base.
    since_base: u64,
    base_every: u64,
    /// The newest steps, whose rows of metrics all stay.
    whole_steps: u64,
    /// What a copy does not have yet, where one is kept.
    touched: Option<Touched>,
    _here: Here,
}

impl Writer {
    /// Opens the journal at `path`: makes it where there is none, migrates one of an older version.
    ///
    /// # Errors
    /// It cannot be opened now, or it is none of this program's.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = JournalError::open(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut db = Connection::open_with_flags(path, flags).map_err(&failed)?;
        let here = Here::of(path);
        db.busy_timeout(LOCKED_WITHIN).map_err(&failed)?;
        let format = migrations::format_of(&db).map_err(&failed)?;
        match format {
            Format::Empty => {}
            Format::Journal(version) => migrations::check_version(version, path)?,
            Format::Other => {
                return Err(JournalError::NotOurs { path: path.to_owned(), what: reader::OTHER });
            }
        }
        let prepare = |db: &mut Connection| {
            db.pragma_update(None, "journal_mode", "wal")?;
            db.pragma_update(None, "synchronous", "full")?;
            migrations::migrate(db, format)
        };
        prepare(&mut db).map_err(&failed)?;
        let read = entries::since_base(&db, path)?;
        let since_base = read.len() as u64;
        let recovered = Recovered::replay(&read, None);
        let (base_every, whole_steps) = (BASE_EVERY, thinning::WHOLE_STEPS);
        let path = path.to_owned();
        Ok(Self { path, db, recovered, since_base, base_every, touched: None, whole_steps, _here: here })
    }

    /// The number of the newest entry, 0 if there is none.
    ///
    /// Where it cannot be read, the next write fails as well.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let sql = "select coalesce(max(sequence), 0) from entries";
        self.db.query_row(sql, [], |row| row.get(0)).unwrap_or_default()
    }

    /// Keeps from now on what is written, for [`Self::take_changes`]. Returns what was written since `wall_ms` already.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn watch(&mut self, wall_ms: u64) -> Result<Changes, JournalError> {
        let watched = Touched::watch(&mut self.db).and_then(|touched| {
            self.touched = Some(touched);
            changes::since(&self.db, wall_ms)
        });
        watched.map_err(JournalError::write(&self.path))
    }

    /// What was written since the last call; nothing where nobody watches.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn take_changes(&mut self) -> Result<Changes, JournalError> {
        let Some(touched) = &self.touched else { return Ok(Changes::default()) };
        touched.take(&self.db).map_err(JournalError::write(&self.path))
    }

    /// Writes what another journal of this run has written. Open the journal anew to go on with it.
    ///
    /// # Errors
    /// It cannot be written, or a newer program wrote it.
    pub fn apply(&mut self, changes: &[Changes]) -> Result<(), JournalError> {
        let mut unknown = None;
        // A row comes before what it refers to where that was written in an earlier piece and has changed since.
        let failed = JournalError::write(&self.path);
        self.db.pragma_update(None, "foreign_keys", false).map_err(failed)?;
        self.transaction(|db| {
            for changes in changes {
                if let Err(found) = changes::apply(db, changes)? {
                    unknown.get_or_insert(found);
                }
            }
            Ok(())
        })?;
        match unknown {
            Some(what) => Err(JournalError::Newer { path: self.path.clone(), what }),
            None => Ok(()),
        }
    }

    /// Writes all of it into a new file, as it is now; others may write meanwhile.
    ///
    /// # Errors
    /// It cannot be read, or the file not be written.
    pub fn save_as(journal: &Path, file: &Path) -> Result<(), JournalError> {
        let failed = JournalError::open(journal);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = Connection::open_with_flags(journal, flags).map_err(&failed)?;
        db.busy_timeout(LOCKED_WITHIN).map_err(&failed)?;
        db.execute("vacuum into ?1", [file.to_string_lossy()]).map(drop).map_err(&failed)
    }

    /// The same with a base after so many entries: for tests, which have no millions.
    #[must_use]
    pub fn with_base_every(self, base_every: u64) -> Self {
        Self { base_every, ..self }
    }

    /// The same with another number of steps whose rows of metrics all stay: for tests, which have no millions.
    #[must_use]
    pub fn with_whole_steps(self, whole_steps: u64) -> Self {
        Self { whole_steps, ..self }
    }

    /// What the entries tell a coordinator that starts. What the store has is not in it.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// What else the journal says of its run.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn known(&mut self) -> Result<Known, JournalError> {
        reads::known(&mut self.db).map_err(JournalError::open(&self.path))
    }

    /// One fact of the run, as `schema.sql` lists them for the table `meta`; none if it is not known.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn fact(&self, key: &str) -> Result<Option<String>, JournalError> {
        reads::fact(&self.db, key).map_err(JournalError::open(&self.path))
    }

    /// The run goes on, and has no outcome yet. Writes its facts, and a base.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(&mut self, beginning: &Beginning) -> Result<(), JournalError> {
        let base = self.recovered.base();
        self.transaction(|db| {
            let over =
                "'outcome', 'outcome_why', 'final_files', 'suspect_after', 'snapshot_failed', 'alerts'";
            db.execute(&format!("delete from meta where key in ({over})"), [])?;
            for (key, value) in &beginning.facts {
                projections::set_fact(db, key, value)?;
            }
            if beginning.other_data {
                // With a condition, so that a copy is told of each row.
                db.execute("delete from corrupt_records where true", [])?;
            }
            // This coordinator looks anew, and warns again of what has not ended.
            let over = "update events set over_ms = ?1 where cause is not null and over_ms is null";
            db.execute(over, params![wall_ms()])?;
            if let Some(step) = beginning.no_snapshot_after {
                let sql = "update checkpoints set deleted_ms = ?2 where step > ?1 and deleted_ms is null";
                db.execute(sql, params![step, wall_ms()])?;
            }
            entries::append(db, &base, wall_ms())
        })?;
        self.since_base = 0;
        Ok(())
    }

    /// Writes one entry of the control machine, of `now_ms`, with its projections; now and then a base after it.
    ///
    /// # Errors
    /// It cannot be written; nothing of it is.
    pub fn record(&mut self, entry: &Entry, plan: &Plan, now_ms: u64) -> Result<(), JournalError> {
        let base = (self.since_base + 1 >= self.base_every).then(|| {
            let mut after = self.recovered.clone();
            after.read(entry);
            after.base()
        });
        self.transaction(|db| {
            entries::append(db, entry, now_ms)?;
            projections::project(db, entry, plan, now_ms)?;
            base.iter().try_for_each(|base| entries::append(db, base, now_ms))
        })?;
        self.recovered.read(entry);
        self.since_base = if base.is_some() { 0 } else { self.since_base + 1 };
        Ok(())
    }

    /// Adds rows of metrics, and thins old ones. A row that is there, or was thinned, stays as it is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_steps(&mut self, rows: &[StepRow]) -> Result<(), JournalError> {
        let whole_steps = self.whole_steps;
        self.transaction(|db| {
            scalars::add(db, rows)?;
            thinning::thin(db, rows.len(), whole_steps)
        })
    }

    /// Adds a published snapshot, or puts a new one in the place of a deleted one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), JournalError> {
        self.transaction(|db| {
            let Snapshot { step, url, len_bytes, blake3, blocked_ms } = snapshot;
            let sql = "insert or replace into checkpoints values (?1, ?2, ?3, ?4, ?5, ?6, null)";
            db.execute(sql, params![step, url, len_bytes, blake3, blocked_ms, wall_ms()]).map(drop)
        })
    }

    /// Notes that snapshots are no more.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn delete_snapshots(&mut self, steps: &[Step]) -> Result<(), JournalError> {
        self.transaction(|db| {
            let mut update = db.prepare_cached("update checkpoints set deleted_ms = ?2 where step = ?1")?;
            steps.iter().try_for_each(|step| update.execute(params![step.0, wall_ms()]).map(drop))
        })
    }

    /// Adds records that do not decode; one that is there stays as it is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_corrupt(&mut self, records: &[CorruptRecord]) -> Result<(), JournalError> {
        self.transaction(|db| {
            let sql = "insert or ignore into corrupt_records values (?1, ?2, ?3, ?4, ?5)";
            let mut insert = db.prepare_cached(sql)?;
            records.iter().try_for_each(|r| {
                insert.execute(params![r.record, r.key, r.reason, r.step, wall_ms()]).map(drop)
            })
        })
    }

    /// Adds a picture.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_sample(&mut self, step: u64, file: &str) -> Result<(), JournalError> {
        self.transaction(|db| {
            let sql = "insert or replace into samples values (?1, ?2, ?3)";
            db.execute(sql, params![step, file, wall_ms()]).map(drop)
        })
    }

    /// Where there are more than `most` pictures, forgets every second one of the older half, but never the first. Returns their
    /// files.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn thin_samples(&mut self, most: u64) -> Result<Vec<String>, JournalError> {
        let mut files = Vec::new();
        self.transaction(|db| {
            let count: u64 = db.query_row("select count(*) from samples", [], |row| row.get(0))?;
            if count <= most {
                return Ok(());
            }
            let mut older = db.prepare_cached("select step, file from samples order by step limit ?1")?;
            let older = older.query_map([count / 2], |row| Ok((row.get::<_, u64>(0)?, row.get(1)?)))?;
            for (step, file) in older.skip(1).step_by(2).collect::<Result<Vec<_>, _>>()? {
                db.execute("delete from samples where step = ?1", params![step])?;
                files.push(file);
            }
            Ok(())
        })?;
        Ok(files)
    }

    /// Adds a sentence for people.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_event(&mut self, at_ms: u64, warning: bool, text: &str) -> Result<(), JournalError> {
        self.transaction(|db| {
            let sql = "insert into events (at_ms, warning, text) values (?1, ?2, ?3)";
            db.execute(sql, params![at_ms, warning, text]).map(drop)
        })
    }

    /// Adds a warning that stands until its cause has ended: [`Self::end_warnings`].
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_standing(&mut self, at_ms: u64, cause: &str, text: &str) -> Result<(), JournalError> {
        self.transaction(|db| {
            let sql = "insert into events (at_ms, warning, text, cause) values (?1, 1, ?2, ?3)";
            db.execute(sql, params![at_ms, text, cause]).map(drop)
        })
    }

    /// Notes that a cause has ended, and its warnings with it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end_warnings(&mut self, at_ms: u64, cause: &str) -> Result<(), JournalError> {
        self.transaction(|db| {
            let sql = "update events set over_ms = ?1 where cause = ?2 and over_ms is null";
            db.execute(sql, params![at_ms, cause]).map(drop)
        })
    }

    /// Notes what a worker said last of its steps and its host, as JSON.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_load(&mut self, worker: Incarnation, load: &str) -> Result<(), JournalError> {
        self.transaction(|db| {
            let sql = "update workers set load = ?2, load_ms = ?3 where incarnation = ?1";
            db.execute(sql, params![worker.0, load, wall_ms()]).map(drop)
        })
    }

    /// Sets a fact of the run.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_fact(&mut self, key: &str, value: &str) -> Result<(), JournalError> {
        self.transaction(|db| projections::set_fact(db, key, value))
    }

    /// Writes together what `work` writes: the disk is waited for once.
    ///
    /// # Errors
    /// The first error of `work`, or that of the whole; nothing of it is written.
    pub fn together(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let before = (self.recovered.clone(), self.since_base);
        self.execute("begin")?;
        let result = work(self).and_then(|()| self.execute("commit"));
        if result.is_err() {
            (self.recovered, self.since_base) = before;
            // SQLite has done that itself after some errors.
            if !self.db.is_autocommit() {
                self.execute("rollback")?;
            }
        }
        result
    }

    fn execute(&self, sql: &str) -> Result<(), JournalError> {
        self.db.execute_batch(sql).map_err(JournalError::write(&self.path))
    }

    /// A transaction, or a part of the one that [`Self::together`] began.
    fn transaction(
        &mut self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), JournalError> {
        let result = (|| match self.db.is_autocommit() {
            true => {
                let transaction = self.db.transaction()?;
                write(&transaction)?;
                transaction.commit()
            }
            false => {
                let part = self.db.savepoint()?;
                write(&part)?;
                part.commit()
            }
        })();
        result.map_err(JournalError::write(&self.path))
    }
}
