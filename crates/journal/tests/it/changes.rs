//! A copy that gets what a journal has written is equal to it in every table, whatever was written, and whatever came twice.

use std::collections::BTreeMap;
use std::path::Path;

use lsgan_journal::{Beginning, Changes, CorruptRecord, JournalError, Snapshot, StepRow, Writer};
use lsgan_spec::{Incarnation, Step};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::common::{Numbers, plan, word};

const NOW_MS: u64 = 1_795_897_865_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_is_equal_in_every_table(
        words in proptest::collection::vec((word(), 0_u8..14), 0..40),
        watched_from in 0_usize..10,
    ) {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let (path, other) = (dir.path().join("journal.sqlite"), dir.path().join("copy.sqlite"));
        let mut journal = Writer::open(&path).expect("it is made").with_whole_steps(100);
        let mut numbers = Numbers::default();
        let mut copy = Writer::open(&other).expect("it is made");
        let mut sent: Vec<Changes> = Vec::new();
        for (index, (word, then)) in words.iter().enumerate() {
            if index == watched_from {
                sent.push(journal.watch(0).expect("it is read"));
            }
            journal.record(&numbers.entry(word), &plan(), NOW_MS).expect("it is written");
            write(&mut journal, *then, index as u64);
            if index > watched_from && then.is_multiple_of(2) {
                let changes = journal.take_changes().expect("it is read");
                // Its creation was not answered, and so it comes again.
                sent.extend(vec![changes; 1 + usize::from(then.is_multiple_of(4))]);
            }
        }
        if words.len() <= watched_from {
            sent.push(journal.watch(0).expect("it is read"));
        }
        sent.push(journal.take_changes().expect("it is read"));
        copy.apply(&sent).expect("it is written");
        drop((journal, copy));
        prop_assert_eq!(tables(&path), tables(&other));
    }
}

/// A row of metrics.
fn row(step: u64, loss_d: f64) -> StepRow {
    StepRow { step, wall_ms: NOW_MS + step, scalars: BTreeMap::from([("loss_d".to_owned(), loss_d)]) }
}

/// Writes into the tables that entries do not write to.
fn write(journal: &mut Writer, what: u8, step: u64) {
    let done = match what {
        0 => {
            let facts = vec![("records", step.to_string())];
            journal.begin(&Beginning {
                facts,
                other_data: step.is_multiple_of(2),
                no_snapshot_after: Some(step / 2),
            })
        }
        1 => {
            let scalars = BTreeMap::from([("loss_d".to_owned(), 0.5), ("loss_g".to_owned(), f64::NAN)]);
            journal.add_steps(&[StepRow { step, wall_ms: NOW_MS + step, scalars }])
        }
        2 => {
            let (url, blake3) = ("s3://b/s".to_owned(), "00".to_owned());
            journal.add_snapshot(&Snapshot { step, url, len_bytes: 9, blake3, blocked_ms: 0.5 })
        }
        3 => journal.delete_snapshots(&[Step(step.saturating_sub(3))]),
        4 => {
            let (key, reason) = ("a key".to_owned(), "cut off".to_owned());
            journal.add_corrupt(&[CorruptRecord { record: step, key, reason, step }])
        }
        5 => journal.add_sample(step, "samples/1.png"),
        6 => journal.add_event(NOW_MS, true, "somebody should look"),
        7 => journal.set_fact("numerics", "these"),
        8 => journal.add_standing(NOW_MS, "snapshot", "the disk is full"),
        9 => journal.end_warnings(NOW_MS + step, "snapshot"),
        10 => journal.set_load(Incarnation(1 + step % 3), "{\"memory_bytes\":7}"),
        11 => journal.thin_samples(2).map(drop),
        // Old ones of them are thinned.
        12 => journal.add_steps(&(0..600).map(|more| row(1_000 * step + more, 0.5)).collect::<Vec<_>>()),
        _ => Ok(()),
    };
    done.expect("it is written");
}

