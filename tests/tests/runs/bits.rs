//! The promise: the trained weights are a pure function of the run's file and data. Each test disturbs a run in one
//! way, shows by the journal that it did, and compares the hashes of the final weights with an undisturbed run's.

use lsgan_tests::binaries::root;
use lsgan_tests::disturb::{
    Cluster, assert_disturbed, assert_undisturbed_weights, finish, random_step, wait_for_members,
};
use lsgan_tests::lab::STEPS;
use lsgan_tests::process::{all_gone, children_named, children_of, send};
use lsgan_tests::{Lab, Weights};
use lsgan_wire::v1::Role;
use nix::sys::signal::Signal;

fn run_with_workers(workers: u32, more: &[&str]) -> Lab {
    let lab = Lab::new();
    let ended = lab.up(workers, more).succeeds();
    let weights = lab.weights();
    ended.expect_out(&[&weights.generator, &weights.discriminator]);
    lab
}

#[test]
fn two_to_four_workers_train_the_bits_of_one() {
    for workers in 2..=4 {
        let lab = run_with_workers(workers, &[]);
        assert_eq!(lab.journal().generations()[0].members, u64::from(workers));
        assert_undisturbed_weights(&lab);
    }
}

#[test]
fn two_threads_train_the_bits_of_one() {
    assert_undisturbed_weights(&run_with_workers(1, &["--set", "compute.threads=2"]));
    assert_undisturbed_weights(&run_with_workers(2, &["--set", "compute.threads=2"]));
}

/// What is off by default, at once: networks that are told classes, both other optimizers with a schedule and clipping, and all that
/// has a state or random numbers of its own. G is updated at every fifth step: most of what disturbs the run comes between two
/// of its updates. `train` holds each of these to PyTorch's numbers.
#[test]
fn with_all_that_is_off_by_default_kills_and_stops_change_no_bit() {
    const FIELDS: &[&str] = &[
        "optimizer.discriminator_steps=5",
        "optimizer.generator={adamw: {learning_rate: 2.0e-4}}",
        "optimizer.discriminator={rmsprop: {learning_rate: 2.0e-4, momentum: 0.3}}",
        "optimizer.schedule={warm_up_steps: 20, decay: cosine, decay_steps: 150, floor: 0.1}",
        "optimizer.clip_norm=4.0",
        "objective={hinge: {}}",
        "regularization.r1={gamma: 1.0e-4, every: 3}",
        "model.spectral_norm=true",
        "model.batch_norm=generator",
        "model.classes={count: 10, embedding: 8, discriminator: concatenation}",
        "augment={color: true, translation: 0.125, cutout: 0.5}",
        "ema.ramp=0.5",
    ];
    let labels = root().join("datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz");
    let labels = format!("data.source.idx.labels={}", labels.display());
    let more: Vec<_> =
        FIELDS.iter().copied().chain([labels.as_str()]).flat_map(|set| ["--set", set]).collect();
    let more = &more[..];
    let alone = run_with_workers(1, more);
    let rows = |more: &str| alone.journal().number(&format!("select count(*) from metrics {more}"));
    assert_eq!([rows(""), rows("where loss_g is not null")], [STEPS, STEPS / 5]);
    assert_ne!(alone.weights(), *Weights::undisturbed());
    assert_eq!(run_with_workers(4, more).weights(), alone.weights());

    let killed = Lab::new();
    let mut up = killed.up(2, more);
    killed.client(&mut up).wait_for_step(random_step());
    send(children_named(up.id(), "worker")[0], Signal::SIGKILL);
    up.succeeds().expect_err(&["and is started again"]);
    assert_disturbed(&killed, "held");
    assert_eq!(killed.weights(), alone.weights());

    let stopped = Lab::new();
    let mut up = stopped.up(2, more);
    stopped.client(&mut up).wait_for_step(random_step());
    up.signal(Signal::SIGINT);
    up.wait().expect_code(130).expect_out(&["stopped after step", "with a snapshot"]);
    stopped.up(3, more).succeeds();
    assert_disturbed(&stopped, "snapshot");
    assert_eq!(stopped.weights(), alone.weights());
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

        lab.up(after, &[]).succeeds();
        assert_disturbed(&lab, "snapshot");
        assert_undisturbed_weights(&lab);
    }
}

