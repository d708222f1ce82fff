//! The server over a real socket, on runs whose journals are written here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use lsgan_journal::{CorruptRecord, FILE, Snapshot};
use lsgan_observe::actions::{Action, Actions};
use serde_json::Value;

use crate::common::{DEADLINE, Site, row};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().filter_map(Value::as_f64).collect()
}

#[test]
fn every_documented_route_answers() {
    let site = Site::new();
    let mut journal = site.journal("first");
    journal.add_steps(&(0..50).map(|step| row(step, 0.5)).collect::<Vec<_>>()).unwrap();
    journal.add_event(5, true, "a <b>bold</b> worker").unwrap();
    let url = "file:///s".to_owned();
    let snapshot = Snapshot { step: 25, url, len_bytes: 7, blake3: "00".to_owned(), blocked_ms: 1.5 };
    journal.add_snapshot(&snapshot).unwrap();
    journal.add_sample(40, "/elsewhere/samples/step-0000000040.png").unwrap();
    let samples = site.run_dir("first").join("samples");
    std::fs::create_dir_all(&samples).unwrap();
    std::fs::write(samples.join("step-0000000040.png"), b"\x89PNG").unwrap();

    journal.add_standing(6, "snapshots", "the disk is full").unwrap();
    journal.end_warnings(9, "snapshots").unwrap();
    journal.add_standing(7, "gone: a", "worker a is gone").unwrap();

    let id = site.id();
    let documented = include_str!("../../../../docs/observe.md");
    let routes: Vec<_> =
        documented.lines().filter_map(|line| line.strip_prefix("### `GET ")?.strip_suffix('`')).collect();
    assert!(routes.len() >= 10, "{routes:?}");
    for route in routes.iter().filter(|route| **route != "/api/live") {
        let (status, answer) = site.get(&route.replace("{run}", &id).replace("{step}", "40"));
        assert_eq!(status, 200, "{route}: {answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{route}");
        assert!(
            answer.contains("content-security-policy: default-src 'none'; script-src 'self';"),
            "{route}"
        );
    }
    let run = site.json(&format!("/api/runs/{id}"));
    assert_eq!(run["summary"]["step"], 50);
    assert_eq!(run["summary"]["steps"], 200);
    assert_eq!(run["summary"]["state"], "interrupted");
    assert_eq!(run["summary"]["global_batch"], 16);
    assert_eq!(run["summary"]["s_per_kimg"], 10.0);
    let newest = ["kimg", "s_per_kimg"].map(|name| run["summary"]["newest"][name].as_f64());
    assert_eq!(newest, [Some(0.8), Some(10.0)]);
    let derived = site.json(&format!("/api/runs/{id}/curves?names=kimg,s_per_kimg&from=48"));
    assert_eq!(numbers(&derived["scalars"]["kimg"]["mean"]), [0.784, 0.8]);
    assert_eq!(numbers(&derived["scalars"]["s_per_kimg"]["mean"]), [10.0, 10.0]);
    let events = |query: &str| site.json(&format!("/api/runs/{id}/events{query}")).as_array().unwrap().len();
    assert_eq!(
        [events(""), events("?search=BOLD"), events("?search=%25"), events("?warnings=1&before=1")],
        [3, 1, 0, 0]
    );
    let warnings = site.json(&format!("/api/runs/{id}/events?warnings=1"));
    let of = |name: &str| [0_usize, 1, 2].map(|at| warnings[at][name].clone());
    assert_eq!(of("cause"), ["gone: a".into(), "snapshots".into(), Value::Null], "the newest first");
    assert_eq!(of("over_ms"), [Value::Null, 9.into(), Value::Null]);
    let data = site.json(&format!("/api/runs/{id}/data"));
    let told = ["records", "grids", "grids_len_bytes"].map(|name| data[name].as_u64());
    assert_eq!(told, [Some(10_000), Some(1), Some(4)]);
    let possible = site.json(&format!("/api/runs/{id}/actions"));
    assert_eq!(possible["actions"].as_array().map(Vec::len), Some(0), "whoever reads changes nothing");
    assert_eq!(site.json(&format!("/api/runs/{id}/snapshots"))["snapshots"][0]["len_bytes"], 7);
}

