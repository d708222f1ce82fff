//! Files that are no journal of ours: refused by readers and by the writer, and as they were afterwards.

use std::fs;
use std::path::Path;

use lsgan_journal::{JournalError, LastWords, Reader, Writer};
use rusqlite::Connection;

/// Makes the file, has it refused by `open`, and compares its bytes and its neighbours.
#[track_caller]
fn is_refused(make: &dyn Fn(&Path), words: &str, open: &dyn Fn(&Path) -> Result<(), JournalError>) {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    make(&path);
    let before = fs::read(&path).expect("it is there");
    let error = open(&path).expect_err("it is no journal").to_string();
    assert!(error.contains("the journal cannot be used") && error.contains(words), "{error}");
    assert!(error.contains("journal.sqlite") && error.contains("--fresh"), "{error}");
    assert!(fs::read(&path).expect("it is there") == before, "not a byte is changed");
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1, "nothing is made beside it");
}

fn read(path: &Path) -> Result<(), JournalError> {
    Reader::open(path).map(drop)
}

fn last_words(path: &Path) -> Result<(), JournalError> {
    LastWords::of(path.parent().expect("it is in a directory")).map(drop)
}

fn write(path: &Path) -> Result<(), JournalError> {
    Writer::open(path).map(drop)
}

fn sql(path: &Path, sql: &str) {
    Connection::open(path).and_then(|db| db.execute_batch(sql)).expect("it is SQL");
}

#[test]
fn the_database_of_another_program() {
    let other = "another program";
    let photos = |path: &Path| {
        sql(path, "create table photos (id integer primary key); insert into photos values (1)")
    };
    // Its write-ahead log is folded in when it closes the file.
    let in_wal =
        |path: &Path| sql(path, "pragma journal_mode = wal; create table meta (key text, value text)");
    let marked = |path: &Path| sql(path, "pragma application_id = 7; create table meta (key text)");
    let versioned = |path: &Path| sql(path, "pragma user_version = 3; create table meta (key text)");
    let makers: [&dyn Fn(&Path); 4] = [&photos, &in_wal, &marked, &versioned];
    for make in makers {
        is_refused(make, other, &read);
        is_refused(make, other, &last_words);
        is_refused(make, other, &write);
    }
}

#[test]
fn a_text_file() {
    let text = |path: &Path| {
        fs::write(path, "a letter that was put here by mistake, ".repeat(9)).expect("it is written")
    };
    is_refused(&text, "no database", &read);
    is_refused(&text, "no database", &last_words);
    is_refused(&text, "not a database", &write);
}

#[test]
fn an_empty_file() {
    let empty = |path: &Path| fs::write(path, "").expect("it is written");
    is_refused(&empty, "an empty file", &read);
    is_refused(&empty, "an empty file", &last_words);
}

/// A coordinator that was killed while it made its journal has left one of these; the next one goes on with it.
#[test]
fn an_empty_file_is_a_journal_to_be_for_the_writer() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    fs::write(&path, "").expect("it is written");
    drop(Writer::open(&path).expect("it opens"));
    assert!(Reader::open(&path).is_ok());
}

#[test]
fn a_journal_of_a_newer_version() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    drop(Writer::open(&path).expect("it opens"));
    sql(&path, "pragma user_version = 99");
    for open in [read, write] {
        let error = open(&path).expect_err("it is newer");
        assert!(matches!(&error, JournalError::Version { found, .. } if found == "99"), "{error}");
    }
}
