//! The null GPU itself: that it notices what it is there to notice.

use std::process::Command;

use lsgan_tests::binaries::root;
use lsgan_tests::trials::Test;
use lsgan_tests::{Lab, tests};

use crate::double;

pub const TESTS: &[Test] = tests![what_cuda_forbids_is_noticed, golden_steps_are_made_and_are_wrong];

fn what_cuda_forbids_is_noticed() {
    let lab = Lab::new();
    let mut rules = Command::new(double::folder().join("rules"));
    rules.env("NULL_GPU_LOG", double::prefix(&lab));
    lab.start_command("rules", rules).succeeds();
    let found = double::log_of(&lab).violations;
    let broken = [
        "cudaMalloc during a capture",
        "cudaStreamSynchronize of a stream that is captured",
        "a capture of the null stream is begun",
        "a captured stream waits for an event from outside of the capture",
        "a capture ends with work that its stream does not wait for",
        "a capture is ended by another thread than began it",
        "cuMemAlloc on a thread without a current context",
    ];
    for rule in broken {
        assert!(found.iter().any(|violation| violation == rule), "`{rule}` is not in {found:#?}");
    }
}

/// So that nobody takes a number from here for one of a GPU. `golden_step` is what gpu-check compares with PyTorch.
fn golden_steps_are_made_and_are_wrong() {
    let lab = Lab::new();
    let mut steps = double::command(&lab, "examples/golden_step", &[]);
    steps.arg(root().join("tests/reference")).arg("cuda");
    let ended = lab.start_command("golden_step", steps).wait().expect_code(1);
    let fixtures: Vec<_> = ended.out.lines().filter(|line| line.contains("\"fixture\"")).collect();
    let folder = std::fs::read_dir(root().join("tests/reference")).expect("it is in the repository");
    let files = folder.filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension() == Some("safetensors".as_ref()))
    });
    assert_eq!(fixtures.len(), files.count(), "{ended}");
    assert!(fixtures.iter().all(|fixture| fixture.contains("\"good\":false")), "{ended}");
    double::log_of(&lab).assert_legal();
}
