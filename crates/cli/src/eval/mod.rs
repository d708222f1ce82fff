//! `lsgan eval`: snapshots scored.
//!
//! - [`Args`], `plan`: what is asked for. `report`: how it is printed. `background`: beside a run of `lsgan up`.

mod background;
mod plan;
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lsgan_console::{Counter, Failure, exit::chain, say};
use lsgan_evaluate::evaluation::Progress;
use lsgan_evaluate::kept::Kept;
use lsgan_evaluate::{Evaluation, npz};
use lsgan_journal::LastWords;
use lsgan_launch::{Basis, ScoreRow, Value, append_score, read_scores};
use lsgan_snapshots::{Error, Holder, Manifest, Store};
use lsgan_spec::{SampleWeights, Step};

pub use plan::Args;
use report::Report;
pub use report::{digits, one, row_json, shown};

use crate::generator::{data_of, newest_whole, part_of, spec_of};
use crate::place::store_of;

/// How often a live run's store is looked at for new snapshots.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many looks long a run whose coordinator has died may get another one.
const LOOKS_WITHOUT_COORDINATOR: u32 = 60;

/// Scores snapshots, prints and keeps the scores.
///
/// # Errors
/// No snapshot there, data or weights that cannot be read, metrics that do not fit the run.
pub async fn eval(args: Args) -> Result<(), Failure> {
    let store = store_of(&args.run)?;
    let dir = Some(PathBuf::from(&args.run)).filter(|dir| !args.run.contains("://") && dir.is_dir());
    let mut session = Session { store, dir, args, evaluation: None, rows: vec![] };
    if session.args.follow { session.follow().await } else { session.once().await }
}

/// One call of the command.
struct Session {
    store: Store,
    /// The run's directory, if it is on this machine.
    dir: Option<PathBuf>,
    args: Args,
    /// Made with the first snapshot, which says what the run is.
    evaluation: Option<Evaluation>,
    /// What was scored.
    rows: Vec<ScoreRow>,
}

impl Session {
    /// The snapshots that are asked for, then the report.
    async fn once(&mut self) -> Result<(), Failure> {
        for manifest in self.asked_for().await? {
            for weights in self.weights(&manifest)? {
                self.score(&manifest, weights).await?;
            }
        }
        let Some(evaluation) = &self.evaluation else {
            return Err(Failure::failed(format!(
                "{} holds no whole snapshot. Train until one is written (`checkpoint.every`).",
                self.args.run
            )));
        };
        Report { evaluation, rows: &self.rows, resize: self.args.resize.into() }.print(self.args.json)
    }

    async fn asked_for(&self) -> Result<Vec<Manifest>, Failure> {
        if let Some(step) = self.args.step {
            return Ok(vec![self.store.verify(Step(step)).await?]);
        }
        if self.args.all {
            let entries = self.store.list().await?;
            let told = |entry: lsgan_snapshots::Entry| match entry.state {
                Ok(manifest) => Some(manifest),
                Err(error) => {
                    say!("warning: the snapshot of step {} is skipped: {}", entry.step, chain(&error));
                    None
                }
            };
            return Ok(entries.into_iter().filter_map(told).collect());
        }
        Ok(newest_whole(&self.store).await?.into_iter().collect())
    }

