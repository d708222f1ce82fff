//! Everything is killed at once.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lsgan_tests::disturb::{assert_disturbed, assert_undisturbed_weights, random_step};
use lsgan_tests::process::{Seen, all_gone, children_of, send};
use lsgan_tests::{Lab, Process, leftovers, until};
use lsgan_wire::v1::Phase;
use nix::sys::signal::Signal;

/// The folders of snapshots that have a manifest, and of those that are being written and have none.
fn snapshots(lab: &Lab) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let folders = fs::read_dir(lab.run_dir().join("snapshots")).into_iter().flatten().flatten();
    folders.map(|entry| entry.path()).partition(|path| path.join("manifest.json").exists())
}

/// Ends a `lsgan up` and all of its children at once.
fn kill_all(up: Process, children: &[Seen]) {
    // It must not start its children again.
    up.signal(Signal::SIGSTOP);
    children.iter().for_each(|seen| send(seen.id, Signal::SIGKILL));
    up.kill();
    all_gone(children);
}

#[test]
fn everything_is_killed_at_a_random_step_three_times() {
    let lab = Lab::new();
    for _ in 0..3 {
        let mut up = lab.up(2, &["--set", "checkpoint.every=10"]);
        let client = lab.client(&mut up);
        let begin = client.wait_until("it steps", |status| status.phase() == Phase::Stepping).step;
        client.wait_for_step(begin + 11 + random_step() % 20);
        let children = children_of(up.id());
        kill_all(up, &children);
    }
    lab.up(2, &["--set", "checkpoint.every=10"]).succeeds();
    assert_disturbed(&lab, "snapshot");
    assert_undisturbed_weights(&lab);
    leftovers::expect_none(&lab);
}

/// Freezes all processes while a snapshot is being written, so that it stays unfinished. Returns its folder.
fn freeze_in_a_snapshot(lab: &Lab, children: &[Seen]) -> Vec<PathBuf> {
    until("all are frozen in the middle of a snapshot", || {
        // A spin: a snapshot of so small a state is written within milliseconds.
        let begin = Instant::now();
        let writes = || {
            let (whole, unfinished) = snapshots(lab);
            !whole.is_empty() && !unfinished.is_empty()
        };
        while !writes() && begin.elapsed() < Duration::from_secs(1) {
            std::hint::spin_loop();
        }
        children.iter().for_each(|seen| send(seen.id, Signal::SIGSTOP));
        if writes() {
            return Ok(snapshots(lab).1);
        }
        children.iter().for_each(|seen| send(seen.id, Signal::SIGCONT));
        Err("no snapshot was being written")
    })
}

#[test]
fn everything_is_killed_in_the_middle_of_a_snapshot_and_goes_on_from_the_one_before() {
    let lab = Lab::new();
    let often = ["--set", "checkpoint.every=2", "--set", "cluster.failure_timeout=30s"];
    let mut up = lab.up(2, &often);
    lab.client(&mut up).wait_for_step(3);
    let children = children_of(up.id());
    let cut_off = freeze_in_a_snapshot(&lab, &children);
    kill_all(up, &children);

    lab.up(2, &[]).succeeds().expect_err(&["starts from the snapshot of step"]);
    // Its step is passed again, and what was written of it is not in the way.
    let gone = |path: &PathBuf| !path.exists() || path.join("manifest.json").exists();
    assert!(cut_off.iter().all(gone), "{cut_off:?}");
    assert_disturbed(&lab, "snapshot");
    assert_undisturbed_weights(&lab);
    leftovers::expect_none(&lab);
}
