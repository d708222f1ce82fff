//! The page of `lsgan ui` in a real Chromium, and what it is built from; what TensorBoard and Prometheus read of a run.
//!
//! These tests need node and the packages of `crates/observe/page` (`npm ci` there); those in a browser need Chromium, too (as
//! Debian's package `chromium`, or wherever CHROMIUM says). TensorBoard is what TENSORBOARD_PYTHON (default: python3) imports as
//! `tensorboard`, promtool and prometheus come with Debian's package `prometheus`. Where they are missing they are counted as skipped, by name.
//!
//! `LSGAN_UPDATE_EXPECTED=1` has them write the pictures of README.md and docs/observe.md.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use lsgan_snapshots::Holder;
use lsgan_tests::binaries::root;
use lsgan_tests::http::{self, PAGE};
use lsgan_tests::lab::SHORT;
use lsgan_tests::process::{children_named, send};
use lsgan_tests::trials::{Test, run, trials};
use lsgan_tests::{Lab, Process, tests, until};
use nix::sys::signal::Signal;
use rusqlite::{Connection, params};

const BUILDS: &[Test] = tests![the_bundle_is_what_the_sources_give, the_sources_have_no_type_errors];
const BROWSES: &[Test] = tests![
    finished_runs_in_a_browser,
    a_live_run_in_a_browser,
    a_run_that_takes_actions_in_a_browser,
    pictures_of_all_views
];

/// Where the programs lie that npm installs.
fn page() -> PathBuf {
    root().join("crates/observe/page")
}

fn main() -> ExitCode {
    let built = can_build();
    let browsed = built.clone().and_then(|()| chromium().map(drop));
    let all = [
        trials(&built, BUILDS),
        trials(&browsed, BROWSES),
        trials(&has_tensorboard(), tests![tensorboard_reads_all_of_a_run]),
        trials(
            &has_prometheus(),
            tests![
                promtool_finds_no_fault_and_a_real_prometheus_reads_it,
                promtool_finds_no_fault_in_the_alert_rules
            ],
        ),
    ];
    run(all.into_iter().flatten().collect())
}

/// A Python that may have TensorBoard.
fn tensorboard_python() -> Command {
    Command::new(std::env::var_os("TENSORBOARD_PYTHON").unwrap_or_else(|| "python3".into()))
}

fn has_tensorboard() -> Result<(), String> {
    let found = tensorboard_python().args(["-c", "import tensorboard"]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    is_there
        .then_some(())
        .ok_or_else(|| "which needs a Python with tensorboard (TENSORBOARD_PYTHON)".to_owned())
}

fn has_prometheus() -> Result<(), String> {
    for program in ["promtool", "prometheus"] {
        let found = Command::new(program).arg("--version").output();
        found.map_err(|_| format!("which need {program}, of the package prometheus"))?;
    }
    Ok(())
}

fn can_build() -> Result<(), String> {
    let node = Command::new("node").arg("--version").output();
    if !node.is_ok_and(|output| output.status.success()) {
        return Err("which need node".to_owned());
    }
    let has_packages = page().join("node_modules/esbuild").is_dir();
    has_packages.then_some(()).ok_or_else(|| "which need `npm ci` in crates/observe/page".to_owned())
}

/// A Chromium of this machine.
fn chromium() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Ok(named.into());
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&places)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|path| path.is_file())
        .ok_or_else(|| "which need chromium".to_owned())
}

/// Runs a node program to its end.
#[track_caller]
fn node(arguments: &[&str], pictures: Option<&Path>) -> String {
    let mut command = Command::new("node");
    command.args(arguments).current_dir(page());
    if let Ok(chromium) = chromium() {
        command.env("CHROMIUM", chromium);
    }
    if let Some(pictures) = pictures {
        command.env("PICTURES", pictures);
    }
    let output = command.output().expect("node was found before");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "node {arguments:?}:\n{text}");
    text
}

fn the_bundle_is_what_the_sources_give() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    node(&["build.mjs", &dir.path().display().to_string()], None);
    let dist = page().join("dist");
    let names = |dir: &Path| {
        let entries =
            std::fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("it is read").file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    assert_eq!(names(&dist), names(dir.path()));
    for name in names(&dist) {
        let same = std::fs::read(dist.join(&name)).ok() == std::fs::read(dir.path().join(&name)).ok();
        assert!(same, "crates/observe/page/dist/{} is old: run `node build.mjs` there", name.display());
    }
}

