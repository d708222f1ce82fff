//! A run as other programs see it: its page beside the coordinator, its scalars and events as lines, and on a whole terminal.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use lsgan_tests::binaries::binary;
use lsgan_tests::disturb::assert_undisturbed_weights;
use lsgan_tests::http::{self, PAGE, page as address};
use lsgan_tests::lab::SHORT;
use lsgan_tests::process::{children_named, send};
use lsgan_tests::{Lab, Terminal, until};
use lsgan_wire::v1;
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;

const FREE: [&str; 2] = ["--http", "127.0.0.1:0"];

/// What a page's route answers.
fn get(address: &str, path: &str) -> Result<Value, String> {
    ask(address, &format!("GET {path}"), "")
}

/// What a page answers that is asked for something by itself.
fn act(address: &str, path: &str) -> Result<Value, String> {
    let lines = "Origin: http://localhost\r\nX-Lsgan-Action: 1\r\nContent-Length: 0\r\n";
    ask(address, &format!("POST {path}"), lines)
}

fn ask(address: &str, what: &str, lines: &str) -> Result<Value, String> {
    let body = http::ask(address, what, lines)?;
    serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))
}

/// The page's own paths, each asked for once.
#[test]
fn browsers_that_stand_still_hold_up_no_step() {
    let requests = ["/api/live", "/page.js", "/api/runs"].map(request);
    run_beside_readers_that_stand_still(&requests);
}

