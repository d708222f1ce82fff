//! `lsgan profile` of real runs: what it says adds up, the weights are those of a run without it, and it says clearly why there
//! is nothing to see.

use std::collections::BTreeSet;
use std::time::Instant;

use lsgan_tests::disturb::Cluster;
use lsgan_tests::{Lab, Process, until};
use serde_json::Value;

/// Longer than any test waits: it runs until it is ended.
const ENDLESS: [&str; 2] = ["--set", "steps=1000000"];
/// What the coordinator logs once it has asked the workers.
const ASKED: &str = "asks for a profile of";
const MANY: [&str; 2] = ["--steps", "1000"];

/// `lsgan profile` of this lab's run.
fn profile(lab: &Lab, more: &[&str]) -> Process {
    let run = lab.run_dir().display().to_string();
    lab.lsgan([&["profile", "--run", &run], more].concat())
}

fn list<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name} is no list in {value:#}")).iter().collect()
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {value:#}"))
}

/// A span of a trace, in µs.
#[derive(Debug)]
struct Span {
    name: String,
    begin: f64,
    end: f64,
}

/// The complete events of a thread of a worker, each of which has all that the format asks for.
fn spans(trace: &Value, pid: u64, tid: u64) -> Vec<Span> {
    let events = list(trace, "traceEvents");
    let of_thread = events.into_iter().filter(|e| e["ph"] == "X" && e["pid"] == pid && e["tid"] == tid);
    let span = |event: &Value| {
        let (name, begin) = (event["name"].as_str().expect("it has a name").to_owned(), number(event, "ts"));
        assert!(event["cat"].is_string() && event["args"]["step"].is_u64(), "{event:#}");
        Span { name, begin, end: begin + number(event, "dur") }
    };
    of_thread.map(span).collect()
}

/// Numbers of a trace have digits of nanoseconds.
const ROUNDED_US: f64 = 0.01;

/// The training thread's spans lie in its steps, which follow each other.
fn assert_steps_hold_their_parts(trace: &Value, pid: u64, steps: usize) {
    let number = |span: &Span| span.name.strip_prefix("step ").and_then(|number| number.parse::<u64>().ok());
    let all = spans(trace, pid, 1).into_iter();
    let (mut whole, parts): (Vec<_>, Vec<_>) = all.partition(|span| number(span).is_some());
    whole.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    assert_eq!(whole.len(), steps, "{whole:?}");
    for pair in whole.windows(2) {
        assert!((pair[0].end - pair[1].begin).abs() < ROUNDED_US, "{pair:?}");
    }
    let is_in =
        |part: &Span, step: &Span| part.begin >= step.begin - ROUNDED_US && part.end <= step.end + ROUNDED_US;
    for part in &parts {
        assert!(whole.iter().any(|step| is_in(part, step)), "{part:?} lies in no step of {whole:?}");
    }
    let names: BTreeSet<_> = parts.iter().map(|part| part.name.as_str()).collect();
    for name in ["D forward, backward", "G forward, backward", "exchange", "apply", "step end"] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
}

#[test]
fn a_profile_has_all_workers_and_adds_up_and_the_weights_are_those_of_a_run_without_it() {
    for rehearse in [&[][..], &["--rehearse-gpu"]] {
        // So slow that the run is not over when it is looked at.
        let how = [&["--fault-slowness", "4"][..], rehearse].concat();
        let cluster = Cluster::of(&[("anna", &how), ("ben", &how)], &[]);
        cluster.wait_for_step(5);
        let begin = Instant::now();
        let asked = ["--steps", "10", "--trace", "trace.json", "--json"];
        let found = profile(&cluster.lab, &asked).succeeds().json();
        let took_ms = begin.elapsed().as_secs_f64() * 1e3;
        let workers = list(&found, "workers");
        assert_eq!((&found["run"], workers.len()), (&"small".into(), 2), "{found:#}");
        let text = std::fs::read_to_string(cluster.lab.path("trace.json")).expect("the trace is written");
        let trace: Value = serde_json::from_str(&text).expect("a trace is JSON");
        for worker in workers {
            assert_eq!((&worker["steps"], &worker["why"]), (&10.into(), &"".into()), "{worker:#}");
            let step = number(&worker["step"], "mean_ms");
            assert!(step > 0.0 && 10.0 * step <= took_ms, "{took_ms} ms for {worker:#}");
            let parts: f64 = list(worker, "parts").iter().map(|part| number(part, "mean_ms")).sum();
            assert!((parts - step).abs() < 1e-6 * step, "{worker:#}");
            let pid = worker["incarnation"].as_u64().expect("it has a number");
            assert_steps_hold_their_parts(&trace, pid, 10);
            let named = |event: &&Value| event["name"] == "process_name" && event["pid"] == pid;
            let names = list(&trace, "traceEvents");
            let name = names.into_iter().find(named).expect("a process has a name");
            assert_eq!(name["args"]["name"], worker["name"]);
        }
        cluster.finish();
    }
}

#[test]
fn a_profile_for_people_is_a_table() {
    let cluster = Cluster::start(2, &ENDLESS);
    cluster.wait_for_step(3);
    let shown = profile(&cluster.lab, &["--steps", "3"]).succeeds();
    let words = ["small: where a step's time goes", "worker-1", "worker-2", "step (3 of them)", "data wait"];
    let shown = shown.expect_out(&words);
    let shown = shown.expect_out(&["quantise", "exchange", "rest", "all", "step (6 of them)", "100.0 %"]);
    assert!(!shown.out.contains("GPU wait"), "there is no GPU: {shown}");
    profile(&cluster.lab, &["--steps", "0"]).fails(2, &["1..=1000"]);
    let nowhere = ["--trace", "nowhere/x.json"];
    profile(&cluster.lab, &nowhere).fails(2, &["--trace nowhere/x.json", "there is no directory nowhere"]);
}

#[test]
fn one_profile_runs_at_a_time_and_one_that_nobody_waits_for_is_given_up() {
    let mut cluster = Cluster::start(2, &ENDLESS);
    cluster.wait_for_step(3);
    let first = profile(&cluster.lab, &MANY);
    cluster.coordinator.process.wait_for_words(ASKED);
    profile(&cluster.lab, &[]).fails(1, &["profiles the run already, 1000 steps of it", "Ask again"]);
    first.kill();
    until("the next one is heard", || {
        let ended = profile(&cluster.lab, &["--steps", "2"]).wait();
        if ended.code == Some(0) { Ok(()) } else { Err(ended.err) }
    });
    let late = ["--steps", "1000", "--give-up-after", "1ms", "--json"];
    profile(&cluster.lab, &late).fails(1, &["no worker has recorded a whole step", "within 0.001 s"]);
}

#[test]
fn a_worker_that_is_killed_meanwhile_is_named_and_the_others_are_shown() {
    let mut cluster = Cluster::start(2, &ENDLESS);
    let step = cluster.wait_for_step(3);
    let mut asked = profile(&cluster.lab, &[&MANY[..], &["--json"]].concat());
    cluster.coordinator.process.wait_for_words(ASKED);
    cluster.wait_for_step(step + 20);
    cluster.workers.remove(1).kill();
    let found = asked.succeeds().json();
    // In the order in which they attached, whichever that was.
    let workers = list(&found, "workers");
    assert_eq!(workers.len(), 2, "{found:#}");
    let of = |name: &str| *workers.iter().find(|worker| worker["name"] == name).expect("it is named");
    let (first, second) = (of("worker-1"), of("worker-2"));
    assert!(first["steps"].as_u64().is_some_and(|steps| (1..1000).contains(&steps)), "{found:#}");
    let why = |worker: &Value| worker["why"].as_str().expect("it says why").to_owned();
    assert!(why(first).contains("of 1000 steps: its generation ended"), "{found:#}");
    assert!(why(second).contains("it ended, or its connection broke"), "{found:#}");
    assert_eq!(second["steps"], 0);
}

#[test]
fn a_run_that_does_no_steps_says_why() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&ENDLESS);
    profile(&lab, &[]).fails(1, &["does no steps now: it gathers workers"]);
    let _worker = lab.worker("worker", &coordinator.address);
    coordinator.client.wait_for_step(3);
    let run = lab.run_dir().display().to_string();
    lab.lsgan(["pause", "--run", &run]).succeeds();
    profile(&lab, &[]).fails(1, &["the run is paused", "lsgan resume"]);
    coordinator.kill();
    profile(&lab, &[]).fails(1, &["is not live"]);
}