    /// Every snapshot that has no score of this kind yet, until the run has ended.
    async fn follow(&mut self) -> Result<(), Failure> {
        let Some(dir) = self.dir.clone() else {
            return Err(Failure::bad_input(format!(
                "--follow needs the run's directory on this machine, which says when the run ends; {} is none. Without it, \
                 --all scores what is there.",
                self.args.run
            )));
        };
        if self.args.beside {
            background::give_way();
        }
        let (mut alone, mut seen) = (0, BTreeSet::new());
        loop {
            // Asked before the store is: the last snapshot is there before the run ends.
            alone = if Holder::of(&dir)?.is_some() { 0 } else { alone + 1 };
            let has_ended = alone > 0 && LastWords::of(&dir)?.is_none_or(|last| last.outcome.is_some());
            for entry in self.store.list().await? {
                // One that is not whole may be so at the next look.
                if let Ok(manifest) = entry.state
                    && seen.insert(manifest.step)
                    && self.is_due(&manifest)?
                {
                    self.score_if_new(&dir, &manifest).await?;
                }
            }
            if has_ended || alone >= LOOKS_WITHOUT_COORDINATOR {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn is_due(&self, manifest: &Manifest) -> Result<bool, Failure> {
        let spec = spec_of(manifest)?;
        Ok(!self.args.beside || spec.evaluate.is_due(manifest.step.0, spec.steps))
    }

    /// Scores a snapshot of a live run and prints a line, unless that was done.
    async fn score_if_new(&mut self, dir: &Path, manifest: &Manifest) -> Result<(), Failure> {
        let known = read_scores(dir)?;
        for weights in self.weights(manifest)? {
            self.begin(manifest)?;
            let row = self.row(manifest.step, weights, vec![]);
            let metrics = self.evaluation.as_ref().expect("it has begun").plan().metrics.clone();
            let is_done = |known: &ScoreRow| {
                let empty = ScoreRow { scores: vec![], ..known.clone() };
                empty == row && known.scores.iter().map(|score| score.metric).eq(metrics.iter().copied())
            };
            if known.iter().any(is_done) {
                continue;
            }
            match self.score(manifest, weights).await {
                Ok(()) => report::line(self.rows.last().expect("it was scored"), self.args.json)?,
                // Retention has removed it since it was listed.
                Err(_)
                    if matches!(self.store.manifest(manifest.step).await, Err(Error::NoSnapshot { .. })) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    fn weights(&self, manifest: &Manifest) -> Result<Vec<SampleWeights>, Failure> {
        if self.args.weights.is_empty() {
            return Ok(vec![spec_of(manifest)?.evaluate.weights]);
        }
        Ok(self.args.weights.clone())
    }

    /// Looks at the real samples, if it has not yet.
    fn begin(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        if self.evaluation.is_some() {
            return Ok(());
        }
        let spec = spec_of(manifest)?;
        let plan = self.args.plan(&spec)?;
        let counter = Counter::new("scoring");
        let open = || data_of(&spec, manifest, "and scores against it would mean nothing");
        let evaluation = Evaluation::new(&spec, plan, open, &Kept::in_cache(), &showing(&counter));
        counter.end();
        let evaluation = evaluation?;
        for warning in evaluation.warnings() {
            say!("warning: {warning}");
        }
        if let (Some(path), Some(reference)) = (&self.args.save_reference, evaluation.reference()) {
            npz::write(path, &reference.statistics)?;
        }
        self.evaluation = Some(evaluation);
        Ok(())
    }

    /// Scores a snapshot, and keeps the scores.
    async fn score(&mut self, manifest: &Manifest, weights: SampleWeights) -> Result<(), Failure> {
        self.begin(manifest)?;
        let evaluation = self.evaluation.as_ref().expect("it has begun");
        let part = self.store.load_part(manifest, part_of(weights)).await?;
        let counter = Counter::new("scoring");
        let scores = evaluation.score(&part, &showing(&counter));
        counter.end();
        let value = |score: &lsgan_metrics::Score| Value {
            metric: score.metric,
            value: score.value,
            deviation: score.deviation,
        };
        let row = self.row(manifest.step, weights, scores?.iter().map(value).collect());
        if let Some(dir) = &self.dir
            && let Err(failure) = append_score(dir, &row)
        {
            say!("warning: {}", failure.text);
        }
        self.rows.push(row);
        Ok(())
    }

    fn row(&self, step: Step, weights: SampleWeights, scores: Vec<Value>) -> ScoreRow {
        let evaluation = self.evaluation.as_ref().expect("it has begun");
        let extractor = evaluation.extractor();
        let basis = Basis {
            extractor: extractor.map(lsgan_evaluate::Extractor::name),
            version: extractor.map(lsgan_evaluate::Extractor::version),
            samples: evaluation.plan().samples as u64,
            real: evaluation.reference().and_then(|reference| reference.statistics.samples).map(|n| n as u64),
        };
        ScoreRow { step, weights, scores, basis }
    }
}

fn showing(counter: &Counter) -> impl Fn(Progress) + Sync {
    |progress| match progress {
        Progress::Real(done, total) => counter.show("real pictures", done, Some(total)),
        Progress::Generated(done, total) => counter.show("samples", done, Some(total)),
        Progress::Metric(metric) => counter.show(metric.name(), 0, None),
    }
}
