//! What a run's journal shows of how it goes: the means and counts that the rules of [`alerts`](crate::alerts) judge.

use lsgan_spec::scalars::{FAKE_STD, LOSS_D, STEP_MS, Scalar};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::alerts::SNAPSHOT_FAILED;

/// A run is judged by the means of so many rows.
pub(crate) const ROWS: u64 = 100;
/// So many places of a run are looked at for what its samples were like before.
const PLACES: u64 = 20;
/// How far back the ends of workers are counted.
pub(crate) const FLAPS_WITHIN_MS: u64 = 600_000;

/// What a journal shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Signs {
    /// From the first row of metrics to the last one.
    pub steps: u64,
    /// Means over the newest rows.
    pub fake_std: Option<f64>,
    pub loss_d: Option<f64>,
    pub step_ms: Option<f64>,
    /// The greatest mean that `fake_std` ever had.
    pub fake_std_most: Option<f64>,
    /// When the newest step ended or the newest generation began to step.
    pub stepped_ms: Option<u64>,
    /// The worker that has ended most often lately, and how often.
    pub flapping: Option<(String, u64)>,
    /// Records that do not decode, and all records of the data set.
    pub corrupt: u64,
    pub records: Option<u64>,
    /// Steps since the newest snapshot, or since the one that the run began with.
    pub since_snapshot: u64,
    /// Why the newest snapshot was not written.
    pub snapshot_failed: Option<String>,
}

impl Signs {
    /// Reads them; `known` are the scalars that the journal has columns for.
    pub fn read(db: &Connection, known: &[Scalar], now_ms: u64) -> rusqlite::Result<Self> {
        let corrupt = db.query_row("select count(*) from corrupt_records", [], |row| row.get(0))?;
        let records = fact(db, "records")?.and_then(|text| text.parse().ok());
        let snapshot_failed = fact(db, SNAPSHOT_FAILED)?.filter(|why| !why.is_empty());
        let signs = Self { corrupt, records, snapshot_failed, ..Self::default() };
        let (first, last): (Option<u64>, Option<u64>) =
            db.query_row("select min(step), max(step) from metrics", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let (Some(first), Some(last)) = (first, last) else { return Ok(signs) };
        let mean = |scalar: Scalar, until: u64| -> rusqlite::Result<Option<f64>> {
            if !known.contains(&scalar) {
                return Ok(None);
            }
            let name = scalar.name;
            let rows = format!("select {name} from metrics where step <= ?1 order by step desc limit {ROWS}");
            db.query_row(&format!("select avg({name}) from ({rows})"), params![until], |row| row.get(0))
        };
        let mut most = None;
        for place in 1..=PLACES {
            let there = mean(FAKE_STD, first + (last - first) / PLACES * place)?;
            most = [most, there].into_iter().flatten().reduce(f64::max);
        }
        let newest = "select max(at) from (select max(wall_ms) as at from metrics where step = ?1
                      union all select max(stepping_ms) from generations)";
        Ok(Self {
            steps: last - first + 1,
            fake_std: mean(FAKE_STD, last)?,
            fake_std_most: most,
            loss_d: mean(LOSS_D, last)?,
            step_ms: mean(STEP_MS, last)?,
            stepped_ms: db.query_row(newest, params![last], |row| row.get(0))?,
            flapping: flapping(db, now_ms.saturating_sub(FLAPS_WITHIN_MS))?,
            since_snapshot: (last + 1).saturating_sub(newest_snapshot(db)?),
            ..signs
        })
    }
}

fn fact(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("select value from meta where key = ?1", params![name], |row| row.get(0)).optional()
}

fn flapping(db: &Connection, since_ms: u64) -> rusqlite::Result<Option<(String, u64)>> {
    let sql = "select name, count(*) as ends from workers where gone_ms > ?1
               group by name order by ends desc limit 1";
    db.query_row(sql, params![since_ms], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Steps done in the newest snapshot that was written, or that a generation started from: a branch begins with one that its
/// journal has no row of.
fn newest_snapshot(db: &Connection) -> rusqlite::Result<u64> {
    let sql = "select coalesce(max(step), 0) from (select step from checkpoints
               union all select from_reduction / 2 from generations where start = 'snapshot')";
    db.query_row(sql, [], |row| row.get(0))
}