#[test]
fn a_spike_among_a_hundred_thousand_steps_is_in_the_curve_and_new_steps_follow() {
    const STEPS: u64 = 100_000;
    let site = Site::new();
    let mut journal = site.journal("long");
    let value = |step| if step == 77_777 { 9.0 } else { 0.5 };
    journal.add_steps(&(0..STEPS).map(|step| row(step, value(step))).collect::<Vec<_>>()).unwrap();
    let id = site.id();
    let curves = |query: &str| site.json(&format!("/api/runs/{id}/curves?names=loss_d&{query}"));
    let whole = curves("pixels=200");
    let loss = &whole["scalars"]["loss_d"];
    assert!(numbers(&whole["steps"]).len() <= 200);
    assert!(numbers(&loss["max"]).contains(&9.0), "{loss}");
    assert_eq!(numbers(&loss["min"]).iter().copied().fold(9.0, f64::min), 0.5);
    // Near, the rows themselves.
    let near = curves("from=77770&until=77790&pixels=200");
    assert_eq!(numbers(&near["steps"]), (77_770..77_790).map(f64::from).collect::<Vec<_>>());
    assert_eq!(numbers(&near["scalars"]["loss_d"]["mean"])[7], 9.0);
    assert_eq!(near["scalars"]["loss_d"]["min"], Value::Null, "single rows have no extremes");
    // Between: neither blocks nor single rows.
    let middle = curves("from=70000&until=80000&pixels=100");
    assert!(numbers(&middle["scalars"]["loss_d"]["max"]).contains(&9.0));
    assert!(numbers(&middle["steps"]).len() <= 101);

    journal.add_steps(&[row(STEPS, 7.0)]).unwrap();
    let more = curves("pixels=200");
    assert_eq!(more["until"], STEPS + 1);
    assert_eq!(numbers(&more["steps"]).last(), Some(&(STEPS as f64)));
}

#[test]
fn what_a_run_has_done_is_judged_by_the_rules_of_its_file() {
    let site = Site::new();
    let mut journal = site.journal("bad");
    let rows = (0..1000).map(|step| {
        let mut row = row(step, 0.5);
        row.scalars.insert("fake_std".to_owned(), if step < 500 { 1.0 } else { 0.05 });
        row
    });
    journal.add_steps(&rows.collect::<Vec<_>>()).unwrap();
    let records = (0..5).map(|record| CorruptRecord {
        record,
        key: record.to_string(),
        reason: "it ends early".to_owned(),
        step: 7,
    });
    journal.add_corrupt(&records.collect::<Vec<_>>()).unwrap();
    for step in [25, 50] {
        let (url, blake3) = ("file:///s".to_owned(), "00".to_owned());
        journal.add_snapshot(&Snapshot { step, url, len_bytes: 7, blake3, blocked_ms: 1.5 }).unwrap();
    }
    let alerts = site.json("/api/runs")[0]["alerts"].clone();
    let kinds: Vec<_> = alerts.as_array().unwrap().iter().map(|alert| alert["kind"].clone()).collect();
    assert_eq!(kinds, ["collapse", "corrupt"]);
    let dir = site.run_dir("bad").canonicalize().unwrap();
    let command = format!("lsgan up --config {} --fork bad-from-25 --fork-at 25", dir.display());
    assert_eq!(alerts[0]["command"], command);
}

/// However far the reader is away: the mean of a window is that of all its rows.
#[test]
fn smoothing_is_of_the_whole_series() {
    let site = Site::new();
    let mut journal = site.journal("noisy");
    journal.add_steps(&(0..40_000).map(|step| row(step, (step % 10) as f64)).collect::<Vec<_>>()).unwrap();
    let id = site.id();
    for (range, window, off) in [
        ("", 20_000, 0.01),
        ("", 1000, 0.05),
        ("&from=30000&until=30100", 1000, 0.3),
        ("&from=30000&until=30100", 20_000, 0.01),
        ("&from=30000&until=34000", 100, 0.3),
        ("&from=30000&until=30100", 10, 0.0001),
    ] {
        let curves =
            site.json(&format!("/api/runs/{id}/curves?names=loss_d&pixels=100&window={window}{range}"));
        let smooth = numbers(&curves["scalars"]["loss_d"]["smooth"]);
        assert!(smooth.len() > 10);
        // The first ones have less behind them.
        let begin = if range.is_empty() { smooth.len() * 3 / 4 } else { 0 };
        for value in &smooth[begin..] {
            assert!((value - 4.5).abs() <= off, "window {window}, {range}: {value}");
        }
    }
}

#[test]
fn another_sites_name_is_refused_and_so_is_everything_but_reading() {
    let site = Site::new();
    let answer = |request: &str| site.raw(&format!("{request}\r\nConnection: close\r\n\r\n"));
    assert!(answer("GET /api/runs HTTP/1.1\r\nHost: evil.example").starts_with("HTTP/1.1 403"));
    assert!(answer("GET /api/runs HTTP/1.1\r\nHost: 127.0.0.1:1").starts_with("HTTP/1.1 200"));
    assert!(answer("POST /api/runs HTTP/1.1\r\nHost: localhost").starts_with("HTTP/1.1 405"));
    assert_eq!(site.get("/api/runs/none").0, 404);
    assert_eq!(site.get("/none").0, 404);
}

