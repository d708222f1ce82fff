//! Memory and handles of a long run: what a step takes it gives back.

use lsgan_tests::tests;
use lsgan_tests::trials::Test;

use crate::double::Setup;
use crate::log::Counts;

pub const TESTS: &[Test] =
    tests![nothing_grows_in_1000_steps_call_by_call, nothing_grows_in_1000_steps_that_are_replayed];

const STEPS: usize = 1000;
/// A step by which everything has been allocated: with graphs, the third is recorded; after the hundredth workers compare
/// their states for the first time.
const EARLY: usize = 150;
/// The process's own memory may grow by so much, which is the allocator's slack. A tensor that each half leaves behind has
/// 200 bytes with its storage: 360 KiB together.
const SLACK_KIB: i64 = 300;

fn nothing_grows_in_1000_steps_call_by_call() {
    nothing_grows("off");
}

fn nothing_grows_in_1000_steps_that_are_replayed() {
    nothing_grows("auto");
}

#[track_caller]
fn nothing_grows(graphs: &str) {
    let (steps, graphs) = (format!("steps={STEPS}"), format!("compute.cuda_graphs={graphs}"));
    // Its metrics are read every ten steps, as a user has it, so that those paths are in it.
    let sets = [&*steps, &graphs, "batch.virtual_ranks=2", "batch.per_rank=4", "report.every=10"];
    let trained = Setup { config: "configs/quickstart.yaml", sets: &sets, variables: &[] }.train();
    trained.log.assert_legal();
    let halves = trained.log.of_one();
    let first = halves.len() - 2 * STEPS;
    let [early, late] = [EARLY, STEPS - 1].map(|step| &halves[first + 2 * step]);
    let what_there_is = |counts: &Counts| {
        ["device_bytes", "pinned_bytes", "streams", "events", "graphs"].map(|name| (name, counts.get(name)))
    };
    assert_eq!(what_there_is(late), what_there_is(early), "step {STEPS} against step {EARLY}");
    let grown = late.get("private_kib") - early.get("private_kib");
    println!("graphs {graphs}: {:?}, and {grown} KiB more of the process's own", what_there_is(late));
    assert!(grown < SLACK_KIB, "the process has grown by {grown} KiB from step {EARLY} to step {STEPS}");
    let allocated =
        halves[first + 2 * EARLY..].iter().map(|half| half.get("device_allocations")).sum::<i64>();
    assert_eq!(allocated, 0, "libtorch has its memory from step {EARLY} on");
}
