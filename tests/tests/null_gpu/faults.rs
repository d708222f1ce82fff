//! Memory that is refused, and captures that cannot be ended.

use lsgan_tests::tests;
use lsgan_tests::trials::Test;

use crate::double::Setup;

pub const TESTS: &[Test] = tests![captures_that_cannot_be_ended_leave_a_run_call_by_call];

/// D's capture is the first, G's the second; with two virtual ranks each half has one of each.
fn captures_that_cannot_be_ended_leave_a_run_call_by_call() {
    for nth in 1..=4 {
        let nth = nth.to_string();
        let variables = [("NULL_GPU_FAIL_END_CAPTURE", &*nth)];
        let sets = ["steps=12", "batch.virtual_ranks=2", "batch.per_rank=4", "compute.cuda_graphs=auto"];
        let trained = Setup { config: "configs/quickstart.yaml", sets: &sets, variables: &variables }.train();
        trained.log.assert_legal();
        let said = trained.said();
        let notice = "no CUDA graphs are used, though compute.cuda_graphs is auto: ";
        assert!(said.contains(notice), "capture {nth} failed, and nothing says so: {said}");
        let halves = trained.log.of_one();
        let last = halves.last().expect("it has trained");
        assert_eq!(last.get("graph_launches"), 0, "{last:?}");
        assert_eq!(last.get("graphs"), 0, "what was recorded before is freed: {last:?}");
    }
}