fn the_sources_have_no_type_errors() {
    node(&["node_modules/typescript/bin/tsc", "--noEmit", "--project", "."], None);
}

/// `lsgan ui` on all runs of a lab, and where its page is.
fn ui(lab: &Lab) -> (Process, String) {
    let dir = lab.path(".").display().to_string();
    let mut process = lab.lsgan(["ui", &dir, "--listen", "127.0.0.1:0"]);
    let line = process.wait_for_words("the page is at ");
    let (_, url) = line.split_once("the page is at ").expect("it was waited for");
    (process, url.trim().to_owned())
}

/// Arguments that set these fields of a run's file.
fn set<'a>(fields: &[&'a str]) -> Vec<&'a str> {
    fields.iter().flat_map(|field| ["--set", field]).collect()
}

/// Where the pictures of the documentation go, if they are to be made.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("LSGAN_UPDATE_EXPECTED").map(|_| root().join("docs/pictures"))
}

fn finished_runs_in_a_browser() {
    let lab = Lab::new();
    let more = set(&[
        "steps=60",
        "checkpoint.every=20",
        "checkpoint.keep_last=20",
        "samples.every=2",
        "samples.grid=8x8",
        "evaluate.every=20",
        "evaluate.samples=100",
        "evaluate.metrics=kid,recall",
    ]);
    lab.up(2, &more).succeeds();
    let other = lab.path("other").display().to_string();
    let second = [&more[..], &set(&["seed=2", "run=seed-2"]), &["--run-dir", &other]].concat();
    lab.up(1, &second).succeeds();
    let (process, url) = ui(&lab);
    node(&["test/finished.mjs", &url], None);
    process.kill();
}

fn a_live_run_in_a_browser() {
    let lab = Lab::new();
    let mut up = lab.up(2, &["--set", "steps=1000000", "--set", "samples.every=20"]);
    let client = lab.client(&mut up);
    until("two workers step", || {
        let status = client.status()?;
        let members = status.workers.iter().filter(|worker| !worker.virtual_ranks.is_empty()).count();
        if members == 2 && status.step > 20 { Ok(()) } else { Err(format!("{members} at {}", status.step)) }
    });
    let (process, url) = ui(&lab);
    let workers = children_named(up.id(), "worker");
    let text = node(&["test/live.mjs", &url, &workers[1].to_string()], pictures().as_deref());
    eprintln!("{}", text.trim());
    // In its middle, and so that nobody ends it well.
    up.kill();
    copies_of_a_killed_run(&lab);
    node(&["test/many.mjs", &url], None);
    process.kill();
}

/// Nine more runs beside one whose coordinator is gone: eight as it was, and one that has gone on to a million steps.
fn copies_of_a_killed_run(lab: &Lab) {
    let run = lab.run_dir();
    until("nobody holds the run", || match Holder::of(&run) {
        Ok(None) => Ok(()),
        held => Err(format!("{held:?}")),
    });
    // A folder in which no runs are looked for: each is found when it is whole.
    let made = lab.path(".made");
    for number in 1..=9 {
        let copy = made.join(format!("copy-{number}"));
        std::fs::create_dir_all(&copy).expect("a folder can be made");
        let journal = std::fs::read_dir(&run).expect("it is there").map(|entry| entry.expect("it is read"));
        for file in journal {
            let name = file.file_name();
            if name.to_string_lossy().starts_with("journal.sqlite")
                && !name.to_string_lossy().ends_with("-shm")
            {
                std::fs::copy(file.path(), copy.join(name)).expect("it is copied");
            }
        }
        std::os::unix::fs::symlink(run.join("samples"), copy.join("samples")).expect("links can be made");
        if number == 9 {
            goes_on_to_a_million_steps(&copy);
        }
        std::fs::rename(&copy, lab.path(&format!("copy-{number}"))).expect("it is on one disk");
    }
}