/// A POST as a page of this server sends it, with these lines instead of some of its own.
fn post(site: &Site, path: &str, origin: &str, header: &str) -> String {
    site.raw(&format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n"
    ))
}

#[test]
fn actions_are_taken_from_the_page_alone_and_answered_by_the_run() {
    const HEADER: &str = "X-Lsgan-Action: 1\r\n";
    let (actions, mut asked) = Actions::new(None);
    let site = Site::with(Some(actions));
    drop(site.journal("live"));
    let path = |action: &str| format!("/api/runs/{}/actions/{action}", site.id());
    let own = "http://localhost";
    assert!(post(&site, &path("stop"), "http://evil.example", HEADER).starts_with("HTTP/1.1 403"));
    assert!(post(&site, &path("stop"), own, "").starts_with("HTTP/1.1 403"));
    assert!(post(&site, &path("delete"), own, HEADER).starts_with("HTTP/1.1 400"));
    assert!(post(&site, &path("scale"), own, HEADER).starts_with("HTTP/1.1 400"), "to how many?");
    assert!(post(&site, "/api/runs/none/actions/stop", own, HEADER).starts_with("HTTP/1.1 404"));
    assert!(post(&site, "/api/runs", own, HEADER).starts_with("HTTP/1.1 405"));
    let preflight = "OPTIONS /api/runs/x/actions/stop HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                     Access-Control-Request-Headers: x-lsgan-action\r\nConnection: close\r\n\r\n";
    assert!(site.raw(preflight).starts_with("HTTP/1.1 405"), "a browser then sends nothing");
    asked.try_recv().expect_err("nothing was asked for");

    let answers = [Ok(()), Err("no worker is there".to_owned())];
    let run = std::thread::spawn(move || {
        answers.map(|answer| {
            let asked = asked.blocking_recv().expect("the server lives");
            asked.answer.send(answer).expect("it waits");
            asked.action
        })
    });
    assert!(post(&site, &path("snapshot"), own, HEADER).starts_with("HTTP/1.1 200"));
    let refused = post(&site, &path("scale?workers=3"), own, HEADER);
    assert!(refused.starts_with("HTTP/1.1 409") && refused.contains("no worker is there"), "{refused}");
    assert_eq!(run.join().unwrap(), [Action::Snapshot, Action::Scale { workers: 3 }]);
    assert!(post(&site, &path("pause"), own, HEADER).contains("the coordinator is ending"));
}

/// A journal that names files elsewhere (it may have come from anybody) shows none of them.
#[test]
fn only_grids_in_the_runs_own_folder_are_read() {
    let site = Site::new();
    let mut journal = site.journal("bad");
    std::fs::write(site.dir.path().join("secret.png"), "secret").unwrap();
    for (step, file) in [(1, "../../secret.png"), (2, "/etc/passwd"), (3, "..")] {
        journal.add_sample(step, file).unwrap();
    }
    let id = site.id();
    for step in 1..=4 {
        let (status, answer) = site.get(&format!("/api/runs/{id}/samples/{step}"));
        assert_eq!(status, 404, "{answer}");
    }
    assert_eq!(site.get(&format!("/api/runs/{id}/samples/x")).0, 400);
}

#[test]
fn a_journal_that_is_none_is_shown_as_such() {
    let site = Site::new();
    std::fs::create_dir(site.run_dir("broken")).unwrap();
    std::fs::write(site.run_dir("broken").join(FILE), "no database").unwrap();
    let runs = site.json("/api/runs");
    assert_eq!(runs[0]["state"], "unreadable");
    assert!(runs[0]["why"].as_str().unwrap().contains("no database"), "{runs}");
}

/// Browsers that ask for events and scrapers that ask again and again, which read nothing, and some that never end their request:
/// others are answered, and what changes is told to those who read.
#[test]
fn readers_that_stand_still_hold_up_nobody() {
    const LIVE: &str = "GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let site = Site::new();
    let mut journal = site.journal("live");
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(site.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let scrapes = SCRAPE.repeat(100);
    let requests = [LIVE, &scrapes, "GET /metrics HTTP/1.1\r\nHost:"];
    let stuck: Vec<_> = (0..40).flat_map(|_| requests.map(ask)).collect();
    let mut reader = ask(LIVE);
    let (begin, mut told, mut step) = (Instant::now(), String::new(), 0);
    while !told.contains("\"step\":30") {
        assert!(begin.elapsed() < DEADLINE, "{told}");
        if step < 30 {
            journal.add_steps(&[row(step, 0.5)]).unwrap();
            step += 1;
        }
        let mut part = [0; 65_536];
        let len = if step < 30 { 0 } else { reader.read(&mut part).unwrap() };
        told.push_str(&String::from_utf8_lossy(&part[..len]));
        assert_eq!(site.get("/api/runs").0, 200);
    }
    drop(stuck);
}
