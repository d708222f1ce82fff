//! What came out of a sweep: a row for each run, and for each setting what its seeds have in common.

use std::path::Path;

use comfy_table::{Table as Drawn, presets};
use lsgan_console::Failure;
use lsgan_figures::Table;
use lsgan_journal::{Known, OutcomeKind, Reader};
use lsgan_launch::{ScoreRow, newest_score, read_scores};
use lsgan_spec::{Metric, scalars};
use serde_json::{Map, Value, json};

use super::ledger::replace;
use super::plan::{Job, Sweep};
use super::plot;
use super::pool::Ended;
use crate::place::waiting;

/// Digits of a hash that a person compares.
pub const HASH_DIGITS: usize = 12;

/// The results of a sweep.
#[derive(Debug)]
pub struct Results {
    /// The names of the settings, without the seed.
    settings: Vec<String>,
    /// In the order of the sweep.
    rows: Vec<Row>,
}

/// What came out of a run.
#[derive(Debug)]
pub struct Row {
    /// The run's name.
    pub name: String,
    /// Its values, in the order of the settings.
    pub values: Vec<String>,
    /// Its seed.
    pub seed: u64,
    /// Its scores, in the order of its steps.
    pub scores: Vec<ScoreRow>,
    outcome: String,
    step: u64,
    losses: [Option<f64>; 2],
    seconds: f64,
    /// Of G's weights at the end.
    hash: Option<String>,
}

impl Results {
    /// Looks at all runs.
    ///
    /// # Errors
    /// A journal or scores that cannot be read.
    pub fn of(sweep: &Sweep, ended: &Ended) -> Result<Self, Failure> {
        let settings = sweep.axes.iter().map(|axis| axis.name().to_owned()).collect();
        let rows = sweep.jobs.iter().map(|job| Row::of(job, ended)).collect::<Result<_, _>>()?;
        Ok(Self { settings, rows })
    }

    /// A row for each run.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The runs of each setting, in the order of the sweep.
    #[must_use]
    pub fn groups(&self) -> Vec<(&[String], Vec<&Row>)> {
        let mut groups: Vec<(&[String], Vec<&Row>)> = vec![];
        for row in &self.rows {
            match groups.iter_mut().find(|(values, _)| *values == row.values) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((row.values.as_slice(), vec![row])),
            }
        }
        groups
    }

    /// Writes sweep.json and sweep.csv, and where there are scores sweep.svg.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, out: &Path) -> Result<(), Failure> {
        replace(&out.join("sweep.json"), &format!("{:#}\n", self.json()))?;
        replace(&out.join("sweep.csv"), &self.csv())?;
        match plot::figure(self) {
            Some(figure) => replace(&out.join("sweep.svg"), &lsgan_figures::svg(&figure)?),
            None => Ok(()),
        }
    }

    /// As one object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "settings": self.settings, "runs": self.rows.iter().map(|row| row.json(&self.settings)).collect::<Vec<_>>() })
    }

    /// As CSV, numbers with all their digits.
    #[must_use]
    pub fn csv(&self) -> String {
        self.table(|number| number.to_string(), usize::MAX).csv()
    }

    /// For people: a table, and where there are several seeds one over them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = drawn(&self.short());
        if let Some(over_seeds) = self.over_seeds() {
            text +=
                &format!("\nover the seeds, the last score: median (least to most)\n{}", drawn(&over_seeds));
        }
        text
    }

    /// A row for each run, with as many digits as a person reads.
    #[must_use]
    pub fn short(&self) -> Table {
        self.table(|number| format!("{number:.4}"), HASH_DIGITS)
    }

    fn table(&self, number: impl Fn(f64) -> String, hash_digits: usize) -> Table {
        let metrics = self.metrics();
        let head = ["run", "outcome", "step"].map(str::to_owned).into_iter();
        let settings = self.settings.iter().cloned().chain(["seed".to_owned()]);
        let names = metrics.iter().map(|metric| metric.word().to_owned());
        let tail = ["loss_d", "loss_g"].map(str::to_owned).into_iter().chain(names);
        let header =
            head.chain(settings).chain(tail).chain(["seconds", "weights"].map(str::to_owned)).collect();
        let row = |row: &Row| {
            let or_empty = |value: Option<f64>| value.map_or_else(String::new, &number);
            let mut cells = vec![row.name.clone(), row.outcome.clone(), row.step.to_string()];
            cells.extend(row.values.iter().cloned());
            cells.push(row.seed.to_string());
            cells.extend(row.losses.iter().map(|loss| or_empty(*loss)));
            cells.extend(metrics.iter().map(|metric| or_empty(row.last_score(*metric))));
            cells.push(format!("{:.1}", row.seconds));
            cells.push(row.hash.iter().flat_map(|hash| hash.chars()).take(hash_digits).collect());
            cells
        };
        Table { header, rows: self.rows.iter().map(row).collect() }
    }

    /// The metrics of the last scores, in their order.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let last = self.rows.iter().find_map(|row| row.scores.last());
        last.iter().flat_map(|row| &row.scores).map(|score| score.metric).collect()
    }

    /// A row for each setting; none where there is one seed, or no score.
    fn over_seeds(&self) -> Option<Table> {
        let (metrics, groups) = (self.metrics(), self.groups());
        if metrics.is_empty() || groups.iter().all(|(_, rows)| rows.len() < 2) {
            return None;
        }
        let names = metrics.iter().map(|metric| metric.word().to_owned());
        let header = self.settings.iter().cloned().chain(["seeds".to_owned()]).chain(names);
        let cells = |(values, rows): &(&[String], Vec<&Row>)| {
            let of = |metric: &Metric| {
                spread(rows.iter().filter_map(|row| row.last_score(*metric)).collect(), 4).unwrap_or_default()
            };
            values.iter().cloned().chain([rows.len().to_string()]).chain(metrics.iter().map(of)).collect()
        };
        Some(Table { header: header.collect(), rows: groups.iter().map(cells).collect() })
    }
}

