//! The append-only table `entries`: what recovery reads.

use std::path::Path;

use lsgan_control::Entry;
use rusqlite::{Connection, params};
use serde_json::Value;

use crate::JournalError;
use crate::migrations::{gone_reason_of_text, numerics_of_text};

/// Entries are read from the newest base on; before the first base, from the first one on.
const SINCE_BASE: &str = "select sequence, kind, body from entries
    where sequence >= (select coalesce(max(sequence), 0) from entries where kind = 'base') order by sequence";

/// Appends an entry.
pub(crate) fn append(db: &Connection, entry: &Entry, wall_ms: u64) -> rusqlite::Result<()> {
    let (kind, body) = encode(entry);
    let sql = "insert into entries (wall_ms, kind, body) values (?1, ?2, ?3)";
    db.prepare_cached(sql)?.execute(params![wall_ms, kind, body])?;
    Ok(())
}

/// The entries from the newest base on, oldest first.
pub(crate) fn since_base(db: &Connection, path: &Path) -> Result<Vec<Entry>, JournalError> {
    let read = || -> rusqlite::Result<Vec<(u64, String, String)>> {
        let mut query = db.prepare(SINCE_BASE)?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect()
    };
    let rows = read().map_err(JournalError::open(path))?;
    rows.into_iter()
        .map(|(sequence, kind, body)| {
            let damaged = |error: serde_json::Error| JournalError::Entry {
                path: path.to_owned(),
                sequence,
                why: format!("{kind}: {error}"),
            };
            decode(&kind, &body).map_err(damaged)
        })
        .collect()
}

/// The variant's name and its fields, as JSON.
fn encode(entry: &Entry) -> (String, String) {
    match serde_json::to_value(entry).expect("entries are made of names, numbers and lists") {
        Value::Object(map) => {
            let (kind, body) = map.into_iter().next().expect("a variant with fields has a name");
            (kind, body.to_string())
        }
        Value::String(kind) => (kind, Value::Null.to_string()),
        other => unreachable!("an enum is an object or a name: {other}"),
    }
}

/// The reverse of [`encode`]. The first journals with entries have numerics, and why a worker is gone, as text.
fn decode(kind: &str, body: &str) -> Result<Entry, serde_json::Error> {
    let mut body: Value = serde_json::from_str(body)?;
    let numerics = if kind == "numerics" { Some(&mut body) } else { body.get_mut("numerics") };
    if let Some(numerics) = numerics
        && let Some(typed) = numerics.as_str().and_then(numerics_of_text)
    {
        *numerics = serde_json::to_value(typed)?;
    }
    if kind == "gone"
        && let Some(reason) = body.get("why").and_then(Value::as_str).and_then(gone_reason_of_text)
    {
        body["reason"] = serde_json::to_value(reason)?;
    }
    let value = match body {
        Value::Null => Value::String(kind.to_owned()),
        body => Value::Object([(kind.to_owned(), body)].into_iter().collect()),
    };
    serde_json::from_value(value)
}
