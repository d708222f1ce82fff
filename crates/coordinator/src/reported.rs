//! What workers report and the machine need not know, or not first: metrics, pictures, snapshots, records that do not
//! decode.

use std::time::Duration;

use lsgan_console::vital;
use lsgan_control::{Event, Outcome, SessionId};
use lsgan_spec::{Step, scalars};
use lsgan_wire::v1;
use tokio::task::block_in_place;

use crate::causes::{Cause, Lasts};
use crate::notices::Telling;
use crate::rows;
use crate::service::Input;
use crate::shell::Shell;

impl Shell {
    pub(crate) fn metrics(&mut self, session: SessionId, reported: &[v1::StepMetrics]) {
        let Some(newest) = reported.iter().max_by_key(|row| row.step) else { return };
        let global_batch = f64::from(self.global_batch());
        let measured = |row: &v1::StepMetrics| {
            let mut row = row.clone();
            let step_ms = row.scalar(scalars::STEP_MS.name);
            let rate = if step_ms > 0.0 { global_batch * 1000.0 / step_ms } else { 0.0 };
            row.scalars.insert(scalars::IMAGES_PER_S.name.to_owned(), rate);
            row
        };
        let stored: Vec<_> = reported.iter().map(|row| rows::step_row(&measured(row))).collect();
        let number = self.journal.write(move |journal| journal.add_steps(&stored));
        if self.metrics.as_ref().is_none_or(|known| known.step <= newest.step) {
            self.metrics = Some(measured(newest));
        }
        // Until then the worker keeps them.
        self.hold_stored(number, session, newest.step + 1)
    }

    pub(crate) fn sample(&mut self, sample: &v1::Sample) {
        let folder = self.run_dir.join("samples");
        let file = folder.join(format!("step-{:010}.png", sample.step));
        let write = || {
            std::fs::create_dir_all(&folder)?;
            let part = file.with_extension("png.part");
            std::fs::write(&part, &sample.png)?;
            std::fs::rename(&part, &file)
        };
        match block_in_place(write) {
            Ok(()) => {
                self.notices.end(&Cause::Picture);
                self.journal.add_sample(sample.step, file.display().to_string());
            }
            Err(error) => {
                let text = format!("{}: the picture cannot be written: {error}", file.display());
                self.warn_until(Cause::Picture, text)
            }
        }
    }

    /// Counts the records that nobody has reported before; with too many of them the run ends.
    pub(crate) fn corrupt_records(&mut self, reported: &[v1::CorruptRecord]) {
        let unknown = self.corrupt.unknown(reported);
        if unknown.is_empty() {
            return;
        }
        let found: Vec<_> = unknown.iter().map(rows::corrupt_row).collect();
        self.journal.write(move |journal| journal.add_corrupt(&found));
        if let Some(text) = self.corrupt.add(unknown) {
            self.notice(true, text);
        }
        self.check_data()
    }

    /// Ends the run if too many records do not decode.
    pub(crate) fn check_data(&mut self) {
        match self.corrupt.check() {
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

    /// The label of the worker on this stream.
    pub(crate) fn name_of(&self, session: SessionId) -> String {
        let worker = self.run.workers().values().find(|w| w.session == session);
        worker.map_or_else(|| "a worker that is gone".to_owned(), |w| w.name.clone())
    }

    pub(crate) fn snapshot_written(&mut self, written: &v1::SnapshotWritten) {
        self.journal.add_snapshot(rows::snapshot(written));
        if self.notices.end(&Cause::Snapshot) {
            self.notice(false, format!("snapshots are written again: that of step {} is", written.step));
        }
        if self.retaining {
            return; // the next snapshot looks again
        }
        self.retaining = true;
        let (store, inputs, keep) = (self.store.clone(), self.inputs.clone(), self.spec.checkpoint.keep_last);
        // Should states turn out to differ, the newest snapshot from before is what the run goes on from.
        let equal = (self.spec.report.state_hash_every > 0).then(|| self.run.equal_until().0);
        let surely_right =
            equal.map(|step| self.journal.ask(move |journal| journal.newest_snapshot_until(step)));
        vital::task("snapshots task", async move {
            let surely_right = match surely_right {
                Some(answered) => answered.await.ok().flatten(),
                None => None,
            };
            let pinned: Vec<Step> = surely_right.into_iter().map(Step).collect();
            let result = store.retain(keep, &pinned).await;
            let result =
                result.map(|steps| steps.into_iter().map(|s| s.0).collect()).map_err(|e| e.to_string());
            // Only when the coordinator is ending does nobody listen.
            let _ = inputs.send(Input::Retained(result)).await;
        });
    }

    /// Moves the snapshots away that are newer than the state that all held the same.
    pub(crate) fn set_aside(&mut self, equal: Step) {
        self.retaining = true;
        self.suspect_after = Some(equal);
        let (store, inputs) = (self.store.clone(), self.inputs.clone());
        vital::task("snapshots task", async move {
            let result = store.set_aside_after(equal).await.map_err(|error| error.to_string());
            // Only when the coordinator is ending does nobody listen.
            let _ = inputs.send(Input::SetAside(result)).await;
        });
    }

    pub(crate) fn was_set_aside(&mut self, result: Result<Vec<Step>, String>) {
        match result {
            Ok(steps) => {
                for step in &steps {
                    let text =
                        format!("the snapshot of step {step} may be wrong and is set aside, in suspect/");
                    self.notice(true, text);
                }
                self.journal.delete_snapshots(steps.into_iter().map(|step| step.0).collect());
            }
            Err(why) => self.notice(true, format!("suspect snapshots could not be set aside: {why}")),
        }
    }

    /// The workers write no more. After a run that has ended well, what lies there unfinished is from somebody who was
    /// killed; where states differed, a snapshot that was under way then may have come after the others were moved.
    pub(crate) async fn clean(&mut self) {
        if let (Some(_), Err(error)) = (&self.outcome, self.store.remove_witness().await) {
            tracing::warn!(%error, "what workers were shown in the store could not be deleted");
        }
        match (&self.outcome, self.suspect_after) {
            (Some(Outcome::Complete | Outcome::Stopped { .. }), _) => {
                if let Err(error) = self.store.clean(Duration::ZERO).await {
                    tracing::warn!(%error, "leftovers of snapshots could not be deleted");
                }
            }
            (_, Some(equal)) => {
                let result = self.store.set_aside_after(equal).await;
                self.was_set_aside(result.map_err(|error| error.to_string()));
            }
            (_, None) => {}
        }
    }
}
