//! What an operator does to a run that is under way, and how the tools find it: by its directory, or by looking for it.

use lsgan_tests::disturb::{Cluster, assert_undisturbed_weights, wait_for_journaled_snapshot};
use lsgan_tests::lab::STEPS;
use lsgan_tests::process::{children_named, send};
use lsgan_tests::{Lab, Process, until};
use lsgan_wire::v1::{Phase, Role};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Longer than any test waits: it runs until it is ended.
const ENDLESS: [&str; 2] = ["--set", "steps=1000000"];

/// `lsgan` with a command for the run of this lab, named by its directory.
fn lsgan(lab: &Lab, command: &str, more: &[&str]) -> Process {
    let run = lab.run_dir().display().to_string();
    lab.lsgan([&[command, "--run", &run], more].concat())
}

// ---- finding the run ----

#[test]
fn a_run_is_found_by_its_directory_also_when_its_coordinator_listens_on_all_addresses() {
    let lab = Lab::new();
    let coordinator = lab.coordinator_at("0.0.0.0:0", &[&ENDLESS[..], &["--insecure"]].concat());
    let status = lsgan(&lab, "status", &["--json"]).succeeds().json();
    assert_eq!((&status["live"], &status["run"]), (&true.into(), &"small".into()), "{status:#}");
    drop(coordinator);
}

#[test]
fn without_a_name_the_one_live_run_below_runs_is_meant_and_several_are_listed() {
    let lab = Lab::new();
    let at = |name: &str| format!("checkpoint.to=runs/{name}");
    let coordinator = |name: &str| lab.coordinator(&[&ENDLESS[..], &["--set", &at(name)]].concat());
    let refused = |words: &[&str]| lab.lsgan(["status"]).fails(1, words);
    let is_of = |name: &str| {
        let status = lab.lsgan(["status", "--json"]).succeeds().json();
        assert!(status["run_dir"].as_str().is_some_and(|dir| dir.ends_with(name)), "{status:#}");
    };
    refused(&["no run is live below ./runs", "--run", "--coordinator"]);

    let mut first = coordinator("first");
    is_of("runs/first");

    let mut second = coordinator("second");
    refused(&["several runs are live", "--run runs/first", "--run runs/second"]);
    first.kill();
    is_of("runs/second");
    second.kill();
    refused(&["Runs that are not live:", "--run runs/first", "--run runs/second"]);
}

#[test]
fn a_run_that_is_not_live_says_how_it_ended_and_how_to_go_on() {
    let lab = Lab::finished();
    lsgan(&lab, "status", &[]).succeeds().expect_out(&[
        "`small`",
        "is not live",
        "it is finished: 30 of 30 steps are done",
    ]);
    let status = lsgan(&lab, "status", &["--json"]).succeeds().json();
    assert_eq!((&status["live"], &status["step"]), (&false.into(), &30.into()), "{status:#}");
    assert_eq!(status["outcome"]["outcome"], "complete", "{status:#}");
    lsgan(&lab, "stop", &[]).fails(1, &["is not live"]);

    let lab = Lab::new();
    let coordinator = lab.coordinator(&[&ENDLESS[..], &["--set", "checkpoint.every=10"]].concat());
    let worker = lab.worker("worker", &coordinator.address);
    wait_for_journaled_snapshot(&lab, &coordinator.client);
    coordinator.process.kill();
    worker.kill();
    lsgan(&lab, "status", &[])
        .succeeds()
        .expect_out(&["its coordinator ended before it", "goes on from the snapshot of step"]);

    lab.lsgan(["status", "--run", "nowhere"]).fails(2, &["nowhere is no directory"]);
}

// ---- logs ----

