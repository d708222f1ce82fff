//! A run as other programs see it: its page beside the coordinator, its scalars and events as lines.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lsgan_tests::disturb::assert_undisturbed_weights;
use lsgan_tests::lab::SHORT;
use lsgan_tests::process::{children_named, send};
use lsgan_tests::{Lab, until};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The words before the page's address.
const PAGE: &str = "the page is at ";
const FREE: [&str; 2] = ["--http", "127.0.0.1:0"];

/// The host and port of a page that a process says it serves.
fn address(line: &str) -> String {
    let (_, url) = line.split_once(PAGE).expect("it was waited for");
    url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// What a page's route answers.
fn get(address: &str, path: &str) -> Result<Value, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| answer.clone())?;
    serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))
}

/// Browsers that ask for everything and read nothing: the run steps on, and its weights are those of any other.
#[test]
fn browsers_that_stand_still_hold_up_no_step() {
    let lab = Lab::new();
    let mut up = lab.up(2, &FREE);
    let page = address(&up.wait_for_words(PAGE));
    let stuck: Vec<_> = (0..30)
        .flat_map(|_| ["/api/live", "/page.js", "/api/runs"])
        .map(|path| {
            let mut stream = TcpStream::connect(&page).expect("the page is served");
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is taken");
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

#[test]
fn scalars_and_events_are_followed_until_the_run_has_ended() {
    let lab = Lab::new();
    let dir = lab.run_dir().display().to_string();
    lab.lsgan(["metrics", "--run", &dir]).fails(2, &["holds no run"]);
    let mut up = lab.up(1, &SHORT);
    lab.client(&mut up);
    let names = ["--names", "loss_g,loss_d"];
    let arguments = ["metrics", "--run", &dir, "--follow"];
    let mut rows = lab.lsgan([&arguments[..], &names].concat());
    let mut events = lab.lsgan(["events", "--run", &dir, "--follow", "--json"]);
    up.succeeds();
    let csv = rows.succeeds().out;
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
    let events = events.succeeds().out;
    let texts: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(
        texts.iter().any(|event| event["text"].as_str().is_some_and(|text| text.contains("generation 1"))),
        "{events}"
    );
    lab.lsgan(["metrics", "--run", &dir, "--names", "lose"])
        .fails(2, &["no scalar is called lose", "loss_d"]);
}
