//! Coordinators that die and come back, with the right journal and with wrong ones.

use std::fs;
use std::path::Path;

use lsgan_tests::disturb::{Cluster, assert_undisturbed_weights, finish};
use lsgan_tests::lab::STEPS;
use lsgan_tests::{Coordinator, Lab, Process};
use lsgan_wire::v1::Phase;
use nix::sys::signal::Signal;

const NEVER: [&str; 2] = ["--set", "checkpoint.every=0"];

#[test]
fn a_coordinator_that_is_killed_again_and_again_loses_no_step_and_no_metric() {
    // Workers go on without it: fast ones would be done before it was killed five times.
    let slowly = &["--fault-slowness", "4"][..];
    let mut cluster = Cluster::of(&[("worker-1", slowly), ("worker-2", slowly)], &[]);
    let mut step = 5;
    for _ in 0..5 {
        step = cluster.wait_for_step(step) + 3;
        cluster.restart_coordinator(&[]);
    }
    let lab = cluster.finish();
    let journal = lab.journal();
    assert_eq!(journal.number("select count(*) from metrics"), STEPS);
    assert_eq!(journal.generations().len(), 1, "adopted each time: {:?}", journal.generations());
}

/// Kills it before it has heard any worker, so that the next one has no more than the last journal entry.
#[test]
fn a_coordinator_that_is_killed_while_it_adopts_is_started_again() {
    let mut cluster = Cluster::start(2, &[]);
    cluster.wait_for_random_step();
    for _ in 0..4 {
        cluster.restart_coordinator(&[]);
    }
    let lab = cluster.finish();
    let journal = lab.journal();
    assert_eq!(journal.number("select count(*) from metrics"), STEPS);
    let numbers = journal.texts("select cast(generation as text) from generations order by formed_ms");
    assert!(numbers.is_sorted_by(|a, b| a.len() < b.len() || a < b), "they never go back: {numbers:?}");
}

/// All workers end with an error that has these words.
#[track_caller]
fn all_refuse(workers: Vec<Process>, words: &[&str]) {
    for mut worker in workers {
        worker.fails(1, words);
    }
}

#[test]
fn a_coordinator_that_comes_back_with_another_journal_is_refused() {
    let Cluster { lab, mut coordinator, workers } = Cluster::start(2, &[]);
    coordinator.client.wait_until("there is a snapshot", |status| status.snapshot_step.is_some());
    let listen = coordinator.kill();
    let kept = lab.path("kept");
    fs::rename(lab.run_dir(), &kept).expect("a directory can be moved");
    let mut other = lab.coordinator_at(&listen, &[]);
    all_refuse(workers, &["came back with another run", "or another journal", "right run directory"]);
    assert_eq!(lab.journal().number("select count(*) from workers"), 0, "no worker joined the other run");
    other.kill();

    // With the right directory the run goes on.
    fs::remove_dir_all(lab.run_dir()).expect("the other run can be removed");
    fs::rename(&kept, lab.run_dir()).expect("a directory can be moved");
    lab.up(2, &[]).succeeds();
    assert_undisturbed_weights(&lab);
}

/// Copies the journal of a run without a coordinator, with what is not yet in its main file.
fn copy_journal(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for name in ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).expect("a file can be copied");
        }
    }
}

/// A coordinator that has come back where it was, with a copy of its journal that is older by a generation, of which every worker
/// was told. The newest journal is in the folder `newest`.
fn with_an_older_copy() -> (Lab, Coordinator, Vec<Process>) {
    let mut cluster = Cluster::start(2, &[]);
    let has_snapshot = |status: &lsgan_wire::v1::RunStatus| status.snapshot_step.is_some();
    cluster.coordinator.client.wait_until("there is a snapshot", has_snapshot);
    let listen = cluster.coordinator.kill();
    copy_journal(&cluster.lab.run_dir(), &cluster.lab.path("older"));
    cluster.coordinator = cluster.lab.coordinator_at(&listen, &[]);
    cluster.join("third", &[]);
    let Cluster { lab, mut coordinator, workers } = cluster;
    coordinator.client.wait_until("the third one computes", |status| {
        status.phase() == Phase::Stepping && status.generation == 2
    });
    assert_eq!(coordinator.kill(), listen);
    copy_journal(&lab.run_dir(), &lab.path("newest"));
    copy_journal(&lab.path("older"), &lab.run_dir());
    let older = lab.coordinator_at(&listen, &[]);
    (lab, older, workers)
}

