//! `lsgan compare` of real runs: finished ones, and one that trains.

use std::fs;

use lsgan_tests::lab::SHORT;
use lsgan_tests::{Ended, Lab, Process, until};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

/// The field in which these runs differ.
const RATE: &str = "optimizer.generator.adam.learning_rate";

fn compare(lab: &Lab, more: &[&str]) -> Process {
    lab.lsgan([&["compare"], more].concat())
}

/// A lab in which the runs `run` and `second` are finished: the second has another learning rate.
fn two_runs() -> Lab {
    let lab = Lab::finished();
    let rate = format!("{RATE}=0.001");
    let second = ["--set", "checkpoint.to=second", "--set", "run=second", "--set", &rate];
    lab.up(2, &[&SHORT[..], &second].concat()).succeeds();
    lab
}

/// The cells of a line of CSV without quotes.
fn row<'a>(ended: &'a Ended, name: &str) -> Vec<&'a str> {
    let line = ended.out.lines().find(|line| line.starts_with(&format!("{name},")));
    line.unwrap_or_else(|| panic!("no row {name}: {ended}")).split(',').skip(1).collect()
}

#[test]
fn what_differs_between_two_runs_and_what_came_of_it_is_a_table_json_and_csv() {
    let lab = two_runs();
    let weights = lab.weights().generator;
    let found = compare(&lab, &["run", "second", "--json"]).succeeds().json();
    let different = found["different"].as_array().expect("a list");
    assert_eq!(different.len(), 1, "{found:#}");
    assert_eq!(different[0]["path"], RATE);
    assert_eq!(different[0]["values"], serde_json::json!(["0.0002", "0.001"]));
    let runs = found["runs"].as_array().expect("a list");
    for (run, label) in runs.iter().zip(["small", "second"]) {
        assert_eq!((&run["label"], &run["state"]), (&label.into(), &"complete".into()));
        assert_eq!(run["live"], false);
        assert_eq!((&run["step"], &run["steps"], &run["kimg"]), (&30.into(), &30.into(), &0.48.into()));
        let is_positive = |name: &str| run[name].as_f64().is_some_and(|value| value > 0.0);
        assert!(is_positive("images_per_s") && is_positive("s_per_kimg"), "{run:#}");
        assert!(run["newest"]["loss_d"].is_f64() && run["newest"]["loss_g"].is_f64(), "{run:#}");
        assert!(run["best"].is_null() && run["identity"].is_string(), "{run:#}");
    }
    assert_eq!(runs[0]["weights"], Value::from(weights.clone()));
    assert_ne!(runs[0]["identity"], runs[1]["identity"]);

    let csv = compare(&lab, &["run", "second", "--csv"]).succeeds();
    assert_eq!(csv.out.lines().next(), Some(",small,second"), "{csv}");
    assert_eq!(row(&csv, RATE), ["0.0002", "0.001"]);
    assert_eq!(row(&csv, "step"), ["30", "30"]);
    assert_eq!(row(&csv, "weights")[0], weights);

    let shown = compare(&lab, &["run", "second"]).succeeds();
    shown.expect_out(&[RATE, "0.001", "small", "second", "s/kimg", "loss_d", &weights[..12]]);
    // A run and itself have the same name, and the same file.
    compare(&lab, &["run", "./run"]).succeeds().expect_out(&["./run", "their files say the same"]);
}

#[test]
fn scores_are_compared_by_the_best_and_the_last() {
    let lab = two_runs();
    let score = |dir: &str, step: u64, value: f64, samples: u64| {
        let row = serde_json::json!({
            "step": step, "weights": "ema", "scores": [{ "metric": "kid", "value": value }],
            "extractor": "clothes", "samples": samples,
        });
        let path = lab.path(dir).join("scores.jsonl");
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, format!("{before}{row}\n")).expect("there is room");
    };
    score("run", 10, 0.25, 100);
    score("run", 20, 0.5, 100);
    score("second", 30, 0.75, 200);
    let csv = compare(&lab, &["run", "second", "--csv"]).succeeds();
    assert_eq!(row(&csv, "best kid"), ["0.25", "0.75"]);
    assert_eq!(row(&csv, "last kid"), ["0.5", "0.75"]);
    assert_eq!(row(&csv, "best at step"), ["10", "30"]);
    compare(&lab, &["run", "second"]).succeeds().expect_out(&[
        "scored by",
        "100 samples, clothes",
        "cannot be compared",
    ]);
}

/// How many elements an XML text has that closes all of them.
fn elements(text: &str) -> usize {
    let (mut reader, mut depth, mut count) = (Reader::from_str(text), 0_i32, 0);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("it is no XML: {error}\n{text}")) {
            Event::Start(_) => (depth, count) = (depth + 1, count + 1),
            Event::Empty(_) => count += 1,
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "all elements are closed");
    count
}

#[test]
fn curves_of_runs_are_an_svg_with_all_their_names() {
    let lab = two_runs();
    let svg = ["--svg", "curves.svg", "--names", "loss_d,grad_norm_g"];
    compare(&lab, &[&["run", "second"], &svg[..]].concat()).succeeds();
    let text = fs::read_to_string(lab.path("curves.svg")).expect("it is written");
    assert!(elements(&text) > 20, "{text}");
    for word in ["loss_d", "grad_norm_g", "small", "second", "step"] {
        assert!(text.contains(word), "{word} is not in the SVG");
    }
    let refused = |more: &[&str], words: &[&str]| compare(&lab, more).fails(2, words);
    refused(&["run", "second", "--svg", "x.png"], &[".png is another format", "x.svg"]);
    refused(&["run", "second", "--names", "loss"], &["--names", "no scalar is called loss"]);
    refused(&["run"], &["two or more"]);
    refused(&["run", "nowhere"], &["nowhere holds no run"]);
    refused(&["run", "s3://bucket/run"], &["is an address", "run's directory"]);
}

#[test]
fn a_run_that_trains_is_compared_as_it_is() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&["--set", "steps=1000000"]);
    let _worker = lab.worker("worker", &coordinator.address);
    coordinator.client.wait_for_step(5);
    let found = compare(&lab, &["run", "run", "--json"]).succeeds().json();
    let run = &found["runs"][0];
    assert_eq!((&run["live"], &run["weights"]), (&true.into(), &Value::Null), "{found:#}");
    until("its first rows are in the journal", || {
        let ended = compare(&lab, &["run", "run", "--svg", "live.svg"]).wait();
        if ended.code == Some(0) { Ok(()) } else { Err(ended.err) }
    });
    assert!(elements(&fs::read_to_string(lab.path("live.svg")).expect("it is written")) > 20);
}
