//! The journal's thread: what cannot be written is waited for, in order, and said.

use std::time::Duration;

use lsgan_control::Entry;
use lsgan_coordinator::queue::{News, Queue};
use lsgan_journal::{CorruptRecord, Writer};
use lsgan_plan::{Geometry, Plan};
use lsgan_spec::Incarnation;

const LIMIT: Duration = Duration::from_secs(30);

async fn next(queue: &mut Queue) -> News {
    tokio::time::timeout(LIMIT, queue.news()).await.expect("there are news in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_locks_is_waited_for_and_written_in_order() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    let mut queue = Queue::start(Writer::open(&path).expect("it is made"), None).expect("a thread starts");
    let other = rusqlite::Connection::open(&path).expect("it is there");
    other.execute_batch("begin exclusive").expect("nobody else writes");
    let first = queue.write(|journal| journal.set_fact("word", "first"));
    let second = queue.write(|journal| journal.set_fact("word", "second"));
    let waits = next(&mut queue).await;
    assert!(matches!(&waits, News::Waits(error) if error.to_string().contains("locked")), "{waits:?}");
    assert!(queue.waits() && !queue.is_done(first));
    other.execute_batch("commit").expect("nothing was written");
    assert!(matches!(next(&mut queue).await, News::GoesOn));
    assert!(matches!(next(&mut queue).await, News::Written));
    assert!(queue.is_done(first) && !queue.is_done(second) && !queue.waits());
    assert!(queue.drain().await);
    let known = Writer::open(&path).expect("it opens").known().expect("it can be read");
    assert_eq!(known.fact("word"), Some("second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_no_column_takes_is_left_out_and_the_journal_goes_on() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    let mut queue = Queue::start(Writer::open(&path).expect("it is made"), None).expect("a thread starts");
    let record = |record| CorruptRecord { record, key: "k".to_owned(), reason: "r".to_owned(), step: 1 };
    for number in [u64::MAX, 7] {
        queue.write_report(move |journal| journal.add_corrupt(&[record(number)]));
    }
    let dropped = next(&mut queue).await;
    assert!(matches!(&dropped, News::Dropped(error) if error.is_of_the_row()), "{dropped:?}");
    assert!(matches!(next(&mut queue).await, News::Written));
    assert!(matches!(next(&mut queue).await, News::Written));
    assert!(queue.drain().await);
    let known = Writer::open(&path).expect("it opens").known().expect("it can be read");
    assert_eq!(known.corrupt, [record(7)]);
}

/// Three clients with warnings once made the coordinator deaf for 80 s: each row had a transaction, and the disk was waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_written_together_and_a_row_at_fault_costs_itself_alone() {
    const WRITES: u64 = 10_000;
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    let mut queue = Queue::start(Writer::open(&path).expect("it is made"), None).expect("a thread starts");
    let other = rusqlite::Connection::open(&path).expect("it is there");
    other.execute_batch("begin immediate").expect("nobody else writes");
    let record = |record| CorruptRecord { record, key: "k".to_owned(), reason: "r".to_owned(), step: 1 };
    let begun = std::time::Instant::now();
    for number in 0..WRITES {
        let number = if number % 1_000 == 500 { u64::MAX } else { number };
        queue.write_report(move |journal| journal.add_corrupt(&[record(number)]));
    }
    other.execute_batch("commit").expect("nothing was written");
    let (mut written, mut dropped) = (0, 0);
    while written < WRITES {
        match next(&mut queue).await {
            News::Written => written += 1,
            News::Dropped(_) => dropped += 1,
            News::Waits(_) | News::GoesOn => {}
            other => panic!("{other:?}"),
        }
    }
    println!("{WRITES} writes, ten of them at fault, took {:?}", begun.elapsed());
    assert_eq!(dropped, 10);
    assert!(queue.drain().await);
    let known = Writer::open(&path).expect("it opens").known().expect("it can be read");
    assert_eq!(known.corrupt.len() as u64, WRITES - 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_written_is_said_and_does_not_stop_the_others() {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("journal.sqlite");
    let mut queue = Queue::start(Writer::open(&path).expect("it is made"), None).expect("a thread starts");
    let plan = Plan::new(1, Geometry::new(100, 8, 1, 4).expect("it is one"));
    let (name, address) = ("anna".to_owned(), "10.0.0.1:4000".to_owned());
    let admitted = Entry::Admitted { incarnation: Incarnation(1), name, address };
    // No life begins twice.
    for _ in 0..2 {
        let (entry, plan) = (admitted.clone(), plan);
        queue.write(move |journal| journal.record(&entry, &plan, 0));
    }
    queue.write(|journal| journal.set_fact("word", "yes"));
    assert!(matches!(next(&mut queue).await, News::Written));
    assert!(matches!(next(&mut queue).await, News::Broken(_)));
    assert!(matches!(next(&mut queue).await, News::Written));
    assert!(matches!(next(&mut queue).await, News::Written));
    assert!(queue.drain().await);
}
