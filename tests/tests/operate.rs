//! What an operator does to a run that is under way, and how the tools find it: by its directory, or by looking for it.

use lsgan_tests::lab::STEPS;
use lsgan_tests::process::{children_of, send};
use lsgan_tests::{Lab, Process, Weights, until};
use lsgan_wire::v1::{Phase, Role};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Longer than any test waits: it runs until it is ended.
const ENDLESS: [&str; 2] = ["--set", "steps=1000000"];

fn json_of(process: &mut Process) -> Value {
    let ended = process.wait().expect_code(0);
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("no JSON ({error}): {ended}"))
}

/// `lsgan` with a command for the run of this lab, named by its directory.
fn lsgan(lab: &Lab, command: &str, more: &[&str]) -> Process {
    let run = lab.run_dir().display().to_string();
    lab.start(command, "lsgan", &[&[command, "--run", &run], more].concat())
}

// ---- finding the run ----

#[test]
fn a_run_is_found_by_its_directory_also_when_its_coordinator_listens_on_all_addresses() {
    let lab = Lab::new();
    let coordinator = lab.coordinator_at("0.0.0.0:0", &ENDLESS);
    let status = json_of(&mut lsgan(&lab, "status", &["--json"]));
    assert_eq!((&status["live"], &status["run"]), (&true.into(), &"small".into()), "{status:#}");
    drop(coordinator);
}

#[test]
fn without_a_name_the_one_live_run_below_runs_is_meant_and_several_are_listed() {
    let lab = Lab::new();
    let at = |name: &str| format!("checkpoint.to=runs/{name}");
    let coordinator = |name: &str| lab.coordinator(&[&ENDLESS[..], &["--set", &at(name)]].concat());
    let ended = lab.start("status", "lsgan", &["status"]).wait().expect_code(1).expect_one_error();
    ended.expect_err(&["no run is live below ./runs", "--run", "--coordinator"]);

    let first = coordinator("first");
    let status = json_of(&mut lab.start("status", "lsgan", &["status", "--json"]));
    assert!(status["run_dir"].as_str().is_some_and(|dir| dir.ends_with("runs/first")), "{status:#}");

    let second = coordinator("second");
    let ended = lab.start("status", "lsgan", &["status"]).wait().expect_code(1).expect_one_error();
    ended.expect_err(&["several runs are live", "--run runs/first", "--run runs/second"]);
    first.process.kill();
    let status = json_of(&mut lab.start("status", "lsgan", &["status", "--json"]));
    assert!(status["run_dir"].as_str().is_some_and(|dir| dir.ends_with("runs/second")), "{status:#}");
    second.process.kill();
    let ended = lab.start("status", "lsgan", &["status"]).wait().expect_code(1).expect_one_error();
    ended.expect_err(&["Runs that are not live:", "--run runs/first", "--run runs/second"]);
}

#[test]
fn a_run_that_is_not_live_says_how_it_ended_and_how_to_go_on() {
    let lab = Lab::finished();
    let told = lsgan(&lab, "status", &[]).wait().expect_code(0);
    told.expect_out(&["`small`", "is not live", "it is finished: 30 of 30 steps are done"]);
    let status = json_of(&mut lsgan(&lab, "status", &["--json"]));
    assert_eq!((&status["live"], &status["step"]), (&false.into(), &30.into()), "{status:#}");
    assert_eq!(status["outcome"]["outcome"], "complete", "{status:#}");
    let ended = lsgan(&lab, "stop", &[]).wait().expect_code(1).expect_one_error();
    ended.expect_err(&["is not live"]);

    let lab = Lab::new();
    let coordinator = lab.coordinator(&[&ENDLESS[..], &["--set", "checkpoint.every=10"]].concat());
    let worker = lab.worker("worker", &coordinator.address);
    // With the second one the first is surely in the journal.
    coordinator.client.wait_until("two snapshots", |status| status.snapshot_step >= Some(20));
    coordinator.process.kill();
    worker.kill();
    let told = lsgan(&lab, "status", &[]).wait().expect_code(0);
    told.expect_out(&["its coordinator ended before it", "goes on from the snapshot of step"]);

    let ended = lab.start("status", "lsgan", &["status", "--run", "nowhere"]).wait();
    ended.expect_code(2).expect_one_error().expect_err(&["nowhere is no directory"]);
}

