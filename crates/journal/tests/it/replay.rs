//! What is written through the shipped writer and read back recovers to what `Recovered::replay` gives on the plain list.

use lsgan_control::{Entry, Recovered};
use lsgan_journal::{Beginning, Writer};
use proptest::prelude::*;

use crate::common::{Numbers, plan, word};

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_that_was_written_recovers_to_its_replay(
        words in proptest::collection::vec((word(), 0_u8..8), 0..40),
        base_every in 1_u64..9,
    ) {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let path = dir.path().join("journal.sqlite");
        let open = || Writer::open(&path).expect("it opens").with_base_every(base_every);
        let (mut journal, mut numbers) = (open(), Numbers::default());
        let mut history: Vec<Entry> = Vec::new();
        for (word, then) in &words {
            let entry = numbers.entry(word);
            journal.record(&entry, &plan(), 1_795_897_865_000).expect("it is written");
            history.push(entry);
            match then {
                // Another coordinator takes it over, having begun or not.
                0 => journal = open(),
                1 => journal.begin(&Beginning::default()).expect("it is written"),
                _ => {}
            }
            prop_assert_eq!(journal.recovered(), &Recovered::replay(&history, None));
        }
        drop(journal);
        let again = open();
        prop_assert_eq!(again.recovered(), &Recovered::replay(&history, None));
        drop(again);
        prop_assert_eq!(rows(&path, "kind <> 'base'"), history.len() as u64, "older entries stay");
        // No more is replayed than lies between two bases.
        let since = "sequence > (select coalesce(max(sequence), 0) from entries where kind = 'base')";
        prop_assert!(rows(&path, since) < base_every);
    }
}

fn rows(path: &std::path::Path, which: &str) -> u64 {
    let db = rusqlite::Connection::open(path).expect("it is there");
    let sql = format!("select count(*) from entries where {which}");
    db.query_row(&sql, [], |row| row.get(0)).expect("there are entries")
}
