//! What lasts of a run beside its snapshots, in one SQLite file in WAL mode: `<run dir>/journal.sqlite`.
//!
//! Not here: when something is written and what waits for it (`coordinator`); what an entry means for the machine
//! (`control`, whose [`Recovered::replay`](lsgan_control::Recovered::replay) reads the entries of a run that goes on).
//! Start at [`Writer`].
//!
//! - `schema.sql`: every table, for those who query it.
//! - [`Writer`]: the one connection that writes. What a call has written lasts when it returns.
//! - [`Reader`]: for every other program. Creates nothing, migrates nothing, refuses files that are no journal.
//! - `entries`: the table that recovery reads: one row for each entry of the machine, a base now and then.
//! - `projections`: the tables that people read, written in the transaction of the entry.
//! - `scalars`: the table `metrics`, whose columns come from the registry in `spec`. `derived`: the view of it that readers have.
//! - `columns`: the columns that other tables got later.
//! - `here`: which journals this process writes, so that it looks at them through SQLite alone.
//! - [`thinning`]: what is left of old rows of metrics.
//! - `migrations`: from the schema of an older version to this one.
//! - [`changes`]: what was written, as rows, for a copy elsewhere.
//! - `rows`, `reads`: what the other tables hold, and how it is read back.
//! - [`patiently`]: the one policy for a journal that is locked or full.

#![forbid(unsafe_code)]

pub mod changes;
mod columns;
mod derived;
mod entries;
mod error;
mod here;
mod migrations;
mod projections;
mod reader;
mod reads;
mod rows;
mod scalars;
pub mod thinning;
mod writer;

pub use lsgan_control::OutcomeKind;

pub use changes::Changes;
pub use error::{JournalError, Wait, patiently};
pub use reader::{LastWords, Reader};
pub use reads::Known;
pub use rows::{Beginning, CorruptRecord, FinalFile, Snapshot, StepRow};
pub use writer::{BASE_EVERY, Writer};

use std::time::{SystemTime, UNIX_EPOCH};

/// The journal's file in a run's directory.
pub const FILE: &str = "journal.sqlite";

/// Now, in milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
