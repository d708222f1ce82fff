//! Coordinators that die and come back, with the right journal and with wrong ones.

use std::fs;
use std::path::Path;

use lsgan_tests::disturb::{assert_undisturbed_weights, cluster, finish, random_step};
use lsgan_tests::lab::STEPS;
use lsgan_tests::{Coordinator, Lab, Process};
use lsgan_wire::v1::Phase;

/// Kills it; returns where it listened.
fn kill(coordinator: Coordinator) -> String {
    let listen = coordinator.address.trim_start_matches("http://").to_owned();
    coordinator.process.kill();
    listen
}

#[test]
fn a_coordinator_that_is_killed_again_and_again_loses_no_step_and_no_metric() {
    let lab = Lab::new();
    let (mut coordinator, workers) = cluster(&lab, 2, &[]);
    let mut step = 5;
    for _ in 0..5 {
        step = coordinator.client.wait_for_step(step).step + 3;
        let listen = kill(coordinator);
        coordinator = lab.coordinator_at(&listen, &[]);
    }
    finish(&mut coordinator.process, workers);
    let journal = lab.journal();
    assert_eq!(journal.number("select count(*) from metrics"), STEPS);
    assert_eq!(journal.generations().len(), 1, "adopted each time: {:?}", journal.generations());
    assert_undisturbed_weights(&lab);
}

/// Kills it before any worker was heard again, so that what it journaled last is all that the next one has.
#[test]
fn a_coordinator_that_is_killed_while_it_adopts_is_started_again() {
    let lab = Lab::new();
    let (coordinator, workers) = cluster(&lab, 2, &[]);
    coordinator.client.wait_for_step(random_step());
    let listen = kill(coordinator);
    for _ in 0..3 {
        lab.coordinator_at(&listen, &[]).process.kill();
    }
    let mut coordinator = lab.coordinator_at(&listen, &[]);
    finish(&mut coordinator.process, workers);
    let journal = lab.journal();
    assert_eq!(journal.number("select count(*) from metrics"), STEPS);
    let numbers = journal.texts("select cast(generation as text) from generations order by formed_ms");
    assert!(numbers.is_sorted_by(|a, b| a.len() < b.len() || a < b), "they never go back: {numbers:?}");
    assert_undisturbed_weights(&lab);
}

/// All workers end with an error that has these words.
#[track_caller]
fn all_refuse(workers: Vec<Process>, words: &[&str]) {
    for mut worker in workers {
        worker.wait().expect_code(1).expect_one_error().expect_err(words);
    }
}

#[test]
fn a_coordinator_that_comes_back_with_another_journal_is_refused() {
    let lab = Lab::new();
    let (coordinator, workers) = cluster(&lab, 2, &[]);
    coordinator.client.wait_until("there is a snapshot", |status| status.snapshot_step.is_some());
    let listen = kill(coordinator);
    let kept = lab.path("kept");
    fs::rename(lab.run_dir(), &kept).expect("a directory can be moved");
    let other = lab.coordinator_at(&listen, &[]);
    all_refuse(workers, &["came back with another run", "or another journal", "right run directory"]);
    assert_eq!(lab.journal().number("select count(*) from workers"), 0, "nobody joined the other run");
    other.process.kill();

    // With the right directory the run goes on.
    fs::remove_dir_all(lab.run_dir()).expect("the other run can be removed");
    fs::rename(&kept, lab.run_dir()).expect("a directory can be moved");
    lab.up(2, &[]).wait().expect_code(0);
    assert_undisturbed_weights(&lab);
}

/// Copies the journal with what is not yet in its main file, as long as no coordinator has it open.
fn copy_journal(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for name in ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).expect("a file can be copied");
        }
    }
}

