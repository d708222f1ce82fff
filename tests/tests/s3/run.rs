//! Whole runs with their data and snapshots in buckets: the same weights as from a disk, whatever the store does.

use std::process::Command;
use std::time::Instant;

use lsgan_tests::binaries::{binary, root};
use lsgan_tests::buckets::{Who, s3_environment};
use lsgan_tests::trials::Test;
use lsgan_tests::{Ended, Lab, Process, Trouble, Weather, Weights, tests};
use object_store::ObjectStoreExt as _;

use crate::data::{PATTERN, fill_with_shards, fixtures};
use crate::{admin, fill, kind, url, wait, world};

pub const TESTS: &[Test] = tests![
    a_run_from_a_bucket_to_a_bucket_that_is_killed_trains_the_weights_of_the_disk,
    workers_without_keys_compute_and_never_write,
];

/// With settings that only S3 has, or of what does not depend on the protocol.
pub const S3: &[Test] = tests![
    a_run_whose_store_is_away_goes_on_and_keeps_what_is_there,
    a_run_that_ends_while_the_store_is_away_waits_for_it,
    a_fresh_run_moves_the_old_one_in_the_bucket_aside,
    mistakes_with_buckets_and_keys_end_at_once_with_one_error,
    a_sweep_whose_file_names_a_bucket_keeps_the_snapshots_of_each_run_there,
];

/// `small.yaml` with shards for its pictures; a run of 60 steps with a snapshot after every 10.
pub fn config(lab: &Lab, shards: &str, to: &str) -> String {
    let small = std::fs::read_to_string(root().join("tests/small.yaml")).expect("it is in the repository");
    let lines = small.lines().map(|line| match line.trim_start() {
        line if line.starts_with("source:") => {
            format!("  source: {{ webdataset: {{ shards: '{shards}' }} }}\n")
        }
        line if line.starts_with("steps:") => "steps: 60\n".to_owned(),
        line if line.starts_with("checkpoint:") => {
            format!("checkpoint: {{ to: '{to}', every: 10, keep_last: 3 }}\n")
        }
        _ => format!("{line}\n"),
    });
    let path = lab.path("run.yaml");
    std::fs::write(&path, lines.collect::<String>()).expect("it can be written");
    path.display().to_string()
}

/// The address of the server itself, without weather.
pub fn direct() -> String {
    format!("http://{}", world().server.address())
}

/// The shards on this machine's disk.
pub fn shards() -> String {
    fixtures().join(PATTERN).display().to_string()
}

/// One of the binaries, with what it needs to reach the server by this endpoint.
pub fn command(name: &str, endpoint: &str, who: Who, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary(name));
    command.args(arguments).envs(kind().environment(endpoint, who));
    command
}

fn up_command(lab: &Lab, workers: &str, config: &str, endpoint: &str, more: &[&str]) -> Command {
    let run_dir = lab.run_dir().display().to_string();
    let arguments = [&["up", "--workers", workers, "--config", config, "--run-dir", &run_dir], more].concat();
    command("lsgan", endpoint, Who::Writer, &arguments)
}

fn up(lab: &Lab, config: &str, endpoint: &str, more: &[&str]) -> Process {
    lab.start_command("lsgan up", up_command(lab, "2", config, endpoint, more))
}

/// `lsgan up` with one worker that gives up on the store after the second attempt, as after minutes of an outage.
fn impatient_up(lab: &Lab, config: &str, endpoint: &str, more: &[&str]) -> Process {
    let mut command = up_command(lab, "1", config, endpoint, more);
    command.env("AWS_MAX_ATTEMPTS", "2");
    lab.start_command("lsgan up", command)
}

/// Runs `lsgan` with the keys of a reader.
fn read(lab: &Lab, endpoint: &str, arguments: &[&str]) -> Ended {
    lab.start_command(arguments[0], command("lsgan", endpoint, Who::Reader, arguments)).succeeds()
}

/// The hashes of what a run has left in a bucket.
pub fn weights_in(bucket: &str, prefix: &str) -> Weights {
    let hash = |name: &str| {
        let path = format!("{prefix}/final/{name}.safetensors").into();
        let bytes = wait(async { admin(bucket).get(&path).await?.bytes().await }).expect("it is there");
        blake3::hash(&bytes).to_hex().to_string()
    };
    Weights { generator: hash("generator"), discriminator: hash("discriminator") }
}

