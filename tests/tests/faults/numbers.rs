//! Wrong numbers: gradients beyond every range, and a bit that flips in one worker's memory.

use std::fs;

use lsgan_tests::disturb::assert_undisturbed_weights;
use lsgan_tests::{Journal, Lab, Weights};

/// D's weights grow by one at every step: its gradients soon leave the range of the exact sum.
const WILD: [&str; 4] = [
    "--set",
    "optimizer.discriminator.adam.learning_rate=1",
    "--set",
    "optimizer.generator.adam.learning_rate=1",
];

/// The step whose gradients were refused, and the virtual rank, as a failed run says them.
#[track_caller]
fn named_in(err: &str) -> (u64, u64) {
    let number_after = |words: &str| {
        let rest = err.split(words).nth(1).unwrap_or_else(|| panic!("`{words}` is not in: {err}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number after `{words}` in: {err}"))
    };
    (number_after("step "), number_after("virtual rank "))
}

/// What a run says that failed by its numbers: the step, the virtual ranks and the error.
#[track_caller]
fn fails(lab: &Lab, workers: u32, run_dir: &str, more: &[&str]) -> (u64, u64) {
    let ended = lab.up(workers, more).wait().expect_code(1).expect_one_error();
    let error = ended.err.lines().find(|line| line.starts_with("error: ")).expect("there is one").to_owned();
    let named = named_in(&error);
    let journal = Journal::open(&lab.path(run_dir));
    assert_eq!(journal.texts("select value from meta where key = 'outcome'"), ["failed"]);
    let kept = format!("{run_dir}/snapshots/step-{:010}/manifest.json", named.0);
    assert!(lab.path(&kept).is_file(), "the state before that step is kept, in {kept}");
    named
}

#[test]
fn gradients_that_are_out_of_range_stop_all_workers_at_the_same_step() {
    let named = [1, 3].map(|workers| fails(&Lab::new(), workers, "run", &WILD));
    assert!(named[0].0 > 0, "it fails in the middle of the run");
    assert_eq!(named[0], named[1]);
}

/// A run of 20 steps is forked with a target that no gradient can be formed for, in one of the halves; the state
/// that is kept is forked once more with the right one, and trains the bits of a run that nothing happened to.
#[track_caller]
fn is_forked_back(target: &str) {
    let lab = Lab::new();
    lab.up(2, &["--set", "steps=20"]).wait().expect_code(0);
    let target = format!("objective.least_squares.{target}=1e6");
    assert_eq!(fails(&lab, 2, "wild", &["--fork", "wild", "--set", &target]).0, 20);

    let from = format!("checkpoint.to={}", lab.path("wild").display());
    let ended = lab.up(3, &["--set", &from, "--fork", "back"]).wait().expect_code(0);
    ended.expect_err(&["starts from the snapshot of step 20"]);
    assert_eq!(Weights::of(&lab.path("back")), *Weights::undisturbed());
}

#[test]
fn a_run_whose_discriminator_got_wrong_numbers_is_resumable_with_a_changed_spec() {
    is_forked_back("b");
}

#[test]
fn a_run_whose_generator_got_wrong_numbers_is_resumable_with_a_changed_spec() {
    is_forked_back("c");
}

const HASHED: [&str; 4] = ["--set", "report.state_hash_every=10", "--set", "checkpoint.every=5"];

#[test]
fn a_flipped_bit_ends_the_run_names_the_worker_and_no_wrong_snapshot_is_used() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[&["--expect-workers", "3"], &HASHED[..]].concat());
    let mut workers: Vec<_> =
        (1..=2).map(|n| lab.worker(&format!("right-{n}"), &coordinator.address)).collect();
    workers.push(lab.worker_with("odd", &coordinator.address, &["--fault-flip-bit", "42"], &[]));
    let ended = coordinator.process.wait().expect_code(1).expect_one_error();
    ended.expect_err(&[
        "(odd) holds another state than the others after step 50",
        "All held the same after step 40",
        "Keep that machine out",
    ]);
    for mut worker in workers {
        worker.wait().expect_code(1).expect_err(&["(odd) holds another state"]);
    }
    let suspect = lab.run_dir().join("suspect");
    assert!(suspect.join("step-0000000045/manifest.json").is_file(), "45 is newer than 40");
    let kept = fs::read_dir(lab.run_dir().join("snapshots")).expect("there are snapshots").flatten();
    let mut kept: Vec<_> = kept.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    kept.sort_unstable();
    assert_eq!(kept.last().map(String::as_str), Some("step-0000000040"), "{kept:?}");

    // The same command without that machine comes to the right weights.
    let ended = lab.up(2, &HASHED).wait().expect_code(0);
    ended.expect_err(&["starts from the snapshot of step 40"]);
    assert_undisturbed_weights(&lab);
    assert_eq!(lab.journal().number("select count(*) from metrics"), lsgan_tests::lab::STEPS);
}

/// Of two nobody can tell who is right.
#[test]
fn two_workers_that_differ_are_both_named() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[&["--expect-workers", "2"], &HASHED[..]].concat());
    let one = lab.worker("one", &coordinator.address);
    let other = lab.worker_with("other", &coordinator.address, &["--fault-flip-bit", "12"], &[]);
    let ended = coordinator.process.wait().expect_code(1).expect_one_error();
    ended.expect_err(&["(one)", "(other)", "hold different states after step 20", "after step 10"]);
    drop((one, other));
    lab.up(2, &HASHED).wait().expect_code(0);
    assert_undisturbed_weights(&lab);
}
