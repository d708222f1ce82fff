//! Disturbing a run: when, on which processes, and how it must end.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::journal::GenerationRow;
use crate::lab::{Coordinator, Lab, STEPS};
use crate::process::{Ended, Process};
use crate::wait::until;
use crate::weights::Weights;

/// Not so late that the run could be over before a signal arrives.
pub const MIDDLE: Range<u64> = 5..STEPS / 3;

/// A step to disturb a run at. Another one at every run of the tests; `LSGAN_TEST_STEP` repeats one.
pub fn random_step() -> u64 {
    let step = match std::env::var("LSGAN_TEST_STEP") {
        Ok(step) => step.parse().expect("LSGAN_TEST_STEP is a step"),
        Err(_) => MIDDLE.start + RandomState::new().hash_one(0) % (MIDDLE.end - MIDDLE.start),
    };
    println!("disturbing at step {step}; LSGAN_TEST_STEP={step} does it again");
    step
}

/// Asserts that a later generation started in the middle of the run, from this kind of state.
#[track_caller]
pub fn assert_disturbed(lab: &Lab, start: &str) {
    let generations = lab.journal().generations();
    let disturbed =
        |g: &GenerationRow| g.generation > 1 && g.start == start && (1..STEPS).contains(&g.from_step);
    assert!(generations.iter().any(disturbed), "no generation starts from {start} state: {generations:#?}");
}

#[track_caller]
pub fn assert_undisturbed_weights(lab: &Lab) {
    assert_eq!(lab.weights(), *Weights::undisturbed());
}

/// A coordinator and its workers.
pub struct Cluster {
    pub coordinator: Coordinator,
    pub workers: Vec<Process>,
    /// The last field, so that it is dropped last and prints the logs of a test that failed.
    pub lab: Lab,
}

impl Cluster {
    /// So many workers, named `worker-1` and so on, all members of the first generation.
    pub fn start(workers: usize, more: &[&str]) -> Self {
        let names: Vec<_> = (1..=workers).map(|n| format!("worker-{n}")).collect();
        let workers: Vec<_> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
        Self::of(&workers, more)
    }

    /// These workers by name, each with its arguments, all members of the first generation.
    pub fn of(workers: &[(&str, &[&str])], more: &[&str]) -> Self {
        let lab = Lab::new();
        let count = workers.len().to_string();
        let expected: &[&str] = if workers.is_empty() { &[] } else { &["--expect-workers", &count] };
        let coordinator = lab.coordinator(&[expected, more].concat());
        let mut cluster = Self { coordinator, workers: Vec::new(), lab };
        workers.iter().for_each(|(name, more)| cluster.join(name, more));
        cluster
    }

    pub fn join(&mut self, name: &str, more: &[&str]) {
        self.workers.push(self.lab.worker_with(name, &self.coordinator.address, more));
    }

    /// Waits until so many steps are done.
    #[track_caller]
    pub fn wait_for_step(&self, step: u64) -> u64 {
        self.coordinator.client.wait_for_step(step).step
    }

    #[track_caller]
    pub fn wait_for_random_step(&self) -> u64 {
        self.wait_for_step(random_step())
    }

    /// Asks a worker to leave by SIGTERM, and waits for its end.
    #[track_caller]
    pub fn leaves(&mut self, worker: usize) -> Ended {
        let mut leaver = self.workers.remove(worker);
        leaver.signal(Signal::SIGTERM);
        leaver.wait().expect_code(143)
    }

    /// Kills the coordinator and starts it again where it was.
    #[track_caller]
    pub fn restart_coordinator(&mut self, more: &[&str]) {
        let listen = self.coordinator.kill();
        self.coordinator = self.lab.coordinator_at(&listen, more);
    }

    /// Waits for the run and all workers to succeed.
    #[track_caller]
    pub fn ends_well(mut self) -> Lab {
        finish(&mut self.coordinator.process, self.workers);
        self.lab
    }

    /// Waits for the run and all workers to succeed, and asserts that the weights are those of an undisturbed run.
    #[track_caller]
    pub fn finish(self) -> Lab {
        let lab = self.ends_well();
        assert_undisturbed_weights(&lab);
        lab
    }
}

/// Waits for a coordinator and its workers to succeed.
#[track_caller]
pub fn finish(coordinator: &mut Process, workers: Vec<Process>) {
    coordinator.succeeds().expect_out(&["generator.safetensors  BLAKE3"]);
    for mut worker in workers {
        worker.succeeds();
    }
}

/// Waits until the journal has a snapshot. The journal's thread may be behind the coordinator's status.
#[track_caller]
pub fn wait_for_journaled_snapshot(lab: &Lab, client: &Client) {
    client.wait_until("there is a snapshot", |status| status.snapshot_step.is_some());
    let journal = lab.journal();
    until("the journal has a snapshot", || match journal.number("select count(*) from checkpoints") {
        0 => Err(client.status().map(|status| status.step)),
        _ => Ok(()),
    });
}

/// Waits until the journal has a generation of so many members after the first one.
#[track_caller]
pub fn wait_for_members(lab: &Lab, members: u64) -> GenerationRow {
    until(&format!("a later generation of {members} members"), || {
        let generations = lab.journal().generations();
        let found = generations.iter().find(|g| g.generation > 1 && g.members == members).cloned();
        found.ok_or(generations)
    })
}