#[test]
fn a_coordinator_that_comes_back_with_an_older_copy_of_its_journal_is_refused() {
    let (lab, mut older, workers) = with_an_older_copy();
    let words = ["came back with an older copy of its journal: it has generation 1", "told of generation 2"];
    all_refuse(workers, &words);
    older.kill();

    // With the newest one the run goes on from its snapshot. Metrics that the workers had not handed over by then went
    // with them.
    copy_journal(&lab.path("newest"), &lab.run_dir());
    lab.up(2, &[]).succeeds();
    assert_undisturbed_weights(&lab);
}

/// As one that was deposed, which answers under the name that both have until it finds that another one leads.
#[test]
fn an_older_coordinator_that_goes_soon_ends_no_worker() {
    let (lab, mut older, mut workers) = with_an_older_copy();
    for worker in &mut workers {
        worker.wait_for_words("one answers there whose journal lacks what this worker was told of");
    }
    let listen = older.kill();
    copy_journal(&lab.path("newest"), &lab.run_dir());
    let mut newest = lab.coordinator_at(&listen, &[]);
    finish(&mut newest.process, workers);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_second_coordinator_on_the_directory_of_a_stepping_run_is_refused() {
    let cluster = Cluster::start(2, &[]);
    cluster.wait_for_step(5);
    let holder = format!("process {}", cluster.coordinator.process.id());
    let mut second = cluster.lab.start_coordinator(&["--listen", &format!("{}:0", cluster.lab.host())]);
    second.fails(1, &["coordinator.lock", &holder]);
    assert_eq!(cluster.finish().journal().generations().len(), 1, "the first one was not disturbed");
}

/// A coordinator that comes back under its living workers with another number of steps.
#[test]
fn fewer_and_more_steps_hold_for_workers_that_step() {
    let undisturbed = Lab::new();
    undisturbed.up(1, &["--set", "steps=90"]).succeeds();
    for before in ["steps=100000", "steps=40"] {
        let mut cluster = Cluster::start(2, &["--set", before]);
        cluster.wait_for_step(5);
        cluster.restart_coordinator(&["--set", "steps=90"]);
        let lab = cluster.ends_well();
        assert_eq!(lab.weights(), undisturbed.weights(), "from {before}");
        assert_eq!(lab.journal().number("select max(step) + 1 from metrics"), 90);
        assert_eq!(lab.journal().number("select max(step) from checkpoints"), 90);
    }
}

#[test]
fn a_run_that_is_beyond_its_new_last_step_ends_and_says_where() {
    // With a snapshot beyond that step the coordinator would not even start.
    let mut cluster = Cluster::start(2, &[&NEVER[..], &["--set", "steps=100000"]].concat());
    let reached = cluster.wait_for_step(30);
    cluster.restart_coordinator(&[&NEVER[..], &["--set", "steps=10"]].concat());
    let ended = cluster.coordinator.process.fails(2, &["--fork-at"]);
    let saved = cluster.lab.journal().number("select max(step) from checkpoints");
    assert!(saved >= reached, "the last snapshot is of step {saved}, {reached} steps were done");
    ended.expect_err(&[&format!("{saved} steps are done, of which 10 are asked for")]);
    for mut worker in cluster.workers {
        worker.wait().expect_code(2);
    }
}

#[test]
fn workers_that_are_told_to_end_while_the_coordinator_is_away_keep_what_they_hold() {
    let mut cluster = Cluster::start(2, &NEVER);
    let reached = cluster.wait_for_random_step();
    cluster.coordinator.kill();
    cluster.workers.iter().for_each(|worker| worker.signal(Signal::SIGTERM));
    cluster.workers.iter_mut().for_each(|worker| drop(worker.wait()));
    // At another address, where no worker would look for it.
    let lab = cluster.lab;
    let mut coordinator = lab.coordinator(&NEVER);
    let worker = lab.worker("another", &coordinator.address);
    finish(&mut coordinator.process, vec![worker]);
    let newest = lab.journal().newest();
    assert!(newest.start == "snapshot" && newest.from_step >= reached, "{reached} were done: {newest:?}");
    assert_undisturbed_weights(&lab);
}
