//! Writing: the control machine's entries, and what workers report.

use lsgan_control::hashes::Difference;
use lsgan_control::{Entry, Outcome, Start};
use lsgan_plan::Plan;
use lsgan_wire::v1;
use rusqlite::{Connection, params};

use super::{Journal, JournalError, place, wall_ms};

impl Journal {
    /// Writes one entry of the control machine, of `now_ms`; durable when it returns.
    pub fn record(&mut self, entry: &Entry, plan: &Plan, now_ms: u64) -> Result<(), JournalError> {
        self.transaction(|db| record(db, entry, plan, now_ms))
    }

    /// Adds rows of metrics. A row that is there stays as it is: every worker would report the same.
    pub fn add_metrics(&mut self, rows: &[v1::StepMetrics], global_batch: u32) -> Result<(), JournalError> {
        self.transaction(|db| {
            let mut insert = db.prepare_cached(
                "insert or ignore into metrics values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?;
            for row in rows {
                insert.execute(params![
                    row.step,
                    row.wall_ms,
                    images_per_s(row, global_batch),
                    row.step_ms,
                    row.data_wait_ms,
                    row.reduce_ms,
                    row.loss_d,
                    row.loss_g,
                    row.d_real,
                    row.d_fake,
                    row.grad_norm_d,
                    row.grad_norm_g,
                ])?;
            }
            Ok(())
        })
    }

    /// Adds a published snapshot, or puts a new one in the place of a deleted one.
    pub fn add_checkpoint(&mut self, snapshot: &v1::SnapshotWritten) -> Result<(), JournalError> {
        self.transaction(|db| {
            db.execute(
                "insert or replace into checkpoints values (?1, ?2, ?3, ?4, ?5, ?6, null)",
                params![
                    snapshot.step,
                    snapshot.url,
                    snapshot.len_bytes,
                    snapshot.blake3,
                    snapshot.blocked_ms,
                    wall_ms()
                ],
            )?;
            Ok(())
        })
    }

    /// Notes that retention deleted a snapshot.
    pub fn delete_checkpoint(&mut self, step: u64) -> Result<(), JournalError> {
        self.transaction(|db| {
            db.execute("update checkpoints set deleted_ms = ?2 where step = ?1", params![step, wall_ms()])?;
            Ok(())
        })
    }

    /// Notes that the snapshots of later steps are no more, wherever they went.
    pub fn forget_checkpoints_after(&mut self, step: u64) -> Result<(), JournalError> {
        self.transaction(|db| {
            let row = params![step, wall_ms()];
            db.execute("update checkpoints set deleted_ms = ?2 where step > ?1 and deleted_ms is null", row)?;
            Ok(())
        })
    }

    /// Adds records that do not decode; one that is there stays as it is.
    pub fn add_corrupt(&mut self, records: &[v1::CorruptRecord]) -> Result<(), JournalError> {
        self.transaction(|db| {
            let mut insert =
                db.prepare_cached("insert or ignore into corrupt_records values (?1, ?2, ?3, ?4, ?5)")?;
            for r in records {
                insert.execute(params![r.record, r.key, r.reason, r.step, wall_ms()])?;
            }
            Ok(())
        })
    }

    /// The data set is another one than before.
    pub fn forget_corrupt(&mut self) -> Result<(), JournalError> {
        self.transaction(|db| db.execute("delete from corrupt_records", []).map(drop))
    }

    /// Adds a picture.
    pub fn add_sample(&mut self, step: u64, file: &str) -> Result<(), JournalError> {
        self.transaction(|db| {
            db.execute("insert or replace into samples values (?1, ?2, ?3)", params![step, file, wall_ms()])?;
            Ok(())
        })
    }

    /// Adds a sentence for people.
    pub fn add_event(&mut self, at_ms: u64, warning: bool, text: &str) -> Result<(), JournalError> {
        self.transaction(|db| {
            let row = params![at_ms, warning, text];
            db.execute("insert into events (at_ms, warning, text) values (?1, ?2, ?3)", row)?;
            Ok(())
        })
    }

    /// Sets a fact of the run.
    pub fn set_fact(&self, key: &str, value: &str) -> Result<(), JournalError> {
        set_fact(&self.db, key, value).map_err(|e| self.error(e))
    }

    /// Sets several facts at once.
    pub fn set_facts(&mut self, facts: &[(&str, &str)]) -> Result<(), JournalError> {
        self.transaction(|db| facts.iter().try_for_each(|(key, value)| set_fact(db, key, value)))
    }

    /// A run that goes on has no outcome.
    pub fn forget_outcome(&mut self) -> Result<(), JournalError> {
        self.transaction(|db| {
            db.execute(
                "delete from meta where key in ('outcome', 'outcome_why', 'final_files', 'suspect_after')",
                [],
            )?;
            Ok(())
        })
    }

    fn transaction(
        &mut self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), JournalError> {
        let result = (|| {
            let transaction = self.db.transaction()?;
            write(&transaction)?;
            transaction.commit()
        })();
        result.map_err(|e| self.error(e))
    }
}

/// Samples of the global batch per second over the steps of a row.
pub fn images_per_s(row: &v1::StepMetrics, global_batch: u32) -> f64 {
    if row.step_ms > 0.0 { f64::from(global_batch) * 1000.0 / row.step_ms } else { 0.0 }
}

fn set_fact(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    db.execute("insert or replace into meta values (?1, ?2)", params![key, value])?;
    Ok(())
}

fn forget_pause(db: &Connection) -> rusqlite::Result<()> {
    db.execute("delete from meta where key in ('paused_by', 'paused_ms')", [])?;
    Ok(())
}

fn record(db: &Connection, entry: &Entry, plan: &Plan, now: u64) -> rusqlite::Result<()> {
    match entry {
        Entry::Admitted { incarnation, name, address } => {
            db.execute(
                "insert into workers (incarnation, name, address, joined_ms) values (?1, ?2, ?3, ?4)",
                params![incarnation.0, name, address, now],
            )?;
        }
        Entry::Gone { incarnation, why, .. } => {
            db.execute(
                "update workers set gone_ms = ?2, why = ?3 where incarnation = ?1",
                params![incarnation.0, now, why],
            )?;
        }
        Entry::Numerics(numerics) => set_fact(db, "numerics", numerics)?,
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
                let (epoch, shard) = place(plan, position);
                let by = (incarnation.0, generation.0);
                insert.execute(params![position.0, virtual_rank.0, epoch, shard, by.0, by.1, now])?;
            }
        }
        // The steps after it are done again.
        Entry::Differs(Difference { equal, .. }) => {
            db.execute("delete from metrics where step >= ?1", params![equal.0])?;
            set_fact(db, "suspect_after", &equal.0.to_string())?;
        }
        Entry::Paused { by } => {
            set_fact(db, "paused_by", by)?;
            set_fact(db, "paused_ms", &now.to_string())?;
        }
        Entry::Resumed { .. } => forget_pause(db)?,
        Entry::StopRequested
        | Entry::DataUnfit(_)
        | Entry::OtherNumerics { .. }
        | Entry::Straggles { .. }
        | Entry::Stands { .. }
        | Entry::CutOff { .. }
        | Entry::NoProgress { .. }
        | Entry::CannotKeep { .. }
        | Entry::NoKeeper { .. }
        | Entry::ReachedAgain { .. } => {}
        Entry::Ended(outcome) => {
            let (word, why) = match outcome {
                Outcome::Complete => ("complete", String::new()),
                Outcome::Stopped { step } => ("stopped", format!("at step {step}")),
                Outcome::Failed { why } => ("failed", why.clone()),
                Outcome::Refused { why } => ("refused", why.clone()),
            };
            forget_pause(db)?;
            set_fact(db, "outcome", word)?;
            set_fact(db, "outcome_why", &why)?;
            db.execute("update generations set halted_ms = coalesce(halted_ms, ?1)", params![now])?;
        }
    }
    Ok(())
}
