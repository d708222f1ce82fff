//! `lsgan sweep`: many runs on a shared pool of workers, killed in the middle, refused when something is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use lsgan_tests::binaries::root;
use lsgan_tests::lab::pictures;
use lsgan_tests::{Journal, Lab, Process, Weights, until};
use nix::sys::signal::Signal;
use serde_json::Value;

const RATES: &str = "optimizer.generator.adam.learning_rate=1e-4,4e-4";
const SCHEMES: &str = "objective={least_squares: {a: 0, b: 1, c: 1}},non_saturating";

/// `lsgan sweep` of small.yaml in the folder `sweep`, 30 steps each.
fn sweep(lab: &Lab, more: &[&str]) -> Process {
    let config = root().join("tests/small.yaml").display().to_string();
    let images = format!("data.source.idx.images={}", pictures().display());
    let common = ["sweep", &config, "--set", &images, "--out", "sweep", "--set", "steps=30"];
    lab.lsgan([&common[..], &["--set", "checkpoint.every=10"], more].concat())
}

fn runs(found: &Value) -> Vec<&Value> {
    found["runs"].as_array().expect("runs are a list").iter().collect()
}

/// The folders of runs that have written their final weights, and how many generations each had.
fn finished(lab: &Lab) -> BTreeMap<PathBuf, usize> {
    let entries = fs::read_dir(lab.path("sweep")).into_iter().flatten().flatten();
    let dirs = entries.map(|entry| entry.path()).filter(|dir| dir.join("journal.sqlite").is_file());
    let complete = "select count(*) from meta where key = 'outcome' and value = 'complete'";
    // One that has just begun has no tables yet.
    let tables = "select count(*) from sqlite_master where name = 'meta'";
    let is_done =
        |dir: &PathBuf| Journal::open(dir).number(tables) == 1 && Journal::open(dir).number(complete) == 1;
    dirs.filter(is_done).map(|dir| (dir.clone(), Journal::open(&dir).generations().len())).collect()
}

