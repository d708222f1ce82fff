//! What a half of a steady step launches, copies and waits for: the host's work for each step on a GPU.
//!
//! The numbers are those of today, so that a half that does more fails, and one that does less asks for its new numbers
//! here. Wanted are no more than 120 launches a half and virtual rank. Of ours are nine a half, and three more for each further
//! virtual rank; the rest is libtorch's, of the networks and the losses. D's half has more than 120 in bf16, where libtorch's batch
//! norm takes four launches and not one, and in lsgan112, whose biases are added by launches of their own.
//! `NULL_GPU_KERNELS` (tests/null-gpu) names what is launched.

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
    let by_call = [called(318, [9, 2, 16], 0, 8), called(202, [1, 2, 4], 0, 0)];
    let replayed = [replayed([4, 320], 6, [9, 2, 16], 8), replayed([4, 200], 6, [1, 2, 0], 0)];
    check("configs/quickstart.yaml", &[], by_call, replayed);
}

fn budgets_of_the_quickstart_with_one_virtual_rank() {
    let by_call = [called(84, [3, 2, 4], 0, 2), called(55, [1, 2, 1], 0, 0)];
    let replayed = [replayed([1, 80], 6, [3, 2, 4], 2), replayed([1, 50], 6, [1, 2, 0], 0)];
    check("configs/quickstart.yaml", &["batch.virtual_ranks=1"], by_call, replayed);
}

/// Of f32 and tf32, which differ only in what cuDNN and cuBLAS do.
#[track_caller]
fn check_dcgan64(sets: &[&str]) {
    let by_call = [called(100, [3, 2, 4], 0, 2), called(63, [1, 2, 1], 0, 0)];
    let replayed = [replayed([1, 96], 6, [3, 2, 4], 2), replayed([1, 58], 6, [1, 2, 0], 0)];
    check("bench/configs/dcgan64-f32.yaml", sets, by_call, replayed);
}

fn budgets_of_dcgan64_in_f32() {
    check_dcgan64(&["batch.virtual_ranks=1"]);
}

fn budgets_of_dcgan64_in_tf32() {
    check_dcgan64(&["batch.virtual_ranks=1", "precision=tf32"]);
}

fn budgets_of_dcgan64_in_bf16() {
    let by_call = [called(145, [3, 2, 4], 0, 2), called(87, [1, 2, 1], 0, 0)];
    let replayed = [replayed([1, 138], 9, [3, 2, 4], 2), replayed([1, 81], 7, [1, 2, 0], 0)];
    check("bench/configs/dcgan64-bf16.yaml", &["batch.virtual_ranks=1"], by_call, replayed);
}

fn budgets_of_dcgan64_in_bf16_with_two_virtual_ranks() {
    let by_call = [called(283, [5, 2, 8], 0, 4), called(167, [1, 2, 2], 0, 0)];
    let replayed = [replayed([2, 276], 11, [5, 2, 8], 4), replayed([2, 162], 7, [1, 2, 0], 0)];
    check("bench/configs/dcgan64-bf16.yaml", &[], by_call, replayed);
}

fn budgets_of_lsgan112_in_f32() {
    let by_call = [called(135, [3, 2, 2], 8, 2), called(89, [1, 2, 0], 7, 0)];
    let replayed = [replayed([1, 137], 6, [3, 2, 4], 2), replayed([1, 90], 6, [1, 2, 0], 0)];
    check("bench/configs/lsgan112-f32.yaml", &["batch.virtual_ranks=1"], by_call, replayed);
}

fn budgets_of_lsgan112_in_bf16() {
    let by_call = [called(194, [3, 2, 2], 8, 2), called(122, [1, 2, 0], 7, 0)];
    let replayed = [replayed([1, 193], 9, [3, 2, 4], 2), replayed([1, 122], 7, [1, 2, 0], 0)];
    check("bench/configs/lsgan112-f32.yaml", &["batch.virtual_ranks=1", "precision=bf16"], by_call, replayed);
}

fn budgets_of_the_ring() {
    let by_call = [called(112, [5, 2, 4], 0, 4), called(68, [1, 2, 0], 0, 0)];
    let replayed = [replayed([2, 108], 4, [5, 2, 8], 4), replayed([2, 64], 4, [1, 2, 0], 0)];
    check("bench/configs/mlp.yaml", &[], by_call, replayed);
}
