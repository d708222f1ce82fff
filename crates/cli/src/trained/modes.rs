//! `lsgan figure modes`: the paper's figure 7 and what is true of it, as sweeps over settings, losses and seeds.
//!
//! The paper shows an LSGAN that finds all modes of a ring where the regular GAN collapses. The authors' code makes it with a ring
//! whose first mode has twice the weight of the others, and with updates of G and D from one forward pass. The settings take one of
//! these away at a time.

use lsgan_figures::{Figure, Table};
use lsgan_spec::Metric;

use super::{Found, LOSSES, Loss, Setting, Trained, Training, cell, of_loss};
use crate::sweep::plot::value;
use crate::sweep::table::Row;

/// The figure.
pub const MODES: Trained = Trained {
    name: "modes",
    about: "modes of a 2-D mixture that G finds, with three losses (Fig. 7): trains for minutes",
    small: Training {
        base: BASE,
        settings: SETTINGS.split_at(2).0,
        seeds: 3,
        steps: 6000,
        every: 500,
        runs: "runs/figure-modes",
    },
    full: Training {
        base: BASE,
        settings: &SETTINGS,
        seeds: 5,
        steps: 15_000,
        every: 1000,
        runs: "runs/figure-modes-full",
    },
    draw,
};

const BASE: (&str, &str) =
    (include_str!("../../../../configs/gaussian-ring-lsgan.yaml"), "gaussian-ring-lsgan.yaml");
/// The authors' ring, networks and rates.
const PAPER: &[&str] = &[
    "data.source.gaussian.modes={ring: {count: 8, radius: 1.0}}",
    "data.source.gaussian.sigma=0.01",
    "model.generator.mlp.latent={normal: 256}",
    "optimizer.discriminator.adam.learning_rate=1e-4",
    "batch.per_rank=256",
    "optimizer.generator.adam.epsilon=1.953125e-11",
    "optimizer.discriminator.adam.epsilon=1.953125e-11",
];
const DOUBLE: &[&str] = &["data.source.gaussian.weights='2,1,1,1,1,1,1,1'"];
/// These are updated on CPUs alone.
const SIMULTANEOUS: &[&str] = &["updates=simultaneous", "compute.device=cpu"];
static SETTINGS: [Setting; 5] = [
    Setting { name: "works", title: "radius 2, both rates 1e-3, batch 128", sets: &[] },
    Setting { name: "authors", title: "the authors' ring and updates", sets: &[PAPER, DOUBLE, SIMULTANEOUS] },
    Setting { name: "alternating", title: "the authors' ring, D updated first", sets: &[PAPER, DOUBLE] },
    Setting { name: "equal", title: "the authors' updates, equal modes", sets: &[PAPER, SIMULTANEOUS] },
    Setting {
        name: GRID,
        title: "25 modes on a grid",
        sets: &[&["data.source.gaussian.modes={grid: {columns: 5, rows: 5, spacing: 1.0}}"]],
    },
];
const GRID: &str = "grid";

/// So many modes a setting has.
fn modes(setting: &Setting) -> f64 {
    if setting.name == GRID { 25.0 } else { 8.0 }
}

/// A row of charts for each way to count, a column for each setting.
fn draw(training: &Training, found: &[Found]) -> Figure {
    let counts = [(Metric::ModesKde, "modes, by kernel density"), (Metric::Modes, "modes, within 3 σ")];
    let charts = counts.iter().flat_map(|(metric, title)| {
        found.iter().map(|found| training.chart(*metric, title, modes(found.0), found))
    });
    let mut numbers = Table::new(&["setting", "loss", "modes_kde", "modes", "high_quality", "all modes"]);
    for (setting, results) in found {
        for loss in &LOSSES {
            numbers.rows.push(row(training, setting, loss, &of_loss(results, loss)));
        }
    }
    let notes = vec![
        format!(
            "at step {}, the median of {} seeds (least to most); all modes: the share of evaluations in the second half, over all \
             seeds, at which every mode is within reach (3 σ)",
            training.steps, training.seeds
        ),
        "the authors' ring: one mode of weight 2; their updates: of G and D from one forward pass".to_owned(),
    ];
    Figure { charts: charts.collect(), columns: found.len(), numbers, notes }
}

fn row(training: &Training, setting: &Setting, loss: &Loss, rows: &[&Row]) -> Vec<String> {
    let later = rows.iter().flat_map(|row| &row.scores).filter(|score| score.step.0 * 2 > training.steps);
    let counts: Vec<f64> = later.filter_map(|score| value(score, Metric::Modes)).collect();
    let all = counts.iter().filter(|&&count| count >= modes(setting)).count();
    let share = 100.0 * all as f64 / counts.len().max(1) as f64;
    let metrics = [(Metric::ModesKde, 0), (Metric::Modes, 0), (Metric::HighQuality, 2)];
    let last =
        metrics.map(|(metric, digits)| cell(rows.iter().filter_map(|row| row.last_score(metric)), digits));
    let names = [setting.title.to_owned(), loss.name.to_owned()];
    names.into_iter().chain(last).chain([format!("{share:.0} %")]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
            let sweep = MODES.full.sweep(&SETTINGS[setting]).unwrap();
            let jobs = sweep.jobs.iter().filter(|job| job.values == [LOSSES[loss].objective]);
            let first = jobs.min_by_key(|job| job.seed).unwrap();
            let shipped = lsgan_launch::load_file(&folder.join(file), &[]).unwrap().spec;
            assert_eq!(first.file.spec.identity(), shipped.identity(), "{file}");
        }
        assert_eq!(MODES.small.settings.len(), 2);
    }
}
