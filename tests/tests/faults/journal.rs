//! The journal cannot be written: another program holds it, or its disk is full. The run waits and says so, and ends when it
//! is told to.

use std::time::Instant;

use lsgan_tests::disturb::{assert_undisturbed_weights, cluster};
use lsgan_tests::lab::STEPS;
use lsgan_tests::{Lab, SmallDisk, until};
use lsgan_wire::v1::RunStatus;
use nix::sys::signal::Signal;
use rusqlite::Connection;

fn warned(status: &RunStatus, words: &str) -> bool {
    status.notices.iter().any(|notice| notice.warning && notice.text.contains(words))
}

/// A person's client in an open transaction, at a moment at which a third worker comes.
#[test]
fn a_journal_that_another_program_locks_is_waited_for_and_status_says_so() {
    let lab = Lab::new();
    let (mut coordinator, mut workers) =
        cluster(&lab, 2, &["--set", "steps=1000000", "--set", "checkpoint.every=0"]);
    coordinator.client.wait_for_step(3);
    let other = Connection::open(lab.run_dir().join("journal.sqlite")).expect("it is there");
    until("the lock is ours", || other.execute_batch("begin exclusive"));
    let begin = Instant::now();
    workers.push(lab.worker("third", &coordinator.address));
    let status = coordinator.client.wait_until("it is said", |status| {
        warned(status, "the run waits for it") && warned(status, "locked") && status.workers.len() == 3
    });
    // The members go on, and so do answers, for longer than any time-out of SQLite's.
    coordinator.client.wait_until("six seconds are over", |_| begin.elapsed().as_secs() >= 6);
    coordinator.client.wait_for_step(status.step + 1);
    assert_eq!(coordinator.client.status().expect("it answers").generation, 1, "nobody is told of another");
    other.execute_batch("commit").expect("nothing was written");
    drop(other);
    coordinator.client.wait_until("the third one computes", |status| status.generation > 1);
    coordinator.process.signal(Signal::SIGINT);
    coordinator.process.wait().expect_code(130).expect_out(&["stopped after step"]);
    for mut worker in workers {
        worker.wait();
    }
}

#[test]
fn a_journal_that_is_locked_when_a_coordinator_starts_is_waited_for() {
    let lab = Lab::new();
    lab.up(1, &["--set", "steps=30"]).wait().expect_code(0);
    let other = Connection::open(lab.run_dir().join("journal.sqlite")).expect("it is there");
    other.execute_batch("begin exclusive").expect("nobody else has it open");
    let listen = format!("{}:0", lab.host());
    let mut coordinator = lab.start_coordinator(&["--quiet", "--listen", &listen]);
    coordinator.wait_for_words("another program holds the journal locked, and the start waits for it");
    other.execute_batch("commit").expect("nothing was written");
    drop(other);
    let line = coordinator.wait_for_words("listening on http://");
    let mut worker = lab.worker("worker", line.trim_start_matches("listening on "));
    coordinator.wait().expect_code(0);
    worker.wait().expect_code(0);
    assert_undisturbed_weights(&lab);
}

/// A person's open transaction, for longer than any time-out.
#[test]
fn a_lock_of_12_seconds_is_waited_for_and_the_run_ends_well() {
    let lab = Lab::new();
    let (mut coordinator, mut workers) = cluster(&lab, 2, &[]);
    coordinator.client.wait_for_step(3);
    let other = Connection::open(lab.run_dir().join("journal.sqlite")).expect("it is there");
    until("the lock is ours", || other.execute_batch("begin immediate"));
    let begin = Instant::now();
    let step =
        coordinator.client.wait_until("it is said", |status| warned(status, "the run waits for it")).step;
    coordinator.client.wait_for_step((step + 1).min(STEPS));
    let run_dir = lab.run_dir().display().to_string();
    let mut answers = 0;
    while begin.elapsed().as_secs() < 12 {
        let told = lab.start("status", "lsgan", &["status", "--run", &run_dir]).wait().expect_code(0);
        told.expect_out(&["the journal cannot be written, and the run waits for it"]);
        answers += 1;
    }
    assert!(answers > 1, "status answers all the while");
    other.execute_batch("commit").expect("nothing was written");
    drop(other);
    let ended = coordinator.process.wait().expect_code(0);
    for words in ["trying again until it can", "the journal can be written again"] {
        assert_eq!(ended.err.matches(words).count(), 1, "said once: {words}: {ended}");
    }
    for worker in &mut workers {
        worker.wait().expect_code(0);
    }
    assert_undisturbed_weights(&lab);
}

