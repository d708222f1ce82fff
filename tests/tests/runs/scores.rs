//! Snapshots scored by `lsgan eval`: kept, listed, forked from, and followed beside a live run.

use std::fs;
use std::process::Command;

use lsgan_tests::binaries::{binary, root};
use lsgan_tests::disturb::assert_undisturbed_weights;
use lsgan_tests::lab::{SHORT, pictures};
use lsgan_tests::{Journal, Lab, Process, until};
use serde_json::Value;

/// Few samples: what the numbers are is tested in `metrics` and `evaluate`.
const FEW: [&str; 4] = ["--samples", "150", "--real", "300"];

/// `lsgan eval` on this lab's run. Features of real samples are kept in the lab.
fn eval(lab: &Lab, more: &[&str]) -> Process {
    eval_with(lab, &[&FEW, more].concat())
}

fn eval_with(lab: &Lab, options: &[&str]) -> Process {
    let mut command = Command::new(binary("lsgan"));
    command.args(["eval", "--run"]).arg(lab.run_dir()).args(options);
    command.env("XDG_CACHE_HOME", lab.path("cache"));
    lab.start_command("lsgan eval", command)
}

fn rows(lab: &Lab) -> Vec<Value> {
    let text = fs::read_to_string(lab.run_dir().join("scores.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a row is JSON")).collect()
}

fn steps(snapshots: &Value) -> Vec<u64> {
    let snapshots = snapshots.as_array().expect("snapshots are a list");
    snapshots.iter().map(|snapshot| snapshot["step"].as_u64().expect("it has a step")).collect()
}

/// Adds a score that no snapshot of this run has.
fn make_best(lab: &Lab, step: u64) {
    let mut row = rows(lab).into_iter().find(|row| row["step"] == step).expect("it was scored");
    row["scores"][0]["value"] = (-1e6).into();
    let path = lab.run_dir().join("scores.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{row}\n")).unwrap();
}

#[test]
fn all_snapshots_are_scored_listed_and_the_best_is_forked_from() {
    let lab = Lab::finished();
    let all = eval(&lab, &["--all", "--metrics", "kid,fid,recall", "--json"]).succeeds().json();
    assert_eq!(steps(&all["snapshots"]), [10, 20, 30]);
    assert_eq!(all["extractor"]["name"], "clothes");
    assert_eq!(all["extractor"]["comparable_with_inception_fid"], false);
    let kid = |snapshot: &Value| snapshot["scores"]["kid"].as_f64().expect("a score is a number");
    let best = all["snapshots"].as_array().unwrap().iter().min_by(|a, b| kid(a).total_cmp(&kid(b))).unwrap();
    assert_eq!(all["best_step"], best["step"]);
    assert_eq!(rows(&lab).len(), 3);

    // Again, on one thread and with the real features from the cache: the same numbers to the last bit.
    let again =
        eval(&lab, &["--all", "--metrics", "kid,fid,recall", "--json", "--threads", "1"]).succeeds().json();
    assert_eq!(again["snapshots"], all["snapshots"]);

    let run = lab.run_dir().display().to_string();
    let listed = lab.lsgan(["checkpoints", "list", "--run", &run, "--json"]).succeeds().json();
    for (entry, scored) in listed.as_array().unwrap().iter().zip(all["snapshots"].as_array().unwrap()) {
        assert_eq!((&entry["step"], &entry["scores"]), (&scored["step"], &scored["scores"]));
        assert_eq!(entry["is_best"], entry["step"] == best["step"]);
    }
    lab.lsgan(["checkpoints", "list", "--run", &run]).succeeds().expect_out(&["score", "kid ", ", the best"]);

    make_best(&lab, 20);
    lab.up(1, &["--set", "steps=40", "--fork", "better", "--from", "best"]).succeeds();
    let generations = Journal::open(&lab.path("better")).generations();
    assert_eq!((generations[0].from_step, generations[0].start.as_str()), (20, "snapshot"));
}