impl Row {
    fn of(job: &Job, ended: &Ended) -> Result<Self, Failure> {
        let journal = job.dir.join(lsgan_journal::FILE);
        let known =
            if journal.is_file() { waiting(|| Reader::open(&journal)?.known())? } else { Known::default() };
        let scalar = |name: &str| known.newest_step.as_ref()?.scalars.get(name).copied();
        let hash =
            known.final_files().into_iter().find(|file| file.name == "generator").map(|file| file.blake3);
        let step = known.metrics_until().max(known.snapshots.last().copied().unwrap_or(0));
        let outcome = match (ended.failed.get(&job.name), known.outcome()) {
            (Some(why), _) => format!("failed: {}", why.lines().next().unwrap_or_default()),
            (None, Some(OutcomeKind::Complete)) if step < job.file.spec.steps => "given up".to_owned(),
            (None, Some(OutcomeKind::Complete)) => "finished".to_owned(),
            (None, _) if journal.is_file() => "unfinished".to_owned(),
            (None, _) => "not begun".to_owned(),
        };
        Ok(Self {
            name: job.name.clone(),
            values: job.values.clone(),
            seed: job.seed,
            scores: read_scores(&job.dir)?,
            outcome,
            step,
            losses: [scalars::LOSS_D, scalars::LOSS_G].map(|loss| scalar(loss.name)),
            seconds: ended.seconds.get(&job.name).copied().unwrap_or(0.0),
            hash,
        })
    }

    /// The metric at its last score.
    pub fn last_score(&self, metric: Metric) -> Option<f64> {
        plot::value(newest_score(&self.scores)?, metric)
    }

    fn json(&self, settings: &[String]) -> Value {
        let set: Map<String, Value> =
            settings.iter().cloned().zip(self.values.iter().map(|value| json!(value))).collect();
        json!({
            "run": self.name, "outcome": self.outcome, "step": self.step, "set": set, "seed": self.seed,
            "loss_d": self.losses[0], "loss_g": self.losses[1],
            "scores": self.scores.iter().map(crate::eval::row_json).collect::<Vec<_>>(),
            "seconds": self.seconds, "weights": self.hash,
        })
    }
}

/// `median (least to most)`, with so many digits behind the point; none of no values.
#[must_use]
pub fn spread(mut values: Vec<f64>, digits: usize) -> Option<String> {
    values.sort_by(f64::total_cmp);
    match values[..] {
        [] => None,
        [one] => Some(format!("{one:.digits$}")),
        [least, .., most] => {
            Some(format!("{:.digits$} ({least:.digits$} to {most:.digits$})", median(&values)))
        }
    }
}

/// Of sorted values, at least one; of an even number the mean of the two in the middle.
#[must_use]
pub fn median(sorted: &[f64]) -> f64 {
    let (half, odd) = (sorted.len() / 2, sorted.len() % 2 == 1);
    if odd { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// As a terminal shows it.
#[must_use]
pub fn drawn(table: &Table) -> String {
    let mut drawn = Drawn::new();
    drawn.load_style(presets::UTF8_BORDERS_ONLY);
    drawn.set_header(&table.header).add_rows(&table.rows);
    drawn.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_both_ends() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0], 4).unwrap(), "2.0000 (1.0000 to 3.0000)");
        assert_eq!(spread(vec![4.0, 1.0], 4).unwrap(), "2.5000 (1.0000 to 4.0000)");
        assert_eq!((spread(vec![0.5], 4), spread(vec![], 4)), (Some("0.5000".to_owned()), None));
    }
}
