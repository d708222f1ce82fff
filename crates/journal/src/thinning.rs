//! Old rows of metrics are thinned, so that the file of a long run stays small; `schema.sql` documents the rule.
//!
//! What is drawn of old steps keeps its extremes, by the rows that stay, and its means, by the sums of those that go: whoever makes
//! means of the table `metrics` adds what [`each`] has. Recovery reads neither. It is done in the transaction that adds new rows, on the
//! thread of the journal, and at most twice as fast as rows come, so that no write waits for long behind it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use crate::wall_ms;

/// Steps that are thinned together. The page draws from blocks of as many.
pub const BLOCK_STEPS: u64 = 256;
/// The newest steps, whose rows all stay: 280 MB of them.
pub const WHOLE_STEPS: u64 = 2_000_000;
/// A block is thinned with each call, and one more for so many rows that it adds: twice as fast as rows come, so that a journal of a
/// version that thinned nothing is done with in the end.
const ROWS_A_BLOCK: usize = 128;

/// What the rows of a block had that are gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thinned {
    /// The block's first step.
    pub step: u64,
    /// One past its last step.
    pub until: u64,
    /// Of each scalar how many of its values were finite, and the sum of these.
    pub sums: BTreeMap<String, (u32, f64)>,
}

/// Calls with each block that was thinned, in order. A journal of an older version has none.
///
/// # Errors
/// The file cannot be read.
pub fn each(db: &Connection, mut each: impl FnMut(&Thinned)) -> rusqlite::Result<()> {
    if !is_there(db)? {
        return Ok(());
    }
    let mut query = db.prepare("select step, until_step, sums from metrics_thinned order by step")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(2)?;
        // Somebody else's text: the means are then those of the rows that stay.
        let sums = serde_json::from_str(&text).unwrap_or_default();
        each(&Thinned { step: row.get(0)?, until: row.get(1)?, sums });
    }
    Ok(())
}

/// One past the newest step that was thinned, 0 if none was.
///
/// # Errors
/// The file cannot be read.
pub fn until(db: &Connection) -> rusqlite::Result<u64> {
    if !is_there(db)? {
        return Ok(0);
    }
    let sql = "select until_step from metrics_thinned order by step desc limit 1";
    let until: Option<u64> = db.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(until.unwrap_or(0))
}

/// Whether the journal has the table.
pub(crate) fn is_there(db: &Connection) -> rusqlite::Result<bool> {
    let sql = "select count(*) from sqlite_schema where type = 'table' and name = 'metrics_thinned'";
    db.prepare_cached(sql)?.query_row([], |row| row.get::<_, u32>(0)).map(|count| count > 0)
}

/// The steps whose rows were thinned at `wall_ms` or later.
pub(crate) fn gone_since(db: &Connection, wall_ms: u64) -> rusqlite::Result<Vec<i64>> {
    let sql = "with recursive block (step, until_step) as (
                   select step, until_step from metrics_thinned where thinned_ms >= ?1
                   union all select step + 1, until_step from block where step + 1 < until_step
               )
               select step from block
               where not exists (select 1 from metrics where metrics.step = block.step)";
    let mut query = db.prepare(sql)?;
    query.query_map([wall_ms], |row| row.get(0))?.collect()
}

/// Thins the oldest blocks that are not yet, after so many rows were added; those of the newest `whole_steps` stay.
pub(crate) fn thin(db: &Connection, added: usize, whole_steps: u64) -> rusqlite::Result<()> {
    let newest = "select max(step) from metrics";
    let newest: Option<u64> = db.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
    let end = newest.map_or(0, |step| step + 1).saturating_sub(whole_steps);
    for _ in 0..=added / ROWS_A_BLOCK {
        if !thin_one(db, end)? {
            break;
        }
    }
    Ok(())
}

/// Thins the oldest block that is not yet, if it ends before the step `end`. Whether it did.
fn thin_one(db: &Connection, end: u64) -> rusqlite::Result<bool> {
    let oldest = "select step from metrics where step >= ?1 order by step limit 1";
    let from = until(db)?;
    let oldest: Option<u64> = db.prepare_cached(oldest)?.query_row([from], |row| row.get(0)).optional()?;
    // Blocks without rows are passed over.
    let Some(begin) = oldest.map(|step| step - step % BLOCK_STEPS) else { return Ok(false) };
    let until = begin + BLOCK_STEPS;
    if until > end {
        return Ok(false);
    }
    let block = Block::read(db, begin, until)?;
    let stays = block.stays();
    let mut delete = db.prepare_cached("delete from metrics where step = ?1")?;
    for ((step, _), _) in block.rows.iter().zip(&stays).filter(|(_, stays)| !**stays) {
        delete.execute([step])?;
    }
    let sums = serde_json::to_string(&block.sums_of_gone(&stays)).expect("they are names and numbers");
    let sql = "insert or replace into metrics_thinned values (?1, ?2, ?3, ?4)";
    db.prepare_cached(sql)?.execute(params![begin, until, sums, wall_ms()])?;
    Ok(true)
}

/// The rows of a block.
struct Block {
    /// The scalars' names, those of newer versions too.
    names: Vec<String>,
    /// The step and the values of each row, in order.
    rows: Vec<(i64, Vec<Option<f64>>)>,
}

impl Block {
    fn read(db: &Connection, begin: u64, until: u64) -> rusqlite::Result<Self> {
        let sql = "select * from metrics where step >= ?1 and step < ?2 order by step";
        let mut query = db.prepare_cached(sql)?;
        // Behind the step and its time.
        let names: Vec<String> = query.column_names().skip(2).map(str::to_owned).collect();
        let rows = query.query_map([begin, until], |row| {
            let values = (0..names.len()).map(|index| row.get(index + 2));
            Ok((row.get(0)?, values.collect::<rusqlite::Result<Vec<Option<f64>>>>()?))
        })?;
        let rows = rows.collect::<rusqlite::Result<_>>()?;
        Ok(Self { names, rows })
    }

    /// Whether each row stays: the last one does, and those with the least and the greatest value of any scalar.
    fn stays(&self) -> Vec<bool> {
        let by_value = |one: &(usize, f64), other: &(usize, f64)| one.1.total_cmp(&other.1);
        let mut stays = vec![false; self.rows.len()];
        if let Some(last) = stays.last_mut() {
            *last = true;
        }
        for scalar in 0..self.names.len() {
            let rows = self.rows.iter().enumerate();
            let values = rows.filter_map(|(index, (_, values))| Some((index, values[scalar]?)));
            let extremes = [values.clone().min_by(by_value), values.max_by(by_value)];
            extremes.into_iter().flatten().for_each(|(index, _)| stays[index] = true);
        }
        stays
    }

    /// Of each scalar how many finite values the other rows have, and their sum.
    fn sums_of_gone(&self, stays: &[bool]) -> BTreeMap<&str, (u32, f64)> {
        let mut sums = BTreeMap::new();
        for (scalar, name) in self.names.iter().enumerate() {
            let gone = self.rows.iter().zip(stays).filter(|(_, stays)| !**stays);
            let values = gone.filter_map(|((_, values), _)| values[scalar]).filter(|value| value.is_finite());
            let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
            if count > 0 {
                sums.insert(name.as_str(), (count, sum));
            }
        }
        sums
    }
}
