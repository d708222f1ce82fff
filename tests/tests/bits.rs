//! The promise: the trained weights are a pure function of the run's file and data. Each test disturbs a run in one
//! way, shows by the journal that it did, and compares the hashes of the final weights with an undisturbed run's.

use lsgan_tests::disturb::{
    assert_disturbed, assert_undisturbed_weights, finish, random_step, wait_for_members, workers_of,
};
use lsgan_tests::lab::STEPS;
use lsgan_tests::process::{children_of, lives, send};
use lsgan_tests::{Coordinator, Lab, Process, Weights, disturb, until};
use lsgan_wire::v1::Role;
use nix::sys::signal::Signal;

fn run_with_workers(workers: u32, more: &[&str]) -> Lab {
    let lab = Lab::new();
    let ended = lab.up(workers, more).wait().expect_code(0);
    let weights = lab.weights();
    ended.expect_out(&[&weights.generator, &weights.discriminator]);
    lab
}

#[test]
fn two_workers_train_the_bits_of_one() {
    let lab = run_with_workers(2, &[]);
    assert_eq!(lab.journal().generations()[0].members, 2);
    assert_undisturbed_weights(&lab);
}

#[test]
fn three_workers_train_the_bits_of_one() {
    let lab = run_with_workers(3, &[]);
    assert_eq!(lab.journal().generations()[0].members, 3);
    assert_undisturbed_weights(&lab);
}

#[test]
fn four_workers_train_the_bits_of_one() {
    let lab = run_with_workers(4, &[]);
    assert_eq!(lab.journal().generations()[0].members, 4);
    assert_undisturbed_weights(&lab);
}

#[test]
fn two_threads_train_the_bits_of_one() {
    assert_undisturbed_weights(&run_with_workers(1, &["--set", "compute.threads=2"]));
    assert_undisturbed_weights(&run_with_workers(2, &["--set", "compute.threads=2"]));
}

/// So that the comparison can fail.
#[test]
fn another_seed_trains_other_bits() {
    let lab = run_with_workers(1, &["--set", "seed=2"]);
    let (one, other) = (Weights::undisturbed(), lab.weights());
    assert_ne!(one.generator, other.generator);
    assert_ne!(one.discriminator, other.discriminator);
}

#[test]
fn a_fast_reduction_comes_to_its_end() {
    let lab = run_with_workers(2, &["--set", "reduction=fast"]);
    assert_ne!(lab.weights(), *Weights::undisturbed(), "the sums are rounded, so the bits differ");
}

#[test]
fn stopped_at_a_random_step_and_resumed_the_bits_are_the_same() {
    for (before, after) in [(2, 2), (2, 3)] {
        let lab = Lab::new();
        let mut up = lab.up(before, &[]);
        lab.client(&mut up).wait_for_step(random_step());
        up.signal(Signal::SIGINT);
        up.wait().expect_code(130).expect_out(&["stopped after step", "with a snapshot"]);

        lab.up(after, &[]).wait().expect_code(0);
        assert_disturbed(&lab, "snapshot");
        assert_undisturbed_weights(&lab);
    }
}