#[test]
fn what_workers_log_is_read_over_the_coordinator_and_followed_until_the_run_ends() {
    let mut cluster = Cluster::start(2, &ENDLESS);
    let processes = ["coordinator", "worker-1", "worker-2"];
    until("all processes have lines", || {
        let lines = lsgan(&cluster.lab, "logs", &["--json"]).succeeds().out;
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let has = |process: &str| lines.iter().any(|line| line["process"] == process);
        if processes.into_iter().all(has) { Ok(()) } else { Err(lines) }
    });
    let one = lsgan(&cluster.lab, "logs", &["worker-2"]).succeeds().out;
    assert!(one.contains("attached") && one.lines().all(|line| line.starts_with("worker-2  ")), "{one}");
    lsgan(&cluster.lab, "logs", &["nobody"])
        .fails(1, &["no lines of `nobody`", "coordinator, worker-1, worker-2"]);
    let mut followed = lsgan(&cluster.lab, "logs", &["worker-1", "--follow"]);
    followed.wait_for_words("attached");
    lsgan(&cluster.lab, "stop", &[]).succeeds();
    cluster.coordinator.process.wait().expect_out(&["stopped after step"]);
    followed.succeeds().expect_out(&["worker-1  "]);
}

// ---- stop ----

#[test]
fn stop_ends_the_run_with_a_snapshot_and_it_can_be_started_again_at_once() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&[]);
    let _worker = lab.worker("worker", &coordinator.address);
    coordinator.client.wait_for_step(3);
    let stopped = lsgan(&lab, "stop", &["--json"]).succeeds().json();
    assert_eq!(stopped["outcome"]["outcome"], "stopped", "{stopped:#}");
    let step = stopped["step"].as_u64().expect("a number");
    assert!((3..STEPS).contains(&step), "{stopped:#}");
    assert_eq!(stopped["snapshot_step"], step, "{stopped:#}");
    lsgan(&lab, "status", &[]).succeeds().expect_out(&[&format!("it was stopped at step {step} of {STEPS}")]);
    // The directory is free when the command returns.
    lab.up(2, &[]).succeeds().expect_err(&[&format!("starts from the snapshot of step {step}")]);
    assert_undisturbed_weights(&lab);
}

#[test]
fn stop_without_waiting_returns_at_once() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[&ENDLESS[..], &["--set", "cluster.failure_timeout=1h"]].concat());
    let worker = lab.worker("worker", &coordinator.address);
    coordinator.client.wait_for_step(1);
    // Nothing is reached by a frozen worker, so that a stop that waits would wait for ever.
    worker.signal(Signal::SIGSTOP);
    lsgan(&lab, "stop", &["--no-wait"]).succeeds().expect_out(&["was told to stop"]);
    worker.signal(Signal::SIGCONT);
    coordinator.process.wait().expect_out(&["stopped after step"]);
}

#[test]
fn stop_waits_over_a_restart_of_the_coordinator() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[&ENDLESS[..], &["--set", "cluster.failure_timeout=1h"]].concat());
    let client = lab.client(&mut up);
    client.wait_for_step(1);
    let (workers, coordinator) =
        (children_named(up.id(), "worker"), children_named(up.id(), "coordinator")[0]);
    workers.iter().for_each(|&id| send(id, Signal::SIGSTOP));
    let mut stop = lsgan(&lab, "stop", &[]);
    client.wait_until("the coordinator was told", |status| {
        status.notices.iter().any(|notice| notice.text.contains("asks the run to stop"))
    });
    send(coordinator, Signal::SIGKILL);
    workers.iter().for_each(|&id| send(id, Signal::SIGCONT));
    stop.succeeds().expect_out(&["is stopped after step"]);
    until("lsgan up ends with its run", || up.running().map_or_else(|_| Ok(()), |()| Err("it runs")));
    assert!(lab.journal().texts("select value from meta where key = 'outcome'") == ["stopped"]);
}

// ---- snapshot ----

/// What `lsgan snapshot` wrote, as its manifest has it.
fn hashes(url: &str) -> Vec<String> {
    let manifest = std::fs::read_to_string(std::path::Path::new(url).join("manifest.json"));
    let manifest: Value = serde_json::from_str(&manifest.expect("a manifest")).expect("JSON");
    let parts = manifest["snapshot"]["parts"].as_array().expect("parts are a list");
    parts.iter().map(|part| part["blake3"].as_str().expect("a hash").to_owned()).collect()
}

