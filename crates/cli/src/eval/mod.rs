//! `lsgan eval`: snapshots scored.
//!
//! - [`Args`], `plan`: what is asked for. `report`: how it is printed. `keeper`: where scores are kept.
//! - `background`: beside a run's workers.

mod background;
mod keeper;
mod plan;
mod report;

use std::collections::BTreeSet;
use std::time::Duration;

use lsgan_console::{Counter, Failure, exit::chain, product, say};
use lsgan_evaluate::evaluation::Progress;
use lsgan_evaluate::kept::Kept;
use lsgan_evaluate::{Evaluation, npz};
use lsgan_launch::{Basis, ScoreRow, Value};
use lsgan_snapshots::{Error, Manifest, Store};
use lsgan_spec::{SampleWeights, Step};

use keeper::{Keeper, Run};
pub use plan::Args;
use report::Report;
pub use report::row_json;

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
    if args.row {
        background::end_with_parent();
    }
    if args.row || args.beside {
        background::give_way();
    }
    let (keeper, run) = Keeper::of(&args).await?;
    let store = store_of(&run)?;
    let mut session = Session { store, run, keeper, args, evaluation: None, rows: vec![], not_kept: None };
    if session.args.follow { session.follow().await } else { session.once().await }
}

/// One call of the command.
struct Session {
    store: Store,
    /// Where that is, as the user or the coordinator says.
    run: String,
    keeper: Keeper,
    args: Args,
    /// Made with the first snapshot, which says what the run is.
    evaluation: Option<Evaluation>,
    /// What was scored.
    rows: Vec<ScoreRow>,
    /// Why a row is not kept that a coordinator was to keep.
    not_kept: Option<Failure>,
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
                self.run
            )));
        };
        if self.args.row {
            // A worker sends it on, and the coordinator keeps it.
            return self.rows.iter().try_for_each(|row| product!("{}", row.to_line()));
        }
        Report { evaluation, rows: &self.rows, resize: self.args.resize.into() }.print(self.args.json)?;
        self.not_kept.take().map_or(Ok(()), Err)
    }

    async fn asked_for(&self) -> Result<Vec<Manifest>, Failure> {
        if let (true, Some(step)) = (self.args.row, self.args.step) {
            // It was looked at when it was written, and what is read of it is verified.
            return Ok(vec![self.store.manifest(Step(step)).await?]);
        }
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
        if let Keeper::Nobody = self.keeper {
            return Err(Failure::bad_input(format!(
                "--follow needs the run's directory on this machine, which says when the run ends; {} is none. Name the run's \
                 coordinator with --coordinator, which says so too and keeps the scores; or --all scores what is there.",
                self.run
            )));
        }
        let (mut alone, mut seen, mut is_complete) = (0, BTreeSet::new(), false);
        loop {
            // Asked before the store is: the last snapshot is there before the run ends.
            let run = self.keeper.look().await?;
            alone = if run == Run::Live { 0 } else { alone + 1 };
            for entry in self.store.list().await? {
                // One that is not whole may be so at the next look.
                let Ok(manifest) = entry.state else { continue };
                if !seen.insert(manifest.step) {
                    continue;
                }
                let spec = spec_of(&manifest)?;
                is_complete = manifest.step.0 >= spec.steps;
                if !self.args.beside || spec.evaluate.is_due(manifest.step.0, spec.steps) {
                    self.score_if_new(&manifest).await?;
                }
            }
            // A coordinator elsewhere is gone soon after the last step.
            if run == Run::Ended || (is_complete && run == Run::Away) || alone >= LOOKS_WITHOUT_COORDINATOR {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Scores a snapshot of a live run and prints a line, unless that was done.
    async fn score_if_new(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        let known = self.keeper.known(manifest.step).await?;
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
            return Ok(spec_of(manifest)?.evaluate.weights.all().to_vec());
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
        if let Err(failure) = self.keeper.keep(&row).await {
            match self.keeper {
                Keeper::Coordinator(_) if !self.args.follow => self.not_kept = Some(failure),
                Keeper::Coordinator(_) | Keeper::Dir(_) | Keeper::Nobody => {
                    say!("warning: {}", failure.text)
                }
            }
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
        Progress::Metric(metric) => counter.show(metric.word(), 0, None),
    }
}