/// Writes rows of metrics as if a run had done a million steps, one of which has a `loss_d` of 1,000.
fn goes_on_to_a_million_steps(run_dir: &Path) {
    let db = Connection::open(run_dir.join("journal.sqlite")).expect("it is there");
    let newest = db.query_row("select max(step), max(wall_ms) from metrics", [], |row| {
        Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
    });
    let (step, wall_ms) = newest.expect("it has rows");
    let sql = "with recursive steps(step) as (select ?1 union all select step + 1 from steps where step < 999999)
               insert into metrics (step, wall_ms, loss_d, loss_g, images_per_s, step_ms)
               select step, ?2 + 20 * step, case step when 777777 then 1000.0 else 0.5 + step % 97 * 0.001 end, 0.4, 800.0, 20.0
               from steps";
    db.execute(sql, params![step + 1, wall_ms]).expect("rows are written");
}

/// Pause, resume and scale, each after a question; stop as far as the question.
fn a_run_that_takes_actions_in_a_browser() {
    let lab = Lab::new();
    let acts = ["--http", "127.0.0.1:0", "--http-actions", "--set", "steps=1000000"];
    let mut up = lab.up(1, &acts);
    let line = up.wait_for_words(PAGE);
    let (_, url) = line.split_once(PAGE).expect("it was waited for");
    let client = lab.client(&mut up);
    client.wait_for_step(1);
    node(&["test/actions.mjs", url.trim()], pictures().as_deref());
    client.wait_until("it goes on", |status| status.paused.is_none() && status.outcome.is_none());
    up.kill();
}

/// The quickstart's run, so that tiles are pictures of something: with two seeds, scored, and one worker of the first killed.
/// Where no pictures are to be kept, so short that they show nothing.
fn pictures_of_all_views() {
    let lab = Lab::new();
    let config = root().join("configs/quickstart.yaml").display().to_string();
    // The file's own path, so that no picture shows where this checkout lies.
    std::os::unix::fs::symlink(root().join("datasets"), lab.path("datasets")).expect("links can be made");
    let (steps, every, scored) = match pictures() {
        Some(_) => (600, 20, ["evaluate.samples=500", "evaluate.metrics=fid,kid,precision,recall"]),
        None => (60, 6, ["evaluate.samples=100", "evaluate.metrics=kid,recall"]),
    };
    let length = format!("steps={steps}");
    let [grids, snapshots, scores] = [("samples", every), ("checkpoint", every * 5), ("evaluate", every * 5)]
        .map(|(of, every)| format!("{of}.every={every}"));
    for (name, seed, workers) in [("quickstart", "seed=1", "2"), ("seed-2", "seed=2", "1")] {
        let dir = lab.path(name).display().to_string();
        let (to, run) = (format!("checkpoint.to={dir}"), format!("run={name}"));
        let fields = [&length, &to, &run, &grids, &snapshots, &scores].map(String::as_str);
        let fields = [&fields[..], &scored, &[seed, "checkpoint.keep_last=100"]].concat();
        let arguments = ["up", "--config", &config, "--workers", workers, "--run-dir", &dir];
        let mut up = lab.lsgan([&arguments[..], &set(&fields)].concat());
        let client = lab.client_of(&lab.path(name), &mut up);
        if name == "quickstart" {
            client.wait_for_step(3);
            send(children_named(up.id(), "worker")[0], Signal::SIGKILL);
        }
        // Each hundred steps have a deadline of their own.
        (100..steps).step_by(100).for_each(|step| drop(client.wait_for_step(step)));
        up.succeeds();
    }
    let (process, url) = ui(&lab);
    node(&["test/pictures.mjs", &url], pictures().as_deref());
    process.kill();
}

