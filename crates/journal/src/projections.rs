//! The tables that people read, written from the machine's entries. Recovery reads none of them.

use lsgan_control::hashes::Difference;
use lsgan_control::{Entry, Outcome, Start};
use lsgan_plan::Plan;
use rusqlite::{Connection, params};

/// Sets a fact of the run.
pub(crate) fn set_fact(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    db.execute("insert or replace into meta values (?1, ?2)", params![key, value])?;
    Ok(())
}

fn forget_pause(db: &Connection) -> rusqlite::Result<()> {
    db.execute("delete from meta where key in ('paused_by', 'paused_ms')", [])?;
    Ok(())
}

/// Writes what `entry`, of `now`, says to people.
#[expect(clippy::too_many_lines, reason = "a flat match: the rows of each entry")]
pub(crate) fn project(db: &Connection, entry: &Entry, plan: &Plan, now: u64) -> rusqlite::Result<()> {
    match entry {
        Entry::Admitted { incarnation, name, address } => {
            db.execute(
                "insert into workers (incarnation, name, address, joined_ms) values (?1, ?2, ?3, ?4)",
                params![incarnation.0, name, address, now],
            )?;
        }
        Entry::Gone { incarnation, reason, .. } => {
            db.execute(
                "update workers set gone_ms = ?2, why = ?3 where incarnation = ?1",
                params![incarnation.0, now, reason.to_string()],
            )?;
        }
        Entry::Numerics(numerics) => set_fact(db, "numerics", &numerics.to_string())?,
        Entry::Generation { generation, members, from, start } => {
            let start = match start {
                Start::Fresh => "fresh",
                Start::Snapshot(_) => "snapshot",
                Start::Held => "held",
            };
            db.execute(
                "insert into generations (generation, from_reduction, start, formed_ms) values (?1, ?2, ?3, ?4)",
                params![generation.0, from.0, start, now],
            )?;
            for (rank, m) in members.iter().enumerate() {
                let row = params![generation.0, rank, m.incarnation.0, m.address, m.first.0, m.count];
                db.execute("insert into members values (?1, ?2, ?3, ?4, ?5, ?6)", row)?;
            }
        }
        Entry::Stepping(generation) => {
            let row = params![generation.0, now];
            db.execute("update generations set stepping_ms = ?2 where generation = ?1", row)?;
        }
        Entry::Halting { generation, why } => {
            let row = params![generation.0, now, why];
            db.execute(
                "update generations set halted_ms = coalesce(halted_ms, ?2), why = coalesce(why, ?3)
                 where generation = ?1",
                row,
            )?;
        }
        Entry::Consumed { virtual_rank, from, until, incarnation, generation } => {
            let mut insert =
                db.prepare_cached("insert or ignore into completions values (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for ordinal in *from..*until {
                let position = plan.position(*virtual_rank, ordinal);
                let (epoch, shard) = (plan.epoch_of(position), plan.shard_at(position).0);
                let by = (incarnation.0, generation.0);
                insert.execute(params![position.0, virtual_rank.0, epoch, shard, by.0, by.1, now])?;
            }
        }
        // The steps after it are done again.
        Entry::Differs(Difference { equal, .. }) => {
            db.execute("delete from metrics where step >= ?1", params![equal.0])?;
            db.execute("delete from metrics_thinned where until_step > ?1", params![equal.0])?;
            set_fact(db, "suspect_after", &equal.0.to_string())?;
        }
        Entry::Paused { by } => {
            set_fact(db, "paused_by", by)?;
            set_fact(db, "paused_ms", &now.to_string())?;
        }
        Entry::Resumed { .. } => forget_pause(db)?,
        Entry::Base(_)
        | Entry::StopRequested
        | Entry::DataUnfit(_)
        | Entry::OtherNumerics { .. }
        | Entry::Straggles { .. }
        | Entry::Stands { .. }
        | Entry::CutOff { .. }
        | Entry::LeftBehind { .. }
        | Entry::Faulty { .. }
        | Entry::NoProgress { .. }
        | Entry::CannotKeep { .. }
        | Entry::NoKeeper { .. }
        | Entry::ReachedAgain { .. } => {}
        Entry::Ended(outcome) => {
            let why = match outcome {
                Outcome::Complete => String::new(),
                Outcome::Stopped { step } => format!("at step {step}"),
                Outcome::Failed { why } | Outcome::Refused { why } => why.clone(),
            };
            forget_pause(db)?;
            set_fact(db, "outcome", outcome.kind().word())?;
            set_fact(db, "outcome_why", &why)?;
            db.execute("update generations set halted_ms = coalesce(halted_ms, ?1)", params![now])?;
        }
    }
    Ok(())
}
