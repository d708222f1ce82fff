//! Writes that are done in one transaction are all there, or none is: also for what the writer knows of them.

use lsgan_control::{Entry, Recovered};
use lsgan_journal::{CorruptRecord, JournalError, Writer};
use lsgan_plan::{Geometry, Plan};
use lsgan_spec::Incarnation;

fn admitted(number: u64) -> Entry {
    let (name, address) = ("anna".to_owned(), format!("10.0.0.{number}:4000"));
    Entry::Admitted { incarnation: Incarnation(number), name, address }
}

fn record(number: u64) -> CorruptRecord {
    CorruptRecord { record: number, key: "k".to_owned(), reason: "r".to_owned(), step: 1 }
}

/// Two lives, and a record.
fn write(journal: &mut Writer, number: u64) -> Result<(), JournalError> {
    let plan = Plan::new(1, Geometry::new(1_000, 8, 4, 4).expect("it is one"));
    journal.record(&admitted(1), &plan, 0)?;
    journal.add_corrupt(&[record(number)])?;
    journal.record(&admitted(2), &plan, 0)
}

#[test]
fn writes_together_are_all_there() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    let mut journal = Writer::open(&path).expect("it is made");
    journal.together(|journal| write(journal, 7)).expect("it is written");
    assert_eq!(journal.recovered().incarnation, Incarnation(2));
    drop(journal);
    let mut again = Writer::open(&path).expect("it opens");
    assert_eq!(again.recovered().incarnation, Incarnation(2));
    assert_eq!(again.known().expect("it can be read").corrupt, [record(7)]);
}

#[test]
fn of_writes_together_nothing_is_there_if_one_fails() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    // A base after each entry, so that the count of entries is one of what goes back.
    let mut journal = Writer::open(&path).expect("it is made").with_base_every(2);
    // No column takes this number.
    let error = journal.together(|journal| write(journal, u64::MAX)).expect_err("a row is at fault");
    assert!(error.is_of_the_row(), "{error}");
    assert_eq!(*journal.recovered(), Recovered::default());
    assert!(journal.known().expect("it can be read").corrupt.is_empty());
    // Alone each of them can be written, and the next ones too.
    write(&mut journal, 7).expect("it is written");
    assert_eq!(journal.recovered().incarnation, Incarnation(2));
    drop(journal);
    assert_eq!(Writer::open(&path).expect("it opens").recovered().incarnation, Incarnation(2));
}
