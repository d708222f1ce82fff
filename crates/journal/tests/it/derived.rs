//! Scalars that follow from others: readers see them as columns of `metrics`, and the file has none.

use std::collections::BTreeMap;
use std::path::Path;

use lsgan_journal::{Beginning, Reader, StepRow, Writer};
use lsgan_spec::scalars::{self, IMAGES_PER_S, KIMG, LOSS_D, S_PER_KIMG};
use rusqlite::Connection;

const GLOBAL_BATCH: u64 = 48;

fn row(step: u64, rate: Option<f64>) -> StepRow {
    let rate = rate.map(|rate| (IMAGES_PER_S.name.to_owned(), rate));
    let scalars = BTreeMap::from([(LOSS_D.name.to_owned(), 0.5)]);
    StepRow { step, wall_ms: 7, scalars: scalars.into_iter().chain(rate).collect() }
}

fn rows() -> [StepRow; 4] {
    [row(0, Some(100.0)), row(7, Some(0.0)), row(1_234_567, Some(33.3)), row(2_000_000, None)]
}

#[test]
fn readers_see_them_with_the_values_of_the_registry_and_the_file_has_no_column_of_them() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    let mut journal = Writer::open(&path).expect("it is made");
    let facts = vec![("global_batch", GLOBAL_BATCH.to_string())];
    journal.begin(&Beginning { facts, ..Beginning::default() }).expect("it is written");
    journal.add_steps(&rows()).expect("it is written");
    let of_writer = journal.known().expect("it can be read").newest_step.expect("there are rows");
    assert_eq!(of_writer, rows()[3]);

    // While it is written, and as it lies there when no program has it open.
    look(&path);
    drop(journal);
    look(&path);
    let db = Connection::open(&path).expect("it is there");
    let columns = "select count(*) from pragma_table_info('metrics') where name in ('kimg', 's_per_kimg')";
    assert_eq!(db.query_row(columns, [], |row| row.get::<_, u64>(0)).expect("it is SQL"), 0);
}

/// What a reader sees.
fn look(path: &Path) {
    let mut reader = Reader::open(path).expect("it is a journal");
    assert_eq!(reader.scalars().expect("it can be read"), scalars::ALL);
    let sql = "select step, images_per_s, kimg, s_per_kimg from metrics order by step";
    let found: Vec<(u64, Option<f64>, [Option<f64>; 2])> = reader
        .read(|db| {
            let mut query = db.prepare(sql)?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, [row.get(2)?, row.get(3)?])))?.collect()
        })
        .expect("it can be read");
    assert_eq!(found.len(), rows().len());
    for (step, rate, found) in found {
        let known: BTreeMap<_, _> =
            scalars::derived(step, GLOBAL_BATCH, rate).map(|(scalar, value)| (scalar.name, value)).collect();
        assert_eq!(found, [KIMG, S_PER_KIMG].map(|scalar| known.get(scalar.name).copied()), "{step}");
    }
    let newest = reader.known().expect("it can be read").newest_step.expect("there are rows");
    assert_eq!(newest.scalars.get(KIMG.name), Some(&96_000.048));
    assert_eq!(newest.scalars.get(S_PER_KIMG.name), None);
}

/// A curve of millions of steps is read in the order of the table, and a zoom in by its key.
#[test]
fn the_view_is_read_as_the_table_is() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    drop(Writer::open(&path).expect("it is made"));
    let mut reader = Reader::open(&path).expect("it is a journal");
    let sql = "explain query plan select loss_d, kimg from metrics where step >= 5 order by step limit 9";
    let plan: Vec<String> = reader
        .read(|db| {
            let mut query = db.prepare(sql)?;
            query.query_map([], |row| row.get("detail"))?.collect()
        })
        .expect("it can be read");
    let by_key = |line: &String| line.starts_with("SEARCH ") && line.contains("INTEGER PRIMARY KEY");
    assert!(plan.iter().any(by_key), "{plan:?}");
    assert!(!plan.iter().any(|line| line.starts_with("SCAN ") || line.contains("B-TREE")), "{plan:?}");
}
