//! Wrong numbers: gradients beyond every range, and a bit that flips in one worker's memory.

use std::fs;

use lsgan_tests::disturb::{Cluster, assert_undisturbed_weights};
use lsgan_tests::lab::STEPS;
use lsgan_tests::{Journal, Lab, Weights};

/// D's weights grow by one at every step: its gradients soon leave the range of the exact sum.
const WILD: [&str; 4] = [
    "--set",
    "optimizer.discriminator.adam.learning_rate=1",
    "--set",
    "optimizer.generator.adam.learning_rate=1",
];

/// The step whose gradients were refused, and the virtual rank, as the error of a failed run names them.
#[track_caller]
fn named_in(err: &str) -> (u64, u64) {
    let number_after = |words: &str| {
        let rest = err.split(words).nth(1).unwrap_or_else(|| panic!("`{words}` is not in: {err}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number after `{words}` in: {err}"))
    };
    (number_after("step "), number_after("virtual rank "))
}

/// Runs until the numbers are wrong. Returns the step and the virtual rank that the error names.
#[track_caller]
fn fails(lab: &Lab, workers: u32, run_dir: &str, more: &[&str]) -> (u64, u64) {
    let ended = lab.up(workers, more).fails(1, &[]);
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

/// A run of 20 steps is forked with a target for which no gradient can be formed, in one of the halves. The state that is
/// kept is forked once more with the right target, and trains the bits of an undisturbed run.
#[test]
fn a_run_whose_discriminator_or_generator_got_wrong_numbers_is_resumable_with_a_changed_spec() {
    for target in ["b", "c"] {
        let lab = Lab::new();
        lab.up(2, &["--set", "steps=20"]).succeeds();
        let target = format!("objective.least_squares.{target}=1e6");
        assert_eq!(fails(&lab, 2, "wild", &["--fork", "wild", "--set", &target]).0, 20);

        let from = format!("checkpoint.to={}", lab.path("wild").display());
        let ended = lab.up(3, &["--set", &from, "--fork", "back"]).succeeds();
        ended.expect_err(&["starts from the snapshot of step 20"]);
        assert_eq!(Weights::of(&lab.path("back")), *Weights::undisturbed());
    }
}

const HASHED: [&str; 4] = ["--set", "report.state_hash_every=10", "--set", "checkpoint.every=5"];

#[test]
fn a_flipped_bit_ends_the_run_names_the_worker_and_no_wrong_snapshot_is_used() {
    let workers = [("right-1", &[][..]), ("right-2", &[]), ("odd", &["--fault-flip-bit", "42"])];
    let Cluster { lab, mut coordinator, workers } = Cluster::of(&workers, &HASHED);
    let holds = "(odd) holds another state than the others after step 50";
    coordinator.process.fails(1, &[holds, "All held the same after step 40", "Keep that machine out"]);
    for mut worker in workers {
        worker.wait().expect_code(1).expect_err(&["(odd) holds another state"]);
    }
    let suspect = lab.run_dir().join("suspect");
    assert!(suspect.join("step-0000000045/manifest.json").is_file(), "45 is newer than 40");
    let kept = fs::read_dir(lab.run_dir().join("snapshots")).expect("there are snapshots").flatten();
    let newest = kept.map(|entry| entry.file_name()).max().expect("there are some");
    assert_eq!(newest, "step-0000000040");

    // The same command without that machine comes to the right weights.
    lab.up(2, &HASHED).succeeds().expect_err(&["starts from the snapshot of step 40"]);
    assert_undisturbed_weights(&lab);
    assert_eq!(lab.journal().number("select count(*) from metrics"), STEPS);
}

/// With two workers it cannot be told which one is right.
#[test]
fn two_workers_that_differ_are_both_named() {
    let workers = [("one", &[][..]), ("other", &["--fault-flip-bit", "12"])];
    let Cluster { lab, mut coordinator, workers } = Cluster::of(&workers, &HASHED);
    let words = ["(one)", "(other)", "hold different states after step 20", "after step 10"];
    coordinator.process.fails(1, &words);
    drop(workers);
    lab.up(2, &HASHED).succeeds();
    assert_undisturbed_weights(&lab);
}
