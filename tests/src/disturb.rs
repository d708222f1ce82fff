//! What tests that disturb a run have in common: when they do it, whom they do it to, and how it must end.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use crate::journal::GenerationRow;
use crate::lab::{Coordinator, Lab, STEPS};
use crate::process::{Process, children_of};
use crate::wait::until;
use crate::weights::Weights;

/// Not so late that the run could be over before a signal arrives.
pub const MIDDLE: Range<u64> = 5..STEPS / 3;

/// A step to disturb a run at. Another one at every run of the tests; `LSGAN_TEST_STEP` repeats one.
///
/// # Panics
/// If that variable is no step.
#[must_use]
pub fn random_step() -> u64 {
    let step = match std::env::var("LSGAN_TEST_STEP") {
        Ok(step) => step.parse().expect("LSGAN_TEST_STEP is a step"),
        Err(_) => MIDDLE.start + RandomState::new().hash_one(0) % (MIDDLE.end - MIDDLE.start),
    };
    println!("disturbing at step {step}; LSGAN_TEST_STEP={step} does it again");
    step
}

/// Asserts that the run went on with another generation from the middle, and so was disturbed before its end.
///
/// # Panics
/// If it did not.
#[track_caller]
pub fn assert_disturbed(lab: &Lab, start: &str) {
    let generations = lab.journal().generations();
    let disturbed =
        |g: &GenerationRow| g.generation > 1 && g.start == start && (1..STEPS).contains(&g.from_step);
    assert!(generations.iter().any(disturbed), "no generation starts from {start} state: {generations:#?}");
}

/// Asserts that the run trained what an undisturbed one trains.
///
/// # Panics
/// If it did not.
#[track_caller]
pub fn assert_undisturbed_weights(lab: &Lab) {
    assert_eq!(lab.weights(), *Weights::undisturbed());
}

/// A coordinator and so many workers, all members of its first generation.
#[must_use]
pub fn cluster(lab: &Lab, workers: u32, more: &[&str]) -> (Coordinator, Vec<Process>) {
    let expected = workers.to_string();
    let coordinator = lab.coordinator(&[&["--expect-workers", &expected], more].concat());
    let workers = (1..=workers).map(|n| lab.worker(&format!("worker-{n}"), &coordinator.address)).collect();
    (coordinator, workers)
}

/// Waits for a run to end well, and all of its workers with it.
///
/// # Panics
/// If one of them does not.
#[track_caller]
pub fn finish(coordinator: &mut Process, workers: Vec<Process>) {
    coordinator.wait().expect_code(0).expect_out(&["generator.safetensors  BLAKE3"]);
    for mut worker in workers {
        worker.wait().expect_code(0);
    }
}

/// Waits until the journal has a generation of so many members after the first one.
///
/// # Panics
/// At the deadline.
#[track_caller]
pub fn wait_for_members(lab: &Lab, members: u64) -> GenerationRow {
    until(&format!("a later generation of {members} members"), || {
        let generations = lab.journal().generations();
        let found = generations.iter().find(|g| g.generation > 1 && g.members == members).cloned();
        found.ok_or(generations)
    })
}

/// The ids of the workers that a `lsgan up` runs.
#[must_use]
pub fn workers_of(up: &Process) -> Vec<u32> {
    let children = children_of(up.id()).into_iter();
    children.filter(|seen| seen.arguments[0].ends_with("/worker")).map(|seen| seen.id).collect()
}