#[test]
fn a_killed_worker_is_started_again_and_the_bits_are_the_same() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[]);
    let client = lab.client(&mut up);
    client.wait_for_step(random_step());
    send(workers_of(&up)[0], Signal::SIGKILL);
    up.wait().expect_code(0).expect_err(&["and is started again"]);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_killed_worker_that_does_not_come_back_is_done_without() {
    let lab = Lab::new();
    let (mut coordinator, mut workers) = cluster(&lab, 3);
    coordinator.client.wait_for_step(random_step());
    workers.remove(0).kill();
    finish(&mut coordinator.process, workers);
    assert_disturbed(&lab, "held");
    assert_eq!(lab.journal().generations().last().expect("there are some").members, 2);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_worker_that_joins_late_takes_part_and_the_bits_are_the_same() {
    let lab = Lab::new();
    let (mut coordinator, mut workers) = cluster(&lab, 1);
    coordinator.client.wait_for_step(random_step());
    workers.push(lab.worker("late", &coordinator.address));
    finish(&mut coordinator.process, workers);
    assert_disturbed(&lab, "held");
    assert_eq!(lab.journal().generations().last().expect("there are some").members, 2);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_worker_that_leaves_hands_its_ranks_over_and_the_bits_are_the_same() {
    let lab = Lab::new();
    let (mut coordinator, mut workers) = cluster(&lab, 2);
    coordinator.client.wait_for_step(random_step());
    let mut leaver = workers.remove(0);
    leaver.signal(Signal::SIGTERM);
    leaver.wait().expect_code(143);
    finish(&mut coordinator.process, workers);
    assert_disturbed(&lab, "held");
    assert_eq!(lab.journal().generations().last().expect("there are some").members, 1);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_frozen_worker_is_done_without_and_its_thaw_changes_no_bit() {
    let lab = Lab::new();
    let mut coordinator =
        lab.coordinator(&["--expect-workers", "3", "--set", "cluster.failure_timeout=500ms"]);
    let workers: Vec<_> = (1..=3).map(|n| lab.worker(&format!("worker-{n}"), &coordinator.address)).collect();
    coordinator.client.wait_for_step(random_step());
    workers[0].signal(Signal::SIGSTOP);
    wait_for_members(&lab, 2);
    workers[0].signal(Signal::SIGCONT);
    finish(&mut coordinator.process, workers);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_standby_takes_over_when_the_only_member_is_killed() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--set", "cluster.max_workers=1"]);
    let member = lab.worker("member", &coordinator.address);
    coordinator.client.wait_for_step(1);
    let standby = lab.worker("standby", &coordinator.address);
    // It holds nothing, so what it goes on from is the newest snapshot.
    coordinator.client.wait_until("somebody stands by, and there is a snapshot", |status| {
        status.snapshot_step.is_some() && status.workers.iter().any(|worker| worker.role() == Role::Standby)
    });
    member.kill();
    finish(&mut coordinator.process, vec![standby]);
    assert_disturbed(&lab, "snapshot");
    assert_undisturbed_weights(&lab);
}

#[test]
fn the_last_worker_that_leaves_writes_a_snapshot_and_the_next_goes_on_from_it() {
    let lab = Lab::new();
    // The only snapshot is the one that leaving makes.
    let mut coordinator = lab.coordinator(&["--set", "checkpoint.every=0"]);
    let mut first = lab.worker("first", &coordinator.address);
    coordinator.client.wait_for_step(random_step());
    first.signal(Signal::SIGTERM);
    first.wait().expect_code(143);
    let snapshot = coordinator.client.status().expect("the coordinator is there").snapshot_step;
    assert!(snapshot.is_some_and(|step| (1..STEPS).contains(&step)), "{snapshot:?}");

    let second = lab.worker("second", &coordinator.address);
    finish(&mut coordinator.process, vec![second]);
    assert_disturbed(&lab, "snapshot");
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_killed_coordinator_is_started_again_and_its_workers_step_on() {
    let lab = Lab::new();
    let (coordinator, workers) = cluster(&lab, 2);
    coordinator.client.wait_for_step(random_step());
    let listen = coordinator.address.trim_start_matches("http://").to_owned();
    coordinator.process.kill();
    let mut coordinator = lab.coordinator_at(&listen, &[]);
    finish(&mut coordinator.process, workers);
    let generations = lab.journal().generations();
    assert_eq!(generations.len(), 1, "the generation that was alive is adopted: {generations:#?}");
    assert_undisturbed_weights(&lab);
}

#[test]
fn workers_finish_their_steps_while_the_coordinator_is_away() {
    let lab = Lab::new();
    let (coordinator, mut workers) = cluster(&lab, 2);
    coordinator.client.wait_for_step(random_step());
    let listen = coordinator.address.trim_start_matches("http://").to_owned();
    coordinator.process.kill();
    for worker in &mut workers {
        worker.wait_for_words(&format!("parked: all do at this step generation=1 step={STEPS}"));
    }
    let mut coordinator = lab.coordinator_at(&listen, &[]);
    finish(&mut coordinator.process, workers);
    // Steps that nobody was there to hear of are in the journal all the same.
    let journal = lab.journal();
    assert_eq!(journal.number("select count(*) from metrics"), STEPS);
    assert_undisturbed_weights(&lab);
}

#[test]
fn lsgan_up_starts_a_killed_coordinator_again() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[]);
    lab.client(&mut up).wait_for_step(random_step());
    let children = children_of(up.id()).into_iter();
    let coordinator = children.filter(|seen| seen.arguments[0].ends_with("/coordinator")).map(|seen| seen.id);
    coordinator.for_each(|id| send(id, Signal::SIGKILL));
    up.wait().expect_code(0).expect_err(&["the coordinator died and is started again"]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn everything_is_killed_and_goes_on_from_the_newest_snapshot() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[]);
    let client = lab.client(&mut up);
    client.wait_until("there is a snapshot", |status| status.snapshot_step.is_some());
    let children = children_of(up.id());
    up.kill();
    until("the children of the killed lsgan up are gone", || {
        let left: Vec<_> = children.iter().filter(|seen| lives(seen)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });

    lab.up(3, &[]).wait().expect_code(0);
    assert_disturbed(&lab, "snapshot");
    assert_undisturbed_weights(&lab);
}

/// A coordinator and so many workers, all members of its first generation.
fn cluster(lab: &Lab, workers: u32) -> (Coordinator, Vec<Process>) {
    disturb::cluster(lab, workers, &[])
}