#[test]
fn the_best_snapshot_stays_beside_the_newest() {
    let lab = Lab::finished();
    eval(&lab, &["--all", "--metrics", "kid"]).succeeds();
    make_best(&lab, 10);
    let goes_on = |more: &[&str]| {
        // With hashes the newest snapshot that is known to be right stays as well.
        let more: Vec<_> =
            more.iter().chain(&["report.state_hash_every=0"]).flat_map(|set| ["--set", set]).collect();
        lab.up(1, &more).succeeds();
        let folders = fs::read_dir(lab.run_dir().join("snapshots")).expect("it has snapshots");
        let step = |name: &str| name.trim_start_matches("step-").parse::<u64>().expect("step-…");
        let mut steps: Vec<_> =
            folders.map(|folder| step(folder.unwrap().file_name().to_str().unwrap())).collect();
        steps.sort_unstable();
        steps
    };
    assert_eq!(goes_on(&["steps=50", "checkpoint.keep_last=1"]), [10, 50]);

    // While nobody can say which is the best, nothing is deleted.
    let path = lab.run_dir().join("scores.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("nonsense\n{text}")).unwrap();
    assert_eq!(goes_on(&["steps=60", "checkpoint.keep_last=1"]), [10, 50, 60]);

    let more = ["steps=70", "checkpoint.keep_last=1", "evaluate.keep_best=false"];
    assert_eq!(goes_on(&more), [70]);
}

/// The table, of the newest snapshot alone, with both kinds of weights.
#[test]
fn the_newest_snapshot_is_scored_for_people() {
    let lab = Lab::finished();
    let ended = eval(&lab, &["--weights", "ema,raw", "--metrics", "fid,kid"]).succeeds();
    let ended = ended.expect_out(&[
        "weights",
        "fid",
        "ema",
        "raw",
        "150 samples against 300 real ones; 128 features of clothes, pictures resized antialiased",
        "not comparable with Inception FID",
        "the best: step 30",
    ]);
    assert!(!ended.out.contains("│ 20"), "{ended}");
    eval_with(&lab, &["--samples", "100", "--real", "300", "--metrics", "fid"])
        .succeeds()
        .expect_err(&["warning: fid of 100 samples with 128 features"]);
}

/// Scoring is another process, which only reads: the weights are those of the run alone.
#[test]
fn a_live_run_is_followed_to_its_end_and_its_weights_stay_the_same() {
    let lab = Lab::new();
    let mut run = lab.up(2, &["--set", "checkpoint.keep_last=20"]);
    let snapshots = lab.run_dir().join("snapshots");
    until("the first snapshot's folder", || if snapshots.is_dir() { Ok(()) } else { Err("none is there") });
    let mut follower = eval(&lab, &["--follow", "--json", "--metrics", "kid"]);
    run.succeeds();
    let followed = follower.succeeds();
    let lines: Vec<Value> =
        followed.out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let found: Vec<u64> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(found, [25, 50, 75, 100, 125, 150, 175, 200]);
    assert_eq!(rows(&lab).len(), lines.len());
    assert_undisturbed_weights(&lab);
    // What has a score is not scored again.
    assert_eq!(eval(&lab, &["--follow", "--metrics", "kid"]).succeeds().out, "");
}

/// As the quickstart does: a process beside the run, whose last lines say which snapshot is the best. Of two kinds of weights it is
/// by the first.
#[test]
fn a_run_that_scores_itself_ends_with_the_best_and_with_the_weights_of_a_run_that_does_not() {
    let lab = Lab::new();
    let more = [
        "evaluate.every=50",
        "evaluate.samples=100",
        "evaluate.metrics=kid,recall",
        "evaluate.weights=[ema, raw]",
        "checkpoint.keep_last=20",
    ];
    let more: Vec<_> = more.iter().flat_map(|set| ["--set", set]).collect();
    let ended = lab.up(2, &more).succeeds();
    ended.clone().expect_out(&["the best score: step ", " (ema): kid ", "recall "]);
    let of_step = |step: u64| ["ema", "raw"].map(|weights| (step, weights.to_owned()));
    let of_row = |row: &Value| (row["step"].as_u64().unwrap(), row["weights"].as_str().unwrap().to_owned());
    let found: Vec<_> = rows(&lab).iter().map(of_row).collect();
    assert_eq!(found, [50, 100, 150, 200].map(of_step).concat());
    assert_undisturbed_weights(&lab);
}

/// Scores are beside the run: that they cannot be made is said, and changes nothing else.
#[test]
fn a_run_whose_scores_cannot_be_made_says_so_and_trains() {
    let lab = Lab::new();
    let images = lab.path("images.gz");
    fs::copy(pictures(), &images).expect("it can be copied");
    let images = format!("data.source.idx.images={}", images.display());
    let mut command = Command::new(binary("lsgan"));
    command.args(["up", "--workers", "1"]);
    command
        .args(lab.run_arguments(&[&SHORT[..], &["--set", &images, "--set", "evaluate.every=10"]].concat()));
    command.env("LSGAN_EXTRACTORS", lab.path("nowhere"));
    let ended = lab.start_command("lsgan up", command).succeeds();
    ended.expect_err(&["warning: ", "scored", "efficientnet_lite0 needs", "get-efficientnet-lite0"]);
    assert_eq!(rows(&lab), [] as [Value; 0]);
}

#[test]
fn points_are_scored_by_their_modes() {
    let lab = Lab::new();
    let config = root().join("configs/gaussian-ring-lsgan.yaml").display().to_string();
    let to = format!("checkpoint.to={}", lab.run_dir().display());
    lab.lsgan(["up", "--workers", "1", "--config", &config, "--set", &to, "--set", "steps=20"]).succeeds();
    let found = eval(&lab, &["--json"]).succeeds().json();
    let scores = &found["snapshots"][0]["scores"];
    let metrics = ["modes", "modes_kde", "high_quality"];
    assert!(metrics.iter().all(|metric| scores[metric].is_number()), "{found}");
    eval(&lab, &["--metrics", "fid"]).fails(
        2,
        &["--metrics fid scores pictures", "this run makes 2-D points", "modes, modes_kde, high_quality"],
    );
}

#[test]
fn what_cannot_be_scored_is_refused_with_what_to_do() {
    let lab = Lab::finished();
    eval(&lab, &["--metrics", "modes"]).fails(2, &["this run makes pictures", "fid, kid, precision"]);
    eval(&lab, &["--metrics", "is"]).fails(2, &["invalid value 'is'", "fid"]);
    eval(&lab, &["--extractor", "inception"])
        .fails(2, &["clothes, efficientnet_lite0 or a TorchScript file"]);
    eval(&lab, &["--extractor", "nowhere.pt"]).fails(1, &["nowhere.pt: it cannot be read"]);
    eval(&lab, &["--reference", "nowhere.npz", "--metrics", "fid"]).fails(1, &["nowhere.npz: "]);
    lab.up(1, &["--set", "steps=40", "--fork", "better", "--from", "best"])
        .fails(2, &["none of the snapshots", "has a score", "lsgan eval --all"]);
    fs::create_dir(lab.path("empty")).expect("it can be made");
    lab.lsgan(["eval", "--run", "empty"]).fails(1, &["empty holds no whole snapshot"]);
    assert_eq!(rows(&lab), [] as [Value; 0]);
}
