//! What the journal's tables say, as rows for the page. `journal/src/schema.sql` documents the columns.

use std::path::Path;

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, Params, params};
use serde_json::{Map, Value, json};

/// Generations that are told of; a run that dies every second has more than a page shows.
const GENERATIONS_MAX: u32 = 1000;
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
    Ok(json!({
        "workers": objects(db, "select * from workers order by incarnation desc limit 5000", [])?,
        "generations": objects(db, &generations, [])?,
        "members": objects(db, &members, [])?,
        "generations_count": count,
    }))
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

/// Reads a grid. Only files in the run's own folder of samples are read, whatever its journal names.
pub(crate) fn read_sample(run_dir: &Path, file: &str) -> std::io::Result<Vec<u8>> {
    let name = Path::new(file).file_name().ok_or(std::io::ErrorKind::NotFound)?;
    std::fs::read(run_dir.join("samples").join(name))
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
    let sql = "select id, at_ms, warning, text from events
               where id < ?1 and (?2 = '' or instr(lower(text), ?2) > 0) and (?3 = 0 or warning = 1)
               order by id desc limit ?4";
    objects(db, sql, params![before, asked.search.to_lowercase(), asked.warnings, limit])
}

/// The newest records that do not decode.
pub(crate) fn corrupt(db: &Connection) -> rusqlite::Result<Vec<Value>> {
    objects(db, "select * from corrupt_records order by found_ms desc, record limit 100", [])
}
