//! Several workers, each with a null GPU of its own, that sum by the double of NCCL: its calls last until all ranks call,
//! and what is queued behind them waits as on a GPU.

use lsgan_tests::binaries::binary;
use lsgan_tests::process::{children_named, send};
use lsgan_tests::trials::Test;
use lsgan_tests::{Lab, Process, tests};
use nix::sys::signal::Signal;

use crate::double::{self, Setup};
use crate::log::Log;

pub const TESTS: &[Test] = tests![
    two_workers_queue_one_sum_a_half_and_wait_for_none,
    two_workers_that_replay_graphs_queue_one_sum_a_half_and_wait_for_none,
    a_worker_that_is_killed_between_sums_is_started_again,
    two_workers_on_one_gpu_sum_over_tcp_and_say_so,
    a_run_with_tls_says_that_nccl_encrypts_nothing,
];

const STEPS: usize = 40;
/// Steps that all do the same; the probe of numerics is two halves before them.
const STEADY: std::ops::Range<usize> = 12..30;

/// `lsgan up` with two workers.
fn start(lab: &Lab, more: &[&str]) -> Process {
    let library = binary("deps/liblsgan_nccl_double.so").display().to_string();
    let variables = [("NULL_GPU_DEVICES", "2"), ("LSGAN_NCCL_LIB", &*library)];
    let sets = [&["report.every=100"], more].concat();
    Setup { config: "tests/small.yaml", sets: &sets, variables: &variables }.start(lab, 2)
}

/// The log of a run to its end.
#[track_caller]
fn log_of_two(graphs: &str) -> Log {
    let lab = Lab::new();
    let (steps, graphs) = (format!("steps={STEPS}"), format!("compute.cuda_graphs={graphs}"));
    start(&lab, &[&steps, &graphs]).succeeds();
    assert_eq!(lab.journal().newest().members, 2);
    double::log_of(&lab)
}

#[track_caller]
fn assert_queued(log: &Log) {
    log.assert_legal();
    assert_eq!(log.halves.len(), 2, "both workers have trained");
    for halves in &log.halves {
        let first = halves.len() - 2 * STEPS;
        let steady = &halves[first + 2 * STEADY.start..first + 2 * STEADY.end];
        for half in steady {
            assert_eq!(half.get("host_functions"), 1, "a half's sum is one call of NCCL: {half:?}");
            let waits = ["stream_syncs", "device_syncs", "copy_syncs", "pageable"].map(|name| half.get(name));
            assert_eq!(waits, [0; 4], "the host waits for no stream: {half:?}");
        }
    }
}

fn two_workers_queue_one_sum_a_half_and_wait_for_none() {
    let log = log_of_two("off");
    assert_queued(&log);
    assert!(log.captures.is_empty(), "{:?}", log.captures);
}

/// Each has two virtual ranks, and records D on real samples by itself, which it replays beside G's sum.
fn two_workers_that_replay_graphs_queue_one_sum_a_half_and_wait_for_none() {
    let log = log_of_two("auto");
    assert_queued(&log);
    let of_a_rank = ["D on real samples", "the rest of D's half", "G's half"];
    assert_eq!(log.captures.len(), 2 * 2 * of_a_rank.len(), "{:?}", log.captures);
    for halves in &log.halves {
        let first = halves.len() - 2 * STEPS;
        let steady = &halves[first + 2 * STEADY.start..first + 2 * STEADY.end];
        let replayed: i64 = steady.iter().map(|half| half.get("graph_launches")).sum();
        // A half ends where the device reports it, which is later than what the host has queued.
        let wanted = (2 * of_a_rank.len() * STEADY.len()) as i64;
        assert!((wanted - replayed).abs() <= 2 * 2, "{replayed} of {wanted}: {steady:?}");
    }
}

fn a_worker_that_is_killed_between_sums_is_started_again() {
    let lab = Lab::new();
    let mut up = start(&lab, &["steps=400", "report.every=1"]);
    lab.client(&mut up).wait_for_step(60);
    send(children_named(up.id(), "worker")[0], Signal::SIGKILL);
    up.succeeds().expect_err(&["and is started again"]);
    assert!(lab.journal().newest().generation > 1, "a generation follows the death");
    double::log_of(&lab).assert_legal();
}

/// `lsgan up` starts one worker for each GPU; these are started by hand. The ring's networks travel in 64 bits, the small
/// pictures' in 32.
fn two_workers_on_one_gpu_sum_over_tcp_and_say_so() {
    let library = binary("deps/liblsgan_nccl_double.so").display().to_string();
    let variables = [("LSGAN_NCCL_LIB", &*library)];
    let sets = ["steps=20", "cluster.min_workers=2", "report.every=1"];
    for config in ["bench/configs/mlp.yaml", "bench/configs/dcgan32-f32.yaml"] {
        let lab = Lab::new();
        let arguments = Setup { config, sets: &sets, variables: &variables }.arguments(&lab);
        let mut coordinator = lab.coordinator_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let workers = ["anna", "bert"].map(|name| {
            let mut worker = double::command(&lab, "worker", &variables);
            worker.args([
                "--coordinator",
                &coordinator.address,
                "--name",
                name,
                "--peer-listen",
                "127.0.0.1:0",
            ]);
            lab.start_command(name, worker)
        });
        let ended = workers.map(|mut worker| worker.succeeds());
        coordinator.process.succeeds();
        let said =
            ended.iter().filter(|ended| ended.err.contains("compute on one GPU, which NCCL refuses")).count();
        assert_eq!(said, 1, "the first worker says so: {}", ended[0]);
        assert_eq!(lab.journal().newest().members, 2);
        let log = double::log_of(&lab);
        log.assert_legal();
        let calls: i64 = log.halves.iter().flatten().map(|half| half.get("host_functions")).sum();
        assert_eq!((log.halves.len(), calls), (2, 0), "both train, and NCCL sums nothing");
    }
}

/// The first worker says so once a generation, the log and the status show it; without TLS nobody expects encryption.
fn a_run_with_tls_says_that_nccl_encrypts_nothing() {
    let words = "the run has TLS, but sums between GPUs travel over NCCL, which encrypts nothing";
    for tls in [true, false] {
        let lab = Lab::new();
        let certs = lab.path("certs").display().to_string();
        lab.lsgan(["certs", "init", &certs]).succeeds();
        let library = binary("deps/liblsgan_nccl_double.so").display().to_string();
        let mut variables = vec![("NULL_GPU_DEVICES", "2"), ("LSGAN_NCCL_LIB", &*library)];
        variables.extend(tls.then_some(("LSGAN_TLS", &*certs)));
        let sets = ["steps=20", "report.every=1"];
        let ended = Setup { config: "tests/small.yaml", sets: &sets, variables: &variables }
            .start(&lab, 2)
            .succeeds();
        assert_eq!(lab.journal().newest().members, 2, "{ended}");
        let warnings = lab.journal().texts("select text from events where warning = 1");
        let said = warnings.iter().filter(|text| text.contains(words)).count();
        assert_eq!(said, usize::from(tls), "{warnings:#?}");
    }
}
