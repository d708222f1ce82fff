//! What workers report and the machine need not know, or not first: metrics, pictures, snapshots, records that do not
//! decode.

use std::path::PathBuf;
use std::time::Duration;

use lsgan_console::vital;
use lsgan_control::report::PublishedSnapshot;
use lsgan_control::{Event, SessionId, Worker};
use lsgan_journal::wall_ms;
use lsgan_launch::best_snapshot;
use lsgan_observe::alerts::SNAPSHOT_FAILED;
use lsgan_snapshots::Store;
use lsgan_spec::{Step, chain, scalars};
use lsgan_wire::v1;
use tokio::task::block_in_place;

use crate::catalogue::Chore;
use crate::causes::{Cause, Lasts};
use crate::notices::Telling;
use crate::rows;
use crate::service::Input;
use crate::shell::Shell;

impl Shell {
    pub(crate) fn metrics(&mut self, session: SessionId, reported: &[v1::StepMetrics]) {
        let Some(newest) = reported.iter().max_by_key(|row| row.step) else { return };
        let batch = self.spec.batch;
        let measured = |row: &v1::StepMetrics| {
            let mut row = row.clone();
            row.scalars.retain(|name, _| scalars::measured().any(|scalar| scalar.name == name));
            let step_ms = row.scalar(scalars::STEP_MS.name);
            let rate = if step_ms > 0.0 { batch.global() as f64 * 1000.0 / step_ms } else { 0.0 };
            row.scalars.insert(scalars::IMAGES_PER_S.name.to_owned(), rate);
            rows::with_derived(row, batch)
        };
        let stored: Vec<_> = reported.iter().map(|row| rows::step_row(&measured(row))).collect();
        if let Some(spans) = &mut self.spans {
            for row in reported {
                if spans.wants(row.step) {
                    spans.step(&measured(row), wall_ms());
                }
            }
        }
        let number = self.journal.write_report(move |journal| journal.add_steps(&stored));
        if self.metrics.as_ref().is_none_or(|known| known.step <= newest.step) {
            self.metrics = Some(measured(newest));
        }
        // Until then the worker keeps them.
        self.hold_stored(number, session, newest.step + 1)
    }

    pub(crate) fn sample(&mut self, step: Step, png: &[u8]) {
        let folder = self.run_dir.join("samples");
        let file = folder.join(format!("step-{:010}.png", step.0));
        let write = || {
            std::fs::create_dir_all(&folder)?;
            let part = file.with_extension("png.part");
            std::fs::write(&part, png)?;
            std::fs::rename(&part, &file)
        };
        match block_in_place(write) {
            Ok(()) => {
                self.notices.end(&Cause::Picture);
                self.journal.add_sample(step.0, file);
            }
            Err(error) => {
                let text = format!("{}: the picture cannot be written: {error}", file.display());
                self.warn_until(Cause::Picture, text)
            }
        }
    }

    /// A worker could not write a snapshot.
    pub(crate) fn snapshot_not_written(&mut self, session: SessionId, step: Step, why: &str) {
        self.snapshot_failed(why);
        self.journal.set_fact(SNAPSHOT_FAILED, format!("step {step}: {why}"));
        let worker = self.name_of(session);
        let text = format!("{worker}: the snapshot of step {step} could not be written: {why}");
        self.tell(Telling { warning: true, worker, lasts: Lasts::Until(Cause::Snapshot), text });
        self.apply(Event::SnapshotFailed { session })
    }

    /// Counts the records that were not known before. The run ends if there are too many.
    pub(crate) fn count_corrupt(&mut self, corrupt: &[v1::CorruptRecord]) {
        let unknown = self.data.unknown(corrupt);
        if unknown.is_empty() {
            return;
        }
        let found: Vec<_> = unknown.iter().map(rows::corrupt_row).collect();
        self.journal.write_report(move |journal| journal.add_corrupt(&found));
        if let Some(text) = self.data.add(unknown) {
            self.notice(true, text);
        }
        self.check_data()
    }

    /// Ends the run if too many records do not decode.
    pub(crate) fn check_data(&mut self) {
        match self.data.check() {
            Ok(()) => {}
            Err(too_many) => self.apply(Event::DataUnfit { why: too_many.to_string() }),
        }
    }

    /// What a worker wants a person to know.
    pub(crate) fn warning(&mut self, session: SessionId, text: &str) {
        let worker = self.name_of(session);
        let text = format!("{worker}: {text}");
        self.tell(Telling { warning: true, worker, lasts: Lasts::AWhile, text })
    }

