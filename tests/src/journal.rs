//! What a coordinator's journal says: the tables that users are told of, read as a user would, also during the run.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub struct Journal(Connection);

/// One membership of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRow {
    pub generation: u64,
    /// Steps done in the state that it started from.
    pub from_step: u64,
    /// `fresh`, `snapshot` or `held`.
    pub start: String,
    pub members: u64,
}

impl Journal {
    pub fn open(run_dir: &Path) -> Self {
        let path = run_dir.join("journal.sqlite");
        let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let db = db.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        db.busy_timeout(Duration::from_secs(10)).expect("a time-out can be set");
        Self(db)
    }

    /// From now on this reader sees the journal as it is now, as a tool does that looks for long.
    pub fn look_for_long(&self) {
        let begin = self.0.execute_batch("begin; select count(*) from metrics");
        begin.expect("a transaction that only reads can begin");
    }

    /// All memberships, oldest first.
    pub fn generations(&self) -> Vec<GenerationRow> {
        let sql = "select generation, from_reduction / 2, start,
                   (select count(*) from members m where m.generation = g.generation)
                   from generations g order by generation";
        let mut query = self.0.prepare(sql).expect("the schema has generations and members");
        let rows = query.query_map([], |row| {
            Ok(GenerationRow {
                generation: row.get(0)?,
                from_step: row.get(1)?,
                start: row.get(2)?,
                members: row.get(3)?,
            })
        });
        rows.and_then(Iterator::collect).expect("generations can be read")
    }

    pub fn newest(&self) -> GenerationRow {
        self.generations().pop().expect("there are generations")
    }

    /// The one whole number that this query gives.
    #[track_caller]
    pub fn number(&self, sql: &str) -> u64 {
        self.0.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column of this query's rows, as text.
    #[track_caller]
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let mut query = self.0.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = query.query_map([], |row| row.get(0));
        rows.and_then(Iterator::collect).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}
