//! What a half of a steady step launches, copies and waits for: the host's work for each step on a GPU.
//!
//! The numbers are those of today, so that a half that does more fails, and one that does less asks for its new numbers
//! here. Wanted are no more than 120 launches a half, which is not reached yet: two fused kernels, one for what is added
//! to the sum and one for the update, would do that. `NULL_GPU_KERNELS` (tests/null-gpu) names what is launched.

use std::fmt;

use lsgan_tests::tests;
use lsgan_tests::trials::Test;

use crate::double::Setup;
use crate::log::Counts;

pub const TESTS: &[Test] = tests![
    budgets_of_the_quickstart,
    budgets_of_the_quickstart_with_one_virtual_rank,
    budgets_of_dcgan64_in_f32,
    budgets_of_dcgan64_in_tf32,
    budgets_of_dcgan64_in_bf16,
    budgets_of_dcgan64_in_bf16_with_two_virtual_ranks,
    budgets_of_lsgan112_in_f32,
    budgets_of_lsgan112_in_bf16,
    budgets_of_the_ring,
];

/// The host's calls for one half.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Half {
    launches: i64,
    /// Of graphs that are launched; without the launches above.
    nodes: i64,
    graphs: i64,
    /// Copies to the device, to the host, within the device.
    copies: [i64; 3],
    sets: i64,
    /// Events for which the host waits: two slots of a batch or of noise that the device has read long ago.
    events: i64,
    /// Other waits of the host for the device. A step has none: `train::engine::device` says why.
    waits: i64,
}

impl Half {
    fn of(counts: &Counts) -> Self {
        let get = |name| counts.get(name);
        Self {
            launches: get("launches"),
            nodes: get("graph_nodes"),
            graphs: get("graph_launches"),
            copies: ["host_to_device", "device_to_host", "on_device"].map(get),
            sets: get("sets"),
            events: get("event_syncs"),
            waits: ["stream_syncs", "device_syncs", "copy_syncs", "pageable"].map(get).iter().sum(),
        }
    }
}

/// As a line of this file.
impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { launches, nodes, graphs, copies, sets, events, waits } = self;
        match (graphs, sets, waits) {
            (0, sets, 0) => write!(f, "called({launches}, {copies:?}, {sets}, {events})"),
            (graphs, 0, 0) => write!(f, "replayed([{graphs}, {nodes}], {launches}, {copies:?}, {events})"),
            _ => write!(
                f,
                "{graphs} graphs of {nodes}, {launches}, {copies:?}, {sets}, {events}, and {waits} waits"
            ),
        }
    }
}

const STEPS: usize = 12;
/// Steps that all do the same: behind those that are called one by one, recorded and proved, before the last, which reports.
const STEADY: std::ops::Range<usize> = 6..10;

/// D's half and G's half of a steady step.
#[track_caller]
fn steady(config: &str, sets: &[&str], graphs: &str) -> [Half; 2] {
    let (steps, graphs) = (format!("steps={STEPS}"), format!("compute.cuda_graphs={graphs}"));
    let sets = [sets, &[&steps, &graphs, "report.every=100"]].concat();
    let trained = Setup { config, sets: &sets, variables: &[] }.train();
    trained.log.assert_legal();
    let halves = trained.log.of_one();
    // A worker's probe of its numerics comes first.
    let first = halves.len().checked_sub(2 * STEPS).expect("each half has a line");
    let step = |step: usize| [0, 1].map(|half| Half::of(&halves[first + 2 * step + half]));
    let found = step(STEADY.start);
    for other in STEADY {
        assert_eq!(step(other), found, "step {other} is not like step {}", STEADY.start);
    }
    found
}

/// Checks a row of the table both ways: call by call, and replayed as graphs.
#[track_caller]
fn check(config: &str, sets: &[&str], by_call: [Half; 2], replayed: [Half; 2]) {
    let found = ["off", "auto"].map(|graphs| steady(config, sets, graphs));
    assert_eq!(
        found,
        [by_call, replayed],
        "{config} with {sets:?}, call by call and replayed, D's half and G's"
    );
}

