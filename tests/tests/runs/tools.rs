//! What a user has at hand while a run goes on and after it: status, journal, snapshots, pictures, logs, signals.

use std::fs;
use std::path::Path;

use lsgan_tests::disturb::{assert_undisturbed_weights, wait_for_journaled_snapshot};
use lsgan_tests::lab::{SHORT, STEPS};
use lsgan_tests::process::{all_gone, children_named, children_of, send};
use lsgan_tests::{Coordinator, Journal, Lab, Process, Weights, until};
use lsgan_wire::v1::Phase;
use nix::sys::signal::Signal;
use serde_json::Value;

/// Longer than any test waits: it runs until it is ended.
const ENDLESS: [&str; 2] = ["--set", "steps=1000000"];

/// Every message on standard error is one JSON object with a time, a level and a message.
#[track_caller]
fn assert_json_lines(log: &str) {
    assert!(!log.is_empty());
    for line in log.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message"] {
            assert!(value[field].is_string(), "no {field}: {line}");
        }
    }
}

fn size_of(png: &Path) -> (u32, u32) {
    image::image_dimensions(png).unwrap_or_else(|error| panic!("{}: {error}", png.display()))
}

// ---- status ----

#[test]
fn the_status_shows_workers_ranks_metrics_and_snapshots_as_a_table_and_as_json() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&[&ENDLESS[..], &["--expect-workers", "2"]].concat());
    let _workers = ["anna", "ben"].map(|name| lab.worker(name, &coordinator.address));
    coordinator.client.wait_until("a snapshot, metrics and the memory of both", |status| {
        status.snapshot_step.is_some()
            && status.metrics.is_some()
            && status.phase() == Phase::Stepping
            && status.workers.iter().filter(|worker| worker.memory_bytes.is_some()).count() == 2
    });

    let arguments = ["status", "--coordinator", &coordinator.address];
    let status = lab.lsgan([&arguments[..], &["--json"]].concat()).succeeds().json();
    for (field, value) in [
        ("run", "small".into()),
        ("phase", "stepping".into()),
        ("generation", Value::from(1)),
        ("steps", Value::from(1_000_000)),
        ("global_batch", Value::from(16)),
        ("run_dir", lab.run_dir().canonicalize().expect("it is there").display().to_string().into()),
    ] {
        assert_eq!(status[field], value, "{field} of {status:#}");
    }
    assert!(status["step"].as_u64().is_some_and(|step| step >= 25), "{status:#}");
    assert!(status["snapshot_step"].as_u64().is_some_and(|step| step >= 25), "{status:#}");
    assert!(status["images_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{status:#}");
    assert!(status["metrics"]["loss_d"].as_f64().is_some_and(f64::is_finite), "{status:#}");
    let rows = status["workers"].as_array().expect("workers are a list");
    let each = rows.iter().map(|row| row["memory_bytes"].as_u64().expect("it was waited for"));
    assert_eq!(status["memory_bytes"].as_u64(), Some(each.sum::<u64>()), "{status:#}");
    assert!(status["memory_bytes"].as_u64() > Some(10 << 20) && status["score"].is_null(), "{status:#}");
    let mut ranks: Vec<u64> = rows
        .iter()
        .flat_map(|row| row["virtual_ranks"].as_array().expect("a list"))
        .map(|rank| rank.as_u64().expect("a rank is a number"))
        .collect();
    ranks.sort_unstable();
    assert_eq!(ranks, [0, 1, 2, 3], "every virtual rank has one owner; {status:#}");

    let words = ["small: step", "of 1000000, stepping", "anna", "ben", "member", "newest snapshot"];
    let shown = lab.lsgan(arguments).succeeds().expect_out(&words);
    shown.expect_out(&["0-1", "2-3", "MiB of their hosts' memory"]);
}

// ---- the journal ----

