//! Memory that is refused, and captures that cannot be ended.

use lsgan_tests::process::Ended;
use lsgan_tests::trials::Test;
use lsgan_tests::{Lab, tests, until};

use crate::double::{self, Setup};
use crate::log::{Counts, Log};

pub const TESTS: &[Test] = tests![
    captures_that_cannot_be_ended_leave_a_run_call_by_call,
    a_worker_that_is_refused_memory_says_so_whichever_allocation_it_was,
];

/// A run that is short, records graphs, and has two virtual ranks.
const SETS: [&str; 4] = ["steps=12", "batch.virtual_ranks=2", "batch.per_rank=4", "compute.cuda_graphs=auto"];

const NO_GRAPHS: &str = "no CUDA graphs are used, though compute.cuda_graphs is auto: ";

fn setup<'a>(variables: &'a [(&'a str, &'a str)]) -> Setup<'a> {
    Setup { config: "configs/quickstart.yaml", sets: &SETS, variables }
}

/// D's captures are the first and the second, G's the third and the fourth.
fn captures_that_cannot_be_ended_leave_a_run_call_by_call() {
    for nth in 1..=4 {
        let trained = setup(&[("NULL_GPU_FAIL_END_CAPTURE", &nth.to_string())]).train();
        trained.log.assert_legal();
        let said = trained.said();
        assert!(said.contains(NO_GRAPHS), "capture {nth} failed, and nothing says so: {said}");
        let last = trained.log.of_one().last().expect("it has trained");
        assert_eq!(last.get("graph_launches"), 0, "{last:?}");
        assert_eq!(last.get("graphs"), 0, "what was recorded before is freed: {last:?}");
    }
}

/// How a worker takes it that from one allocation on all are refused.
enum Outcome {
    Ended(Ended),
    /// NCCL's group has no memory; the coordinator tries to form one again, more and more rarely, and names why.
    NoGroup,
    /// It had fewer allocations: libtorch's depend on how far its thread for backward passes is.
    NotReached,
}

fn a_worker_that_is_refused_memory_says_so_whichever_allocation_it_was() {
    let count = allocations(&setup(&[]).train().log);
    let (mut errors, mut fallbacks, mut groups) = (0, 0, 0);
    for nth in 1..=count {
        match refused_from(nth) {
            Outcome::NoGroup => groups += 1,
            Outcome::NotReached => {}
            Outcome::Ended(ended) if ended.code == Some(0) => {
                assert!(
                    ended.err.contains(NO_GRAPHS),
                    "allocation {nth} is done without in silence; {ended}"
                );
                fallbacks += 1;
            }
            Outcome::Ended(ended) => {
                let ended = ended.expect_code(1).expect_one_error();
                ended.expect_err(&["too little memory", "out of memory", "Lower batch.per_rank"]);
                errors += 1;
            }
        }
    }
    println!("of {count} allocations {errors} end the worker, {fallbacks} the graphs, {groups} the group");
    assert!(
        errors > 10 && fallbacks > 0 && groups > 0,
        "each kind is there: {errors}, {fallbacks}, {groups}"
    );
}

/// Those of the one process that trained, of device and pinned memory.
#[track_caller]
fn allocations(log: &Log) -> i64 {
    let count = |half: &Counts| half.get("device_allocations") + half.get("pinned_allocations");
    log.of_one().iter().map(count).sum()
}

/// A worker whose allocations are refused from the n-th on.
#[track_caller]
fn refused_from(nth: i64) -> Outcome {
    let lab = Lab::new();
    let from = nth.to_string();
    let arguments = setup(&[]).arguments(&lab);
    let coordinator = lab.coordinator_of(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let mut worker = double::command(&lab, "worker", &[("NULL_GPU_FAIL_ALLOCATIONS_FROM", &from)]);
    worker.args(["--coordinator", &coordinator.address, "--name", "anna", "--peer-listen", "127.0.0.1:0"]);
    let mut worker = lab.start_command("anna", worker);
    let output = worker.output();
    let has_ended = until("the worker ends, or says that it has no group", || {
        let no_group = output.err().contains("the device could not pin memory of the host");
        match worker.running() {
            Err(_) => Ok(true),
            Ok(()) if no_group => Ok(false),
            Ok(()) => Err(output.err()),
        }
    });
    let log = double::log_of(&lab);
    log.assert_legal();
    if !has_ended {
        return Outcome::NoGroup;
    }
    let ended = worker.wait();
    match ended.code {
        Some(0) if allocations(&log) < nth => Outcome::NotReached,
        _ => Outcome::Ended(ended),
    }
}