/// Another program drops a table: no try would help.
#[test]
fn a_journal_that_is_broken_ends_the_run_with_a_snapshot_and_the_reason() {
    let lab = Lab::new();
    let (mut coordinator, workers) =
        cluster(&lab, 2, &["--set", "steps=1000000", "--set", "checkpoint.every=0"]);
    coordinator.client.wait_for_step(3);
    let other = Connection::open(lab.run_dir().join("journal.sqlite")).expect("it is there");
    until("it is dropped", || other.execute_batch("drop table metrics"));
    let ended = coordinator.process.wait().expect_code(1);
    ended.expect_err(&[
        "the journal cannot be written any more",
        "metrics",
        "stopped after step",
        "with a snapshot",
    ]);
    for mut worker in workers {
        worker.wait();
    }
    assert_eq!(std::fs::read_dir(lab.run_dir().join("snapshots")).expect("it is there").count(), 1);
}

/// The run's directory, with journal, snapshots and the children's logs, is on a disk that fills up and stays full.
#[test]
fn a_run_whose_disk_is_full_says_so_answers_and_ends_when_it_is_told_to() {
    let disk = match SmallDisk::mount("8m") {
        Ok(disk) => disk,
        Err(why) => return println!("skipped, no small disk: {why}"),
    };
    let lab = Lab::new();
    let run_dir = disk.path().join("run");
    let mut up = lab.up(
        2,
        &[
            "--set",
            "steps=1000000",
            "--set",
            "checkpoint.every=0",
            "--run-dir",
            &run_dir.display().to_string(),
        ],
    );
    let client = lab.client_of(&run_dir, &mut up);
    client.wait_for_step(3);
    disk.fill();
    up.wait_for_words("warning: the journal cannot be written, and the run waits for it");
    client.wait_until("status says it too", |status| warned(status, "Free space on its disk"));
    let begin = Instant::now();
    up.signal(Signal::SIGINT);
    let ended = up.wait();
    assert!(ended.code.is_some_and(|code| code != 0), "{ended}");
    let ended = ended.expect_err(&["No space left on device"]);
    assert!(!ended.out.contains("stopped after step"), "what is lost is not called saved: {ended}");
    assert!(begin.elapsed().as_secs() < 30, "it took {:?}: {ended}", begin.elapsed());
}

/// There is room again before anybody gives up.
#[test]
fn a_run_whose_disk_was_full_goes_on_and_trains_the_same_weights() {
    let disk = match SmallDisk::mount("8m") {
        Ok(disk) => disk,
        Err(why) => return println!("skipped, no small disk: {why}"),
    };
    let lab = Lab::new();
    let run_dir = disk.path().join("run");
    let mut up = lab.up(2, &["--run-dir", &run_dir.display().to_string()]);
    let client = lab.client_of(&run_dir, &mut up);
    client.wait_for_step(3);
    let filler = disk.fill();
    client.wait_until("it is said", |status| warned(status, "the journal cannot be written"));
    std::fs::remove_file(filler).expect("it can be removed");
    up.wait().expect_code(0);
    assert_eq!(lsgan_tests::Weights::of(&run_dir), *lsgan_tests::Weights::undisturbed());
}