#[test]
fn every_table_of_the_journal_can_be_read_while_the_run_goes_on() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&[]);
    let mut worker = lab.worker("worker", &coordinator.address);
    wait_for_journaled_snapshot(&lab, &coordinator.client);
    let journal = lab.journal();
    let during = journal.number("select count(*) from metrics");
    assert!((1..STEPS).contains(&during), "{during} rows of metrics: the run goes on");
    let tables =
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by name";
    let tables = journal.texts(tables);
    let expected = "checkpoints completions corrupt_records entries events generations members meta metrics metrics_thinned samples workers";
    assert_eq!(tables.join(" "), expected);
    for table in expected.split(' ') {
        let rows = journal.number(&format!("select count(*) from {table}"));
        assert!(
            rows > 0 || ["samples", "corrupt_records", "metrics_thinned"].contains(&table),
            "{table} is empty"
        );
    }
    // A long read transaction does not hold the run up: this reader's view stays as it is, and the run ends.
    let reader = Journal::open(&lab.run_dir());
    reader.look_for_long();
    let seen = reader.number("select count(*) from metrics");
    coordinator.process.succeeds();
    worker.succeeds();
    assert_eq!(reader.number("select count(*) from metrics"), seen);

    // 200 steps of 4 records in shards of 8 are 100 shards of each virtual rank, each read once.
    assert_eq!(journal.number("select count(*) from completions"), 4 * 100);
    assert_eq!(journal.number("select max(position) from completions"), 4 * 100 - 1);
    assert_eq!(journal.number("select count(*) from metrics"), STEPS);
    assert_eq!(journal.texts("select value from meta where key = 'outcome'"), ["complete"]);
    // Retention: all snapshots were noted, three of them are kept.
    assert_eq!(journal.number("select count(*) from checkpoints"), STEPS / 25);
    assert_eq!(journal.number("select count(*) from checkpoints where deleted_ms is null"), 3);
    let kept = fs::read_dir(lab.run_dir().join("snapshots")).expect("there are snapshots").count();
    assert_eq!(kept, 3);
}

// ---- snapshots and pictures ----

#[test]
fn snapshots_are_listed_and_verified_and_a_damaged_one_is_named() {
    let lab = Lab::new();
    lab.up(1, &SHORT).succeeds();
    let run = lab.run_dir().display().to_string();
    let checkpoints =
        |what: &str, more: &[&str]| lab.lsgan([&["checkpoints", what, "--run", &run], more].concat());
    for what in ["list", "verify"] {
        let rows = checkpoints(what, &["--json"]).succeeds().json();
        let steps: Vec<_> = rows.as_array().expect("a list").iter().map(|row| row["step"].clone()).collect();
        assert_eq!(steps, [10, 20, 30]);
        assert!(rows.as_array().expect("a list").iter().all(|row| row["usable"] == true), "{rows:#}");
    }
    checkpoints("list", &[]).succeeds().expect_out(&["step", "10", "20", "30"]);

    let part = lab.run_dir().join("snapshots/step-0000000020/discriminator.safetensors");
    let mut bytes = fs::read(&part).expect("the part is there");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    fs::write(&part, bytes).expect("it can be spoiled");
    let ended = checkpoints("verify", &["--json"]).fails(1, &["1 of 3 snapshots cannot be used"]);
    let rows = ended.json();
    assert_eq!(rows[1]["usable"], false, "{rows:#}");
    assert!(rows[1]["why"].as_str().is_some_and(|why| why.contains("discriminator.safetensors")), "{rows:#}");
}

#[test]
fn the_manifest_and_the_last_lines_name_what_the_files_are() {
    let lab = Lab::new();
    let ended = lab.up(2, &["--set", "steps=30"]).succeeds();
    let Weights { generator, discriminator } = lab.weights();
    for (name, hash) in [("generator", generator), ("discriminator", discriminator)] {
        let line = format!("final/{name}.safetensors  BLAKE3 {hash}");
        assert!(ended.out.lines().any(|l| l.ends_with(&line)), "{line}; {ended}");
    }
}