#[test]
fn a_killed_worker_is_started_again_and_the_bits_are_the_same() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[]);
    lab.client(&mut up).wait_for_step(random_step());
    send(children_named(up.id(), "worker")[0], Signal::SIGKILL);
    up.succeeds().expect_err(&["and is started again"]);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_killed_worker_that_does_not_come_back_is_done_without() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.wait_for_random_step();
    cluster.workers.remove(0).kill();
    let lab = cluster.finish();
    assert_disturbed(&lab, "held");
    assert_eq!(lab.journal().newest().members, 2);
}

#[test]
fn a_worker_that_joins_late_takes_part_and_the_bits_are_the_same() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.wait_for_random_step();
    cluster.join("late", &[]);
    let lab = cluster.finish();
    assert_disturbed(&lab, "held");
    assert_eq!(lab.journal().newest().members, 2);
}

#[test]
fn a_worker_that_leaves_hands_its_ranks_over_and_the_bits_are_the_same() {
    let mut cluster = Cluster::start(2, &[]);
    cluster.wait_for_random_step();
    cluster.leaves(0);
    let lab = cluster.finish();
    assert_disturbed(&lab, "held");
    assert_eq!(lab.journal().newest().members, 1);
}

#[test]
fn a_frozen_worker_is_done_without_and_its_thaw_changes_no_bit() {
    let cluster = Cluster::start(3, &["--set", "cluster.failure_timeout=500ms"]);
    cluster.wait_for_random_step();
    cluster.workers[0].signal(Signal::SIGSTOP);
    wait_for_members(&cluster.lab, 2);
    cluster.workers[0].signal(Signal::SIGCONT);
    assert_disturbed(&cluster.finish(), "held");
}

#[test]
fn a_standby_takes_over_when_the_only_member_is_killed() {
    let mut cluster = Cluster::start(1, &["--set", "cluster.max_workers=1"]);
    cluster.wait_for_step(1);
    cluster.join("standby", &[]);
    // The standby holds no state, so that it can only go on from the newest snapshot.
    cluster.coordinator.client.wait_until("a worker stands by, and there is a snapshot", |status| {
        status.snapshot_step.is_some() && status.workers.iter().any(|worker| worker.role() == Role::Standby)
    });
    cluster.workers.remove(0).kill();
    assert_disturbed(&cluster.finish(), "snapshot");
}

#[test]
fn the_last_worker_that_leaves_writes_a_snapshot_and_the_next_goes_on_from_it() {
    // The only snapshot is the one that leaving makes.
    let mut cluster = Cluster::start(1, &["--set", "checkpoint.every=0"]);
    cluster.wait_for_random_step();
    cluster.leaves(0);
    let snapshot = cluster.coordinator.client.status().expect("the coordinator is there").snapshot_step;
    assert!(snapshot.is_some_and(|step| (1..STEPS).contains(&step)), "{snapshot:?}");

    cluster.join("second", &[]);
    assert_disturbed(&cluster.finish(), "snapshot");
}

#[test]
fn a_killed_coordinator_is_started_again_and_its_workers_step_on() {
    let mut cluster = Cluster::start(2, &[]);
    cluster.wait_for_random_step();
    cluster.restart_coordinator(&[]);
    let generations = cluster.finish().journal().generations();
    assert_eq!(generations.len(), 1, "the generation that was alive is adopted: {generations:#?}");
}

#[test]
fn workers_finish_their_steps_while_the_coordinator_is_away() {
    let Cluster { lab, mut coordinator, mut workers } = Cluster::start(2, &[]);
    coordinator.client.wait_for_step(random_step());
    let listen = coordinator.kill();
    for worker in &mut workers {
        worker.wait_for_words(&format!("parked: all do at this step generation=1 step={STEPS}"));
    }
    let mut coordinator = lab.coordinator_at(&listen, &[]);
    finish(&mut coordinator.process, workers);
    // Steps that were done meanwhile are in the journal all the same.
    assert_eq!(lab.journal().number("select count(*) from metrics"), STEPS);
    assert_undisturbed_weights(&lab);
}

#[test]
fn lsgan_up_starts_a_killed_coordinator_again() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[]);
    lab.client(&mut up).wait_for_step(random_step());
    send(children_named(up.id(), "coordinator")[0], Signal::SIGKILL);
    up.succeeds().expect_err(&["the coordinator died and is started again"]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn everything_is_killed_and_goes_on_from_the_newest_snapshot() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[]);
    lab.client(&mut up).wait_until("there is a snapshot", |status| status.snapshot_step.is_some());
    let children = children_of(up.id());
    up.kill();
    all_gone(&children);

    lab.up(3, &[]).succeeds();
    assert_disturbed(&lab, "snapshot");
    assert_undisturbed_weights(&lab);
}
