//! Schemas: which one a file has, and the way from an older one to this one.
//!
//! `pragma user_version` counts them. The schema of 0.1.0 had no such mark; it counts as version 1.

use std::collections::BTreeMap;
use std::path::Path;

use lsgan_control::{GoneReason, Member, Recovered};
use lsgan_spec::{DeviceKind, Generation, Incarnation, Numerics, VirtualRank};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{JournalError, columns, entries, scalars, wall_ms};

/// Raised with every change of `schema.sql` that an older program could not work with.
pub(crate) const VERSION: u32 = 2;

/// Marks the file as ours, for SQLite and for `file`: "LSGJ".
pub(crate) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"LSGJ");

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A database in which nothing is.
    Empty,
    /// A journal of this schema version.
    Journal(u32),
    /// A database of another program.
    Other,
}

/// Looks what the file is, and changes nothing.
pub(crate) fn format_of(db: &Connection) -> rusqlite::Result<Format> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u32>(0));
    let (tables, id) = (number("select count(*) from sqlite_schema")?, number("pragma application_id")?);
    let version = number("pragma user_version")?;
    if id == APPLICATION_ID {
        return Ok(if tables == 0 { Format::Empty } else { Format::Journal(version) });
    }
    let of_0_1_0 = "select count(*) from sqlite_schema where type = 'table' and name in ('meta', 'generations', 'completions')";
    Ok(match (tables, id, version) {
        (0, 0, 0) => Format::Empty,
        (_, 0, 0) if number(of_0_1_0)? == 3 => Format::Journal(1),
        _ => Format::Other,
    })
}

/// Whether this program reads a journal of this version; an error if not.
pub(crate) fn check_version(version: u32, path: &Path) -> Result<(), JournalError> {
    if (1..=VERSION).contains(&version) {
        return Ok(());
    }
    Err(JournalError::Version { path: path.to_owned(), found: version.to_string() })
}

/// Brings a file that is empty or a journal of an older version to this one.
pub(crate) fn migrate(db: &mut Connection, format: Format) -> rusqlite::Result<()> {
    if format == Format::Journal(VERSION) && !scalars::lacks_columns(db)? && !columns::lacking(db)? {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    match format {
        Format::Empty => transaction.execute_batch(include_str!("schema.sql"))?,
        Format::Journal(1) => from_0_1_0(&transaction)?,
        Format::Journal(_) | Format::Other => {}
    }
    scalars::add_columns(&transaction)?;
    columns::add(&transaction)?;
    if format == Format::Journal(1) {
        copy_metrics(&transaction)?;
    }
    // 0.1.0 reads its version here, and refuses this one in words.
    let fact = params!["schema_version", VERSION.to_string()];
    transaction.execute("insert or replace into meta values (?1, ?2)", fact)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Adds what the schema of 0.1.0 lacks. What its tables say of the machine becomes the first entry.
fn from_0_1_0(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("alter table metrics rename to metrics_of_0_1_0")?;
    for begin in ["create table entries", "create index bases", "create table metrics"] {
        db.execute_batch(statement(begin))?;
    }
    entries::append(db, &recover_0_1_0(db)?.base(), wall_ms())
}

/// The first statement of the schema that begins so.
pub(crate) fn statement(begin: &str) -> &'static str {
    let schema = include_str!("schema.sql");
    let start = schema.find(begin).expect("the schema has it");
    let end = start + schema[start..].find(';').expect("a statement ends");
    &schema[start..end]
}

/// Its rows have all columns, and none may be null.
fn copy_metrics(db: &Connection) -> rusqlite::Result<()> {
    let names = "step, wall_ms, images_per_s, step_ms, data_wait_ms, reduce_ms, loss_d, loss_g, d_real, d_fake, \
                 grad_norm_d, grad_norm_g";
    db.execute_batch(&format!(
        "insert into metrics ({names}) select {names} from metrics_of_0_1_0; drop table metrics_of_0_1_0"
    ))
}

/// What 0.1.0 read from its tables when it started.
fn recover_0_1_0(db: &Connection) -> rusqlite::Result<Recovered> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u64>(0));
    let fact = |key: &str| {
        db.query_row("select value from meta where key = ?1", [key], |row| row.get::<_, String>(0)).optional()
    };
    let generation = number("select coalesce(max(generation), 0) from generations")?;
    let members = if fact("outcome")?.is_some() { Vec::new() } else { live_members(db, generation)? };
    Ok(Recovered {
        generation: Generation(generation),
        members,
        incarnation: Incarnation(number("select coalesce(max(incarnation), 0) from workers")?),
        numerics: fact("numerics")?.as_deref().and_then(numerics_of_text),
        consumed: consumed(db, fact("virtual_ranks")?.and_then(|n| n.parse().ok()).unwrap_or(1))?,
        paused: fact("paused_ms")?.is_some(),
        ..Recovered::default()
    })
}

fn consumed(db: &Connection, virtual_ranks: u32) -> rusqlite::Result<BTreeMap<VirtualRank, u64>> {
    let sql = "select virtual_rank, max(position) / ?1 + 1 from completions group by virtual_rank";
    let mut query = db.prepare(sql)?;
    query.query_map([virtual_ranks], |row| Ok((VirtualRank(row.get(0)?), row.get(1)?)))?.collect()
}

/// The members of a generation that was not seen to halt; they may still be stepping.
fn live_members(db: &Connection, generation: u64) -> rusqlite::Result<Vec<Member>> {
    let mut query = db.prepare(
        "select m.incarnation, m.address, m.first_virtual_rank, m.virtual_rank_count
         from members m join generations g using (generation)
         where generation = ?1 and g.halted_ms is null order by rank",
    )?;
    let rows = query.query_map(params![generation], |row| {
        Ok(Member {
            incarnation: Incarnation(row.get(0)?),
            address: row.get(1)?,
            first: VirtualRank(row.get(2)?),
            count: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Numerics as 0.1.0 and the first entries have them: `libtorch 2.11.0 on AMD EPYC with AVX512, probe 0123456789abcdef`.
/// None for another text.
pub(crate) fn numerics_of_text(text: &str) -> Option<Numerics> {
    let (libtorch, rest) = text.strip_prefix("libtorch ")?.split_once(" on ")?;
    let (hardware, probe) = rest.rsplit_once(", probe ")?;
    let (model, instructions) = hardware.rsplit_once(" with ")?;
    let (device, instructions) = match instructions.strip_prefix("CUDA") {
        Some(architecture) => (DeviceKind::Cuda, architecture.trim_start()),
        None => (DeviceKind::Cpu, instructions),
    };
    Some(Numerics {
        libtorch: libtorch.to_owned(),
        device,
        model: model.to_owned(),
        instructions: instructions.to_owned(),
        probe: u64::from_str_radix(probe, 16).ok()?,
    })
}

/// Why a worker is gone, as the first entries have it. None for another text.
pub(crate) fn gone_reason_of_text(text: &str) -> Option<GoneReason> {
    use GoneReason::{AttachedAgain, Left, NotBack, NotParked, Silent, StreamBroke};
    let timeout_ms = text.strip_prefix("silent for more than ").and_then(|rest| rest.strip_suffix(" ms"));
    match timeout_ms.and_then(|number| number.parse().ok()) {
        Some(timeout_ms) => Some(Silent { timeout_ms }),
        None => [AttachedAgain, Left, NotBack, NotParked, StreamBroke]
            .into_iter()
            .find(|reason| reason.to_string() == text),
    }
}
