//! Old rows of metrics are thinned: extremes stay as rows, means as sums, and the newest rows whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsgan_control::Entry;
use lsgan_control::hashes::Difference;
use lsgan_journal::thinning::{self, BLOCK_STEPS, Thinned};
use lsgan_journal::{StepRow, Writer};
use lsgan_spec::{Incarnation, Step};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::common::plan;

const WHOLE_STEPS: u64 = 1_000;
const NOW_MS: u64 = 1_795_897_865_000;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    (dir, path)
}

/// Numbers whose sums are exact, in any order.
fn noise(step: u64) -> f64 {
    (step * 2_654_435_761 % 4_096) as f64 / 4_096.0
}

/// Every seventh step has no `loss_g`; one has a value that is not finite.
fn row(step: u64) -> StepRow {
    let loss_g = match step {
        4_444 => Some(f64::NEG_INFINITY),
        step if step.is_multiple_of(7) => None,
        step => Some(noise(step + 1)),
    };
    let loss_d = if step == 3_333 { 50.0 } else { noise(step) };
    let scalars = [("loss_d", Some(loss_d)), ("loss_g", loss_g)];
    let scalars = scalars.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    StepRow { step, wall_ms: NOW_MS + step, scalars: scalars.collect() }
}

fn rows(steps: std::ops::Range<u64>) -> Vec<StepRow> {
    steps.map(row).collect()
}

fn number(path: &Path, sql: &str) -> u64 {
    let db = Connection::open(path).expect("it is there");
    db.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn blocks(path: &Path) -> Vec<Thinned> {
    let mut blocks = Vec::new();
    let db = Connection::open(path).expect("it is there");
    thinning::each(&db, |block| blocks.push(block.clone())).expect("it is read");
    blocks
}

/// Of one scalar in some steps: the least, the greatest, the finite values' number and sum.
fn facts(values: impl Iterator<Item = f64>) -> (f64, f64, u32, f64) {
    let facts = (f64::INFINITY, f64::NEG_INFINITY, 0, 0.0);
    values.fold(facts, |(least, greatest, count, sum), value| {
        let (more, value_or_none) = if value.is_finite() { (1, value) } else { (0, 0.0) };
        (least.min(value), greatest.max(value), count + more, sum + value_or_none)
    })
}

#[test]
fn every_extreme_and_every_mean_of_old_steps_stays_and_the_newest_rows_do() {
    const STEPS: u64 = 10_000;
    let (_dir, path) = place();
    let mut journal = Writer::open(&path).expect("it is made").with_whole_steps(WHOLE_STEPS);
    for begin in (0..STEPS).step_by(100) {
        journal.add_steps(&rows(begin..begin + 100)).expect("it is written");
    }
    let blocks = blocks(&path);
    let until = (STEPS - WHOLE_STEPS) / BLOCK_STEPS * BLOCK_STEPS;
    assert_eq!(blocks.len() as u64, until / BLOCK_STEPS);
    let db = Connection::open(&path).expect("it is there");
    for (block, begin) in blocks.iter().zip((0..).step_by(BLOCK_STEPS as usize)) {
        let steps = begin..begin + BLOCK_STEPS;
        assert_eq!((block.step, block.until), (steps.start, steps.end));
        let sql = format!("select count(*) from metrics where step >= {begin} and step < {}", steps.end);
        let left = number(&path, &sql);
        assert!((1..=5).contains(&left), "{left} rows: two for each of two scalars, and the last one");
        let last = steps.end - 1;
        assert_eq!(number(&path, &format!("select count(*) from metrics where step = {last}")), 1);
        for name in ["loss_d", "loss_g"] {
            let all = facts(steps.clone().filter_map(|step| row(step).scalars.get(name).copied()));
            let sql =
                format!("select {name} from metrics where step >= ?1 and step < ?2 and {name} is not null");
            let mut query = db.prepare(&sql).expect("it is SQL");
            let left = query.query_map([steps.start, steps.end], |row| row.get(0)).expect("it is read");
            let (least, greatest, count, sum) = facts(left.map(|value| value.expect("a number")));
            let (gone_count, gone_sum) = block.sums.get(name).copied().unwrap_or_default();
            let told = (least, greatest, count + gone_count, sum + gone_sum);
            assert_eq!(told, all, "{name} from step {begin}");
        }
    }
    assert_eq!(number(&path, &format!("select count(*) from metrics where step >= {until}")), STEPS - until);
}

#[test]
fn a_row_that_was_thinned_is_not_added_anew() {
    let (_dir, path) = place();
    let mut journal = Writer::open(&path).expect("it is made").with_whole_steps(WHOLE_STEPS);
    journal.add_steps(&rows(0..4_000)).expect("it is written");
    let count = || number(&path, "select count(*) from metrics");
    let (before, thinned) = (count(), blocks(&path));
    assert!(before < 2_000, "{before} rows");
    journal.add_steps(&rows(0..4_000)).expect("it is written");
    assert_eq!((count(), blocks(&path)), (before, thinned));
}

/// As one of an older version; each call does a little of it.
#[test]
fn a_journal_that_was_never_thinned_is_thinned_while_it_goes_on() {
    const BLOCKS: u64 = 20;
    let (_dir, path) = place();
    let old = BLOCKS * BLOCK_STEPS;
    let mut journal = Writer::open(&path).expect("it is made");
    journal.add_steps(&rows(0..old + WHOLE_STEPS)).expect("it is written");
    drop(journal);
    let db = Connection::open(&path).expect("it is there");
    db.execute_batch("drop table metrics_thinned").expect("it is SQL");
    drop(db);
    let mut journal = Writer::open(&path).expect("it opens").with_whole_steps(WHOLE_STEPS);
    for more in 0..=BLOCKS {
        assert_eq!(blocks(&path).len() as u64, more, "one with each call");
        if more < BLOCKS {
            let next = old + WHOLE_STEPS + more;
            journal.add_steps(&rows(next..next + 1)).expect("it is written");
        }
    }
    // What is written fast is thinned twice as fast.
    journal.add_steps(&rows(20_000..24_000)).expect("it is written");
    let until = number(&path, "select max(until_step) from metrics_thinned");
    assert!(until > 20_000, "{until}");
}

/// The workers' states differed, and they do these steps again.
#[test]
fn steps_that_are_done_again_take_the_place_of_thinned_ones() {
    let (_dir, path) = place();
    let mut journal = Writer::open(&path).expect("it is made").with_whole_steps(WHOLE_STEPS);
    journal.add_steps(&rows(0..4_000)).expect("it is written");
    let equal = Step(5 * BLOCK_STEPS + 3);
    let differs = Entry::Differs(Difference { odd: vec![Incarnation(1)], step: Step(3_900), equal });
    journal.record(&differs, &plan(), NOW_MS).expect("it is written");
    assert_eq!(blocks(&path).len(), 5);
    let again = |step| StepRow { scalars: BTreeMap::from([("loss_d".to_owned(), 7.0)]), ..row(step) };
    let again: Vec<_> = (equal.0..4_000).map(again).collect();
    journal.add_steps(&again).expect("it is written");
    let sql = format!("select count(*) from metrics where step >= {} and loss_d <> 7", equal.0);
    assert_eq!(number(&path, &sql), 0);
    let until = number(&path, "select max(until_step) from metrics_thinned");
    assert_eq!(until, 3_000 / BLOCK_STEPS * BLOCK_STEPS);
}
