//! What a journal has written, as rows, so that a copy of it elsewhere can follow.
//!
//! Rows and not statements: a row that is written again changes nothing, so that a copy may get some of them twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::hooks::Action;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde::{Deserialize, Serialize};

use crate::thinning;

/// Every table, those that others refer to first, with the column that says when a row was written. Without one, rows are few.
const TABLES: [(&str, Option<&str>); 12] = [
    (WHOLE, None),
    ("entries", Some("wall_ms")),
    ("workers", None),
    ("generations", None),
    ("members", None),
    ("completions", Some("completed_ms")),
    (METRICS, Some("wall_ms")),
    ("metrics_thinned", Some("thinned_ms")),
    ("checkpoints", None),
    ("corrupt_records", None),
    ("samples", None),
    ("events", Some("at_ms")),
];

/// The facts, whose rows have no numbers: all of them are sent where one has changed.
const WHOLE: &str = "meta";

/// The table of which old rows go.
const METRICS: &str = "metrics";

/// Rows that were written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    tables: Vec<Rows>,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rows {
    table: String,
    /// These are all rows: others are no more.
    all: bool,
    /// The numbers of rows that are no more.
    deleted: Vec<i64>,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// A value of SQLite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Changes {
    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len() + table.deleted.len()).sum()
    }
}

/// The rows that a connection has written since they were last taken.
#[derive(Debug, Default)]
pub(crate) struct Touched(Arc<Mutex<BTreeSet<(String, i64)>>>);

impl Touched {
    /// Watches what `db` writes from now on.
    pub(crate) fn watch(db: &mut Connection) -> rusqlite::Result<Self> {
        let touched = Self::default();
        let set = touched.0.clone();
        db.update_hook(Some(move |_: Action, _: &str, table: &str, row: i64| {
            set.lock().unwrap_or_else(PoisonError::into_inner).insert((table.to_owned(), row));
        }))?;
        Ok(touched)
    }

    /// Reads what was written since the last call.
    pub(crate) fn take(&self, db: &Connection) -> rusqlite::Result<Changes> {
        let touched = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut tables = Vec::new();
        for (table, _) in TABLES {
            let numbers: BTreeSet<_> =
                touched.iter().filter(|(of, _)| of == table).map(|(_, row)| *row).collect();
            if !numbers.is_empty() {
                tables.push(if table == WHOLE { all(db, table)? } else { numbered(db, table, numbers)? });
            }
        }
        Ok(Changes { tables })
    }
}

/// What was written from `wall_ms` on, and all rows of tables that have no times. Rows that were thinned since then are no more.
pub(crate) fn since(db: &Connection, wall_ms: u64) -> rusqlite::Result<Changes> {
    let tables = TABLES.into_iter().map(|(table, time)| match time {
        Some(column) => {
            let deleted = if table == METRICS { thinning::gone_since(db, wall_ms)? } else { Vec::new() };
            Ok(Rows { deleted, ..rows(db, table, &format!("{column} >= {wall_ms}"))? })
        }
        None => all(db, table),
    });
    Ok(Changes { tables: tables.collect::<Result<_, _>>()? })
}

fn all(db: &Connection, table: &str) -> rusqlite::Result<Rows> {
    Ok(Rows { all: true, ..rows(db, table, "true")? })
}

/// The rows of these numbers; those that are not there are deleted ones.
fn numbered(db: &Connection, table: &str, mut numbers: BTreeSet<i64>) -> rusqlite::Result<Rows> {
    let list = numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let which = format!("rowid in ({list})");
    let mut query = db.prepare(&format!("select rowid from {table} where {which}"))?;
    for number in query.query_map([], |row| row.get(0))? {
        numbers.remove(&number?);
    }
    Ok(Rows { deleted: numbers.into_iter().collect(), ..rows(db, table, &which)? })
}

fn rows(db: &Connection, table: &str, which: &str) -> rusqlite::Result<Rows> {
    let mut query = db.prepare(&format!("select * from {table} where {which}"))?;
    let columns: Vec<String> = query.column_names().map(str::to_owned).collect();
    let count = columns.len();
    let read = query.query_map([], |row| (0..count).map(|i| row.get(i).map(cell)).collect());
    let rows = read?.collect::<Result<_, _>>()?;
    Ok(Rows { table: table.to_owned(), all: false, deleted: Vec::new(), columns, rows })
}

/// Writes the rows of `changes`. Returns a sentence where they are not of this schema.
pub(crate) fn apply(db: &Connection, changes: &Changes) -> rusqlite::Result<Result<(), String>> {
    for Rows { table, all, deleted, columns, rows } in &changes.tables {
        if !TABLES.iter().any(|(known, _)| known == table) {
            return Ok(Err(format!("it has a table `{table}`")));
        }
        let known = columns_of(db, table)?;
        if let Some(column) = columns.iter().find(|column| !known.contains(*column)) {
            return Ok(Err(format!("its table `{table}` has a column `{column}`")));
        }
        if *all {
            db.execute(&format!("delete from {table}"), [])?;
        }
        let mut delete = db.prepare_cached(&format!("delete from {table} where rowid = ?1"))?;
        deleted.iter().try_for_each(|number| delete.execute([number]).map(drop))?;
        let (names, places) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
        let sql = format!("insert or replace into {table} ({names}) values ({places})");
        let mut insert = db.prepare_cached(&sql)?;
        for row in rows {
            insert.execute(params_from_iter(row.iter().map(value)))?;
        }
    }
    Ok(Ok(()))
}

fn columns_of(db: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut query = db.prepare_cached("select name from pragma_table_info(?1)")?;
    query.query_map([table], |row| row.get(0))?.collect()
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Integer(number) => Cell::Integer(number),
        Value::Real(number) => Cell::Real(number),
        Value::Text(text) => Cell::Text(text),
        Value::Blob(bytes) => Cell::Blob(bytes),
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => Value::Integer(*number),
        Cell::Real(number) => Value::Real(*number),
        Cell::Text(text) => Value::Text(text.clone()),
        Cell::Blob(bytes) => Value::Blob(bytes.clone()),
    }
}
