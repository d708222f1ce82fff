//! What the journal's tables say, as rows for the page. `journal/src/schema.sql` documents the columns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, Params, params};
use serde_json::{Map, Value, json};

/// Generations that are told of; a run that dies every second has more than a page shows.
const GENERATIONS_MAX: u32 = 1000;
/// Epochs that are told of.
const EPOCHS_MAX: u32 = 200;
/// The most events of one answer.
pub(crate) const EVENTS_MAX: u32 = 1000;

/// Rows of a query as objects with the columns' names.
fn objects(db: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<Vec<Value>> {
    let mut query = db.prepare(sql)?;
    let names: Vec<String> = query.column_names().map(str::to_owned).collect();
    let mut rows = query.query(values)?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        let mut object = Map::new();
        for (index, name) in names.iter().enumerate() {
            let value = match row.get::<_, Cell>(index)? {
                Cell::Null | Cell::Blob(_) => Value::Null,
                Cell::Integer(number) => json!(number),
                Cell::Real(number) => json!(number),
                Cell::Text(text) => Value::String(text),
            };
            object.insert(name.clone(), value);
        }
        objects.push(Value::Object(object));
    }
    Ok(objects)
}

/// Every life of every worker, every membership, and who computed what in each.
pub(crate) fn workers(db: &Connection) -> rusqlite::Result<Value> {
    let newest =
        format!("select generation from generations order by generation desc limit {GENERATIONS_MAX}");
    let members = format!(
        "select generation, rank, incarnation, first_virtual_rank, virtual_rank_count from members
         where generation in ({newest}) order by generation, rank"
    );
    let generations = format!("select * from generations where generation in ({newest}) order by generation");
    let count: u64 = db.query_row("select count(*) from generations", [], |row| row.get(0))?;
    let stragglers = format!(
        "select at_ms, over_ms, cast(substr(cause, {}) as integer) as incarnation from events
         where cause like '{SLOW}%' order by id desc limit {GENERATIONS_MAX}",
        SLOW.len() + 1
    );
    // A journal of an older version does not say when warnings ended.
    let has_causes = has_column(db, "events", "cause")?;
    Ok(json!({
        "stragglers": if has_causes { objects(db, &stragglers, [])? } else { Vec::new() },
        "workers": objects(db, "select * from workers order by incarnation desc limit 5000", [])?,
        "generations": objects(db, &generations, [])?,
        "members": objects(db, &members, [])?,
        "generations_count": count,
    }))
}

/// What a coordinator calls the cause of a warning that a worker is slow, before its incarnation.
const SLOW: &str = "slow: ";

/// Whether this journal's table has the column, which came later than the table.
pub(crate) fn has_column(db: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let sql = "select count(*) from pragma_table_info(?1) where name = ?2";
    db.query_row(sql, params![table, column], |row| row.get::<_, u32>(0)).map(|count| count > 0)
}

/// What was read of the data, epoch by epoch, the newest first.
pub(crate) fn epochs(db: &Connection) -> rusqlite::Result<Vec<Value>> {
    let sql = format!(
        "select epoch, count(*) as shards, min(completed_ms) as began_ms, max(completed_ms) as read_ms from completions
         group by epoch order by epoch desc limit {EPOCHS_MAX}"
    );
    objects(db, &sql, [])
}

/// When snapshots were written, by their steps.
pub(crate) fn written(db: &Connection) -> rusqlite::Result<BTreeMap<u64, u64>> {
    let mut query = db.prepare("select step, written_ms from checkpoints")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The files of all grids.
pub(crate) fn sample_files(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = db.prepare("select file from samples")?;
    query.query_map([], |row| row.get(0))?.collect()
}

/// What these grids take on the disk.
pub(crate) fn sample_bytes(run_dir: &Path, files: &[String]) -> u64 {
    let len = |file: &String| {
        let path = sample_path(run_dir, file)?;
        Some(std::fs::metadata(path).ok()?.len())
    };
    files.iter().filter_map(len).sum()
}

/// Snapshots, the deleted ones too.
pub(crate) fn snapshots(db: &Connection) -> rusqlite::Result<Vec<Value>> {
    objects(db, "select * from checkpoints order by step", [])
}

/// Grids of samples: their steps, and when they were written.
pub(crate) fn samples(db: &Connection) -> rusqlite::Result<Vec<Value>> {
    objects(db, "select step, written_ms from samples order by step", [])
}

/// The file of a grid.
pub(crate) fn sample_file(db: &Connection, step: u64) -> rusqlite::Result<Option<String>> {
    let mut query = db.prepare("select file from samples where step = ?1")?;
    query.query_map(params![step], |row| row.get(0))?.next().transpose()
}

/// Where a grid is: in the run's own folder of samples, whatever its journal names.
fn sample_path(run_dir: &Path, file: &str) -> Option<PathBuf> {
    Some(run_dir.join("samples").join(Path::new(file).file_name()?))
}

/// Reads a grid.
pub(crate) fn read_sample(run_dir: &Path, file: &str) -> std::io::Result<Vec<u8>> {
    std::fs::read(sample_path(run_dir, file).ok_or(std::io::ErrorKind::NotFound)?)
}

/// Which events.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventsAsked {
    /// Text that they have, in any case of letters; empty for all.
    pub search: String,
    /// Warnings alone.
    pub warnings: bool,
    /// With a smaller number than this; none for the newest.
    pub before: Option<u64>,
    pub limit: u32,
}

/// Events, the newest first.
pub(crate) fn events(db: &Connection, asked: &EventsAsked) -> rusqlite::Result<Vec<Value>> {
    let before = asked.before.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX));
    let limit = asked.limit.min(EVENTS_MAX);
    let sql = "select * from events
               where id < ?1 and (?2 = '' or instr(lower(text), ?2) > 0) and (?3 = 0 or warning = 1)
               order by id desc limit ?4";
    objects(db, sql, params![before, asked.search.to_lowercase(), asked.warnings, limit])
}

/// The newest records that do not decode.
pub(crate) fn corrupt(db: &Connection) -> rusqlite::Result<Vec<Value>> {
    objects(db, "select * from corrupt_records order by found_ms desc, record limit 100", [])
}