    /// The worker on this stream, if it has one.
    pub(crate) fn worker_on(&self, session: SessionId) -> Option<&Worker> {
        self.run.workers().values().find(|worker| worker.session == session)
    }

    /// The label of the worker on this stream.
    pub(crate) fn name_of(&self, session: SessionId) -> String {
        self.worker_on(session).map_or_else(|| "a worker that is gone".to_owned(), |w| w.name.clone())
    }

    pub(crate) fn snapshot_written(&mut self, written: &PublishedSnapshot) {
        let snapshot = rows::snapshot(written);
        if let Some(spans) = &mut self.spans {
            spans.snapshot(&snapshot, wall_ms());
        }
        let number = self.journal.add_snapshot(snapshot);
        if self.notices.end(&Cause::Snapshot) {
            self.journal.set_fact(SNAPSHOT_FAILED, String::new());
            self.notice(false, format!("snapshots are written again: that of step {} is", written.step));
        }
        let equal = (self.spec.report.state_hash_every > 0).then(|| self.run.equal_until());
        if let Some(chore) = self.catalogue.written(written.step, equal) {
            self.hold_chore(number, chore);
        }
        self.wants_score(written.step);
    }

    /// Starts something in the store, and goes on.
    pub(crate) fn start_chore(&mut self, chore: Chore) {
        if !self.may_tidy() {
            return self.catalogue.done(&[]);
        }
        let (store, inputs, keep) = (self.store.clone(), self.inputs.clone(), self.keep());
        vital::task("snapshots task", async move {
            let result = perform(&store, &keep, chore).await;
            // The shell may have ended.
            let _ = inputs.send(Input::ChoreDone(chore, result)).await;
        });
    }

    fn keep(&self) -> Keep {
        let scores_in = self.spec.evaluate.keep_best.then(|| self.run_dir.clone());
        Keep { last: self.spec.checkpoint.keep_last, scores_in }
    }

    /// Says what came of a chore. The snapshots of these steps are no more.
    pub(crate) fn chore_done(&mut self, chore: Chore, result: Result<Vec<Step>, String>) {
        self.catalogue.done(result.as_deref().unwrap_or_default());
        match (chore, result) {
            (Chore::Retain { .. }, Ok(gone)) => {
                self.notices.end(&Cause::Retention);
                self.journal.delete_snapshots(gone);
            }
            (Chore::Retain { .. }, Err(why)) => {
                self.warn_until(Cause::Retention, format!("old snapshots could not be deleted: {why}"));
            }
            (Chore::SetAsideAfter(_), Ok(gone)) => {
                for step in &gone {
                    let text =
                        format!("the snapshot of step {step} may be wrong and is set aside, in suspect/");
                    self.notice(true, text);
                }
                self.journal.delete_snapshots(gone);
            }
            (Chore::SetAsideAfter(_), Err(why)) => {
                self.notice(true, format!("suspect snapshots could not be set aside: {why}"));
            }
            (Chore::DeleteLeftovers, Ok(_)) => {}
            (Chore::DeleteLeftovers, Err(why)) => {
                tracing::warn!("leftovers of snapshots could not be deleted: {why}");
            }
        }
    }

    /// Tidies the store once the workers write no more.
    pub(crate) async fn clean(&mut self) {
        if !self.may_tidy() {
            return;
        }
        if let (Some(_), Err(error)) = (&self.outcome, self.store.remove_witness().await) {
            tracing::warn!(%error, "what workers were shown in the store could not be deleted");
        }
        if let Some(chore) = self.catalogue.last_chore(self.outcome.as_ref()) {
            let result = perform(&self.store, &self.keep(), chore).await;
            self.chore_done(chore, result);
        }
    }
}

/// Which snapshots stay.
struct Keep {
    /// So many of the newest.
    last: u32,
    /// And the best by the scores in this directory.
    scores_in: Option<PathBuf>,
}

/// Does a chore. Returns the steps of the snapshots that are no more.
async fn perform(store: &Store, keep: &Keep, chore: Chore) -> Result<Vec<Step>, String> {
    let done = match chore {
        Chore::Retain { pinned } => {
            // With scores that cannot be read nothing is deleted: the best may be among the old ones.
            let best = match &keep.scores_in {
                Some(run_dir) => best_snapshot(store, run_dir).await.map_err(|failure| failure.text)?,
                None => None,
            };
            let stay: Vec<_> = pinned.into_iter().chain(best).collect();
            store.retain(keep.last, &stay).await
        }
        Chore::SetAsideAfter(step) => store.set_aside_after(step).await,
        Chore::DeleteLeftovers => store.clean(Duration::ZERO).await.map(|_| Vec::new()),
    };
    done.map_err(|error| chain(&error))
}