/// A half that is queued call by call.
const fn called(launches: i64, copies: [i64; 3], sets: i64, events: i64) -> Half {
    Half { launches, nodes: 0, graphs: 0, copies, sets, events, waits: 0 }
}

/// A half that is replayed: graphs with these nodes together, and what is queued around them, which is mostly the update.
const fn replayed([graphs, nodes]: [i64; 2], launches: i64, copies: [i64; 3], events: i64) -> Half {
    Half { launches, nodes, graphs, copies, sets: 0, events, waits: 0 }
}

fn budgets_of_the_quickstart() {
    let by_call = [called(642, [9, 2, 87], 8, 8), called(471, [1, 2, 71], 8, 0)];
    let replayed = [replayed([4, 648], 75, [9, 2, 22], 8), replayed([4, 468], 76, [1, 2, 6], 0)];
    check("configs/quickstart.yaml", &[], by_call, replayed);
}

fn budgets_of_the_quickstart_with_one_virtual_rank() {
    let by_call = [called(216, [3, 2, 27], 2, 2), called(174, [1, 2, 23], 2, 0)];
    let replayed = [replayed([1, 162], 75, [3, 2, 10], 2), replayed([1, 117], 76, [1, 2, 6], 0)];
    check("configs/quickstart.yaml", &["batch.virtual_ranks=1"], by_call, replayed);
}

/// Of f32 and tf32, which differ only in what cuDNN and cuBLAS do.
#[track_caller]
fn check_dcgan64(sets: &[&str]) {
    let by_call = [called(241, [3, 2, 34], 2, 2), called(184, [1, 2, 28], 2, 0)];
    let replayed = [replayed([1, 194], 75, [3, 2, 10], 2), replayed([1, 132], 76, [1, 2, 6], 0)];
    check("bench/configs/dcgan64-f32.yaml", sets, by_call, replayed);
}

fn budgets_of_dcgan64_in_f32() {
    check_dcgan64(&["batch.virtual_ranks=1"]);
}

fn budgets_of_dcgan64_in_tf32() {
    check_dcgan64(&["batch.virtual_ranks=1", "precision=tf32"]);
}

fn budgets_of_dcgan64_in_bf16() {
    let by_call = [called(290, [3, 2, 29], 2, 2), called(212, [1, 2, 24], 2, 0)];
    let replayed = [replayed([1, 235], 78, [3, 2, 10], 2), replayed([1, 155], 77, [1, 2, 6], 0)];
    check("bench/configs/dcgan64-bf16.yaml", &["batch.virtual_ranks=1"], by_call, replayed);
}

fn budgets_of_dcgan64_in_bf16_with_two_virtual_ranks() {
    let by_call = [called(505, [5, 2, 51], 4, 4), called(348, [1, 2, 41], 4, 0)];
    let replayed = [replayed([2, 470], 80, [5, 2, 14], 4), replayed([2, 310], 77, [1, 2, 6], 0)];
    check("bench/configs/dcgan64-bf16.yaml", &[], by_call, replayed);
}

fn budgets_of_lsgan112_in_f32() {
    let by_call = [called(287, [3, 2, 37], 10, 2), called(207, [1, 2, 51], 9, 0)];
    let replayed = [replayed([1, 251], 75, [3, 2, 10], 2), replayed([1, 185], 76, [1, 2, 6], 0)];
    check("bench/configs/lsgan112-f32.yaml", &["batch.virtual_ranks=1"], by_call, replayed);
}

fn budgets_of_lsgan112_in_bf16() {
    let by_call = [called(355, [3, 2, 27], 10, 2), called(256, [1, 2, 35], 9, 0)];
    let replayed = [replayed([1, 306], 78, [3, 2, 10], 2), replayed([1, 217], 77, [1, 2, 6], 0)];
    check("bench/configs/lsgan112-f32.yaml", &["batch.virtual_ranks=1", "precision=bf16"], by_call, replayed);
}

fn budgets_of_the_ring() {
    let by_call = [called(249, [5, 2, 22], 0, 4), called(198, [1, 2, 18], 0, 0)];
    let replayed = [replayed([2, 208], 54, [5, 2, 13], 4), replayed([2, 154], 57, [1, 2, 5], 0)];
    check("bench/configs/mlp.yaml", &[], by_call, replayed);
}
