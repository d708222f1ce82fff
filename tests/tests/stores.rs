//! Hosts that do not share the run's store: each has another disk under the same path, in a mount namespace of its own.
//!
//! These tests need root for mount namespaces. Where it is missing they are counted as skipped, by name.

use std::process::{Command, ExitCode};

use lsgan_tests::binaries::binary;
use lsgan_tests::disturb::{Cluster, assert_undisturbed_weights, finish};
use lsgan_tests::lab::{SHORT, pictures};
use lsgan_tests::trials::{Test, run, trials};
use lsgan_tests::{Lab, tests};
use lsgan_wire::v1::{Phase, Role};

const TESTS: &[Test] = tests![
    a_worker_that_sees_another_disk_is_named_and_never_writes,
    a_run_does_not_start_where_no_worker_sees_its_store,
    a_state_that_no_living_worker_can_write_waits_for_one_that_can,
    snapshots_that_are_gone_are_not_trained_again_without_a_word,
    a_pack_on_a_full_disk_says_so_and_goes_on_with_room,
];

fn main() -> ExitCode {
    let possible = if Lab::can_mount() { Ok(()) } else { Err("mount namespaces cannot be made".to_owned()) };
    run(trials(&possible, TESTS))
}

fn a_worker_that_sees_another_disk_is_named_and_never_writes() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "2"]);
    // Older than the one that sees the store, so that it is the first rank.
    let blind = lab.blind_worker("blind", &coordinator.address);
    let status = coordinator.client.wait_until("the blind one is named", |status| {
        status.workers.iter().any(|worker| worker.cannot_keep.contains("another disk"))
    });
    assert_eq!(status.phase(), Phase::Gathering, "nothing starts before one sees the store");
    let seeing = lab.worker("seeing", &coordinator.address);
    coordinator.client.wait_until("both compute, and the other one writes", |status| {
        let members = status.workers.iter().filter(|worker| worker.role() == Role::Member);
        members.count() == 2 && status.workers.iter().all(|worker| worker.writes == (worker.name == "seeing"))
    });
    finish(&mut coordinator.process, vec![blind, seeing]);
    assert_undisturbed_weights(&lab);
    let disk = std::fs::read_dir(lab.path("blind-disk")).expect("it was made").count();
    assert_eq!(disk, 0, "something was written to the other disk");
    let named =
        "select count(*) from events where warning and text like '%(blind) computes, but cannot write%'";
    assert_eq!(lab.journal().number(named), 1);
}

fn a_run_does_not_start_where_no_worker_sees_its_store() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "2"]);
    let workers = ["one", "two"].map(|name| lab.blind_worker(name, &coordinator.address));
    coordinator
        .process
        .fails(2, &["no worker can keep this run's snapshots", "  one: ", "  two: ", "checkpoint.to"]);
    for mut worker in workers {
        worker.wait().expect_code(2);
    }
    assert_eq!(lab.journal().number("select count(*) from generations"), 0);
}

fn a_state_that_no_living_worker_can_write_waits_for_one_that_can() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "2"]);
    let blind = lab.blind_worker("blind", &coordinator.address);
    let seeing = lab.worker("seeing", &coordinator.address);
    coordinator.client.wait_for_step(7);
    seeing.kill();
    let waits = coordinator.client.wait_until("all steps are done and wait to be written", |status| {
        status.notices.iter().any(|notice| notice.warning && notice.text.contains("the run waits for one"))
    });
    assert_eq!((waits.step, waits.outcome), (200, None));
    let late = lab.worker("late", &coordinator.address);
    finish(&mut coordinator.process, vec![blind, late]);
    assert_undisturbed_weights(&lab);
}

fn snapshots_that_are_gone_are_not_trained_again_without_a_word() {
    let more = [&SHORT[..], &["--set", "steps=100000"]].concat();
    let Cluster { lab, mut coordinator, workers } = Cluster::start(1, &more);
    coordinator.client.wait_until("a snapshot is written", |status| status.snapshot_step >= Some(20));
    coordinator.kill();
    drop(workers);
    let snapshots = lab.run_dir().join("snapshots");
    std::fs::rename(&snapshots, lab.path("elsewhere")).expect("it can be moved");
    let words = ["the journal has a snapshot of step", "--accept-loss"];
    lab.up(1, &SHORT).wait().expect_code(2).expect_err(&words);
    std::fs::rename(lab.path("elsewhere"), &snapshots).expect("it can be moved back");
    let back = lab.run_dir().join("snapshots/step-0000000020");
    assert!(back.is_dir(), "nothing was written meanwhile, and nothing deleted");
    std::fs::remove_dir_all(&snapshots).expect("it can be deleted");
    lab.up(1, &[&SHORT[..], &["--accept-loss"]].concat()).succeeds();
    assert_eq!(lab.weights(), Lab::finished().weights());
}

/// On a disk of its own, which gets room between two tries.
fn a_pack_on_a_full_disk_says_so_and_goes_on_with_room() {
    let lab = Lab::new();
    let out = lab.path("packed");
    std::fs::create_dir(&out).expect("a folder can be made");
    let script = "mount -t tmpfs -o size=1m full \"$1\" || exit 9
        \"$2\" dataset pack \"idx:$3\" --size 32 --out \"$1\" --shard-mib 1; echo \"first try: $?\"
        mount -o remount,size=100m \"$1\" || exit 9
        \"$2\" dataset pack \"idx:$3\" --size 32 --out \"$1\" --shard-mib 1; echo \"second try: $?\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&out).arg(binary("lsgan")).arg(pictures());
    let ended = lab.start_command("pack", command).succeeds();
    let ended = ended.expect_out(&["first try: 1", "second try: 0", "10000 of 10000 records are in"]);
    ended.expect_err(&[
        "it cannot be written: No space left",
        "Make room; what is finished is kept, and the same command goes on from there.",
    ]);
}
