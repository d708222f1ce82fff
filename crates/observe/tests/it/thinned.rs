//! A run whose old rows of metrics are thinned is drawn as one whose rows are all there.

use std::path::Path;

use lsgan_journal::{FILE, StepRow, Writer};
use lsgan_observe::Hub;
use lsgan_observe::curves::Ask;
use rusqlite::Connection;
use serde_json::Value;

const STEPS: u64 = 20_000;
const WHOLE_STEPS: u64 = 2_000;

/// Numbers whose sums are exact, and one spike.
fn row(step: u64) -> StepRow {
    let noise = |salt: u64| ((step + salt) * 2_654_435_761 % 4_096) as f64 / 4_096.0;
    let loss_d = if step == 7_777 { 50.0 } else { noise(0) };
    let scalars = [("loss_d", loss_d), ("loss_g", noise(1))];
    let scalars = scalars.into_iter().map(|(name, value)| (name.to_owned(), value));
    StepRow { step, wall_ms: 1_000_000 + step * 10, scalars: scalars.collect() }
}

fn write(dir: &Path, whole_steps: u64, steps: std::ops::Range<u64>) {
    std::fs::create_dir_all(dir).unwrap();
    let mut journal = Writer::open(&dir.join(FILE)).unwrap().with_whole_steps(whole_steps);
    for begin in steps.clone().step_by(200) {
        let rows: Vec<_> = (begin..(begin + 200).min(steps.end)).map(row).collect();
        journal.add_steps(&rows).unwrap();
    }
}

fn count(dir: &Path) -> u64 {
    let journal = Connection::open(dir.join(FILE)).unwrap();
    journal.query_row("select count(*) from metrics", [], |row| row.get(0)).unwrap()
}

fn ask(from: u64, until: u64, pixels: u64, window: u64) -> Ask {
    let names = ["loss_d", "loss_g"].map(str::to_owned).into();
    Ask { names, from, until: Some(until), pixels, window }
}

fn curves(hub: &Hub, ask: &Ask) -> Value {
    hub.runs()[0].curves(ask).unwrap()
}

#[test]
fn extremes_means_and_smoothing_are_those_of_all_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (all, thinned) = (dir.path().join("all"), dir.path().join("thinned"));
    write(&all, u64::MAX, 0..STEPS);
    write(&thinned, WHOLE_STEPS, 0..STEPS);
    assert_eq!(count(&all), STEPS);
    assert!(count(&thinned) < STEPS / 5, "{} rows", count(&thinned));
    let hubs = [all, thinned].map(|dir| Hub::new(vec![dir]));
    for asked in [
        ask(0, STEPS, 70, 0),
        ask(0, STEPS, 70, 1_000),
        ask(2_560, 10_240, 20, 5_000),
        // The newest rows are whole.
        ask(19_000, 19_500, 100, 300),
    ] {
        let [all, thinned] = hubs.each_ref().map(|hub| curves(hub, &asked));
        assert_eq!(all, thinned, "{asked:?}");
    }
    // Near, where rows are gone: those that are left, with the spike.
    let near = curves(&hubs[1], &ask(7_680, 7_936, 256, 0));
    let mean = near["scalars"]["loss_d"]["mean"].as_array().unwrap();
    assert!(mean.len() < 10 && mean.iter().any(|value| value.as_f64() == Some(50.0)), "{near}");
}

/// A page that was open meanwhile, and one that did not look for long.
#[test]
fn a_page_that_follows_a_run_counts_no_row_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (all, thinned) = (dir.path().join("all"), dir.path().join("thinned"));
    write(&all, u64::MAX, 0..STEPS);
    let hubs = [&all, &thinned].map(|dir| Hub::new(vec![dir.clone()]));
    let whole = ask(0, STEPS, 70, 0);
    let expected = curves(&hubs[0], &whole);
    write(&thinned, WHOLE_STEPS, 0..1_000);
    let rarely = Hub::new(vec![thinned.clone()]);
    curves(&rarely, &whole);
    for begin in (1_000..STEPS).step_by(1_000) {
        write(&thinned, WHOLE_STEPS, begin..begin + 1_000);
        curves(&hubs[1], &whole);
    }
    assert_eq!(curves(&hubs[1], &whole), expected);
    assert_eq!(curves(&rarely, &whole), expected);
}
