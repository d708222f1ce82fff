//! What the journal says of the run before it goes on, and what is written into it.

use std::path::Path;

use lsgan_console::Failure;
use lsgan_control::{Missing, OutcomeKind};
use lsgan_journal::{JournalError, Known, Wait, patiently};
use lsgan_launch::{Newest, other_identity};
use lsgan_snapshots::Store;
use lsgan_spec::{RunSpec, Step};
use lsgan_wire::v1;

use crate::{random, rows};

/// Reads or writes the journal under its one policy: waits for a locked or full journal, and says so once.
pub(crate) fn waiting<T>(work: impl FnMut() -> Result<T, JournalError>) -> Result<T, JournalError> {
    let tell = |wait| match wait {
        Wait::Begins(error) if error.is_lock() => {
            tracing::warn!("another program holds the journal locked, and the start waits for it");
        }
        Wait::Begins(error) => tracing::warn!("the start waits for the journal: {error}"),
        Wait::Ends => tracing::info!("the journal can be used again"),
    };
    patiently(work, tell)
}

/// Since when the run is paused, and by whom.
pub(super) fn paused(known: &Known) -> Option<v1::Paused> {
    let wall_ms = known.fact("paused_ms")?.parse().ok()?;
    Some(v1::Paused { wall_ms, by: known.fact("paused_by").unwrap_or_default().to_owned() })
}

/// Refuses to go on with the journal of a run with other mathematics.
pub(super) fn check_identity(spec: &RunSpec, known: &Known, run_dir: &Path) -> Result<(), Failure> {
    match known.fact("identity") {
        Some(identity) if identity != spec.identity().to_string() => {
            let theirs = known.fact("spec_yaml").unwrap_or_default();
            Err(other_identity(spec, (theirs, identity), &format!("the run in {}", run_dir.display())))
        }
        _ => Ok(()),
    }
}

/// Moves the snapshots away that a run wrote after its workers' states began to differ. Returns the step after which they did,
/// and warnings.
pub(super) async fn set_suspects_aside(
    known: &Known,
    store: &Store,
) -> Result<(Option<Step>, Vec<String>), Failure> {
    let equal = known.fact("suspect_after").and_then(|step| step.parse().ok()).map(Step);
    let Some(equal) = equal else { return Ok((None, Vec::new())) };
    let moved = store.set_aside_after(equal).await?;
    let tell = |step| format!("the snapshot of step {step} may be wrong and is set aside, in suspect/");
    Ok((Some(equal), moved.into_iter().map(tell).collect()))
}

/// Steps that the journal knows of and a start from the store would lose.
pub(super) struct Lost {
    pub known: Missing,
    /// What is lost, for people.
    pub what: String,
    /// No worker can hold them: the journal saw the run's last life end.
    pub nobody_has_it: bool,
}

/// The steps that a start from the store would lose: those of a snapshot that was published and is not there, or all, where
/// there is no snapshot although one was due. `published`: steps of the newest snapshot that the journal knows of.
pub(super) fn missing_steps(
    known: &Known,
    published: Option<Step>,
    spec: &RunSpec,
    newest: &Newest,
    store: &str,
) -> Option<Lost> {
    let there = newest.valid.max(newest.skipped);
    let trained = Step(known.metrics_until());
    // Two snapshots may have been on their way when everything was killed; more than that the training waits for.
    let first_due = Step(spec.checkpoint.every.saturating_mul(3).max(1));
    let (steps, what) = match (published.filter(|step| Some(*step) > there), there) {
        (Some(step), _) => (step, format!("the journal has a snapshot of step {step}, and {store} has not")),
        (None, None) if trained >= first_due => {
            (trained, format!("the journal has {trained} steps of this run, and {store} has no snapshot"))
        }
        (None, _) => return None,
    };
    let from = there.map_or("step 0".to_owned(), |step| format!("the snapshot of step {step}"));
    let why = format!(
        "{what}. If workers of this run still live, start the coordinator where they look for it; if the snapshots are on \
         another disk or host, bring them back or correct checkpoint.to. --accept-loss goes on from {from}."
    );
    let nobody_has_it = known.outcome().is_some();
    Some(Lost { known: Missing { steps, why }, what, nobody_has_it })
}

/// The secret that is posted in the store; workers learn it in no other way.
pub(super) fn secret(token: &str) -> String {
    blake3::Hasher::new_derive_key("lsgan: what a worker must find in the run's store")
        .update(token.as_bytes())
        .finalize()
        .to_hex()
        .to_string()
}

/// What to tell the user if there is nothing left to do.
pub(super) fn finished(spec: &RunSpec, known: &Known, snapshot: Option<Step>, store: &str) -> Option<String> {
    let complete = known.outcome() == Some(OutcomeKind::Complete);
    let step = snapshot.filter(|step| complete && step.0 == spec.steps)?;
    let files: Vec<_> = known.final_files().into_iter().map(rows::final_file).collect();
    Some(format!(
        "the run `{}` is finished: {step} of {} steps are done\n{}\n\
         to look at more samples:   lsgan sample --run {store} --count 64 --out grid.png\n\
         to train it longer:        the same command with --set steps={}\n\
         to train it anew:          the same command with --fresh",
        spec.run,
        spec.steps,
        final_lines(&files),
        step.0.saturating_mul(2),
    ))
}

/// One line for each final file with its hash.
#[must_use]
pub fn final_lines(files: &[v1::FinalFile]) -> String {
    let lines: Vec<_> = files.iter().map(|f| format!("{}  BLAKE3 {}", f.url, f.blake3)).collect();
    lines.join("\n")
}

/// What workers are told of the run.
pub(super) fn describe(
    spec: &RunSpec,
    data: &(u64, String),
    (token, store): (&str, &str),
) -> v1::RunDescription {
    v1::RunDescription {
        run: spec.run.clone(),
        spec: spec.to_json(),
        identity: spec.identity().to_string(),
        token: blake3::hash(token.as_bytes()).as_bytes().to_vec(),
        store: store.to_owned(),
        records: data.0,
        data_fingerprint: data.1.clone(),
        // `Service::describe_run` fills these in.
        generation: 0,
        incarnation: 0,
        metrics_until: 0,
    }
}

/// The run's facts, for its journal.
pub(super) fn facts(
    description: &v1::RunDescription,
    spec: &RunSpec,
    token: String,
) -> Vec<(&'static str, String)> {
    vec![
        ("run", description.run.clone()),
        ("token", token),
        ("identity", description.identity.clone()),
        ("spec_yaml", lsgan_runfile::to_yaml(spec)),
        ("data_fingerprint", description.data_fingerprint.clone()),
        ("records", description.records.to_string()),
        ("virtual_ranks", spec.batch.virtual_ranks.to_string()),
        ("global_batch", spec.batch.global().to_string()),
    ]
}

/// A random token, 64 hex digits.
///
/// # Errors
/// The system has no random source.
pub(crate) fn new_token() -> std::io::Result<String> {
    Ok(blake3::Hash::from_bytes(random::secret()?).to_hex().to_string())
}
