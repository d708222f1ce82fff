//! Reading what a coordinator that starts, or a program that looks, wants to know beside the machine's entries.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_control::OutcomeKind;
use rusqlite::{Connection, OptionalExtension as _};

use crate::{CorruptRecord, FinalFile, StepRow, scalars};

/// What a journal says of its run, beside what the machine recovers from the entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Facts by name, as `schema.sql` lists them for the table `meta`.
    pub facts: BTreeMap<String, String>,
    /// Steps of the snapshots that are kept.
    pub snapshots: BTreeSet<u64>,
    /// Records that do not decode, in the order in which they were found.
    pub corrupt: Vec<CorruptRecord>,
    /// The newest row of metrics.
    pub newest_step: Option<StepRow>,
    /// The number of the newest event, 0 if there is none.
    pub events_until: u64,
}

impl Known {
    /// A fact, if it is known.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    /// How the run has ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<OutcomeKind> {
        let word = self.fact("outcome")?;
        OutcomeKind::ALL.into_iter().find(|outcome| outcome.word() == word)
    }

    /// One past the last step whose metrics are stored, 0 if there are none.
    #[must_use]
    pub fn metrics_until(&self) -> u64 {
        self.newest_step.as_ref().map_or(0, |row| row.step + 1)
    }

    /// What a finished run has written.
    #[must_use]
    pub fn final_files(&self) -> Vec<FinalFile> {
        let rows = self.fact("final_files").and_then(|json| serde_json::from_str(json).ok());
        let rows: Vec<(String, String, String)> = rows.unwrap_or_default();
        rows.into_iter().map(|(name, url, blake3)| FinalFile { name, url, blake3 }).collect()
    }
}

/// Reads all of it, in one transaction, so that the parts fit.
pub(crate) fn known(db: &mut Connection) -> rusqlite::Result<Known> {
    let db = &*db.transaction()?;
    Ok(Known {
        facts: facts(db)?,
        snapshots: snapshots(db)?,
        corrupt: corrupt(db)?,
        newest_step: scalars::newest(db)?,
        events_until: db.query_row("select coalesce(max(id), 0) from events", [], |row| row.get(0))?,
    })
}

fn facts(db: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut query = db.prepare("select key, value from meta")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

pub(crate) fn fact(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("select value from meta where key = ?1", [key], |row| row.get(0)).optional()
}

fn snapshots(db: &Connection) -> rusqlite::Result<BTreeSet<u64>> {
    let mut query = db.prepare("select step from checkpoints where deleted_ms is null")?;
    query.query_map([], |row| row.get(0))?.collect()
}

fn corrupt(db: &Connection) -> rusqlite::Result<Vec<CorruptRecord>> {
    let sql = "select record, key, reason, step from corrupt_records order by found_ms, record";
    let mut query = db.prepare(sql)?;
    let rows = query.query_map([], |row| {
        Ok(CorruptRecord { record: row.get(0)?, key: row.get(1)?, reason: row.get(2)?, step: row.get(3)? })
    })?;
    rows.collect()
}
