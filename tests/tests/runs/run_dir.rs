//! What can be wrong with a run's directory, its snapshots and its disk, and that nothing is lost by it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lsgan_tests::binaries::binary;
use lsgan_tests::disturb::assert_undisturbed_weights;
use lsgan_tests::lab::{SHORT, shell};
use lsgan_tests::{Coordinator, Journal, Lab, Process, Weights};

/// The short run's arguments and more.
fn short<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SHORT, more].concat()
}

fn snapshot(lab: &Lab, step: u64) -> PathBuf {
    lab.run_dir().join(format!("snapshots/step-{step:010}"))
}

/// Flips a bit in the middle of a snapshot's largest weights.
fn damage(lab: &Lab, step: u64) {
    let path = snapshot(lab, step).join("generator.safetensors");
    let mut bytes = fs::read(&path).expect("the snapshot is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("a snapshot can be spoiled");
}

// ---- snapshots and disks ----

#[test]
fn a_damaged_newest_snapshot_is_skipped_for_the_one_before() {
    let lab = Lab::finished();
    damage(&lab, 30);
    lab.up(1, &["--set", "checkpoint.every=10"]).succeeds().expect_err(&[
        "the snapshot of step 30 is skipped",
        "generator.safetensors",
        "starts from the snapshot of step 20",
    ]);
    let newest = lab.journal().newest();
    assert_eq!((newest.from_step, newest.start.as_str()), (20, "snapshot"));
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_newest_snapshot_that_was_cut_off_while_written_is_skipped() {
    let lab = Lab::finished();
    fs::remove_file(snapshot(&lab, 30).join("manifest.json")).expect("the manifest is there");
    lab.up(1, &["--set", "checkpoint.every=10"])
        .succeeds()
        .expect_err(&["starts from the snapshot of step 20"]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_run_whose_snapshots_are_all_damaged_is_refused_with_what_to_do() {
    let lab = Lab::finished();
    [10, 20, 30].into_iter().for_each(|step| damage(&lab, step));
    lab.up(1, &[])
        .fails(2, &["no snapshot of this run can be used", "step 10", "step 20", "step 30", "--fresh"]);
}

/// The signal that comes with an error of a file's size would end the process. If it is ignored, only the error is left.
const ONLY_THE_ERROR: &str = "trap '' XFSZ;";

/// A worker whose files may not grow beyond 8 KiB: every part of a snapshot is larger. `write` then fails as it does
/// on a full disk, and the limit can be lifted while it runs.
fn worker_on_a_full_disk(lab: &Lab, coordinator: &Coordinator) -> Process {
    let wrapper = shell(&format!("{ONLY_THE_ERROR} ulimit -S -f 8;"), "");
    lab.worker_under(wrapper, "worker", &coordinator.address)
}

/// Limits the size of a process's files.
fn limit(process: &Process, size: &str) {
    let (id, size) = (process.id().to_string(), format!("--fsize={size}"));
    let done = Command::new("prlimit").args(["--pid", &id, &size]).status();
    assert!(done.expect("util-linux has prlimit").success(), "the limit is set");
}

fn make_room(process: &Process) {
    limit(process, "unlimited:unlimited");
}

#[test]
fn a_full_disk_is_reported_and_training_goes_on() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--set", "checkpoint.every=10"]);
    let mut worker = worker_on_a_full_disk(&lab, &coordinator);
    let status = coordinator.client.wait_until("a snapshot that failed is reported", |status| {
        status.notices.iter().any(|notice| notice.warning && notice.text.contains("could not be written"))
    });
    assert_eq!(status.snapshot_step, None);
    coordinator.client.wait_for_step(status.step + 5);
    make_room(&worker);
    coordinator
        .process
        .succeeds()
        .expect_err(&["the snapshot of step 10 could not be written", "File too large"]);
    worker.succeeds();
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_disk_that_is_still_full_at_the_end_fails_the_run_which_can_be_finished_later() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let _worker = worker_on_a_full_disk(&lab, &coordinator);
    let ended = coordinator.process.wait().expect_code(1);
    ended.expect_err(&["could not be written", "File too large"]);
    // With room again the same command says that all of it is lost; told that this is known, it comes to the same weights.
    let refused = lab.up(1, &[]).wait().expect_code(2).expect_one_error();
    refused.expect_err(&["the journal has 200 steps of this run", "has no snapshot", "--accept-loss"]);
    lab.up(1, &["--accept-loss"]).succeeds();
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_journal_that_cannot_be_written_makes_the_run_wait_not_fail() {
    let lab = Lab::new();
    let mut command = shell(ONLY_THE_ERROR, "");
    command.arg(binary("coordinator")).args(lab.run_arguments(&["--quiet", "--listen", "127.0.0.1:0"]));
    let coordinator = Lab::listening(lab.start_command("coordinator", command));
    let (address, mut coordinator) = (coordinator.address, coordinator.process);
    // From now on every write behind the first page of a file fails.
    limit(&coordinator, "4096:unlimited");
    let mut worker = lab.worker("worker", &address);
    coordinator.wait_for_words("the journal cannot be written; trying again until it can");
    make_room(&coordinator);
    coordinator.succeeds();
    worker.succeeds();
    assert_undisturbed_weights(&lab);
}

// ---- the run's directory ----

#[test]
fn a_run_directory_in_use_is_refused_with_its_holder() {
    let lab = Lab::new();
    let first = lab.coordinator(&[]);
    let holder = format!("process {}", first.process.id());
    lab.up(1, &[]).fails(1, &["coordinator.lock", &holder, &first.listen()]);
    // Not even --fresh moves a live run away.
    lab.up(1, &["--fresh"]).fails(1, &[&holder]);
    assert!(first.client.status().is_ok(), "the first one is not disturbed");
}

#[test]
fn a_finished_run_says_so_and_what_to_do_next() {
    let lab = Lab::finished();
    let weights = lab.weights();
    let journal = fs::read(lab.run_dir().join("journal.sqlite")).expect("there is a journal");
    for mut again in
        [lab.up(2, &SHORT), lab.start_coordinator(&[&SHORT[..], &["--listen", "127.0.0.1:0"]].concat())]
    {
        again.succeeds().expect_out(&[
            "the run `small` is finished: 30 of 30 steps are done",
            &weights.generator,
            &weights.discriminator,
            "--set steps=60",
            "--fresh",
        ]);
    }
    assert_eq!(lab.weights(), weights);
    let after = fs::read(lab.run_dir().join("journal.sqlite")).expect("there is a journal");
    assert!(journal == after, "a look at a finished run does not write into its journal");

    // It can be made longer, with the weights of a run that was as long from the start.
    lab.up(2, &[]).succeeds();
    assert_undisturbed_weights(&lab);
}

#[test]
fn another_mathematics_is_refused_with_the_difference() {
    let lab = Lab::finished();
    let weights = lab.weights();
    let more = short(&["--set", "seed=2", "--set", "optimizer.generator.adam.learning_rate=1e-3"]);
    for mut other in [lab.up(2, &more), lab.start_coordinator(&more)] {
        other.fails(
            2,
            &[
                "has other mathematics",
                "seed: 2 here, 1 there",
                "optimizer.generator.adam.learning_rate: 0.001 here, 0.0002 there",
                "--fresh",
                "--fork NAME",
            ],
        );
    }
    assert_eq!(lab.weights(), weights, "the run is as it was");
}

#[test]
fn fresh_starts_anew_and_keeps_the_old_run() {
    let lab = Lab::finished();
    let old = lab.weights();
    lab.up(2, &short(&["--set", "seed=2", "--fresh"]))
        .succeeds()
        .expect_err(&["the old run is kept in", "run.old-1"]);
    assert_ne!(lab.weights(), old);
    assert_eq!(Weights::of(&lab.path("run.old-1")), old);
    assert_eq!(lab.journal().generations()[0].start, "fresh");
    // And once more, which takes the next name.
    lab.up(2, &short(&["--fresh"])).succeeds();
    assert_eq!(lab.weights(), old);
    assert_eq!(Weights::of(&lab.path("run.old-1")), old);
    assert!(lab.path("run.old-2").join("final").is_dir());
}

#[test]
fn a_fork_goes_on_from_the_newest_snapshot_beside_the_old_run() {
    let lab = Lab::finished();
    let old = lab.weights();
    let more =
        ["--set", "steps=40", "--set", "optimizer.generator.adam.learning_rate=1e-3", "--fork", "faster"];
    let ended = lab.up(2, &more).succeeds();
    let ended = ended.expect_err(&["starts from the snapshot of step 30"]);
    ended.expect_out(&["/faster/final/generator.safetensors"]);
    let fork = lab.path("faster");
    let generations = Journal::open(&fork).generations();
    assert_eq!(
        (generations[0].from_step, generations[0].start.as_str()),
        (30, "snapshot"),
        "{generations:?}"
    );
    assert_ne!(Weights::of(&fork), old);
    assert_eq!(lab.weights(), old, "the old run is as it was");
    // The same command finds its own run, not the old one's snapshot again.
    lab.up(2, &more).succeeds().expect_out(&["the run `faster` is finished"]);
}

#[test]
fn a_fork_goes_on_from_the_snapshot_of_the_step_that_is_asked_for() {
    let lab = Lab::finished();
    let more =
        short(&["--set", "optimizer.generator.adam.learning_rate=1e-3", "--fork", "faster", "--fork-at"]);
    let at = |step| [more.clone(), vec![step]].concat();
    lab.up(2, &at("15")).fails(2, &["step-0000000015"]);
    lab.up(2, &at("20")).succeeds().expect_err(&["starts from the snapshot of step 20"]);
    assert_eq!(Journal::open(&lab.path("faster")).generations()[0].from_step, 20);
}

/// Also where the run was started elsewhere, or by others.
#[test]
fn a_runs_directory_stands_for_its_file_and_for_the_run() {
    let lab = Lab::finished();
    let (old, run) = (lab.weights(), lab.run_dir().display().to_string());
    let up = |more: &[&str]| lab.lsgan([&["up", "--config", &run], more].concat());
    let branch = ["--set", "steps=40", "--fork", "branch", "--fork-at", "20"];
    up(&branch).succeeds().expect_err(&["starts from the snapshot of step 20"]);
    assert_eq!(Journal::open(&lab.path("branch")).generations()[0].from_step, 20);
    assert_eq!(lab.weights(), old, "the run is as it was");
    up(&[]).succeeds().expect_out(&["the run `small` is finished"]);
    up(&["--set", "steps=40"]).succeeds();
    assert_eq!(lab.journal().newest().from_step, 30);
    assert_eq!(Weights::of(&lab.path("branch")), lab.weights(), "the same file, the same weights");
    fs::create_dir(lab.path("empty")).expect("a folder can be made");
    lab.lsgan(["up", "--config", "empty"]).fails(2, &["empty: this is a directory", "the run's file itself"]);
}

/// It would hand over the weights of the run that it comes from as its own.
#[test]
fn a_fork_that_has_nothing_to_train_is_refused_with_what_to_do() {
    let lab = Lab::finished();
    let weights = lab.weights();
    for more in [
        short(&["--fork", "same"]),
        short(&["--set", "optimizer.generator.adam.learning_rate=1e-3", "--fork", "same"]),
        vec!["--set", "steps=20", "--fork", "same", "--fork-at", "20"],
        vec!["--set", "steps=10", "--fork", "same"],
    ] {
        for mut process in [lab.up(2, &more), lab.start_coordinator(&more)] {
            process.fails(2, &["there is nothing to train for `same`", "--set steps=", "--fork-at STEP"]);
        }
    }
    assert!(!lab.path("same").exists(), "nothing was made");
    assert_eq!(lab.weights(), weights, "the old run is as it was");
    lab.up(2, &short(&["--fork", "same", "--fork-at", "20"]))
        .succeeds()
        .expect_err(&["starts from the snapshot of step 20"]);
    assert_eq!(Weights::of(&lab.path("same")), weights, "the same mathematics from step 20 on");
}

#[test]
fn a_fork_of_a_run_without_snapshots_is_refused_as_bad_input() {
    let lab = Lab::new();
    lab.up(2, &["--fork", "early"]).fails(2, &["there is no directory"]);
    fs::create_dir(lab.run_dir()).expect("it can be made");
    lab.up(2, &["--fork", "early"]).fails(2, &["holds no snapshot to branch off from"]);
}

/// The weights of step 20 are asked for, and those of step 30 are there.
#[test]
fn fewer_steps_than_are_done_are_refused_whether_the_run_is_finished_or_not() {
    let lab = Lab::finished();
    let weights = lab.weights();
    let refused = || {
        for mut process in [lab.up(1, &["--set", "steps=20"]), lab.start_coordinator(&["--set", "steps=20"])]
        {
            process.fails(
                2,
                &["30 steps are done, of which 20 are asked for", "--set steps=60", "--fork-at STEP"],
            );
        }
    };
    refused();
    assert_eq!(lab.weights(), weights);
    // Without the journal nobody knows that it was finished.
    for name in ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"] {
        let _ = fs::remove_file(lab.run_dir().join(name));
    }
    refused();
    assert_eq!(lab.weights(), weights);
}

#[test]
fn a_journal_that_is_none_is_refused_with_its_name() {
    let lab = Lab::finished();
    let journal = lab.run_dir().join("journal.sqlite");
    fs::write(&journal, "a letter that somebody put here by mistake").expect("a file can be written");
    lab.up(1, &SHORT).fails(1, &["journal.sqlite", "the journal cannot be used", "--fresh"]);
}

type Maker = fn(&std::path::Path);

/// Commands that only look change nothing of another program's file.
#[test]
fn a_strangers_file_is_refused_and_not_changed() {
    let lab = Lab::new();
    let dir = lab.run_dir();
    fs::create_dir(&dir).expect("it can be made");
    let (journal, run) = (dir.join("journal.sqlite"), dir.display().to_string());
    let photos = |path: &std::path::Path| {
        let db = rusqlite::Connection::open(path).expect("there is room");
        db.execute_batch("create table photos (id integer primary key)").expect("it is SQL");
    };
    let text = |path: &std::path::Path| fs::write(path, "a letter").expect("there is room");
    let empty = |path: &std::path::Path| fs::write(path, "").expect("there is room");
    let makers: [(Maker, &str); 3] =
        [(photos, "another program"), (text, "no database"), (empty, "an empty file")];
    for (make, words) in makers {
        make(&journal);
        let before = fs::read(&journal).expect("it is there");
        for command in [["checkpoints", "list", "--run", &run], ["status", "--run", &run, "--json"]] {
            lab.lsgan(command).fails(1, &["journal.sqlite", "the journal cannot be used", words]);
        }
        assert!(fs::read(&journal).expect("it is there") == before, "not a byte is changed");
        assert_eq!(fs::read_dir(&dir).expect("it is there").count(), 1, "nothing is made beside it");
        fs::remove_file(&journal).expect("it can be removed");
    }
}

#[test]
fn a_run_directory_that_is_a_file_is_refused_with_its_name() {
    let lab = Lab::new();
    fs::write(lab.run_dir(), "no directory").expect("a file can be written");
    lab.up(1, &[]).fails(2, &[&lab.run_dir().display().to_string()]);
}
