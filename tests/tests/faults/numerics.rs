//! Workers on other hardware: here one whose libtorch is told to use an older CPU's instructions.

use lsgan_tests::disturb::{assert_undisturbed_weights, finish, random_step};
use lsgan_tests::{Lab, Weights, until};
use nix::sys::signal::Signal;

/// What libtorch and its oneDNN read: they compute as on a CPU without wider vectors.
const OLDER_CPU: [(&str, &str); 2] = [("ATEN_CPU_CAPABILITY", "default"), ("ONEDNN_MAX_CPU_ISA", "AVX2")];

#[test]
fn a_worker_that_would_compute_other_bits_is_refused_and_the_run_goes_on() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let worker = lab.worker("worker", &coordinator.address);
    coordinator.client.wait_for_step(1);
    let mut other = lab.worker_with("other", &coordinator.address, &[], &OLDER_CPU);
    let ended = other.wait().expect_code(2).expect_one_error();
    ended.expect_err(&[
        "would compute other bits than the run",
        "it has libtorch",
        "the run has libtorch",
        "numerics",
    ]);
    let ended = coordinator.process.wait().expect_code(0);
    ended.expect_err(&["a worker was refused: this worker would compute other bits"]);
    finish(&mut coordinator.process, vec![worker]);
    assert_eq!(lab.journal().generations().len(), 1, "the run was not disturbed");
    assert_undisturbed_weights(&lab);
}

#[test]
fn any_numerics_admit_it_with_a_warning() {
    let lab = Lab::new();
    let any = ["--expect-workers", "2", "--set", "cluster.numerics=any"];
    let mut coordinator = lab.coordinator(&any);
    let mut workers = vec![lab.worker("worker", &coordinator.address)];
    coordinator.client.wait_until("the first one sets the numerics", |status| status.workers.len() == 1);
    workers.push(lab.worker_with("other", &coordinator.address, &[], &OLDER_CPU));
    let ended = coordinator.process.wait().expect_code(0);
    ended.expect_err(&["(other) has other numerics than the run", "no longer promises equal bits"]);
    finish(&mut coordinator.process, workers);
    assert_eq!(lab.journal().generations()[0].members, 2);
}

#[test]
fn the_older_instructions_make_a_mixed_fleet_agree() {
    let avx2 = ["--set", "compute.cpu_isa=avx2"];
    let alone = Lab::new();
    alone.up(1, &avx2).wait().expect_code(0);

    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[&["--expect-workers", "2"], &avx2[..]].concat());
    let plain = lab.worker("plain", &coordinator.address);
    let other = lab.worker_with("other", &coordinator.address, &[], &OLDER_CPU);
    finish(&mut coordinator.process, vec![plain, other]);
    let journal = lab.journal();
    assert_eq!(journal.generations()[0].members, 2);
    let numerics = journal.texts("select value from meta where key = 'numerics'");
    assert!(numerics[0].contains("AVX2"), "{numerics:?}");
    assert_eq!(lab.weights(), alone.weights());
    println!(
        "the same bits as with this CPU's own instructions: {}",
        lab.weights() == *Weights::undisturbed()
    );
}

/// A stopped run is resumed where only other hardware is there.
#[test]
fn resuming_on_other_hardware_says_so_and_asks_for_any_numerics() {
    let lab = Lab::new();
    let mut up = lab.up(1, &[]);
    lab.client(&mut up).wait_for_step(random_step());
    up.signal(Signal::SIGINT);
    up.wait().expect_code(130);

    let coordinator = lab.coordinator(&[]);
    let mut other = lab.worker_with("other", &coordinator.address, &[], &OLDER_CPU);
    let ended = other.wait().expect_code(2).expect_one_error();
    ended.expect_err(&["would compute other bits than the run", "cluster.numerics to any"]);
    let notices = coordinator.client.status().expect("it waits for others").notices;
    assert!(notices.iter().any(|n| n.warning && n.text.contains("a worker was refused")), "{notices:?}");
    coordinator.process.kill();

    let mut coordinator = lab.coordinator(&["--set", "cluster.numerics=any"]);
    let other = lab.worker_with("other", &coordinator.address, &[], &OLDER_CPU);
    let warned = "has other numerics than the run";
    until("the run warns", || match coordinator.process.output().err() {
        err if err.contains(warned) => Ok(()),
        err => Err(err),
    });
    finish(&mut coordinator.process, vec![other]);
}
