//! The snapshot that a run goes on from.

use lsgan_console::{Failure, exit::chain};
use lsgan_snapshots::{Error, Skipped, Store};
use lsgan_spec::{RunSpec, Step, gone_further};

use crate::other_identity;

/// The newest snapshots of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// The newest valid one.
    pub valid: Option<Step>,
    /// The newest damaged one that had to be skipped for it.
    pub skipped: Option<Step>,
    /// A sentence for each one that was skipped.
    pub warnings: Vec<String>,
    /// A sentence about what the run keeps from when it began.
    pub kept: Option<&'static str>,
}

/// Finds the newest valid snapshot in a run's store. `spec` gets the kind of sum that the snapshot's run began with.
///
/// # Errors
/// With exit code 2: a snapshot of another run or of other data, or only damaged ones.
pub async fn newest_snapshot(
    store: &Store,
    spec: &mut RunSpec,
    data_fingerprint: &str,
) -> Result<Newest, Failure> {
    let found = store.newest_valid().await?;
    let warnings: Vec<String> = found
        .skipped
        .iter()
        .map(|s| format!("the snapshot of step {} is skipped: {}", s.step, chain(&s.reason)))
        .collect();
    let Some(manifest) = found.manifest else {
        let unfinished = |s: &Skipped| matches!(s.reason, Error::Unfinished { .. });
        if found.skipped.iter().all(unfinished) {
            return Ok(Newest::default());
        }
        return Err(Failure::bad_input(format!(
            "no snapshot of this run can be used:\n  {}\nBring one back from a copy, or start anew with --fresh.",
            warnings.join("\n  ")
        )));
    };
    let kept = spec.keep_reduction(&manifest.identity);
    if manifest.identity != spec.identity().to_string() {
        let what = format!("the snapshot of step {}", manifest.step);
        return Err(other_identity(spec, (&manifest.spec_yaml, &manifest.identity), &what));
    }
    if manifest.data_fingerprint != data_fingerprint {
        return Err(Failure::bad_input(format!(
            "the data has changed since the snapshot of step {} (fingerprint {} then, {data_fingerprint} now), and the \
             weights are a function of it. Bring the old files back, or branch off with --fork NAME.",
            manifest.step, manifest.data_fingerprint
        )));
    }
    let skipped = found.skipped.iter().map(|s| s.step).max();
    Ok(Newest { valid: Some(manifest.step), skipped, warnings, kept })
}

/// Refuses a run that has gone beyond the steps that are asked for: it no longer has the weights of that step.
///
/// # Errors
/// Such a run, with exit code 2.
pub fn something_to_train(spec: &RunSpec, snapshot: Option<Step>) -> Result<(), Failure> {
    let Some(step) = snapshot.filter(|step| step.0 > spec.steps) else { return Ok(()) };
    Err(Failure::bad_input(format!(
        "{} Train it longer with --set steps={}, branch off from an earlier snapshot with --fork NAME --fork-at STEP (`lsgan \
         checkpoints list` shows which there are), or start anew with --fresh.",
        gone_further(step, spec.steps),
        step.0.saturating_mul(2)
    )))
}
