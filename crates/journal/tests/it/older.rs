//! A journal of 0.1.0, whose coordinator was killed at step 71 with two workers stepping: as `sqlite3 .dump` printed it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsgan_control::{Member, Recovered};
use lsgan_journal::{LastWords, Reader, Writer};
use lsgan_spec::{DeviceKind, Generation, Incarnation, Numerics, VirtualRank};
use rusqlite::Connection;

fn journal_of_0_1_0(dir: &Path) -> PathBuf {
    let path = dir.join("journal.sqlite");
    let db = Connection::open(&path).expect("there is room for a file");
    db.execute_batch(include_str!("../fixtures/journal-0.1.0.sql")).expect("it is SQL");
    path
}

fn numerics() -> Numerics {
    Numerics {
        libtorch: "2.11.0".to_owned(),
        device: DeviceKind::Cpu,
        model: "a CPU".to_owned(),
        instructions: "AVX512".to_owned(),
        probe: 0xf424_254e_6684_f050,
    }
}

fn recovered() -> Recovered {
    let member = |incarnation, port, first| Member {
        incarnation: Incarnation(incarnation),
        address: format!("127.0.0.1:{port}"),
        first: VirtualRank(first),
        count: 2,
    };
    Recovered {
        generation: Generation(1),
        members: vec![member(1, 37275, 0), member(2, 41355, 2)],
        incarnation: Incarnation(2),
        numerics: Some(numerics()),
        consumed: (0..4).map(|rank| (VirtualRank(rank), 36)).collect(),
        ..Recovered::default()
    }
}

#[test]
fn a_journal_of_0_1_0_opens_and_recovers() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = journal_of_0_1_0(dir.path());
    for _ in 0..2 {
        let mut journal = Writer::open(&path).expect("it opens");
        assert_eq!(*journal.recovered(), recovered());
        let known = journal.known().expect("it can be read");
        assert_eq!(known.fact("run"), Some("small"));
        assert_eq!(known.snapshots.iter().copied().collect::<Vec<_>>(), [25, 50]);
        assert_eq!((known.metrics_until(), known.events_until), (72, 4));
    }
}

const GONE: [&str; 6] = [
    "left as it asked",
    "its stream broke",
    "it attached again",
    "silent for more than 1500 ms",
    "it did not come back to the restarted coordinator",
    "it did not park in time",
];

/// The first journals with entries have numerics, and why a worker is gone, as sentences for people.
#[test]
fn what_an_entry_has_as_text_is_read() {
    let cuda = Numerics {
        device: DeviceKind::Cuda,
        model: "a GPU with much memory".to_owned(),
        instructions: "sm_90".to_owned(),
        ..numerics()
    };
    for numerics in [numerics(), cuda] {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let path = dir.path().join("journal.sqlite");
        drop(Writer::open(&path).expect("it opens"));
        let db = Connection::open(&path).expect("it is there");
        let write = |kind: &str, body: serde_json::Value| {
            let sql = "insert into entries (wall_ms, kind, body) values (0, ?1, ?2)";
            db.execute(sql, [kind, &body.to_string()]).expect("it is written");
        };
        write("numerics", serde_json::json!(numerics.to_string()));
        for why in GONE {
            write("gone", serde_json::json!({ "incarnation": 2, "name": "anna", "why": why }));
        }
        write("other_numerics", serde_json::json!({ "incarnation": 2, "numerics": numerics.to_string() }));
        let read = || Writer::open(&path).expect("it opens").recovered().numerics.clone();
        assert_eq!(read(), Some(numerics.clone()));
        let mut base = serde_json::to_value(recovered()).expect("it is JSON");
        base["numerics"] = serde_json::json!(numerics.to_string());
        write("base", base);
        assert_eq!(read(), Some(numerics));
    }
}

#[test]
fn what_users_ask_a_journal_of_0_1_0_is_answered_as_before() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = journal_of_0_1_0(dir.path());
    let answers = || {
        let db = Connection::open(&path).expect("it is there");
        let queries = [
            "select step, loss_d, loss_g from metrics order by step desc limit 5",
            "select step, wall_ms, step_ms, data_wait_ms from metrics order by step",
            "select step, images_per_s, reduce_ms, d_real, d_fake, grad_norm_d, grad_norm_g from metrics",
            "select generation, from_reduction, start, formed_ms from generations",
            "select step, blocked_ms, len_bytes from checkpoints order by step",
            "select name, address, joined_ms from workers",
            "select position, epoch, shard, incarnation from completions",
            "select id, text from events",
            "select rank, address, first_virtual_rank from members",
        ];
        queries.map(|sql| rows(&db, sql))
    };
    let before = answers();
    assert!(before.iter().all(|rows| !rows.is_empty()), "{before:?}");
    drop(Writer::open(&path).expect("it opens"));
    assert_eq!(answers(), before);
}

#[test]
fn last_words_are_read_from_a_journal_of_0_1_0_without_a_trace() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = journal_of_0_1_0(dir.path());
    let before = std::fs::read(&path).expect("it is there");
    let last = LastWords::of(dir.path()).expect("it can be read").expect("it is there");
    assert_eq!((last.run.as_str(), last.step, last.snapshot_step), ("small", 72, Some(50)));
    assert_eq!((last.outcome, last.paused_by), (None, None));
    assert!(Reader::open(&path).is_ok());
    assert_eq!(std::fs::read(&path).expect("it is there"), before);
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 1, "nothing was made beside it");
}

fn rows(db: &Connection, sql: &str) -> Vec<BTreeMap<String, String>> {
    let mut query = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let names: Vec<String> = query.column_names().map(str::to_owned).collect();
    let row = |row: &rusqlite::Row<'_>| {
        let value =
            |(index, name): (usize, &String)| Ok((name.clone(), format!("{:?}", row.get_ref(index)?)));
        names.iter().enumerate().map(value).collect()
    };
    query.query_map([], row).expect("it is a query").collect::<Result<_, _>>().expect("rows can be read")
}