/// The event file is written beside the run, and again after it: both times it says the same.
fn tensorboard_reads_all_of_a_run() {
    const SCRIPT: &str = "
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0, 'images': 0, 'tensors': 0}).Reload()
tags = events.Tags()
print(json.dumps({
    'scalars': {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags['scalars']},
    'images': {tag: [[e.step, e.width, e.height, e.encoded_image_string[:4].hex()] for e in events.Images(tag)] for tag in tags['images']},
    'text': [e.tensor_proto.string_val[0].decode() for tag in tags['tensors'] for e in events.Tensors(tag)],
}))";
    let lab = Lab::new();
    let dir = lab.run_dir().display().to_string();
    let sets = ["--set", "samples.every=10", "--set", "report.tensorboard=event-files"];
    let mut up = lab.up(1, &[&SHORT[..], &sets].concat());
    lab.client(&mut up);
    let mut follower = lab.lsgan(["tensorboard", "--run", &dir, "--follow"]);
    up.succeeds();
    follower.succeeds();
    let read = |folder: &str| -> serde_json::Value {
        let output = tensorboard_python().args(["-c", SCRIPT, &format!("{dir}/{folder}")]).output();
        let output = output.expect("it was found before");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("it prints JSON")
    };
    let seen = read("tensorboard");
    assert_eq!(read("event-files"), seen, "the coordinator writes the same");
    let losses = seen["scalars"]["losses/loss_d"].as_array().expect("it is there");
    let journal = lab.journal();
    assert_eq!(losses.len(), 30);
    for row in losses {
        let sql = format!("select cast(loss_d * 1000000 as integer) from metrics where step = {}", row[0]);
        let difference = journal.number(&sql) as f64 / 1e6 - row[1].as_f64().expect("a number");
        assert!(difference.abs() < 2e-6, "{row}: {difference}");
    }
    let images: Vec<_> =
        seen["images"]["samples"].as_array().expect("grids are there").iter().map(|i| i[0].clone()).collect();
    assert_eq!(images, [10, 20, 30]);
    assert_eq!(seen["images"]["samples"][0][1], 70, "two samples of 32 pixels and the lines between");
    assert!(seen["text"][0].as_str().is_some_and(|text| text.contains("run: small")), "{}", seen["text"]);
    lab.lsgan(["tensorboard", "--run", &dir]).succeeds();
    assert_eq!(read("tensorboard"), seen);
}

fn promtool_finds_no_fault_in_the_alert_rules() {
    let rules = root().join("deploy/monitoring/alerts.yaml");
    let output = Command::new("promtool").args(["check", "rules"]).arg(rules).output().expect("it was found");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("rules found"), "{text}");
}

fn promtool_finds_no_fault_and_a_real_prometheus_reads_it() {
    let lab = Lab::finished();
    let (process, url) = ui(&lab);
    let script = format!("curl --silent --fail {url}metrics | promtool check metrics");
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().expect("bash runs");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.trim().is_empty(), "{text}");
    prometheus_reads(&lab, &http::page(&format!("{PAGE}{url}")));
    process.kill();
}

/// A Prometheus that scrapes this page, with the rules of deploy/monitoring, has each of its metrics.
fn prometheus_reads(lab: &Lab, page: &str) {
    let rules = root().join("deploy/monitoring/alerts.yaml");
    let config = serde_json::json!({ // which is YAML
        "global": { "scrape_interval": "200ms" },
        "rule_files": [rules],
        "scrape_configs": [{ "job_name": "lsgan", "static_configs": [{ "targets": [page] }] }],
    });
    std::fs::write(lab.path("prometheus.yml"), config.to_string()).expect("it is written");
    let address = format!("{}:9090", lab.host());
    let mut command = Command::new("prometheus");
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus"]);
    command.arg(format!("--web.listen-address={address}"));
    let prometheus = lab.start_command("prometheus", command);
    let scraped = http::ask(page, "GET /metrics", "").expect("the page is served");
    let metrics = scraped.lines().filter(|line| line.starts_with("# TYPE lsgan_")).count();
    let asked = |query: &str| -> Result<String, String> {
        let text = http::ask(&address, &format!("GET /api/v1/query?query={query}"), "")?;
        let answer: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let value = answer["data"]["result"][0]["value"][1].as_str();
        value.map(str::to_owned).ok_or(text)
    };
    // count(count by(__name__)({__name__=~"lsgan_.+"}))
    let names = "count(count%20by(__name__)(%7B__name__%3D~%22lsgan_.%2B%22%7D))";
    until("Prometheus has each metric", || match asked(names)? {
        count if count == metrics.to_string() => Ok(()),
        count => Err(format!("{count} of {metrics}")),
    });
    assert_eq!(asked("lsgan_steps_total"), Ok("30".to_owned()));
    prometheus.kill();
}