// ---- stop ----

#[test]
fn stop_ends_the_run_with_a_snapshot_and_it_can_be_started_again_at_once() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&[]);
    let _worker = lab.worker("worker", &coordinator.address);
    coordinator.client.wait_for_step(3);
    let stopped = json_of(&mut lsgan(&lab, "stop", &["--json"]));
    assert_eq!(stopped["outcome"]["outcome"], "stopped", "{stopped:#}");
    let step = stopped["step"].as_u64().expect("a number");
    assert!((3..STEPS).contains(&step), "{stopped:#}");
    assert_eq!(stopped["snapshot_step"], step, "{stopped:#}");
    let told = lsgan(&lab, "status", &[]).wait().expect_code(0);
    told.expect_out(&[&format!("it was stopped at step {step} of {STEPS}")]);
    // The directory is free when the command returns.
    lab.up(2, &[]).wait().expect_code(0).expect_err(&[&format!("starts from the snapshot of step {step}")]);
    assert_eq!(lab.weights(), *Weights::undisturbed());
}

#[test]
fn stop_without_waiting_returns_at_once() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[&ENDLESS[..], &["--set", "cluster.failure_timeout=1h"]].concat());
    let worker = lab.worker("worker", &coordinator.address);
    coordinator.client.wait_for_step(1);
    // Nothing is reached by a frozen worker, so that a stop that waits would wait for ever.
    worker.signal(Signal::SIGSTOP);
    lsgan(&lab, "stop", &["--no-wait"]).wait().expect_code(0).expect_out(&["was told to stop"]);
    worker.signal(Signal::SIGCONT);
    coordinator.process.wait().expect_out(&["stopped after step"]);
}

