//! The journal cannot be written: another program holds it, or its disk is full. The run waits and says so, and ends when it
//! is told to.

use std::time::Instant;

use lsgan_tests::disturb::{Cluster, assert_undisturbed_weights};
use lsgan_tests::lab::STEPS;
use lsgan_tests::{Client, Lab, Process, SmallDisk, Weights, until};
use lsgan_wire::v1::RunStatus;
use nix::sys::signal::Signal;
use rusqlite::Connection;

const ENDLESS: [&str; 4] = ["--set", "steps=1000000", "--set", "checkpoint.every=0"];

fn warned(status: &RunStatus, words: &str) -> bool {
    status.notices.iter().any(|notice| notice.warning && notice.text.contains(words))
}

/// Another program's connection to the journal, once it has executed this.
fn other_program(lab: &Lab, sql: &str) -> Connection {
    let other = Connection::open(lab.run_dir().join("journal.sqlite")).expect("it is there");
    until(sql, || other.execute_batch(sql));
    other
}

/// Ends the other program's transaction and closes its connection.
fn release(other: Connection) {
    other.execute_batch("commit").expect("nothing was written");
}

/// A person's client has an open transaction when a third worker joins.
#[test]
fn a_journal_that_another_program_locks_is_waited_for_and_status_says_so() {
    let mut cluster = Cluster::start(2, &ENDLESS);
    cluster.wait_for_step(3);
    let other = other_program(&cluster.lab, "begin exclusive");
    let begin = Instant::now();
    cluster.join("third", &[]);
    let client = cluster.coordinator.client.clone();
    let status = client.wait_until("it is said", |status| {
        warned(status, "the run waits for it") && warned(status, "locked") && status.workers.len() == 3
    });
    // The members go on, and the coordinator answers, for longer than any time-out of SQLite's.
    client.wait_until("six seconds are over", |_| begin.elapsed().as_secs() >= 6);
    client.wait_for_step(status.step + 1);
    assert_eq!(client.status().expect("it answers").generation, 1, "no worker is told of another");
    release(other);
    client.wait_until("the third one computes", |status| status.generation > 1);
    cluster.coordinator.process.signal(Signal::SIGINT);
    cluster.coordinator.process.wait().expect_code(130).expect_out(&["stopped after step"]);
    cluster.workers.iter_mut().for_each(|worker| drop(worker.wait()));
}

#[test]
fn a_journal_that_is_locked_when_a_coordinator_starts_is_waited_for() {
    let lab = Lab::new();
    lab.up(1, &["--set", "steps=30"]).succeeds();
    let other = other_program(&lab, "begin exclusive");
    let listen = format!("{}:0", lab.host());
    let mut coordinator = lab.start_coordinator(&["--quiet", "--listen", &listen]);
    coordinator.wait_for_words("another program holds the journal locked, and the start waits for it");
    release(other);
    let mut coordinator = Lab::listening(coordinator);
    let mut worker = lab.worker("worker", &coordinator.address);
    coordinator.process.succeeds();
    worker.succeeds();
    assert_undisturbed_weights(&lab);
}

/// A person's open transaction, for longer than any time-out.
#[test]
fn a_lock_of_12_seconds_is_waited_for_and_the_run_ends_well() {
    let mut cluster = Cluster::start(2, &[]);
    cluster.wait_for_step(3);
    let other = other_program(&cluster.lab, "begin immediate");
    let begin = Instant::now();
    let client = &cluster.coordinator.client;
    let step = client.wait_until("it is said", |status| warned(status, "the run waits for it")).step;
    client.wait_for_step((step + 1).min(STEPS));
    let run_dir = cluster.lab.run_dir().display().to_string();
    let mut answers = 0;
    while begin.elapsed().as_secs() < 12 {
        let told = cluster.lab.lsgan(["status", "--run", &run_dir]).succeeds();
        told.expect_out(&["the journal cannot be written, and the run waits for it"]);
        answers += 1;
    }
    assert!(answers > 1, "status answers all the while");
    release(other);
    let ended = cluster.coordinator.process.succeeds();
    for words in ["trying again until it can", "the journal can be written again"] {
        assert_eq!(ended.err.matches(words).count(), 1, "said once: {words}: {ended}");
    }
    cluster.finish();
}

/// Another program drops a table: trying again would not help.
#[test]
fn a_journal_that_is_broken_ends_the_run_with_a_snapshot_and_the_reason() {
    let mut cluster = Cluster::start(2, &ENDLESS);
    cluster.wait_for_step(3);
    let _other = other_program(&cluster.lab, "drop table metrics");
    let ended = cluster.coordinator.process.wait().expect_code(1);
    let cannot = "the journal cannot be written any more";
    ended.expect_err(&[cannot, "metrics", "stopped after step", "with a snapshot"]);
    cluster.workers.iter_mut().for_each(|worker| drop(worker.wait()));
    let snapshots = std::fs::read_dir(cluster.lab.run_dir().join("snapshots")).expect("it is there");
    assert_eq!(snapshots.count(), 1);
}

/// A run with its journal, snapshots and logs on a small disk, at step 3. None if this machine cannot mount one.
fn on_a_small_disk(more: &[&str]) -> Option<(SmallDisk, Lab, Process, Client)> {
    let disk = match SmallDisk::mount("8m") {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped, no small disk: {why}");
            return None;
        }
    };
    let lab = Lab::new();
    let run_dir = disk.path().join("run");
    let mut up = lab.up(2, &[more, &["--run-dir", &run_dir.display().to_string()]].concat());
    let client = lab.client_of(&run_dir, &mut up);
    client.wait_for_step(3);
    Some((disk, lab, up, client))
}

/// The disk fills up and stays full.
#[test]
fn a_run_whose_disk_is_full_says_so_answers_and_ends_when_it_is_told_to() {
    let Some((disk, _lab, mut up, client)) = on_a_small_disk(&ENDLESS) else { return };
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

/// There is room again before the run gives up.
#[test]
fn a_run_whose_disk_was_full_goes_on_and_trains_the_same_weights() {
    let Some((disk, _lab, mut up, client)) = on_a_small_disk(&[]) else { return };
    let filler = disk.fill();
    client.wait_until("it is said", |status| warned(status, "the journal cannot be written"));
    std::fs::remove_file(filler).expect("it can be removed");
    up.succeeds();
    assert_eq!(Weights::of(&disk.path().join("run")), *Weights::undisturbed());
}