/// A scraper keeps its connection: this one has asked 100 times and read no answer. Another has not come to the end of its question.
#[test]
fn scrapers_that_stand_still_hold_up_no_step() {
    let scrape = request("/metrics");
    let half = scrape.trim_end().to_owned();
    run_beside_readers_that_stand_still(&[scrape.repeat(100), half]);
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Readers that send these requests and read nothing: the run steps on, and its weights are those of any other.
#[track_caller]
fn run_beside_readers_that_stand_still(requests: &[String]) {
    let lab = Lab::new();
    let mut up = lab.up(2, &FREE);
    let page = address(&up.wait_for_words(PAGE));
    let stuck: Vec<_> = (0..30)
        .flat_map(|_| requests)
        .map(|request| {
            let mut stream = TcpStream::connect(&page).expect("the page is served");
            stream.write_all(request.as_bytes()).expect("it is taken");
            stream
        })
        .collect();
    let summary = until("the page shows steps", || {
        let runs = get(&page, "/api/runs")?;
        if runs[0]["step"].as_u64() > Some(10) { Ok(runs[0].clone()) } else { Err(runs.to_string()) }
    });
    assert_eq!(summary["live"], true, "{summary}");
    assert_eq!(summary["name"], "small", "{summary}");
    up.succeeds();
    drop(stuck);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_coordinator_that_is_started_again_has_its_page_where_it_was() {
    let lab = Lab::new();
    let mut up = lab.up(1, &[&FREE[..], &["--set", "steps=1000000"]].concat());
    let page = address(&up.wait_for_words(PAGE));
    let live = || until("the page answers", || get(&page, "/api/runs"));
    live();
    let coordinators = children_named(up.id(), "coordinator");
    send(coordinators[0], Signal::SIGKILL);
    until("another coordinator is there", || {
        let now = children_named(up.id(), "coordinator");
        if now.len() == 1 && now != coordinators { Ok(()) } else { Err(now) }
    });
    live();
    up.kill();
}

#[test]
fn a_page_is_not_served_to_other_hosts_unless_that_is_said() {
    let lab = Lab::new();
    let words = ["the page would be served on 0.0.0.0", "--http 127.0.0.1:PORT", "--insecure"];
    lab.start_coordinator(&["--http", "0.0.0.0:0"]).fails(2, &words);
    let words = ["the page would be served on 0.0.0.0", "--listen 127.0.0.1:PORT"];
    let dir = lab.path(".").display().to_string();
    lab.lsgan(["ui", &dir, "--listen", "0.0.0.0:0"]).fails(2, &words);
    lab.lsgan(["ui", &lab.path("none").display().to_string()]).fails(2, &["none is no directory"]);
}

/// Beside the run, and over its coordinator, which is killed meanwhile: all followers print the same. Where the event file is to be
/// there is no folder at first, which is nothing to the run.
#[test]
fn scalars_and_events_are_followed_until_the_run_has_ended() {
    let lab = Lab::new();
    let dir = lab.run_dir().display().to_string();
    lab.lsgan(["metrics", "--run", &dir]).fails(2, &["holds no run"]);
    let folder = lab.path("event-files");
    std::fs::write(&folder, "a file").expect("it can be written");
    let set = format!("report.tensorboard={}", folder.display());
    let two = ["--expect-workers", "2", "--set", "cluster.min_workers=2", "--set", set.as_str()];
    let start = |listen: &str| lab.coordinator_at(listen, &[&SHORT[..], &two].concat());
    let mut coordinator = start(&format!("{}:0", lab.host()));
    coordinator.process.wait_for_words("cannot be written; it is tried again");
    std::fs::remove_file(&folder).expect("it is there");
    coordinator.process.wait_for_words("is written again");
    let url = coordinator.address.clone();
    let names = ["--names", "loss_g,loss_d"];
    let arguments = ["metrics", "--run", &dir, "--follow"];
    let mut rows = lab.lsgan([&arguments[..], &names].concat());
    let mut events = lab.lsgan(["events", "--run", &dir, "--follow", "--json"]);
    let mut far_rows = lab.lsgan([&["metrics", "--run", &url, "--follow"][..], &names].concat());
    let mut far_events = lab.lsgan(["events", "--coordinator", &url, "--follow", "--json"]);
    far_rows.wait_for_words("step,wall_ms");
    let mut first = lab.worker("a", &url);
    far_events.wait_for_words("joined");
    let listen = coordinator.kill();
    far_rows.wait_for_words("the coordinator is away");
    far_events.wait_for_words("the coordinator is away");
    let mut coordinator = start(&listen);
    let mut second = lab.worker("b", &url);
    coordinator.process.succeeds();
    for worker in [&mut first, &mut second] {
        worker.succeeds();
    }
    let csv = rows.succeeds().out;
    assert_eq!(far_rows.succeeds().out, csv);
    let event_file = std::fs::read(folder.join("events.out.tfevents.0000000000.lsgan"));
    let event_file = event_file.expect("the coordinator has written it");
    // A tag is its length and a text.
    let losses = event_file.windows(15).filter(|bytes| **bytes == *b"\n\rlosses/loss_d").count();
    assert_eq!(losses, 30, "one a step");
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "step,wall_ms,loss_d,loss_g", "in the registry's order");
    let steps: Vec<_> =
        lines[1..].iter().map(|line| line.split(',').next().expect("a line has a step")).collect();
    assert_eq!(steps, (0..30).map(|step| step.to_string()).collect::<Vec<_>>());
    let jsonl =
        lab.lsgan([&["metrics", "--run", &dir, "--format", "jsonl"][..], &names].concat()).succeeds().out;
    for (csv, json) in lines[1..].iter().zip(jsonl.lines()) {
        let row: Value = serde_json::from_str(json).expect("a line is an object");
        let same = ["step", "wall_ms", "loss_d", "loss_g"].map(|name| row[name].to_string()).join(",");
        assert_eq!(*csv, same);
    }
    assert_derived_scalars(&lab, &dir);

    let events = events.succeeds().out;
    assert_eq!(far_events.succeeds().out, events);
    let texts: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(
        texts.iter().any(|event| event["text"].as_str().is_some_and(|text| text.contains("generation 1"))),
        "{events}"
    );
    lab.lsgan(["metrics", "--run", &dir, "--names", "lose"])
        .fails(2, &["no scalar is called lose", "loss_d"]);
}

/// Of the run in this directory, of 30 steps.
#[track_caller]
fn assert_derived_scalars(lab: &Lab, dir: &str) {
    let derived = ["metrics", "--run", dir, "--names", "s_per_kimg,kimg"];
    let derived = lab.lsgan(derived).succeeds().out;
    let lines: Vec<_> = derived.lines().map(|line| line.split(',').collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["step", "wall_ms", "kimg", "s_per_kimg"]);
    let kimg = [lines[1][2], lines[30][2]];
    assert_eq!((lines.len(), kimg), (31, ["0.016", "0.48"]), "4 virtual ranks of 4 samples");
    assert!(lines[30][3].parse::<f64>().is_ok_and(|seconds| seconds > 0.0), "{derived}");
}

/// The route of the only run of a page.
fn route(page: &str, rest: &str) -> String {
    let runs = until("the page shows the run", || get(page, "/api/runs"));
    format!("/api/runs/{}/{rest}", runs[0]["id"].as_str().expect("it has an id"))
}

/// As `lsgan pause`, `resume`, `snapshot`, `scale` and `stop` do it.
#[test]
fn a_run_does_what_readers_of_its_page_ask_for_where_it_takes_that() {
    let lab = Lab::new();
    let mut up = lab.up(1, &[&FREE[..], &["--http-actions", "--set", "steps=1000000"]].concat());
    let page = address(&up.wait_for_words(PAGE));
    let client = lab.client(&mut up);
    client.wait_for_step(1);
    let acts =
        |action: &str| act(&page, &route(&page, &format!("actions/{action}"))).expect("it is answered");
    assert_eq!(acts("pause")["asked"], "pause");
    client.wait_until("it rests", |status| status.phase() == v1::Phase::Paused);
    assert_eq!(acts("resume")["asked"], "resume");
    let status = client.wait_until("it goes on", |status| status.paused.is_none());
    let before = status.snapshot_step.expect("it rested with a snapshot");
    client.wait_for_step(before + 2);
    acts("snapshot");
    client.wait_until("there is a newer snapshot", |status| status.snapshot_step > Some(before));
    acts("scale?workers=2");
    client.wait_until("another worker comes", |status| status.workers.len() == 2);
    let refused = acts("scale?workers=0");
    assert!(refused["error"].as_str().is_some_and(|why| why.contains("accepted are 1 to")), "{refused}");
    let by = client.status().expect("it answers").notices;
    assert!(by.iter().any(|notice| notice.text == "a reader of the page asks for a snapshot"), "{by:?}");
    acts("stop");
    up.wait().expect_code(130);
}

#[test]
fn a_page_only_shows_unless_it_is_told_to_take_actions() {
    let lab = Lab::new();
    lab.up(1, &["--http-actions"]).fails(2, &["there is no page", "--http HOST:PORT"]);
    let mut up = lab.up(1, &[&FREE[..], &["--set", "steps=1000000"]].concat());
    let page = address(&up.wait_for_words(PAGE));
    let actions = get(&page, &route(&page, "actions")).expect("it is answered");
    assert_eq!(actions["actions"], serde_json::json!([]));
    let refused = act(&page, &route(&page, "actions/stop")).expect_err("it is no JSON");
    assert!(refused.contains("this server only shows"), "{refused}");
    let run = lab.run_dir().display().to_string();
    let shown = lab.lsgan(["page", "--run", &run]).succeeds().out;
    assert_eq!(shown, format!("http://{page}/"));
    up.kill();
}

/// A bucket that stands still holds up the one who asked, and nobody else.
#[test]
fn snapshots_are_read_one_at_a_time() {
    let lab = Lab::finished();
    let verify = |page: &str, step: u64| get(page, &route(page, &format!("snapshots/{step}/verify")));
    let dir = lab.run_dir().display().to_string();
    let mut ui = lab.lsgan(["ui", &dir, "--listen", "127.0.0.1:0"]);
    let page = address(&ui.wait_for_words(PAGE));
    let whole = verify(&page, 20).expect("it is answered");
    assert_eq!(whole["state"], "whole", "{whole}");
    ui.kill();

    // The same run, as if its snapshots were in a bucket. The kernel accepts for a listener that never answers.
    let silent = TcpListener::bind((lab.host(), 0)).expect("there is a free port");
    silent.set_nonblocking(true).expect("it can be set");
    let endpoint = format!("http://{}", silent.local_addr().expect("it is bound"));
    std::fs::rename(lab.run_dir().join("snapshots"), lab.path("snapshots")).expect("they are there");
    let journal = Connection::open(lab.run_dir().join("journal.sqlite")).expect("it is there");
    let sql = "update meta set value = replace(value, ?1, 's3://bucket/run') where key = 'spec_yaml'";
    journal.execute(sql, [&dir]).expect("it is written");
    drop(journal);
    let mut command = Command::new(binary("lsgan"));
    command.args(["ui", &dir, "--listen", "127.0.0.1:0"]).env("AWS_ENDPOINT_URL", endpoint);
    command.envs(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"].map(|name| (name, "x")));
    let mut ui = lab.start_command("lsgan ui", command);
    let page = address(&ui.wait_for_words(PAGE));
    let mut waits = TcpStream::connect(&page).expect("the page is served");
    let path = route(&page, "snapshots/20/verify");
    waits.write_all(request(&path).as_bytes()).expect("it is taken");
    let asked = until("the bucket is asked", || silent.accept());
    let refused = verify(&page, 30).expect("it is answered");
    assert!(refused["error"].as_str().is_some_and(|why| why.contains("is being read already")), "{refused}");
    assert_eq!(get(&page, "/api/runs").expect("it is answered")[0]["state"], "complete");
    drop((asked, waits));
    ui.kill();
}

/// Where a step goes, and what the process takes of its host.
#[test]
fn the_page_shows_what_a_step_takes_each_worker() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[&FREE[..], &["--set", "steps=1000000"]].concat());
    let page = address(&up.wait_for_words(PAGE));
    let loads = until("both workers have said it", || {
        let workers = get(&page, &route(&page, "workers"))?;
        let lives = workers["workers"].as_array().into_iter().flatten();
        let loads: Vec<_> = lives.filter_map(|worker| worker["load"].as_str()).collect();
        let read = |text: &&str| serde_json::from_str::<Value>(text).expect("it is JSON");
        if loads.len() == 2 {
            Ok(loads.iter().map(read).collect::<Vec<_>>())
        } else {
            Err(workers.to_string())
        }
    });
    for load in loads {
        let number = |name: &str| load[name].as_u64().unwrap_or_else(|| panic!("{name}: {load}"));
        let parts = ["data_wait_us", "discriminator_us", "generator_us", "reduce_us", "apply_us"];
        let sum: u64 = parts.iter().map(|part| number(part)).sum();
        let step = number("step_us");
        assert!(
            number("steps") > 0 && number("discriminator_us") > 0 && number("generator_us") > 0,
            "{load}"
        );
        assert!(sum <= step + step / 4 && sum * 2 >= step, "{sum} of {step} µs are explained: {load}");
        assert!(number("memory_bytes") > 10 << 20, "{load}");
        assert!(load["device"].as_str().is_some_and(|device| !device.is_empty()), "{load}");
    }
    let summary = get(&page, "/api/runs").expect("it answers")[0].clone();
    assert!(summary["memory_bytes"].as_u64() > Some(10 << 20), "{summary}");
    up.kill();
}

