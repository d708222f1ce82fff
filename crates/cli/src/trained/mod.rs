//! Figures that are made of runs: a sweep for each setting, over losses and seeds.
//!
//! A figure is a file here and a row in [`TRAINED`].

mod modes;
mod stability;

use std::path::Path;

use lsgan_console::{Failure, interrupts, say};
use lsgan_figures::{Axis, Chart, Corner, Figure};
use lsgan_runfile::{Override, RunFile, parse};
use lsgan_spec::Metric;

use crate::sweep;
use crate::sweep::axes::{Axis as Values, Seeds};
use crate::sweep::plan::Sweep;
use crate::sweep::plot::over_seeds;
use crate::sweep::table::{Results, Row, spread};

/// A figure that is made of runs.
pub struct Trained {
    /// What `lsgan figure` calls it.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// What is trained for it in minutes.
    small: Training,
    /// What is trained for it in an hour or more.
    full: Training,
    draw: fn(&Training, &[Found]) -> Figure,
}

/// All of them.
pub static TRAINED: [Trained; 2] = [modes::MODES, stability::STABILITY];

/// What is trained for a figure.
struct Training {
    /// The run that all settings change, and the name of its file.
    base: (&'static str, &'static str),
    settings: &'static [Setting],
    seeds: u64,
    steps: u64,
    /// Steps from one score to the next.
    every: u64,
    /// The folder of the runs.
    runs: &'static str,
}

/// What a sweep has in common.
struct Setting {
    name: &'static str,
    title: &'static str,
    /// As for `--set`, in groups.
    sets: &'static [&'static [&'static str]],
}

/// What came out of a sweep.
type Found = (&'static Setting, Results);

/// A loss, as a run's file says it.
struct Loss {
    name: &'static str,
    objective: &'static str,
    colour: usize,
}

/// The losses that all settings are trained with.
const LOSSES: [Loss; 3] = [
    Loss { name: "LSGAN 0/1/1", objective: "{least_squares: {a: 0, b: 1, c: 1}}", colour: 2 },
    Loss { name: "LSGAN −1/1/0", objective: "{least_squares: {a: -1, b: 1, c: 0}}", colour: 5 },
    Loss { name: "GAN", objective: "non_saturating", colour: 0 },
];

impl Trained {
    /// Trains what is not trained yet, and makes the figure.
    ///
    /// # Errors
    /// Runs that failed, or were stopped; the same command goes on.
    pub async fn figure(&self, is_full: bool, workers: Option<u32>) -> Result<Figure, Failure> {
        let training = if is_full { &self.full } else { &self.small };
        let mut interrupts = interrupts()?;
        let mut means = sweep::Means { workers, ..sweep::Means::default() };
        let mut found = vec![];
        for setting in training.settings {
            let sweep = training.sweep(setting)?;
            sweep.check().await?;
            say!("{}", setting.title);
            let ended = sweep::run(&sweep, &mut means, &mut interrupts).await?;
            ended.result()?;
            let results = Results::of(&sweep, &ended)?;
            results.write(&sweep.out)?;
            found.push((setting, results));
        }
        let mut figure = (self.draw)(training, &found);
        // All charts have the same lines, which the first one names: elsewhere the names could lie on the lines.
        figure.charts.iter_mut().skip(1).for_each(|chart| chart.legend = None);
        Ok(figure)
    }
}

impl Training {
    fn sweep(&self, setting: &Setting) -> Result<Sweep, Failure> {
        let Self { base: (text, file), seeds, steps, every, runs, .. } = self;
        // All snapshots stay: the scores are made in the time that training leaves, and may come long after them.
        let length = [
            format!("steps={steps}"),
            format!("checkpoint.every={every}"),
            format!("checkpoint.keep_last={}", steps.div_ceil(*every).max(1)),
            format!("evaluate.every={every}"),
            format!("samples.every={steps}"),
        ];
        let common = setting.sets.iter().copied().flatten().map(|&set| set.to_owned()).chain(length);
        let common: Vec<Override> = common.map(|set| set.parse().expect("any text is an override")).collect();
        let read = |sets: &[Override]| {
            let spec = parse(text, file, &[&common[..], sets].concat());
            let spec = spec.map_err(|errors| Failure::failed(errors.render_plain()))?;
            Ok(RunFile { spec, sets_mix: false })
        };
        let values = LOSSES.iter().map(|loss| loss.objective.to_owned()).collect();
        let axis = Values { path: "objective".to_owned(), values };
        let out = Path::new(runs).join(setting.name);
        Sweep::plan(read, &[axis], Some(&Seeds((1..=*seeds).collect())), Some(&*out))
    }

    /// A score of a setting over the steps, a line for each loss.
    fn chart(&self, metric: Metric, title: &str, most: f64, (setting, results): &Found) -> Chart {
        let line = |loss: &Loss| over_seeds(loss.name, loss.colour, metric, &of_loss(results, loss));
        Chart {
            title: setting.title.to_owned(),
            x: Axis::new("step", 0.0, self.steps as f64),
            y: Axis::new(title, 0.0, most * 1.05),
            series: LOSSES.iter().flat_map(line).collect(),
            // Where no line is: scores begin far from their best.
            legend: Some(if metric.better(0.0, 1.0).is_lt() {
                Corner::LowerLeft
            } else {
                Corner::LowerRight
            }),
        }
    }
}

fn of_loss<'a>(results: &'a Results, loss: &Loss) -> Vec<&'a Row> {
    results.rows().iter().filter(|row| row.values[0] == loss.objective).collect()
}

/// A cell of a table: the values of all seeds, as [`spread`] has them.
fn cell(values: impl Iterator<Item = f64>, digits: usize) -> String {
    spread(values.collect(), digits).unwrap_or_else(|| "none".to_owned())
}
