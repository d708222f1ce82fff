//! Reading: what a coordinator that starts again must know.

use std::collections::BTreeMap;

use lsgan_control::{Member, Recovered};
use lsgan_spec::{Generation, Incarnation, VirtualRank};
use lsgan_wire::v1;
use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError};

/// A file that a finished run has written.
pub type FinalFile = v1::FinalFile;

impl Journal {
    /// A fact of the run, if it is known.
    pub fn fact(&self, key: &str) -> Result<Option<String>, JournalError> {
        let value =
            self.db.query_row("select value from meta where key = ?1", [key], |row| row.get(0)).optional();
        value.map_err(|e| self.error(e))
    }

    /// A fact that every journal has once the run was created.
    pub fn require(&self, key: &'static str) -> Result<String, JournalError> {
        self.fact(key)?.ok_or_else(|| JournalError::Missing { path: self.path.clone(), key })
    }

    /// What the control machine needs to go on; the snapshot is looked up in the store.
    pub fn recover(&self, virtual_ranks: u32) -> Result<Recovered, JournalError> {
        self.read_machine(virtual_ranks).map_err(|e| self.error(e))
    }

    fn read_machine(&self, virtual_ranks: u32) -> rusqlite::Result<Recovered> {
        let number = |sql: &str| self.db.query_row(sql, [], |row| row.get::<_, u64>(0));
        let generation = number("select coalesce(max(generation), 0) from generations")?;
        let incarnation = number("select coalesce(max(incarnation), 0) from workers")?;
        let ended = number("select count(*) from meta where key = 'outcome'")? > 0;
        let members = if ended { Vec::new() } else { self.live_members(generation)? };
        let numerics = self
            .db
            .query_row("select value from meta where key = 'numerics'", [], |row| row.get(0))
            .optional()?;
        let mut consumed = BTreeMap::new();
        let mut query = self
            .db
            .prepare("select virtual_rank, max(position) / ?1 + 1 from completions group by virtual_rank")?;
        let rows =
            query.query_map([virtual_ranks], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, u64>(1)?)))?;
        for row in rows {
            let (rank, ordinals) = row?;
            consumed.insert(VirtualRank(rank), ordinals);
        }
        Ok(Recovered {
            generation: Generation(generation),
            members,
            incarnation: Incarnation(incarnation),
            numerics,
            consumed,
            snapshot: None,
            missing: None,
            paused: number("select count(*) from meta where key = 'paused_ms'")? > 0,
        })
    }

    /// Since when the run is paused, and by whom.
    pub fn paused(&self) -> Result<Option<v1::Paused>, JournalError> {
        let (since, by) = (self.fact("paused_ms")?, self.fact("paused_by")?);
        let since = since.and_then(|since| since.parse().ok());
        Ok(since.map(|wall_ms| v1::Paused { wall_ms, by: by.unwrap_or_default() }))
    }

    /// The members of a generation that was not seen to halt; they may still be stepping.
    fn live_members(&self, generation: u64) -> rusqlite::Result<Vec<Member>> {
        let mut query = self.db.prepare(
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

    /// One past the last step whose metrics are stored, 0 if there are none.
    pub fn metrics_until(&self) -> Result<u64, JournalError> {
        let sql = "select coalesce(max(step) + 1, 0) from metrics";
        self.db.query_row(sql, [], |row| row.get(0)).map_err(|e| self.error(e))
    }

    /// The number of the newest event, 0 if there is none.
    pub fn events_until(&self) -> Result<u64, JournalError> {
        let sql = "select coalesce(max(id), 0) from events";
        self.db.query_row(sql, [], |row| row.get(0)).map_err(|e| self.error(e))
    }

    /// The step of the newest snapshot up to `until` that is kept.
    pub fn newest_checkpoint_until(&self, until: u64) -> Result<Option<u64>, JournalError> {
        let sql = "select max(step) from checkpoints where step <= ?1 and deleted_ms is null";
        self.db.query_row(sql, [until], |row| row.get(0)).map_err(|e| self.error(e))
    }

    /// All records that are known not to decode, in the order in which they were found.
    pub fn corrupt(&self) -> Result<Vec<v1::CorruptRecord>, JournalError> {
        let read = || {
            let sql = "select record, key, reason, step from corrupt_records order by found_ms, record";
            let mut query = self.db.prepare(sql)?;
            let rows = query.query_map([], |row| {
                Ok(v1::CorruptRecord {
                    record: row.get(0)?,
                    key: row.get(1)?,
                    reason: row.get(2)?,
                    step: row.get(3)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|e| self.error(e))
    }

    /// The newest row of metrics.
    pub fn newest_metrics(&self) -> Result<Option<v1::StepMetrics>, JournalError> {
        let sql = "select step, wall_ms, step_ms, data_wait_ms, reduce_ms, loss_d, loss_g, d_real, d_fake,
                   grad_norm_d, grad_norm_g from metrics order by step desc limit 1";
        let row = self.db.query_row(sql, [], |row| {
            Ok(v1::StepMetrics {
                step: row.get(0)?,
                wall_ms: row.get(1)?,
                step_ms: row.get(2)?,
                data_wait_ms: row.get(3)?,
                reduce_ms: row.get(4)?,
                loss_d: row.get(5)?,
                loss_g: row.get(6)?,
                d_real: row.get(7)?,
                d_fake: row.get(8)?,
                grad_norm_d: row.get(9)?,
                grad_norm_g: row.get(10)?,
            })
        });
        row.optional().map_err(|e| self.error(e))
    }
}