#[test]
fn a_sweep_of_eight_that_is_killed_goes_on_and_has_the_weights_of_each_run_alone() {
    let lab = Lab::new();
    let settings = ["--set", RATES, "--set", SCHEMES, "--seeds", "1..2", "--workers", "2"];
    let mut first = sweep(&lab, &settings);
    until("two of the runs are finished", || match finished(&lab).len() {
        0 | 1 => Err(finished(&lab)),
        _ => Ok(()),
    });
    first.signal(Signal::SIGKILL);
    first.wait();
    let before = finished(&lab);
    assert!(before.len() < 8, "it was killed in the middle");

    let found = sweep(&lab, &[&settings[..], &["--json"]].concat()).succeeds().json();
    assert_eq!(runs(&found).len(), 8);
    for run in runs(&found) {
        assert_eq!((&run["outcome"], &run["step"]), (&"finished".into(), &30.into()), "{run}");
        assert!(
            run["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0) && run["loss_g"].is_number(),
            "{run}"
        );
    }
    let after = finished(&lab);
    assert!(before.iter().all(|(dir, generations)| after[dir] == *generations), "{before:?}, {after:?}");
    let hashes: std::collections::BTreeSet<_> =
        runs(&found).iter().map(|run| run["weights"].to_string()).collect();
    assert_eq!(hashes.len(), 8, "eight runs are eight");

    // Two of them alone, by hand.
    for (index, rate, objective, seed) in [
        (0, "1e-4", "{least_squares: {a: 0, b: 1, c: 1}}", "seed=1"),
        (7, "4e-4", "non_saturating", "seed=2"),
    ] {
        let alone = Lab::new();
        let (rate, objective) =
            (format!("optimizer.generator.adam.learning_rate={rate}"), format!("objective={objective}"));
        let sets = ["steps=30", "checkpoint.every=10", &rate, &objective, seed];
        let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
        alone.up(1, &sets).succeeds();
        assert_eq!(runs(&found)[index]["weights"], alone.weights().generator, "{}", runs(&found)[index]);
    }

    // Nothing is left to do: the same table, and no process has touched a run.
    let again = sweep(&lab, &[&settings[..], &["--csv"]].concat()).succeeds();
    assert_eq!(again.out.lines().count(), 9, "{again}");
    assert_eq!(again.out.trim(), fs::read_to_string(lab.path("sweep/sweep.csv")).unwrap().trim());
    assert_eq!(finished(&lab), after);
}

/// The pool stops all runs with a snapshot, and the same command goes on from there.
#[test]
fn a_sweep_that_is_interrupted_stops_its_runs_with_snapshots() {
    let lab = Lab::new();
    let settings = ["--seeds", "1..3", "--workers", "2", "--set", "steps=100000"];
    let mut process = sweep(&lab, &settings);
    let dirs = [1, 2].map(|seed| lab.path(&format!("sweep/seed-{seed}")));
    until("two runs have saved a snapshot", || {
        let saved = dirs.iter().filter(|dir| dir.join("snapshots").is_dir()).count();
        if saved == 2 { Ok(()) } else { Err(saved) }
    });
    process.signal(Signal::SIGTERM);
    let ended = process.wait().expect_code(143);
    ended
        .expect_out(&["unfinished", "not begun"])
        .expect_err(&["stopping all runs", "the same command goes on"]);
    for dir in &dirs {
        let outcome = Journal::open(dir).texts("select value from meta where key = 'outcome'");
        assert_eq!(outcome, ["stopped"], "{}", dir.display());
    }
    assert!(!lab.path("sweep/seed-3").exists());
}

/// All training is done by the workers of another host's node, which is killed in the middle and started again.
#[test]
fn a_node_trains_the_runs_of_a_sweep_to_the_weights_of_each_run_alone() {
    let lab = Lab::new();
    let listen = format!("{}:0", lab.host());
    let settings = ["--seeds", "1..3", "--set", "steps=200", "--workers", "0", "--listen", &listen, "--json"];
    let mut process = sweep(&lab, &settings);
    let line = process.wait_for_words("lsgan node --sweep ");
    let address = line.trim_end().rsplit(' ').next().expect("it ends with the address").to_owned();
    let node = |name: &str| {
        lab.lsgan(["node", "--sweep", &address, "--workers", "2", "--name", name, "--logs", name])
    };
    let first = node("first");
    let dirs = [1, 2].map(|seed| lab.path(&format!("sweep/seed-{seed}")));
    let tables = "select count(*) from sqlite_master where name = 'metrics'";
    let steps = |dir: &PathBuf| {
        let is_there = dir.join("journal.sqlite").is_file() && Journal::open(dir).number(tables) == 1;
        if is_there { Journal::open(dir).number("select count(*) from metrics") } else { 0 }
    };
    until("each of its workers trains for a run of its own", || {
        let steps = dirs.each_ref().map(&steps);
        if steps.iter().all(|steps| *steps > 0) { Ok(()) } else { Err(steps) }
    });
    first.kill();
    let mut second = node("second");
    let found = process.succeeds().json();
    second.succeeds().expect_err(&["worker 1 takes part in the run", "the sweep is over"]);
    assert_eq!(runs(&found).len(), 3);
    for (index, run) in runs(&found).into_iter().enumerate() {
        assert_eq!((&run["outcome"], &run["step"]), (&"finished".into(), &200.into()), "{run}");
        let alone = Lab::new();
        let seed = format!("seed={}", index + 1);
        alone.up(1, &["--set", "checkpoint.every=10", "--set", &seed]).succeeds();
        assert_eq!(run["weights"], alone.weights().generator, "{run}");
    }
}

/// Scores are in the table, and over the seeds.
#[test]
fn a_sweep_of_scored_runs_ends_with_its_scores() {
    let lab = Lab::new();
    let config = root().join("configs/gaussian-ring-lsgan.yaml").display().to_string();
    let sets =
        ["steps=20", "checkpoint.every=10", "evaluate.every=10", "evaluate.samples=200", "samples.every=0"];
    let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let common = ["sweep", &config, "--out", "sweep", "--seeds", "1,4", "--set", "batch.per_rank=8,16"];
    let ended = lab.lsgan([&common[..], &sets].concat()).succeeds();
    ended.expect_out(&["per_rank", "modes_kde", "high_quality", "over the seeds", "per_rank-16_seed-4"]);
    let found: Value = serde_json::from_slice(&fs::read(lab.path("sweep/sweep.json")).unwrap()).unwrap();
    for run in runs(&found) {
        let steps: Vec<_> =
            run["scores"].as_array().unwrap().iter().map(|score| score["step"].as_u64()).collect();
        assert_eq!(steps, [Some(10), Some(20)], "{run}");
    }
    assert!(
        fs::read_to_string(lab.path("sweep/sweep.svg")).unwrap().contains("modes_kde"),
        "the plot is there"
    );
}

#[test]
fn what_is_wrong_is_refused_before_anything_starts() {
    let lab = Lab::new();
    for (set, words) in [
        ("optimiser.generator=1,2", "optimiser"),
        ("batch.per_rank=4,0", "batch.per_rank is 0"),
        ("objective={minimax: {}", "does not close"),
        ("seed=1,2", "--seeds 1..5"),
        ("steps", "there is no `=`"),
    ] {
        sweep(&lab, &["--set", set]).fails(2, &[words]);
    }
    sweep(&lab, &["--seeds", "5..1"]).fails(2, &["seeds are a range as 1..5"]);
    sweep(&lab, &["--workers", "0"]).fails(2, &["--workers 0 leaves the runs without workers", "--listen"]);
    sweep(&lab, &["--listen", "0.0.0.0:0"]).fails(2, &["all addresses of this host", "name the one"]);
    assert!(!lab.path("sweep").exists());
    // A run of the same name with other mathematics.
    sweep(&lab, &["--seeds", "1", "--set", "steps=3"]).succeeds();
    let weights = Weights::of(&lab.path("sweep/seed-1"));
    sweep(&lab, &["--seeds", "1", "--set", "steps=3", "--set", "batch.per_rank=8"])
        .fails(2, &["seed-1 holds another run", "--out DIR"]);
    assert_eq!(Weights::of(&lab.path("sweep/seed-1")), weights);
}

/// A run that cannot be trained is named, and the others are trained all the same.
#[test]
fn a_run_that_fails_is_named_and_the_others_go_on() {
    let lab = Lab::new();
    // With steps so large D's gradients leave the range of the exact sum.
    let rates = "optimizer.discriminator.adam.learning_rate=2e-4,1";
    let ended = sweep(&lab, &["--set", rates, "--set", "steps=200"]).wait().expect_code(1);
    ended
        .expect_out(&["finished", "failed: "])
        .expect_err(&["learning_rate-1_seed-1 failed: ", "1 of the runs failed"]);
}

/// Two rounds: the better of two settings is trained to the end, to the weights that it has without the rounds.
#[test]
fn halving_gives_up_the_worse_setting_and_changes_no_bit_of_the_other() {
    let lab = Lab::new();
    let config = root().join("configs/gaussian-ring-lsgan.yaml").display().to_string();
    let sets =
        ["steps=200", "checkpoint.every=50", "evaluate.every=50", "evaluate.samples=500", "samples.every=0"];
    let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let rates = "optimizer.generator.adam.learning_rate=1e-3,1e-9";
    let ring = |out: &str, more: &[&str]| {
        let common = ["sweep", &config, "--out", out, "--seeds", "1..2", "--json", "--set", rates];
        lab.lsgan([&common[..], &sets, more].concat()).succeeds()
    };
    let halved = ring("halved", &["--halving", "high_quality"]);
    halved.clone().expect_err(&["after 100 steps 1 of 2 settings go on: "]);
    let (halved, whole) = (halved.json(), ring("whole", &[]).json());
    let given_up: Vec<_> = runs(&halved).iter().map(|run| run["outcome"] == "given up").collect();
    assert_eq!(given_up.iter().filter(|is| **is).count(), 2, "{halved}");
    for (halved, whole) in runs(&halved).into_iter().zip(runs(&whole)) {
        let steps = if halved["outcome"] == "given up" { 100 } else { 200 };
        assert_eq!(halved["step"], steps);
        assert_eq!(halved["weights"] == whole["weights"], steps == 200, "{halved} {whole}");
    }
    // Again: nothing is left to do.
    assert_eq!(ring("halved", &["--halving", "high_quality"]).json()["runs"], halved["runs"]);
    sweep(&lab, &["--halving", "fid"]).fails(2, &["--halving fid needs runs that score themselves"]);
}