#[test]
fn samples_are_pictures_of_the_asked_size_and_the_same_every_time() {
    let lab = Lab::new();
    lab.up(1, &["--set", "steps=30", "--set", "samples.every=10", "--set", "samples.grid=3x2"]).succeeds();
    let run = lab.run_dir().display().to_string();
    // One pixel of frame and space, as in the run's own pictures.
    let size = |columns: u32, rows: u32| (2 + columns * 34, 2 + rows * 34);
    for step in [10, 20, 30] {
        let picture = lab.run_dir().join(format!("samples/step-{step:010}.png"));
        assert_eq!(size_of(&picture), size(3, 2));
    }
    let pictures: Vec<_> = ["a.png", "b.png"]
        .into_iter()
        .map(|out| {
            let arguments = ["sample", "--run", &run, "--count", "64", "--out", out, "--json"];
            let told = lab.lsgan(arguments).succeeds().json();
            assert_eq!((&told["count"], &told["step"]), (&64.into(), &30.into()));
            assert_eq!(size_of(&lab.path(out)), size(8, 8));
            fs::read(lab.path(out)).expect("it was written")
        })
        .collect();
    assert!(pictures[0] == pictures[1], "the samples are a function of the snapshot");

    let nowhere = lab.path("nowhere").display().to_string();
    lab.lsgan(["sample", "--run", &nowhere, "--out", "c.png"]).fails(1, &[&nowhere]);
    assert!(!lab.path("nowhere").exists() && !lab.path("c.png").exists());
}

// ---- lsgan node ----

/// `lsgan node` with two workers.
fn node_of_two(lab: &Lab, coordinator: &Coordinator, more: &[&str]) -> Process {
    let arguments = ["node", "--coordinator", &coordinator.address, "--workers", "2"];
    lab.lsgan([&arguments, more].concat())
}

#[test]
fn a_node_starts_a_worker_that_died_again_and_ends_with_the_run() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "2"]);
    let mut node = node_of_two(&lab, &coordinator, &["--logs", "logs"]);
    coordinator.client.wait_for_step(20);
    send(children_of(node.id())[0].id, Signal::SIGKILL);
    coordinator.process.succeeds();
    let words = ["2 workers for", "takes part in the run `small`", "and is started again"];
    node.succeeds().expect_err(&words);
    assert!(lab.path("logs/worker-1.log").is_file() && lab.path("logs/worker-2.log").is_file());
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_node_that_is_told_to_end_takes_its_workers_out_of_the_run_without_a_loss() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "2"]);
    let mut node = node_of_two(&lab, &coordinator, &[]);
    coordinator.client.wait_for_step(20);
    let workers = children_of(node.id());
    assert_eq!(workers.len(), 2, "{workers:?}");
    node.signal(Signal::SIGTERM);
    node.wait().expect_code(143);
    all_gone(&workers);
    let mut worker = lab.worker("worker", &coordinator.address);
    coordinator.process.succeeds();
    worker.succeeds();
    assert_undisturbed_weights(&lab);
}

// ---- signals ----

#[test]
fn a_node_that_is_killed_leaves_no_process_behind() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&ENDLESS);
    let node = node_of_two(&lab, &coordinator, &[]);
    coordinator.client.wait_for_step(1);
    let children = children_of(node.id());
    assert_eq!(children.len(), 2, "{children:?}");
    node.kill();
    all_gone(&children);
}

#[test]
fn a_second_interrupt_ends_everything_at_once() {
    let lab = Lab::new();
    // With its workers frozen and nobody declared dead, the first interrupt's stop can not come to its end.
    let mut up = lab.up(2, &[&ENDLESS[..], &["--set", "cluster.failure_timeout=1h"]].concat());
    lab.client(&mut up).wait_for_step(1);
    let children = children_of(up.id());
    children_named(up.id(), "worker").into_iter().for_each(|id| send(id, Signal::SIGSTOP));
    up.signal(Signal::SIGINT);
    up.wait_for_words("once more ends at once");
    // Two signals within a moment are one wish, so this is sent until it counts.
    until("the second interrupt counts", || {
        if up.running().is_err() {
            return Ok(());
        }
        up.signal(Signal::SIGINT);
        Err("it runs")
    });
    up.wait().expect_code(130).expect_err(&["the newest snapshot is kept"]);
    all_gone(&children);
}

#[test]
fn an_interrupt_stops_a_run_with_a_snapshot() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&ENDLESS);
    let mut worker = lab.worker("worker", &coordinator.address);
    let step = coordinator.client.wait_for_step(3).step;
    coordinator.process.signal(Signal::SIGINT);
    let ended = coordinator.process.wait().expect_code(130);
    let ended = ended.expect_out(&["stopped after step", "the same command goes on"]);
    worker.wait().expect_code(130);
    let saved = lab.journal().number("select max(step) from checkpoints");
    assert!(saved >= step, "step {saved} is saved, step {step} was done");
    assert!(ended.out.contains(&format!("stopped after step {saved}")), "{ended}");
    // It was started with --quiet.
    let out: Vec<_> = ended.out.lines().collect();
    assert!(out.len() == 2 && out[0].starts_with("listening on http://"), "{ended}");
    assert!(!ended.err.contains("small step "), "no progress is shown: {ended}");
}

