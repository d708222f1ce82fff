//! `lsgan figure stability`: the paper's figures 8 and 9. Batch norm is left out of G or of both networks, which are then trained
//! with Adam and with RMSProp.
//!
//! The paper shows it with one run each on LSUN; here it is pictures of clothes with 32 pixels, smaller networks, and several seeds.

use std::path::Path;

use lsgan_figures::{Figure, Table};
use lsgan_journal::wall_ms;
use lsgan_observe::alerts::Kind;
use lsgan_observe::summary::Summary;
use lsgan_spec::Metric;

use super::{Found, LOSSES, Loss, Setting, Trained, Training, cell, of_loss};
use crate::sweep::plot::value;
use crate::sweep::table::Row;

/// The figure.
pub const STABILITY: Trained = Trained {
    name: "stability",
    about: "scores without batch norm, with Adam and RMSProp and three losses (Fig. 8, 9): trains for a quarter of an hour",
    small: Training {
        base: BASE,
        settings: &SETTINGS,
        seeds: 1,
        steps: 1500,
        every: 250,
        runs: "runs/figure-stability",
    },
    full: Training {
        base: BASE,
        settings: &SETTINGS,
        seeds: 3,
        steps: 3000,
        every: 500,
        runs: "runs/figure-stability-full",
    },
    draw,
};

const BASE: (&str, &str) = (include_str!("../../../../configs/quickstart.yaml"), "quickstart.yaml");
/// Networks of half the width, judged by one score, as they are and not averaged: the average hides a collapse for a while.
const SMALLER: &[&str] = &[
    "model.generator.dcgan.width=16",
    "model.discriminator.dcgan.width=16",
    "batch={virtual_ranks: 1, per_rank: 64}",
    "evaluate.metrics=fid",
    "evaluate.weights=raw",
];
const RMSPROP: &[&str] = &[
    "optimizer.generator={rmsprop: {learning_rate: 2.0e-4}}",
    "optimizer.discriminator={rmsprop: {learning_rate: 2.0e-4}}",
];
const NOT_IN_G: &[&str] = &["model.batch_norm=discriminator"];
const IN_NEITHER: &[&str] = &["model.batch_norm=none"];
static SETTINGS: [Setting; 4] = [
    Setting { name: "adam-d", title: "batch norm in D alone, Adam", sets: &[SMALLER, NOT_IN_G] },
    Setting {
        name: "rmsprop-d",
        title: "batch norm in D alone, RMSProp",
        sets: &[SMALLER, NOT_IN_G, RMSPROP],
    },
    Setting { name: "adam-none", title: "no batch norm, Adam", sets: &[SMALLER, IN_NEITHER] },
    Setting { name: "rmsprop-none", title: "no batch norm, RMSProp", sets: &[SMALLER, IN_NEITHER, RMSPROP] },
];
/// The alerts that say that a run went wrong.
const WRONG: [Kind; 3] = [Kind::Collapse, Kind::Saturated, Kind::Score];

/// A chart for each setting, two in a row.
fn draw(training: &Training, found: &[Found]) -> Figure {
    let all = || found.iter().flat_map(|(_, results)| results.rows()).flat_map(|row| &row.scores);
    let most = all().filter_map(|score| value(score, Metric::Fid)).fold(0.0, f64::max);
    let mut numbers = Table::new(&["setting", "loss", "best fid", "last fid", "went wrong"]);
    for (setting, results) in found {
        for loss in &LOSSES {
            numbers.rows.push(row(training, setting, loss, &of_loss(results, loss)));
        }
    }
    let notes = vec![
        format!(
            "{} steps of 64 pictures, networks of width 16, raw weights; the median of {} seeds (least to most) where there are several",
            training.steps, training.seeds
        ),
        "went wrong: the runs of which an alert says at the end that the samples collapsed, that D is saturated, or that the score is \
         more than twice the best one"
            .to_owned(),
    ];
    let charts = found.iter().map(|found| training.chart(Metric::Fid, "fid", most, found)).collect();
    Figure { charts, columns: 2, numbers, notes }
}

fn row(training: &Training, setting: &Setting, loss: &Loss, rows: &[&Row]) -> Vec<String> {
    let best =
        |row: &&Row| row.scores.iter().filter_map(|score| value(score, Metric::Fid)).min_by(f64::total_cmp);
    let best = cell(rows.iter().filter_map(best), 0);
    let last = cell(rows.iter().filter_map(|row| row.last_score(Metric::Fid)), 0);
    let folder = Path::new(training.runs).join(setting.name);
    let wrong = rows.iter().filter(|row| went_wrong(&folder.join(&row.name))).count();
    let cells = [setting.title, loss.name].map(str::to_owned).into_iter();
    cells.chain([best, last, format!("{wrong} of {}", rows.len())]).collect()
}

/// Whether the alerts of a run say that it went wrong.
fn went_wrong(dir: &Path) -> bool {
    Summary::read("", dir, false, wall_ms())
        .is_ok_and(|summary| summary.alerts.iter().any(|alert| WRONG.contains(&alert.kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four settings that differ in what the paper's figures differ in, and in nothing else.
    #[test]
    fn the_settings_differ_in_batch_norm_and_optimizer() {
        let specs = SETTINGS.each_ref().map(|setting| {
            let sweep = STABILITY.small.sweep(setting).unwrap();
            assert_eq!(sweep.jobs.len(), LOSSES.len());
            let checkpoint = &sweep.jobs[0].file.spec.checkpoint;
            let snapshots = STABILITY.small.steps / checkpoint.every;
            assert_eq!(u64::from(checkpoint.keep_last), snapshots, "none goes before it is scored");
            sweep.jobs[0].file.spec.clone()
        });
        for (left, right) in [(0, 1), (2, 3)] {
            assert_eq!(specs[left].model, specs[right].model);
            assert_ne!(specs[left].optimizer, specs[right].optimizer);
        }
        for (left, right) in [(0, 2), (1, 3)] {
            assert_ne!(specs[left].model, specs[right].model);
            assert_eq!(specs[left].optimizer, specs[right].optimizer);
        }
    }
}