#[test]
fn stop_waits_over_a_restart_of_the_coordinator() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[&ENDLESS[..], &["--set", "cluster.failure_timeout=1h"]].concat());
    let client = lab.client(&mut up);
    client.wait_for_step(1);
    let children = children_of(up.id());
    let workers: Vec<_> = children.iter().filter(|seen| seen.arguments[0].ends_with("/worker")).collect();
    let coordinator =
        children.iter().find(|seen| seen.arguments[0].ends_with("/coordinator")).expect("there is one");
    workers.iter().for_each(|seen| send(seen.id, Signal::SIGSTOP));
    let mut stop = lsgan(&lab, "stop", &[]);
    client.wait_until("the coordinator was told", |status| {
        status.notices.iter().any(|notice| notice.text.contains("asks the run to stop"))
    });
    send(coordinator.id, Signal::SIGKILL);
    workers.iter().for_each(|seen| send(seen.id, Signal::SIGCONT));
    stop.wait().expect_code(0).expect_out(&["is stopped after step"]);
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
        let lab = Lab::new();
        let mut coordinator = lab.coordinator(&["--set", "checkpoint.every=1000", "--expect-workers", "2"]);
        let mut workers =
            ["anna", "ben"].map(|name| lab.worker_with(name, &coordinator.address, rehearse, &[]));
        coordinator.client.wait_for_step(5);
        let written = json_of(&mut lsgan(&lab, "snapshot", &["--json"]));
        let (step, url) =
            (written["step"].as_u64().expect("a number"), written["url"].as_str().expect("a path"));
        assert!((5..STEPS).contains(&step), "{written:#}");
        let asked = hashes(url);
        let generation = coordinator.client.status().expect("it answers").generation;
        assert_eq!(generation, 1, "nobody parked for it");
        coordinator.process.wait().expect_code(0);
        workers.iter_mut().for_each(|worker| drop(worker.wait().expect_code(0)));
        assert_eq!(lab.weights(), *Weights::undisturbed());
        // Exactly one was written, with the bits that a run has which saves at that step by itself.
        assert_eq!(lab.journal().number("select count(*) from checkpoints"), 2);
        let other = Lab::new();
        let every = format!("checkpoint.every={step}");
        other.up(1, &["--set", &format!("steps={step}"), "--set", &every]).wait().expect_code(0);
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
    let paused = json_of(&mut lsgan(&lab, "pause", &["--json"]));
    let step = paused["step"].as_u64().expect("a number");
    assert_eq!(paused["snapshot_step"], step, "{paused:#}");
    up.wait_for_words("paused by ");
    lsgan(&lab, "status", &[]).wait().expect_code(0).expect_out(&["paused since ", "`lsgan resume` goes on"]);
    // Whatever happens to it now, it is where it was: a worker dies and comes back, the coordinator as well.
    let children = children_of(up.id());
    let one = |name: &str| {
        let found = children.iter().find(|seen| seen.arguments[0].ends_with(name));
        found.expect("it is one of the children").id
    };
    send(one("/worker"), Signal::SIGKILL);
    client.wait_until("the dead worker is back", |status| {
        status.workers.len() == 2 && status.workers.iter().any(|worker| worker.incarnation > 2)
    });
    send(one("/coordinator"), Signal::SIGKILL);
    let status = client.wait_until("the coordinator is back, and the run rests", |status| {
        status.phase() == Phase::Paused && status.workers.len() == 2
    });
    assert_eq!(status.step, step);
    assert!(status.paused.is_some(), "{status:?}");
    lsgan(&lab, "resume", &[]).wait().expect_code(0).expect_out(&["goes on after step"]);
    let again = lsgan(&lab, "resume", &[]).wait();
    assert!(again.code == Some(1), "{again}");
    up.wait().expect_code(0);
    let newest = lab.journal().generations().pop().expect("there are generations");
    assert_eq!((newest.from_step, newest.start.as_str()), (step, "held"), "nothing is computed again");
    assert_eq!(lab.weights(), *Weights::undisturbed());
}

#[test]
fn a_paused_run_whose_workers_are_all_gone_goes_on_from_its_snapshot_only_when_it_is_resumed() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--set", "checkpoint.every=1000"]);
    let worker = lab.worker("anna", &coordinator.address);
    coordinator.client.wait_for_step(3);
    let paused = json_of(&mut lsgan(&lab, "pause", &["--json"]));
    worker.kill();
    let mut worker = lab.worker("ben", &coordinator.address);
    let status = coordinator.client.wait_until("the other one stands by", |status| {
        status.workers.iter().any(|worker| worker.name == "ben" && worker.role() == Role::Standby)
    });
    assert_eq!((status.phase(), status.generation), (Phase::Paused, 1));
    lsgan(&lab, "resume", &[]).wait().expect_code(0);
    coordinator.process.wait().expect_code(0);
    worker.wait().expect_code(0);
    let newest = lab.journal().generations().pop().expect("there are generations");
    assert_eq!((Value::from(newest.from_step), newest.start.as_str()), (paused["step"].clone(), "snapshot"));
    assert_eq!(lab.weights(), *Weights::undisturbed());
}

#[test]
fn a_paused_run_can_be_stopped_and_is_not_paused_when_it_is_started_again() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let _worker = lab.worker("anna", &coordinator.address);
    coordinator.client.wait_for_step(3);
    let paused = json_of(&mut lsgan(&lab, "pause", &["--json"]));
    let stopped = json_of(&mut lsgan(&lab, "stop", &["--json"]));
    assert_eq!((&stopped["outcome"]["outcome"], &stopped["step"]), (&"stopped".into(), &paused["step"]));
    coordinator.process.wait();
    lab.up(1, &[]).wait().expect_code(0);
    assert_eq!(lab.weights(), *Weights::undisturbed());
}
