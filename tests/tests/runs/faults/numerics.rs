//! Workers on other hardware: here one whose libtorch is told to use an older CPU's instructions.

use std::process::Command;

use lsgan_tests::disturb::{Cluster, finish, random_step};
use lsgan_tests::{Coordinator, Lab, Process, Weights, until};
use nix::sys::signal::Signal;

/// A worker whose libtorch and oneDNN compute as on a CPU without wider vectors.
fn other(lab: &Lab, coordinator: &Coordinator) -> Process {
    let mut older_cpu = Command::new("env");
    older_cpu.args(["ATEN_CPU_CAPABILITY=default", "ONEDNN_MAX_CPU_ISA=AVX2"]);
    lab.worker_under(older_cpu, "other", &coordinator.address)
}

#[test]
fn a_worker_that_would_compute_other_bits_is_refused_and_the_run_goes_on() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.wait_for_step(1);
    let would = "would compute other bits than the run";
    let words = [would, "it has libtorch", "the run has libtorch", "numerics"];
    other(&cluster.lab, &cluster.coordinator).fails(2, &words);
    cluster
        .coordinator
        .process
        .succeeds()
        .expect_err(&["a worker was refused: this worker would compute other bits"]);
    assert_eq!(cluster.finish().journal().generations().len(), 1, "the run was not disturbed");
}

#[test]
fn any_numerics_admit_it_with_a_warning() {
    let mut cluster = Cluster::of(&[], &["--expect-workers", "2", "--set", "cluster.numerics=any"]);
    cluster.join("worker", &[]);
    let client = &cluster.coordinator.client;
    client.wait_until("the first one sets the numerics", |status| status.workers.len() == 1);
    cluster.workers.push(other(&cluster.lab, &cluster.coordinator));
    cluster
        .coordinator
        .process
        .succeeds()
        .expect_err(&["(other) has other numerics than the run", "no longer promises equal bits"]);
    assert_eq!(cluster.ends_well().journal().generations()[0].members, 2);
}

#[test]
fn the_older_instructions_make_a_mixed_fleet_agree() {
    let avx2 = ["--set", "compute.cpu_isa=avx2"];
    let alone = Lab::new();
    alone.up(1, &avx2).succeeds();

    let mut cluster = Cluster::of(&[], &[&["--expect-workers", "2"], &avx2[..]].concat());
    cluster.join("plain", &[]);
    cluster.workers.push(other(&cluster.lab, &cluster.coordinator));
    let lab = cluster.ends_well();
    assert_eq!(lab.journal().generations()[0].members, 2);
    let numerics = lab.journal().texts("select value from meta where key = 'numerics'");
    assert!(numerics[0].contains("AVX2"), "{numerics:?}");
    assert_eq!(lab.weights(), alone.weights());
    let same = lab.weights() == *Weights::undisturbed();
    println!("the same bits as with this CPU's own instructions: {same}");
}

/// A stopped run is resumed where only other hardware is there.
#[test]
fn resuming_on_other_hardware_says_so_and_asks_for_any_numerics() {
    let lab = Lab::new();
    let mut up = lab.up(1, &[]);
    lab.client(&mut up).wait_for_step(random_step());
    up.signal(Signal::SIGINT);
    up.wait().expect_code(130);

    let mut coordinator = lab.coordinator(&[]);
    let words = ["would compute other bits than the run", "cluster.numerics to any"];
    other(&lab, &coordinator).fails(2, &words);
    let notices = coordinator.client.status().expect("it waits for others").notices;
    assert!(notices.iter().any(|n| n.warning && n.text.contains("a worker was refused")), "{notices:?}");
    coordinator.kill();

    let mut coordinator = lab.coordinator(&["--set", "cluster.numerics=any"]);
    let other = other(&lab, &coordinator);
    let warned = "has other numerics than the run";
    until("the run warns", || match coordinator.process.output().err() {
        err if err.contains(warned) => Ok(()),
        err => Err(err),
    });
    finish(&mut coordinator.process, vec![other]);
}

/// The first worker was none of the run's machines, and what it computes became the run's numerics.
#[test]
fn an_operator_has_the_numerics_forgotten_that_another_machine_has_set() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let mut stranger = other(&lab, &coordinator);
    coordinator.client.wait_for_step(1);
    lab.lsgan(["stop", "--coordinator", &coordinator.address]).succeeds();
    coordinator.process.wait().expect_code(130);
    stranger.wait();

    let mut coordinator = lab.coordinator(&["--new-numerics"]);
    let worker = lab.worker_with("worker", &coordinator.address, &[]);
    let forgotten = "are forgotten, as --new-numerics says";
    until("the run says so", || match coordinator.process.output().err() {
        err if err.contains(forgotten) => Ok(()),
        err => Err(err),
    });
    finish(&mut coordinator.process, vec![worker]);
}
