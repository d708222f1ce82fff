//! Snapshots scored by workers of the run, and on other machines for its coordinator: the weights are those of a run that scores
//! nothing, and nobody who trains waits.

use std::fs;

use lsgan_tests::disturb::{Cluster, assert_disturbed, assert_undisturbed_weights, wait_for_members};
use lsgan_tests::process::{all_gone, children_named, children_of};
use lsgan_tests::{Lab, until};
use lsgan_wire::v1::Role;
use serde_json::Value;

/// Members that leave the processor to those who score, and a run that is long enough for it.
const SLOWLY: [&str; 2] = ["--fault-slowness", "12"];
const MEMBERS: [(&str, &[&str]); 2] = [("anna", &SLOWLY), ("ben", &SLOWLY)];
/// Longer than any test waits: it runs until it is ended.
const ENDLESS: &str = "steps=1000000";
/// More than are made while a test waits.
const FOR_EVER: &str = "evaluate.samples=1000000";

/// Two members, and snapshots that are scored every 25 steps.
fn cluster(of: &str, more: &[&str]) -> Cluster {
    let by = format!("evaluate.where={of}");
    let sets = [
        by.as_str(),
        "cluster.max_workers=2",
        "evaluate.every=25",
        "evaluate.metrics=kid,recall",
        "checkpoint.keep_last=20",
    ];
    let sets: Vec<_> = sets.iter().chain(more).flat_map(|set| ["--set", set]).collect();
    let cluster = Cluster::of(&MEMBERS, &sets);
    // So that who joins later stands by.
    cluster.coordinator.client.wait_until("both are members", |status| {
        status.workers.iter().filter(|worker| !worker.virtual_ranks.is_empty()).count() == MEMBERS.len()
    });
    cluster
}

fn rows(lab: &Lab) -> Vec<Value> {
    let text = fs::read_to_string(lab.run_dir().join("scores.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a row is JSON")).collect()
}

#[track_caller]
fn wait_for_rows(lab: &Lab, count: usize) -> Vec<Value> {
    until(&format!("{count} snapshots have scores"), || {
        let rows = rows(lab);
        if rows.len() >= count { Ok(rows) } else { Err(rows) }
    })
}

/// Each snapshot with these weights. The last snapshots may be without: nobody waits for their scores.
#[track_caller]
fn assert_scored(lab: &Lab, weights: &[&str]) {
    let rows = rows(lab);
    for of_step in rows.chunks(weights.len()) {
        let found: Vec<_> = of_step.iter().map(|row| row["weights"].as_str().expect("a word")).collect();
        assert_eq!(found, weights, "{of_step:?}");
        assert!(of_step.iter().all(|row| row["step"] == of_step[0]["step"]), "{of_step:?}");
    }
    for row in &rows {
        assert!(row["step"].as_u64().is_some_and(|step| step.is_multiple_of(25)), "{row}");
        assert_eq!(row["samples"], 100, "{row}");
        let scores = row["scores"].as_array().expect("a list");
        let names: Vec<_> = scores.iter().map(|score| &score["metric"]).collect();
        assert_eq!(names, ["kid", "recall"], "{row}");
    }
    let told = lab.journal().texts("select text from events where text like 'scored step %'");
    assert_eq!(told.len(), rows.len(), "{told:?}");
    let run = lab.run_dir().display().to_string();
    let listed = lab.lsgan(["checkpoints", "list", "--run", &run, "--json"]).succeeds().json();
    let listed = listed.as_array().expect("a list").iter();
    assert_eq!(listed.filter(|entry| entry["scores"].is_object()).count(), rows.len() / weights.len());
}

#[test]
fn a_standby_scores_and_the_weights_are_those_of_a_run_without_scores() {
    let mut cluster = cluster("standby", &["evaluate.samples=100"]);
    cluster.join("carl", &[]);
    wait_for_rows(&cluster.lab, 1);
    let generation = cluster.coordinator.client.status().expect("it answers").generation;
    let lab = cluster.finish();
    assert_eq!(generation, 1, "no worker parked for it");
    assert_scored(&lab, &["ema"]);
}

#[test]
fn the_worker_that_writes_snapshots_scores_them_beside_its_training() {
    let cluster = cluster("writer", &["evaluate.samples=100", "evaluate.weights=[raw, ema]"]);
    wait_for_rows(&cluster.lab, 1);
    assert_scored(&cluster.finish(), &["raw", "ema"]);
}