/// The copy is older by a generation, of which every worker was told.
#[test]
fn a_coordinator_that_comes_back_with_an_older_copy_of_its_journal_is_refused() {
    let lab = Lab::new();
    let (coordinator, mut workers) = cluster(&lab, 2, &[]);
    coordinator.client.wait_until("there is a snapshot", |status| status.snapshot_step.is_some());
    let listen = kill(coordinator);
    copy_journal(&lab.run_dir(), &lab.path("older"));
    let coordinator = lab.coordinator_at(&listen, &[]);
    workers.push(lab.worker("third", &coordinator.address));
    coordinator.client.wait_until("the third one computes", |status| {
        status.phase() == Phase::Stepping && status.generation == 2
    });
    assert_eq!(kill(coordinator), listen);
    copy_journal(&lab.run_dir(), &lab.path("newest"));
    copy_journal(&lab.path("older"), &lab.run_dir());
    let older = lab.coordinator_at(&listen, &[]);
    let words = ["came back with an older copy of its journal: it has generation 1", "told of generation 2"];
    all_refuse(workers, &words);
    older.process.kill();

    // With the newest one the run goes on from its snapshot. Metrics that the workers had not handed over by then went
    // with them.
    copy_journal(&lab.path("newest"), &lab.run_dir());
    lab.up(2, &[]).wait().expect_code(0);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_second_coordinator_on_the_directory_of_a_stepping_run_is_refused() {
    let lab = Lab::new();
    let (mut coordinator, workers) = cluster(&lab, 2, &[]);
    coordinator.client.wait_for_step(5);
    let mut second = lab.start_coordinator(&["--listen", &format!("{}:0", lab.host())]);
    let holder = format!("process {}", coordinator.process.id());
    second.wait().expect_code(1).expect_one_error().expect_err(&["coordinator.lock", &holder]);
    finish(&mut coordinator.process, workers);
    assert_eq!(lab.journal().generations().len(), 1, "the first one was not disturbed");
    assert_undisturbed_weights(&lab);
}

/// The weights of a run of so many steps that nothing disturbs.
fn undisturbed_weights_of(steps: &str) -> lsgan_tests::Weights {
    let lab = Lab::new();
    lab.up(1, &["--set", steps]).wait().expect_code(0);
    lab.weights()
}

/// A coordinator that comes back under its living workers with another number of steps.
#[track_caller]
fn ends_with(before: &str, after: &str) {
    let lab = Lab::new();
    let (coordinator, workers) = cluster(&lab, 2, &["--set", before]);
    coordinator.client.wait_for_step(5);
    let listen = kill(coordinator);
    let mut coordinator = lab.coordinator_at(&listen, &["--set", after]);
    finish(&mut coordinator.process, workers);
    assert_eq!(lab.weights(), undisturbed_weights_of(after), "from {before} to {after}");
    let beyond = after.strip_prefix("steps=").expect("it says how many");
    assert_eq!(lab.journal().number("select max(step) + 1 from metrics").to_string(), beyond);
    assert_eq!(lab.journal().number("select max(step) from checkpoints").to_string(), beyond);
}

#[test]
fn fewer_steps_hold_for_workers_that_step() {
    ends_with("steps=100000", "steps=90");
}

#[test]
fn more_steps_hold_for_workers_that_step() {
    ends_with("steps=40", "steps=90");
}

#[test]
fn a_run_that_is_beyond_its_new_last_step_ends_and_says_where() {
    let lab = Lab::new();
    // With a snapshot beyond that step the coordinator would not even start.
    let never = ["--set", "checkpoint.every=0"];
    let (coordinator, workers) = cluster(&lab, 2, &[&never[..], &["--set", "steps=100000"]].concat());
    let reached = coordinator.client.wait_for_step(30).step;
    let listen = kill(coordinator);
    let mut coordinator = lab.coordinator_at(&listen, &[&never[..], &["--set", "steps=10"]].concat());
    let ended = coordinator.process.wait().expect_code(2).expect_one_error();
    let saved = lab.journal().number("select max(step) from checkpoints");
    assert!(saved >= reached, "the last snapshot is of step {saved}, {reached} steps were done");
    ended.expect_err(&[&format!("{saved} steps are done, of which 10 are asked for"), "--fork-at"]);
    for mut worker in workers {
        worker.wait().expect_code(2);
    }
}

#[test]
fn workers_that_are_told_to_end_while_the_coordinator_is_away_keep_what_they_hold() {
    let lab = Lab::new();
    let (coordinator, workers) = cluster(&lab, 2, &["--set", "checkpoint.every=0"]);
    let reached = coordinator.client.wait_for_step(random_step()).step;
    coordinator.process.kill();
    for worker in &workers {
        worker.signal(nix::sys::signal::Signal::SIGTERM);
    }
    for mut worker in workers {
        worker.wait();
    }
    // At another address, where no worker would look for it.
    let mut coordinator = lab.coordinator(&["--set", "checkpoint.every=0"]);
    let worker = lab.worker("another", &coordinator.address);
    finish(&mut coordinator.process, vec![worker]);
    let generations = lab.journal().generations();
    let last = generations.last().expect("it trained");
    assert!(last.start == "snapshot" && last.from_step >= reached, "{reached} were done: {generations:?}");
    assert_undisturbed_weights(&lab);
}
