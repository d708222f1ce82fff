//! `lsgan figure modes`: the paper's figure 7 and what is true of it, as sweeps over settings, losses and seeds.
//!
//! The paper shows an LSGAN that finds all modes of a ring where the regular GAN collapses. The authors' code makes it with a ring
//! whose first mode has twice the weight of the others, and with updates of G and D from one forward pass. The settings take one of
//! these away at a time.

use std::path::{Path, PathBuf};

use lsgan_console::{Failure, interrupts, say};
use lsgan_figures::{Axis, Chart, Corner, Figure, Table};
use lsgan_runfile::{Override, RunFile, parse};
use lsgan_spec::Metric;

use crate::sweep;
use crate::sweep::axes::{Axis as Values, Seeds};
use crate::sweep::plan::Sweep;
use crate::sweep::plot::{over_seeds, value};
use crate::sweep::table::{Results, Row, median};

/// What it shows.
pub const ABOUT: &str = "modes of a 2-D mixture that G finds, with three losses (Fig. 7): trains for minutes";

/// The run that all settings change.
const BASE: &str = include_str!("../../../configs/gaussian-ring-lsgan.yaml");

/// A mixture and how it is trained on.
struct Setting {
    name: &'static str,
    title: &'static str,
    sets: &'static [&'static str],
    modes: u32,
}

const PAPER: [&str; 7] = [
    "data.source.gaussian.modes={ring: {count: 8, radius: 1.0}}",
    "data.source.gaussian.sigma=0.01",
    "model.generator.mlp.latent={normal: 256}",
    "optimizer.discriminator.adam.learning_rate=1e-4",
    "batch.per_rank=256",
    "optimizer.generator.adam.epsilon=1.953125e-11",
    "optimizer.discriminator.adam.epsilon=1.953125e-11",
];
const DOUBLE: &str = "data.source.gaussian.weights='2,1,1,1,1,1,1,1'";
const SIMULTANEOUS: &str = "updates=simultaneous";
const CPU: &str = "compute.device=cpu";
static SETTINGS: [Setting; 5] = [
    Setting { name: "works", title: "radius 2, both rates 1e-3, batch 128", sets: &[], modes: 8 },
    Setting {
        name: "authors",
        title: "the authors' ring and updates",
        sets: &[
            PAPER[0],
            PAPER[1],
            PAPER[2],
            PAPER[3],
            PAPER[4],
            PAPER[5],
            PAPER[6],
            DOUBLE,
            SIMULTANEOUS,
            CPU,
        ],
        modes: 8,
    },
    Setting {
        name: "alternating",
        title: "the authors' ring, D updated first",
        sets: &[PAPER[0], PAPER[1], PAPER[2], PAPER[3], PAPER[4], PAPER[5], PAPER[6], DOUBLE],
        modes: 8,
    },
    Setting {
        name: "equal",
        title: "the authors' updates, equal modes",
        sets: &[PAPER[0], PAPER[1], PAPER[2], PAPER[3], PAPER[4], PAPER[5], PAPER[6], SIMULTANEOUS, CPU],
        modes: 8,
    },
    Setting {
        name: "grid",
        title: "25 modes on a grid",
        sets: &["data.source.gaussian.modes={grid: {columns: 5, rows: 5, spacing: 1.0}}"],
        modes: 25,
    },
];

/// A loss, as a run's file says it.
struct Loss {
    name: &'static str,
    objective: &'static str,
    colour: usize,
}

const LOSSES: [Loss; 3] = [
    Loss { name: "LSGAN 0/1/1", objective: "{least_squares: {a: 0, b: 1, c: 1}}", colour: 2 },
    Loss { name: "LSGAN −1/1/0", objective: "{least_squares: {a: -1, b: 1, c: 0}}", colour: 5 },
    Loss { name: "GAN", objective: "non_saturating", colour: 0 },
];

/// How much is trained.
struct Size {
    settings: &'static [Setting],
    seeds: u64,
    steps: u64,
    every: u64,
    runs: &'static str,
}

const SMALL: Size =
    Size { settings: SETTINGS.split_at(2).0, seeds: 3, steps: 6000, every: 500, runs: "runs/figure-modes" };
const FULL: Size =
    Size { settings: &SETTINGS, seeds: 5, steps: 15_000, every: 1000, runs: "runs/figure-modes-full" };

/// Trains what is not trained yet, and makes the figure. `is_full`: all settings, five seeds, 15,000 steps.
///
/// # Errors
/// Runs that failed, or were stopped; the same command goes on.
pub async fn figure(is_full: bool, workers: Option<u32>) -> Result<Figure, Failure> {
    let size = if is_full { FULL } else { SMALL };
    let mut interrupts = interrupts()?;
    let mut found = vec![];
    for setting in size.settings {
        let sweep = size.sweep(setting)?;
        sweep.check().await?;
        say!("{}", setting.title);
        let ended = sweep::run(&sweep, workers, &mut interrupts).await?;
        ended.result()?;
        let results = Results::of(&sweep, &ended)?;
        results.write(&sweep.out)?;
        found.push((setting, results));
    }
    Ok(drawn(&size, &found))
}