#[test]
fn a_coordinator_that_the_system_ends_goes_alone_and_its_run_goes_on() {
    // With --quiet it shows no progress, which must end too.
    for quiet in [&["--quiet"][..], &[]] {
        let lab = Lab::new();
        let listen = ["--listen", "127.0.0.1:0"];
        let mut coordinator = Lab::listening(lab.start_coordinator(&[quiet, &listen].concat()));
        let mut worker = lab.worker("worker", &coordinator.address);
        coordinator.client.wait_for_step(3);
        coordinator.process.signal(Signal::SIGTERM);
        coordinator.process.wait().expect_code(143).expect_err(&["the run's workers go on without it"]);
        lab.coordinator_at(&coordinator.listen(), &[]).process.succeeds();
        worker.succeeds();
        let generations = lab.journal().generations();
        assert_eq!(generations.len(), 1, "it was adopted: {generations:?}");
        assert_undisturbed_weights(&lab);
    }
}

/// As when all of a run's pods are deleted at once.
#[test]
fn a_coordinator_and_workers_that_the_system_ends_together_end_and_the_run_goes_on_later() {
    let lab = Lab::new();
    let listen = ["--listen", "127.0.0.1:0", "--set", "checkpoint.every=2"];
    let mut coordinator = Lab::listening(lab.start_coordinator(&listen));
    let mut workers =
        ["anna", "ben"].map(|name| lab.worker_with(name, &coordinator.address, &["--grace", "1s"]));
    coordinator.client.wait_for_step(5);
    coordinator.process.signal(Signal::SIGTERM);
    workers.iter().for_each(|worker| worker.signal(Signal::SIGTERM));
    coordinator.process.wait().expect_code(143);
    workers.iter_mut().for_each(|worker| drop(worker.wait()));
    let mut coordinator = lab.coordinator(&[]);
    let mut worker = lab.worker("worker", &coordinator.address);
    coordinator.process.succeeds();
    worker.succeeds();
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_command_after_a_stopped_run_is_not_run() {
    let lab = Lab::new();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut up = lab.up(1, &ENDLESS);
        let begin = lab.client(&mut up).wait_until("it steps", |s| s.phase() == Phase::Stepping).step;
        lab.client(&mut up).wait_for_step(begin + 2);
        up.signal(signal);
        up.wait().expect_code(code).expect_out(&["stopped after step", "the same command goes on"]);
    }
}

// ---- logs and help ----

#[test]
fn json_logs_are_json_in_every_line() {
    let lab = Lab::new();
    let listen = format!("{}:0", lab.host());
    let mut coordinator = lab.start_coordinator(&["--log", "json", "--set", "steps=30", "--listen", &listen]);
    let first: Value =
        serde_json::from_str(&coordinator.wait_for_words("{\"listening\"")).expect("it is an object too");
    let address = first["listening"].as_str().expect("it says where").to_owned();
    let mut worker = lab.start("worker", ["--coordinator", &address, "--log", "json"]);
    let ended = coordinator.succeeds().expect_out(&["\"outcome\":\"complete\"", "blake3"]);
    for line in ended.out.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert_json_lines(&ended.err);
    let started = ended.err.lines().filter(|line| line.contains("generation 1 of 1 worker starts")).count();
    assert_eq!(started, 1, "what happens is said once: {ended}");
    assert!(ended.err.contains("step 0/30"), "progress is a line of the log: {ended}");
    let worker = worker.succeeds();
    assert_json_lines(&worker.err);
    assert_eq!(worker.out, "", "{worker}");

    let failed = lab.start("worker", ["--coordinator", "nonsense://", "--log", "json"]).wait();
    assert_ne!(failed.code, Some(0), "{failed}");
    assert_json_lines(&failed.err);
}