/// One has none at all, one may read alone; both come before the one that has all.
fn workers_without_keys_compute_and_never_write() {
    let lab = Lab::new();
    fill("keys", &[]);
    let endpoint = direct();
    let config = config(&lab, &shards(), &url("keys/runs/one"));
    let (run_dir, listen) = (lab.run_dir().display().to_string(), format!("{}:0", lab.host()));
    let arguments = ["--quiet", "--config", &config, "--run-dir", &run_dir, "--listen", &listen];
    let arguments = [&arguments[..], &["--expect-workers", "3"]].concat();
    let coordinator = command("coordinator", &endpoint, Who::Writer, &arguments);
    let mut coordinator = Lab::listening(lab.start_command("coordinator", coordinator));
    let worker = |name: &str, who: Option<Who>| {
        let mut wrapper = Command::new("env");
        // This process has a writer's keys, which may be other variables than a reader's.
        for (name, _) in kind().environment(&endpoint, Who::Writer) {
            wrapper.env_remove(name);
        }
        for (name, value) in kind().environment(&endpoint, who.unwrap_or(Who::Writer)) {
            match who.is_none() && is_secret(name) {
                true => wrapper.env_remove(name),
                false => wrapper.env(name, value),
            };
        }
        lab.worker_under(wrapper, name, &coordinator.address)
    };
    let mut workers = vec![worker("keyless", None), worker("reader", Some(Who::Reader))];
    let named = |name: &str| format!("({name}) computes, but cannot write snapshots");
    for name in ["keyless", "reader"] {
        coordinator.process.wait_for_words(&named(name));
    }
    workers.push(worker("writer", Some(Who::Writer)));
    coordinator.process.succeeds();
    for mut worker in workers {
        worker.succeeds();
    }
    assert_eq!(weights_in("keys", "runs/one"), from_disk(&[]));
}

/// In folders of their own; the journals are here.
fn a_sweep_whose_file_names_a_bucket_keeps_the_snapshots_of_each_run_there() {
    let lab = Lab::new();
    fill("sweeps", &[]);
    let config = config(&lab, &shards(), &url("sweeps/runs"));
    let out = lab.path("both").display().to_string();
    let arguments = ["sweep", &config, "--out", &out, "--seeds", "1..2"];
    lab.start_command("lsgan sweep", command("lsgan", &direct(), Who::Writer, &arguments)).succeeds();
    let [one, other] = ["seed-1", "seed-2"].map(|run| weights_in("sweeps", &format!("runs/both/{run}")));
    assert_eq!(one, from_disk(&[]));
    assert_ne!(one, other);
    assert!(lab.path("both/seed-1/journal.sqlite").is_file());
    assert!(!lab.path("both/seed-1/snapshots").exists());
}

fn is_secret(name: &str) -> bool {
    ["KEY", "TOKEN"].iter().any(|part| name.contains(part))
}

/// The weights of a run whose data and snapshots are on disk.
pub fn from_disk(more: &[&str]) -> Weights {
    let lab = Lab::new();
    let config = config(&lab, &shards(), &lab.run_dir().display().to_string());
    up(&lab, &config, "http://127.0.0.1:1", more).succeeds();
    lab.weights()
}

fn a_run_from_a_bucket_to_a_bucket_that_is_killed_trains_the_weights_of_the_disk() {
    let lab = Lab::new();
    fill_with_shards("killed");
    let weather = Weather::before(world().server.address(), lab.host());
    weather.make(Trouble::SlowDown, 3, "GET", ".tar");
    weather.make(Trouble::CutAfter(300), 5, "GET", ".tar");
    weather.make(Trouble::LoseAnswer, 2, "PUT", "/snapshots/");
    let config = config(&lab, &url(&format!("killed/{PATTERN}")), &url("killed/runs/one"));
    let mut first = up(&lab, &config, &weather.url(), &["--set", "steps=1000000"]);
    let client = lab.client(&mut first);
    client.wait_until("two snapshots", |status| status.snapshot_step.is_some_and(|step| step >= 20));
    first.kill();
    assert!(weather.troubled("") >= 10, "{}", weather.troubled(""));

    // The snapshots that are newer than the end of the run are of no use to it.
    let newest = newest(&lab, &weather);
    let goal = newest.div_ceil(10) * 10 + 20;
    let steps = format!("steps={goal}");
    weather.make(Trouble::CutAfter(1000), 3, "GET", "/snapshots/");
    let mut again = up(&lab, &config, &weather.url(), &["--set", &steps]);
    let ended = again.succeeds();
    assert!(ended.out.contains(&url("killed/runs/one/final/generator.safetensors")), "{ended}");
    let restored = lab.journal().generations().iter().any(|g| g.start == "snapshot" && g.from_step >= 20);
    assert!(restored, "{:#?}", lab.journal().generations());
    assert!(!lab.run_dir().join("snapshots").exists(), "they are in the bucket only");

    assert_eq!(weights_in("killed", "runs/one"), from_disk(&["--set", &steps]));

    let run_dir = lab.run_dir().display().to_string();
    for run in [&url("killed/runs/one"), &run_dir] {
        let verified = read(&lab, &weather.url(), &["checkpoints", "verify", "--run", run]);
        verified.expect_out(&[&goal.to_string(), "whole"]);
        let png = lab.path("grid.png").display().to_string();
        read(&lab, &weather.url(), &["sample", "--run", run, "--count", "4", "--out", &png]);
    }
}

/// The step of the newest snapshot of the killed run.
fn newest(lab: &Lab, weather: &Weather) -> u64 {
    let arguments = ["checkpoints", "list", "--json", "--run", &url("killed/runs/one")];
    let rows = read(lab, &weather.url(), &arguments).json();
    let usable = rows.as_array().expect("a list").iter().filter(|row| row["usable"] == true);
    usable.filter_map(|row| row["step"].as_u64()).max().expect("there are snapshots")
}