/// `lsgan up` scores at the end what its workers have left.
#[test]
fn a_run_of_one_command_ends_with_all_scores() {
    let lab = Lab::new();
    let sets = [
        "evaluate.where=writer",
        "evaluate.every=50",
        "evaluate.samples=100",
        "evaluate.metrics=kid,recall",
        "checkpoint.keep_last=20",
    ];
    let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
    lab.up(2, &sets).succeeds().expect_out(&["the best score: step ", "kid ", "recall "]);
    let mut found: Vec<_> = rows(&lab).iter().map(|row| row["step"].as_u64().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, [50, 100, 150, 200]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_score_whose_worker_dies_is_made_by_another() {
    let mut cluster = cluster("standby", &[ENDLESS, "evaluate.samples=2000"]);
    cluster.join("carl", &[]);
    cluster.join("dora", &[]);
    let (busy, children) = until("a standby scores", || {
        let scoring = (2..4).find(|&index| !children_named(cluster.workers[index].id(), "lsgan").is_empty());
        let found = scoring.map(|index| (index, children_of(cluster.workers[index].id())));
        found.ok_or_else(|| rows(&cluster.lab))
    });
    let killed = cluster.workers.remove(busy).kill();
    assert!(killed.err.contains("scoring a snapshot"), "{killed}");
    all_gone(&children);
    cluster.workers[2].wait_for_words("scoring a snapshot");
    wait_for_rows(&cluster.lab, rows(&cluster.lab).len() + 1);
    let shown = cluster.coordinator.client.wait_until("the status shows it", |status| status.score.is_some());
    let score = shown.score.expect("it was waited for");
    assert_eq!(score.metric, "kid", "{score:?}");
    assert!(score.step >= 25 && score.best_step >= 25 && score.best_value <= score.value, "{score:?}");
}

/// With so many samples a score takes far longer than this test waits.
#[test]
fn a_standby_that_is_needed_drops_its_score_at_once() {
    let mut cluster = cluster("standby", &[FOR_EVER]);
    cluster.join("carl", &[]);
    let carl = cluster.workers[2].id();
    let scores = until("the standby scores", || {
        let children = children_of(carl);
        if children.iter().any(|child| child.is("lsgan")) { Ok(children) } else { Err(children) }
    });
    cluster.workers.remove(0).kill();
    wait_for_members(&cluster.lab, 2);
    all_gone(&scores);
    let lab = cluster.finish();
    assert_disturbed(&lab, "held");
    assert_eq!(rows(&lab), [] as [Value; 0]);
}

/// What a score cannot be made of is a warning, and the run goes on.
#[test]
fn a_score_that_cannot_be_made_is_a_warning_with_its_reason() {
    let mut cluster = cluster("standby", &["evaluate.samples=2"]);
    cluster.join("carl", &[]);
    let status = cluster.coordinator.client.wait_until("a person is told why", |status| {
        let why = "carl could not score the snapshot";
        status.notices.iter().any(|notice| notice.warning && notice.text.contains(why))
    });
    assert!(status.workers.iter().any(|worker| worker.name == "carl" && worker.role() == Role::Standby));
    cluster.finish();
}

/// It is told where the coordinator is, and nothing else.
#[test]
fn scores_of_another_process_are_kept_by_the_coordinator() {
    let cluster = cluster("off", &[]);
    let address = cluster.coordinator.address.clone();
    cluster.coordinator.client.wait_until("there is a snapshot", |status| status.snapshot_step.is_some());
    let eval = |more: &[&str]| {
        let few =
            ["eval", "--coordinator", &address, "--metrics", "kid", "--samples", "150", "--real", "300"];
        cluster.lab.lsgan([&few[..], more].concat())
    };
    let once = eval(&["--step", "25", "--json"]).succeeds().json();
    assert_eq!(rows(&cluster.lab).len(), 1, "{once:#}");
    let mut follower = eval(&["--follow", "--json"]);
    wait_for_rows(&cluster.lab, 3);
    let lab = cluster.finish();
    let followed = follower.succeeds();
    let lines: Vec<Value> =
        followed.out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let steps: Vec<_> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [50, 75, 100, 125, 150, 175, 200], "that of step 25 had its score");
    // The last ones may come after the coordinator has gone, which is said.
    let kept = rows(&lab);
    assert_eq!(kept.len() + followed.err.matches("is not kept").count(), 1 + lines.len(), "{followed}");
    let told = lab.journal().texts("select text from events where text like '% has scored step %'");
    assert_eq!(told.len(), kept.len(), "{told:?}");
}

#[test]
fn a_coordinator_elsewhere_is_asked_for_what_it_can_know() {
    let lab = Lab::new();
    lab.lsgan(["eval"]).fails(2, &["--run"]);
    let nobody = ["eval", "--coordinator", "http://127.0.0.1:1", "--metrics", "kid"];
    lab.lsgan(nobody).fails(1, &["no coordinator answers at http://127.0.0.1:1"]);
}