#[test]
fn a_warning_ends_with_its_cause() {
    let lab = Lab::new();
    let mut up = lab.up(2, &[&FREE[..], &["--set", "steps=1000000"]].concat());
    let page = address(&up.wait_for_words(PAGE));
    lab.client(&mut up).wait_for_step(1);
    send(children_named(up.id(), "worker")[0], Signal::SIGKILL);
    let gone = |event: &Value| event["cause"].as_str().is_some_and(|cause| cause.starts_with("gone: "));
    let event = until("it is gone, and another has taken its place", || {
        let events = get(&page, &route(&page, "events?warnings=1"))?;
        let event = events.as_array().into_iter().flatten().find(|event| gone(event)).cloned();
        event.filter(|event| event["over_ms"].is_u64()).ok_or_else(|| events.to_string())
    });
    assert!(event["over_ms"].as_u64() >= event["at_ms"].as_u64(), "{event}");
    up.kill();
}

/// By its directory, ended by a key; by its coordinator's address, ended by a signal.
#[test]
fn a_run_is_shown_on_a_whole_terminal_which_is_given_back() {
    let lab = Lab::new();
    let dir = lab.run_dir().display().to_string();
    lab.lsgan(["top", "--run", &dir])
        .fails(2, &["standard input or output is none", "lsgan metrics --run DIR"]);
    let mut up = lab.up(1, &["--set", "steps=1000000", "--set", "samples.every=5"]);
    lab.client(&mut up).wait_for_step(5);
    until("the journal has steps", || {
        let steps = lab.journal().number("select count(*) from metrics");
        if steps > 0 { Ok(()) } else { Err(steps) }
    });
    let lock = std::fs::read_to_string(lab.run_dir().join("coordinator.lock")).expect("the run is live");
    let address =
        lock.lines().find_map(|line| line.strip_prefix("address ")).expect("its coordinator listens");
    let top = |target: &str| {
        let lsgan = binary("lsgan");
        // With the exit code, and with how the terminal is then.
        format!("{} top {target}; code=$?; stty -a; exit $code", lsgan.display())
    };
    let mut quits = Terminal::start(&lab, "quits", &top(&format!("--run '{dir}'")));
    quits.wait_until("steps are shown", |sent| step_on(sent) > Some(0));
    quits.wait_until("samples are shown", |sent| sent.contains('▀') && sent.contains("\u{1b}[38;2;"));
    quits.press("q");
    quits.process.succeeds();
    assert_given_back(&quits.sent());

    let mut told = Terminal::start(&lab, "told", &top(&format!("--coordinator http://{address}")));
    told.wait_until("steps are shown", |sent| step_on(sent) > Some(0));
    send(told.child("lsgan"), Signal::SIGTERM);
    told.process.wait().expect_code(143);
    assert_given_back(&told.sent());
    up.kill();
}

/// The step that was shown first. All of it is sent at once; later only the digits that are others.
fn step_on(sent: &str) -> Option<u64> {
    let (before, _) = sent.split_once("/1000000")?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The screen before is back, with its cursor, and the terminal edits lines again.
#[track_caller]
fn assert_given_back(sent: &str) {
    let (_, after) =
        sent.rsplit_once("\u{1b}[?1049l").unwrap_or_else(|| panic!("it keeps the screen: {sent:?}"));
    assert!(after.contains("\u{1b}[?25h"), "there is no cursor: {after:?}");
    assert!(after.contains("icanon iexten echo "), "it does not edit lines: {after:?}");
}
