//! Columns that tables got after their first version, and a table that came later. A journal that lacks them gets them when a
//! coordinator opens it; older programs name the columns that they write, and so go on with such a journal.

use rusqlite::Connection;

use crate::{migrations, thinning};

/// Table, column, type.
const ADDED: [(&str, &str, &str); 4] = [
    ("workers", "load", "text"),
    ("workers", "load_ms", "integer"),
    ("events", "cause", "text"),
    ("events", "over_ms", "integer"),
];

/// Finds the warnings of a cause that stand, however many events there are.
const INDEX: &str =
    "create index if not exists standing on events (cause) where cause is not null and over_ms is null";

/// Whether one of them is not there.
pub(crate) fn lacking(db: &Connection) -> rusqlite::Result<bool> {
    let lacks_table = !thinning::is_there(db)?;
    ADDED.iter().try_fold(lacks_table, |lacks, (table, column, _)| Ok(lacks || !has(db, table, column)?))
}

/// Adds those that are not there.
pub(crate) fn add(db: &Connection) -> rusqlite::Result<()> {
    for (table, column, kind) in ADDED {
        if !has(db, table, column)? {
            db.execute_batch(&format!("alter table {table} add column {column} {kind}"))?;
        }
    }
    if !thinning::is_there(db)? {
        db.execute_batch(migrations::statement("create table metrics_thinned"))?;
    }
    db.execute_batch(INDEX)
}

/// Whether the table has the column.
pub(crate) fn has(db: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let sql = "select count(*) from pragma_table_info(?1) where name = ?2";
    db.query_row(sql, [table, column], |row| row.get::<_, u32>(0)).map(|count| count > 0)
}
