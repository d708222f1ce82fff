//! Other programs, and this one, look at a journal while it is written.

use std::path::Path;
use std::process::Command;

use lsgan_journal::{Beginning, Reader, Writer};
use rusqlite::Connection;

/// Has the other program look at the journal there.
const LOOKS_AT: &str = "LSGAN_TEST_JOURNAL";

/// A journal that is open, and what was written into it is in the log beside it.
fn open(path: &Path) -> Writer {
    let mut journal = Writer::open(path).expect("it can be made");
    journal.begin(&Beginning::default()).expect("it can be written");
    journal
}

/// A program that is the last one to close a journal takes its log away: it must see that this process has it open.
#[test]
fn looking_at_a_journal_leaves_its_lock_to_the_writer() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let path = dir.path().join(lsgan_journal::FILE);
    let journal = open(&path);
    for path in [&path, &dir.path().join(".").join(lsgan_journal::FILE)] {
        Reader::open(path).and_then(|mut reader| reader.known()).expect("it can be read");
    }
    let program = std::env::current_exe().expect("a running test has an executable");
    let mut other = Command::new(program);
    other.args(["--exact", "another_program_looks", "--ignored"]).env(LOOKS_AT, &path);
    assert!(other.status().expect("it can be started").success());
    assert!(path.with_extension("sqlite-wal").exists(), "the log of a journal that is open was deleted");
    drop(journal);
}

#[test]
#[ignore = "it is the other program of the test before"]
fn another_program_looks() {
    let Some(path) = std::env::var_os(LOOKS_AT) else { return };
    let journal = Connection::open(path).expect("any program may open it");
    let events = journal.query_row("select count(*) from events", [], |row| row.get(0));
    assert_eq!(events, Ok(0_u64));
    journal.close().expect("nothing is open in it");
}