#[test]
fn a_snapshot_on_demand_is_that_of_a_step_that_nobody_had_to_wait_for() {
    for rehearse in [&[][..], &["--rehearse-gpu"]] {
        let workers = [("anna", rehearse), ("ben", rehearse)];
        let cluster = Cluster::of(&workers, &["--set", "checkpoint.every=1000"]);
        cluster.wait_for_step(5);
        let lab = &cluster.lab;
        let written = lsgan(lab, "snapshot", &["--json"]).succeeds().json();
        let (step, url) =
            (written["step"].as_u64().expect("a number"), written["url"].as_str().expect("a path"));
        assert!((5..STEPS).contains(&step), "{written:#}");
        let asked = hashes(url);
        let generation = cluster.coordinator.client.status().expect("it answers").generation;
        assert_eq!(generation, 1, "no worker parked for it");
        let lab = cluster.finish();
        // Exactly one was written, with the bits that a run has which saves at that step by itself.
        assert_eq!(lab.journal().number("select count(*) from checkpoints"), 2);
        let other = Lab::new();
        let every = format!("checkpoint.every={step}");
        other.up(1, &["--set", &format!("steps={step}"), "--set", &every]).succeeds();
        assert_eq!(
            hashes(&other.run_dir().join(format!("snapshots/step-{step:010}")).display().to_string()),
            asked
        );
    }
}

// ---- pause ----

#[test]
fn a_paused_run_rests_with_a_snapshot_and_goes_on_from_the_held_state() {
    let lab = Lab::new();
    let mut up = lab.up(2, &["--set", "checkpoint.every=1000"]);
    let client = lab.client(&mut up);
    client.wait_for_step(3);
    let paused = lsgan(&lab, "pause", &["--json"]).succeeds().json();
    let step = paused["step"].as_u64().expect("a number");
    assert_eq!(paused["snapshot_step"], step, "{paused:#}");
    up.wait_for_words("paused by ");
    lsgan(&lab, "status", &[]).succeeds().expect_out(&["paused since ", "`lsgan resume` goes on"]);
    // Whatever happens to it now, it is where it was: a worker dies and comes back, the coordinator as well.
    send(children_named(up.id(), "worker")[0], Signal::SIGKILL);
    client.wait_until("the dead worker is back", |status| {
        status.workers.len() == 2 && status.workers.iter().any(|worker| worker.incarnation > 2)
    });
    send(children_named(up.id(), "coordinator")[0], Signal::SIGKILL);
    let status = client.wait_until("the coordinator is back, and the run rests", |status| {
        status.phase() == Phase::Paused && status.workers.len() == 2
    });
    assert_eq!(status.step, step);
    assert!(status.paused.is_some(), "{status:?}");
    lsgan(&lab, "resume", &[]).succeeds().expect_out(&["goes on after step"]);
    let again = lsgan(&lab, "resume", &[]).wait();
    assert!(again.code == Some(1), "{again}");
    up.succeeds();
    let newest = lab.journal().newest();
    assert_eq!((newest.from_step, newest.start.as_str()), (step, "held"), "nothing is computed again");
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_paused_run_whose_workers_are_all_gone_goes_on_from_its_snapshot_only_when_it_is_resumed() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--set", "checkpoint.every=1000"]);
    let worker = lab.worker("anna", &coordinator.address);
    coordinator.client.wait_for_step(3);
    let paused = lsgan(&lab, "pause", &["--json"]).succeeds().json();
    worker.kill();
    let mut worker = lab.worker("ben", &coordinator.address);
    let status = coordinator.client.wait_until("the other one stands by", |status| {
        status.workers.iter().any(|worker| worker.name == "ben" && worker.role() == Role::Standby)
    });
    assert_eq!((status.phase(), status.generation), (Phase::Paused, 1));
    lsgan(&lab, "resume", &[]).succeeds();
    coordinator.process.succeeds();
    worker.succeeds();
    let newest = lab.journal().newest();
    assert_eq!((Value::from(newest.from_step), newest.start.as_str()), (paused["step"].clone(), "snapshot"));
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_paused_run_can_be_stopped_and_is_not_paused_when_it_is_started_again() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let _worker = lab.worker("anna", &coordinator.address);
    coordinator.client.wait_for_step(3);
    let paused = lsgan(&lab, "pause", &["--json"]).succeeds().json();
    let stopped = lsgan(&lab, "stop", &["--json"]).succeeds().json();
    assert_eq!((&stopped["outcome"]["outcome"], &stopped["step"]), (&"stopped".into(), &paused["step"]));
    coordinator.process.wait();
    lab.up(1, &[]).succeeds();
    assert_undisturbed_weights(&lab);
}