impl Size {
    fn sweep(&self, setting: &Setting) -> Result<Sweep, Failure> {
        let Self { seeds, steps, every, runs, .. } = self;
        let length = [
            format!("steps={steps}"),
            format!("checkpoint.every={every}"),
            format!("evaluate.every={every}"),
            format!("samples.every={steps}"),
        ];
        let common = setting.sets.iter().map(|&set| set.to_owned()).chain(length);
        let common: Vec<Override> = common.map(|set| set.parse().expect("any text is an override")).collect();
        let read = |sets: &[Override]| {
            let spec = parse(BASE, "gaussian-ring-lsgan.yaml", &[&common[..], sets].concat());
            let spec = spec.map_err(|errors| Failure::failed(errors.render_plain()))?;
            Ok(RunFile { spec, sets_mix: false })
        };
        let values = LOSSES.iter().map(|loss| loss.objective.to_owned()).collect();
        let axis = Values { path: "objective".to_owned(), values };
        let out: PathBuf = Path::new(runs).join(setting.name);
        Sweep::plan(read, &[axis], Some(&Seeds((1..=*seeds).collect())), Some(&*out))
    }
}

/// A row of charts for each way to count, a column for each setting.
fn drawn(size: &Size, found: &[(&Setting, Results)]) -> Figure {
    let counts = [(Metric::ModesKde, "modes, by kernel density"), (Metric::Modes, "modes, within 3 σ")];
    let chart = |metric: Metric, title: &str, setting: &Setting, results: &Results| Chart {
        title: setting.title.to_owned(),
        x: Axis::new("step", 0.0, size.steps as f64),
        y: Axis::new(title, 0.0, f64::from(setting.modes) * 1.05),
        series: LOSSES
            .iter()
            .flat_map(|loss| over_seeds(loss.name, loss.colour, metric, &of_loss(results, loss)))
            .collect(),
        legend: Some(Corner::LowerRight),
    };
    let charts = counts.iter().flat_map(|(metric, title)| {
        found.iter().map(move |(setting, results)| chart(*metric, title, setting, results))
    });
    let mut numbers = Table::new(&["setting", "loss", "modes_kde", "modes", "high_quality", "all modes"]);
    for (setting, results) in found {
        for loss in &LOSSES {
            numbers.rows.push(row(size, setting, loss, &of_loss(results, loss)));
        }
    }
    let notes = vec![
        format!(
            "at step {}, the median of {} seeds (least to most); all modes: the share of evaluations in the second half, over all \
             seeds, at which every mode is within reach (3 σ)",
            size.steps, size.seeds
        ),
        "the authors' ring: one mode of weight 2; their updates: of G and D from one forward pass".to_owned(),
    ];
    Figure { charts: charts.collect(), columns: found.len(), numbers, notes }
}

fn of_loss<'a>(results: &'a Results, loss: &Loss) -> Vec<&'a Row> {
    results.rows().iter().filter(|row| row.values[0] == loss.objective).collect()
}

fn row(size: &Size, setting: &Setting, loss: &Loss, rows: &[&Row]) -> Vec<String> {
    let last = |metric: Metric| {
        let mut values: Vec<f64> = rows
            .iter()
            .filter_map(|row| row.scores.last())
            .filter_map(|score| value(score, metric))
            .collect();
        values.sort_by(f64::total_cmp);
        match values[..] {
            [] => "none".to_owned(),
            [least, .., most] if metric == Metric::HighQuality => {
                format!("{:.2} ({least:.2} to {most:.2})", median(&values))
            }
            [least, .., most] => format!("{} ({least} to {most})", median(&values)),
            [one] => format!("{one:.2}"),
        }
    };
    let later = rows.iter().flat_map(|row| &row.scores).filter(|score| score.step.0 * 2 > size.steps);
    let counts: Vec<f64> = later.filter_map(|score| value(score, Metric::Modes)).collect();
    let all = counts.iter().filter(|&&count| count >= f64::from(setting.modes)).count();
    let share = 100.0 * all as f64 / counts.len().max(1) as f64;
    let metrics = [Metric::ModesKde, Metric::Modes, Metric::HighQuality].map(last);
    [setting.title.to_owned(), loss.name.to_owned()]
        .into_iter()
        .chain(metrics)
        .chain([format!("{share:.0} %")])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is trained is what the configurations say: one setting is the shipped ring, another the authors' pair.
    #[test]
    fn the_settings_are_those_of_the_configurations() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        for (setting, loss, file) in [
            (0, 0, "gaussian-ring-lsgan.yaml"),
            (0, 2, "gaussian-ring-gan.yaml"),
            (1, 0, "gaussian-ring-paper-lsgan.yaml"),
            (1, 2, "gaussian-ring-paper-gan.yaml"),
        ] {
            let sweep = FULL.sweep(&SETTINGS[setting]).unwrap();
            let jobs = sweep.jobs.iter().filter(|job| job.values == [LOSSES[loss].objective]);
            let first = jobs.min_by_key(|job| job.seed).unwrap();
            let shipped = lsgan_launch::load_file(&folder.join(file), &[]).unwrap().spec;
            assert_eq!(first.file.spec.identity(), shipped.identity(), "{file}");
        }
        assert_eq!(SMALL.settings.len(), 2);
    }
}