fn a_run_whose_store_is_away_goes_on_and_keeps_what_is_there() {
    let lab = Lab::new();
    fill("away", &[]);
    let weather = Weather::before(world().server.address(), lab.host());
    let config = config(&lab, &shards(), "s3://away/run");
    let mut up = impatient_up(&lab, &config, &weather.url(), &["--set", "steps=1000000"]);
    let client = lab.client(&mut up);
    client.wait_until("a snapshot", |status| status.snapshot_step.is_some());
    weather.refuse(true);
    let failed = client.wait_until("a snapshot that could not be written", |status| {
        status.notices.iter().any(|notice| notice.text.contains("could not be written"))
    });
    let notice = failed.notices.iter().find(|notice| notice.text.contains("could not be written"));
    let notice = &notice.expect("it was just there").text;
    assert!(notice.contains("Connection refused") && notice.contains("AWS_ENDPOINT_URL"), "{notice}");
    client.wait_for_step(failed.step + 30);
    weather.refuse(false);
    let later = failed.step + 30;
    client.wait_until("snapshots again", |status| status.snapshot_step.is_some_and(|step| step >= later));
}

fn a_run_that_ends_while_the_store_is_away_waits_for_it() {
    let lab = Lab::new();
    fill("closing", &[]);
    let weather = Weather::before(world().server.address(), lab.host());
    let config = config(&lab, &shards(), "s3://closing/run");
    // The first request after the coordinator's own at its start is for the last snapshot.
    weather.make(Trouble::SlowDown, 7, "GET", "/closing/run/snapshots/step-0000000060/manifest.json");
    impatient_up(&lab, &config, &weather.url(), &["--set", "checkpoint.every=0"]).succeeds();
    assert_eq!(weather.troubled("manifest.json"), 7);
    assert_eq!(weights_in("closing", "run"), from_disk(&[]));
}

fn a_fresh_run_moves_the_old_one_in_the_bucket_aside() {
    let lab = Lab::new();
    fill("fresh", &[]);
    let endpoint = direct();
    let config = config(&lab, &shards(), "s3://fresh/run");
    let steps = ["--set", "steps=20"];
    up(&lab, &config, &endpoint, &steps).succeeds();
    let first = weights_in("fresh", "run");
    let again = up(&lab, &config, &endpoint, &steps).succeeds();
    assert!(again.out.contains("is finished") && again.out.contains("--run s3://fresh/run"), "{again}");
    let other = up(&lab, &config, &endpoint, &["--set", "steps=20", "--set", "seed=2"]).wait().expect_code(2);
    other.expect_err(&["seed"]).expect_one_error();
    let seed_2 = ["--set", "steps=20", "--set", "seed=2", "--fresh"];
    up(&lab, &config, &endpoint, &seed_2).succeeds();
    assert_eq!(weights_in("fresh", "run.old-1"), first);
    assert_ne!(weights_in("fresh", "run"), first);
}

fn mistakes_with_buckets_and_keys_end_at_once_with_one_error() {
    let lab = Lab::new();
    fill_with_shards("mistakes");
    let endpoint = direct();
    let disk = shards();
    let there = format!("s3://mistakes/{PATTERN}");
    let begin = Instant::now();
    let (writer, reader) = (("writer", "writer-secret"), ("reader", "reader-secret"));
    for (shards, to, keys, words) in [
        (
            &*there,
            "s3://mistakes/run",
            ("writer", "wrong"),
            ["SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"],
        ),
        (&disk, "s3://mistakes/run", ("nobody", "x"), ["InvalidAccessKeyId", "s3://mistakes/run"]),
        (&disk, "s3://mistakes/run", reader, ["AccessDenied", "cannot write"]),
        (&disk, "s3://not-there/run", writer, ["NoSuchBucket", "s3://not-there/run"]),
        ("s3://mistakes/no-{0..9}.tar", "s3://mistakes/run", writer, ["NoSuchKey", "no-0.tar"]),
        (&disk, "s3://writer:writer-secret@mistakes/run", writer, ["no secrets", "AWS_ACCESS_KEY_ID"]),
        (&disk, "gcs://mistakes/run", writer, ["`gcs`", "gs://"]),
    ] {
        let config = config(&lab, shards, to);
        let run_dir = lab.run_dir().display().to_string();
        let arguments = ["--config", &config, "--run-dir", &run_dir, "--listen", "127.0.0.1:0"];
        let mut command = Command::new(binary("coordinator"));
        command.args(arguments).envs(s3_environment(&endpoint, keys));
        let mut process = lab.start_command("coordinator", command);
        let ended = process.wait().expect_err(&words).expect_one_error();
        assert!(ended.code.is_some_and(|code| [1, 2].contains(&code)), "{ended}");
        assert!(!ended.err.contains("writer-secret"), "{ended}");
    }
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
}