/// The progress of a run of `lsgan up` is said in the same form as a coordinator's, above.
#[test]
fn all_that_lsgan_up_prints_is_json_and_no_progress_where_that_is_asked_for() {
    let lab = Lab::new();
    let ended = lab.up(1, &["--log", "json", "--quiet", "--set", "steps=30"]).succeeds();
    let ended = ended.expect_out(&["BLAKE3"]).expect_err(&["generation 1 of 1 worker starts"]);
    assert_json_lines(&ended.out);
    assert_json_lines(&ended.err);
    assert!(!ended.err.contains("small step "), "{ended}");

    let failed = lab.lsgan(["up", "--log", "json", "--config", "nowhere.yaml"]).wait().expect_code(2);
    assert_json_lines(&failed.err);
    assert_eq!(failed.out, "", "{failed}");
}

#[test]
fn without_a_terminal_progress_is_lines() {
    let lab = Lab::new();
    let ended = lab.up(1, &["--set", "steps=30"]).succeeds();
    let ended = ended.expect_err(&["small step 0/30", "generation 1 of 1 worker starts with fresh weights"]);
    assert!(!ended.err.contains('\u{1b}') && !ended.out.contains('\u{1b}'), "no escape sequences: {ended}");
}

#[test]
fn help_says_what_a_command_is_for_and_what_it_takes() {
    let lab = Lab::new();
    for (command, words) in [
        (
            "coordinator",
            "--config|--listen|--set|--run-dir|--fresh|--fork|--log|--tls|--insecure|worker --coordinator",
        ),
        ("worker", "--coordinator|--tls|--insecure|--peer-listen|--advertise|--give-up-after|--log|SIGTERM"),
        ("lsgan", "up|sweep|node|sample|nearest|timelapse|status|profile|compare|checkpoints|dataset|figure"),
        ("lsgan sweep", "--set|--seeds|--workers|--halving|--out|--json|--csv|1..5"),
        ("lsgan figure", "boundary|losses|pearson|modes|stability|--out|--full"),
        ("lsgan profile", "--steps|--trace|--give-up-after|--run|--coordinator|--json|GPU wait"),
        ("lsgan compare", "RUN|--names|--svg|--json|--csv|scored"),
        ("lsgan up", "--config|--workers|--run-dir|--set|--fresh|--fork|--quiet|--log"),
        (
            "lsgan node",
            "--coordinator|--workers|--logs|--peer-listen|--advertise|--grace|--give-up-after|--log",
        ),
        (
            "lsgan sample",
            "--run|--checkpoint|--count|--seed|--truncation|--class|--out|--singles|--interpolate|--latents|--json",
        ),
        ("lsgan export", "--run|--torchscript|--onnx"),
        ("lsgan import", "--config|--generator|--discriminator|state_dict"),
        ("lsgan nearest", "--run|--count|--neighbours|--seed|--truncation|--class|--out|--json"),
        ("lsgan timelapse", "--run|--out|--fps"),
        ("lsgan status", "--run|--coordinator|--json"),
        ("lsgan top", "--run|--coordinator|--tls|COLORTERM|tab"),
        ("lsgan stop", "--run|--coordinator|--no-wait|--json"),
        ("lsgan certs", "init|issue|renew"),
        ("lsgan certs init", "--name|--days|ca.key"),
        ("lsgan certs issue", "--ca|--out|--name|--days"),
        ("lsgan certs renew", "--ca|--days|without a restart"),
        ("lsgan checkpoints", "list|verify"),
        ("lsgan checkpoints verify", "--run|--json"),
        ("lsgan dataset", "inspect|pack|export"),
        ("lsgan dataset inspect", "--config|--verify|--sheet|--json|lsun:/data"),
        ("lsgan dataset pack", "--out|--shard-records|--shard-mib|--format|same weights"),
        ("lsgan dataset export", "--out|--labels|sub-folders"),
    ] {
        let mut command = command.split(' ');
        let name = command.next().expect("a command has a name");
        let words: Vec<_> = words.split('|').collect();
        lab.start(name, command.chain(["--help"])).succeeds().expect_out(&words);
    }
    for name in ["coordinator", "worker", "lsgan"] {
        let words = [name, env!("CARGO_PKG_VERSION"), "(libtorch 2.11."];
        lab.start(name, ["--version"]).succeeds().expect_out(&words);
    }
}
