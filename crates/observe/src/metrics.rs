//! Rows of scalars and events as CSV and JSON Lines, from where the last call ended.

use lsgan_journal::{JournalError, Reader};
use lsgan_spec::scalars::{ALL, Scalar};
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};

/// Rows that are read at a time: a reader must not keep the writer from tidying its log up.
pub const ROWS: u32 = 10_000;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A title line, then a line a row; a field is empty where nothing was measured.
    Csv,
    /// An object a row; what was not measured is left out.
    Jsonl,
}

/// The registry's scalars with these names, in the registry's order; all without names.
///
/// # Errors
/// A name that none has: all that is wrong, and what is accepted.
pub fn named(names: &[String]) -> Result<Vec<Scalar>, String> {
    let unknown: Vec<_> =
        names.iter().filter(|name| ALL.iter().all(|scalar| scalar.name != **name)).collect();
    if let Some(name) = unknown.first() {
        let known: Vec<_> = ALL.iter().map(|scalar| scalar.name).collect();
        return Err(format!("no scalar is called {name}; there are {}", known.join(", ")));
    }
    let is_wanted = |scalar: &&Scalar| names.is_empty() || names.iter().any(|name| name == scalar.name);
    Ok(ALL.iter().filter(is_wanted).copied().collect())
}

/// Reads a run's scalars from a step on.
#[derive(Clone, Debug)]
pub struct Steps {
    wanted: Vec<Scalar>,
    next_step: u64,
    most: u32,
}

impl Steps {
    /// Of these scalars, from the step `from` on, at most `most` rows at a time.
    #[must_use]
    pub fn new(wanted: Vec<Scalar>, from: u64, most: u32) -> Self {
        Self { wanted, next_step: from, most }
    }

    /// The scalars of a row, in their order.
    #[must_use]
    pub fn wanted(&self) -> &[Scalar] {
        &self.wanted
    }

    /// The next rows; none if there are no more at the moment.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn next(&mut self, journal: &mut Reader) -> Result<Vec<Row>, JournalError> {
        let known = journal.scalars()?;
        let (from, most) = (self.next_step, self.most);
        let columns: Vec<_> =
            self.wanted.iter().map(|s| if known.contains(s) { s.name } else { "null" }).collect();
        let rows = journal.read(|db| rows(db, &columns, from, most))?;
        if let Some((step, ..)) = rows.last() {
            self.next_step = step + 1;
        }
        Ok(rows)
    }
}

/// Writes rows of scalars as lines.
#[derive(Clone, Debug)]
pub struct Lines {
    wanted: Vec<Scalar>,
    form: Form,
}

impl Lines {
    /// For rows of these scalars.
    #[must_use]
    pub fn new(wanted: Vec<Scalar>, form: Form) -> Self {
        Self { wanted, form }
    }

    /// What comes before all rows, if anything does.
    #[must_use]
    pub fn title(&self) -> Option<String> {
        let names: Vec<_> =
            ["step", "wall_ms"].into_iter().chain(self.wanted.iter().map(|s| s.name)).collect();
        (self.form == Form::Csv).then(|| names.join(","))
    }

    /// A row.
    #[must_use]
    pub fn line(&self, (step, wall_ms, values): &Row) -> String {
        match self.form {
            Form::Csv => {
                let fields =
                    values.iter().map(|value| value.map_or(String::new(), |value| json!(value).to_string()));
                [step.to_string(), wall_ms.to_string()]
                    .into_iter()
                    .chain(fields)
                    .collect::<Vec<_>>()
                    .join(",")
            }
            Form::Jsonl => {
                let mut object = Map::new();
                object.insert("step".to_owned(), json!(step));
                object.insert("wall_ms".to_owned(), json!(wall_ms));
                let measured = self.wanted.iter().zip(values).filter_map(|(s, v)| v.map(|v| (s.name, v)));
                object.extend(measured.map(|(name, value)| (name.to_owned(), json!(value))));
                Value::Object(object).to_string()
            }
        }
    }
}

/// Step, time in milliseconds since 1970-01-01 UTC, and values of a row; none where nothing was measured.
pub type Row = (u64, u64, Vec<Option<f64>>);

/// The next rows from a step on, with these columns, at most `most`.
pub(crate) fn rows(db: &Connection, columns: &[&str], from: u64, most: u32) -> rusqlite::Result<Vec<Row>> {
    let columns: String = columns.iter().map(|name| format!(", {name}")).collect();
    let sql =
        format!("select step, wall_ms{columns} from metrics where step >= ?1 order by step limit {most}");
    let mut query = db.prepare(&sql)?;
    let count = query.column_count();
    let rows = query.query_map(params![from], |row| {
        let values = (2..count).map(|index| row.get(index)).collect::<Result<_, _>>()?;
        Ok((row.get(0)?, row.get(1)?, values))
    })?;
    rows.collect()
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: u64,
    /// When it happened.
    pub at_ms: u64,
    /// A person should look at it.
    pub warning: bool,
    /// What happened, in a sentence.
    pub text: String,
}

impl Event {
    /// As an object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "id": self.id, "at_ms": self.at_ms, "warning": self.warning, "text": self.text })
    }
}

/// Reads a run's events.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    seen: u64,
    most: u32,
}

impl Events {
    /// Those after the one with the number `seen`, 0 for all; at most `most` at a time.
    #[must_use]
    pub fn new(seen: u64, most: u32) -> Self {
        Self { seen, most }
    }

    /// The next events; none if there are no more at the moment.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn next(&mut self, journal: &mut Reader) -> Result<Vec<Event>, JournalError> {
        let Self { seen, most } = *self;
        let events = journal.read(|db| {
            let sql =
                format!("select id, at_ms, warning, text from events where id > ?1 order by id limit {most}");
            let mut query = db.prepare(&sql)?;
            let events = query.query_map(params![seen], |row| {
                let warning = row.get::<_, Cell>(2)? == Cell::Integer(1);
                Ok(Event { id: row.get(0)?, at_ms: row.get(1)?, warning, text: row.get(3)? })
            })?;
            events.collect::<Result<Vec<_>, _>>()
        })?;
        self.seen = events.last().map_or(seen, |event| event.id);
        Ok(events)
    }
}