/// Every row of every table, in the order of the keys.
fn tables(path: &Path) -> Vec<(String, Vec<Vec<Value>>)> {
    let db = Connection::open(path).expect("it is there");
    let mut names =
        db.prepare("select name from sqlite_schema where type = 'table' order by name").expect("it is SQL");
    let names: Vec<String> = names
        .query_map([], |row| row.get(0))
        .expect("it is read")
        .map(|name| name.expect("a text"))
        .collect();
    let rows = |name: &String| {
        let mut query = db.prepare(&format!("select * from {name} order by 1, 2")).expect("it is SQL");
        let count = query.column_count();
        let rows = query.query_map([], |row| (0..count).map(|i| row.get(i)).collect()).expect("it is read");
        rows.map(|row| row.expect("values")).collect()
    };
    names.iter().map(|name| (name.clone(), rows(name))).collect()
}

/// The first picture and the newer half stay.
#[test]
fn every_second_picture_of_the_older_half_is_forgotten_beyond_a_limit() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let mut journal = Writer::open(&dir.path().join("journal.sqlite")).expect("it is made");
    for step in 0..10 {
        journal.add_sample(step, &format!("{step}.png")).expect("it is written");
    }
    assert_eq!(journal.thin_samples(10).expect("it is read"), [""; 0]);
    assert_eq!(journal.thin_samples(9).expect("it is written"), ["1.png", "3.png"]);
    assert_eq!(journal.thin_samples(7).expect("it is written"), ["2.png", "5.png"]);
    assert_eq!(journal.thin_samples(7).expect("it is read"), [""; 0]);
}

#[test]
fn rows_that_are_not_new_are_left_to_an_earlier_piece() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let mut journal = Writer::open(&dir.path().join("journal.sqlite")).expect("it is made");
    let row = |step, wall_ms| StepRow { step, wall_ms, scalars: BTreeMap::new() };
    journal
        .add_steps(&(0..1_000).map(|step| row(step, NOW_MS + step)).collect::<Vec<_>>())
        .expect("it is written");
    let (all, newer) =
        (journal.watch(0).expect("it is read"), journal.watch(NOW_MS + 990).expect("it is read"));
    assert_eq!(all.len() - newer.len(), 990);
}

/// Its coordinator ended before it had copied that.
#[test]
fn rows_that_were_thinned_and_not_copied_are_gone_in_the_copy_too() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let (path, other) = (dir.path().join("journal.sqlite"), dir.path().join("copy.sqlite"));
    let mut journal = Writer::open(&path).expect("it is made");
    journal.add_steps(&(0..600).map(|step| row(step, 0.5)).collect::<Vec<_>>()).expect("it is written");
    let mut copy = Writer::open(&other).expect("it is made");
    copy.apply(&[journal.watch(0).expect("it is read")]).expect("it is written");
    let ended_ms = lsgan_journal::wall_ms();
    let mut unwatched = Writer::open(&path).expect("it opens").with_whole_steps(0);
    let newest = StepRow { wall_ms: ended_ms, ..row(600, 0.5) };
    unwatched.add_steps(&[newest]).expect("it is written");
    let mut next = Writer::open(&path).expect("it opens");
    copy.apply(&[next.watch(ended_ms).expect("it is read")]).expect("it is written");
    drop((journal, unwatched, next, copy));
    let tables = tables(&path);
    assert!(tables.iter().any(|(name, rows)| name == "metrics_thinned" && rows.len() == 1), "{tables:?}");
    assert_eq!(tables, self::tables(&other));
}

#[test]
fn the_whole_file_is_saved_while_it_is_written_to() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let (path, base) = (dir.path().join("journal.sqlite"), dir.path().join("base"));
    let mut journal = Writer::open(&path).expect("it is made");
    journal.set_fact("run", "x").expect("it is written");
    Writer::save_as(&path, &base).expect("it is read");
    assert_eq!(tables(&path), tables(&base));
    assert!(Writer::save_as(&path, &base).is_err(), "nothing is overwritten");
}

#[test]
fn rows_of_a_newer_program_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let (path, other) = (dir.path().join("journal.sqlite"), dir.path().join("copy.sqlite"));
    let mut journal = Writer::open(&path).expect("it is made");
    let db = Connection::open(&path).expect("it is there");
    db.execute_batch("alter table metrics add column loss_of_tomorrow real").expect("it is SQL");
    let changes = journal.watch(0).expect("it is read");
    let refused =
        Writer::open(&other).expect("it is made").apply(&[changes]).expect_err("it has no such column");
    assert!(matches!(refused, JournalError::Newer { .. }), "{refused}");
    assert!(refused.to_string().contains("loss_of_tomorrow"), "{refused}");
}
