//! What the journal says of the run before it goes on, and what is written into it.

use std::path::Path;

use lsgan_console::Failure;
use lsgan_control::Missing;
use lsgan_launch::{Newest, other_identity};
use lsgan_snapshots::Store;
use lsgan_spec::{RunSpec, Step};
use lsgan_wire::v1;

use crate::journal::{FinalFile, Journal, JournalError};

/// Refuses to go on with the journal of a run with other mathematics.
pub(super) fn check_identity(spec: &RunSpec, journal: &Journal, run_dir: &Path) -> Result<(), Failure> {
    let Some(identity) = journal.fact("identity")? else { return Ok(()) };
    if identity == spec.identity().to_string() {
        return Ok(());
    }
    let theirs = journal.require("spec_yaml")?;
    Err(other_identity(spec, &theirs, &format!("the run in {}", run_dir.display())))
}

/// Moves the snapshots away that a run wrote after its workers' states began to differ. Returns warnings.
pub(super) async fn set_suspects_aside(journal: &mut Journal, store: &Store) -> Result<Vec<String>, Failure> {
    let equal = journal.fact("suspect_after")?;
    let Some(equal) = equal.and_then(|step| step.parse().ok()) else { return Ok(Vec::new()) };
    let moved = store.set_aside_after(Step(equal)).await?;
    for step in &moved {
        journal.delete_checkpoint(step.0)?;
    }
    let tell = |step| format!("the snapshot of step {step} may be wrong and is set aside, in suspect/");
    Ok(moved.into_iter().map(tell).collect())
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
/// there is no snapshot although one was due.
pub(super) fn missing_steps(
    journal: &Journal,
    spec: &RunSpec,
    newest: &Newest,
    store: &str,
) -> Result<Option<Lost>, Failure> {
    let there = newest.valid.max(newest.skipped);
    let published = journal.newest_checkpoint_until(u64::MAX >> 1)?.map(Step);
    let trained = Step(journal.metrics_until()?);
    // Two snapshots may have been on their way when everything was killed; more than that the training waits for.
    let first_due = Step(spec.checkpoint.every.saturating_mul(3).max(1));
    let (steps, what) = match (published.filter(|step| Some(*step) > there), there) {
        (Some(step), _) => (step, format!("the journal has a snapshot of step {step}, and {store} has not")),
        (None, None) if trained >= first_due => {
            (trained, format!("the journal has {trained} steps of this run, and {store} has no snapshot"))
        }
        (None, _) => return Ok(None),
    };
    let from = there.map_or("step 0".to_owned(), |step| format!("the snapshot of step {step}"));
    let why = format!(
        "{what}. If workers of this run still live, start the coordinator where they look for it; if the snapshots are on \
         another disk or host, bring them back or correct checkpoint.to. --accept-loss goes on from {from}."
    );
    let nobody_has_it = journal.fact("outcome")?.is_some();
    Ok(Some(Lost { known: Missing { steps, why }, what, nobody_has_it }))
}

/// The secret that is posted in the store; workers learn it in no other way.
pub(super) fn secret(journal: &Journal) -> Result<String, Failure> {
    let token = journal.require("token")?;
    Ok(blake3::Hasher::new_derive_key("lsgan: what a worker must find in the run's store")
        .update(token.as_bytes())
        .finalize()
        .to_hex()
        .to_string())
}

/// What to tell the user if there is nothing left to do.
pub(super) fn finished(
    spec: &RunSpec,
    journal: &Journal,
    snapshot: Option<Step>,
    store: &str,
) -> Result<Option<String>, Failure> {
    let complete = journal.fact("outcome")?.as_deref() == Some("complete");
    let Some(step) = snapshot.filter(|step| complete && step.0 == spec.steps) else { return Ok(None) };
    let files = journal.fact("final_files")?.unwrap_or_default();
    let rows: Vec<(String, String, String)> = serde_json::from_str(&files).unwrap_or_default();
    let files: Vec<_> = rows.into_iter().map(|(name, url, blake3)| FinalFile { name, url, blake3 }).collect();
    Ok(Some(format!(
        "the run `{}` is finished: {step} of {} steps are done\n{}\n\
         to look at more samples:   lsgan sample --run {store} --count 64 --out grid.png\n\
         to train it longer:        the same command with --set steps={}\n\
         to train it anew:          the same command with --fresh",
        spec.run,
        spec.steps,
        final_lines(&files),
        step.0.saturating_mul(2),
    )))
}

/// One line for each final file with its hash.
#[must_use]
pub fn final_lines(files: &[FinalFile]) -> String {
    let lines: Vec<_> = files.iter().map(|f| format!("{}  BLAKE3 {}", f.url, f.blake3)).collect();
    lines.join("\n")
}

/// What is the same for all workers of the run.
pub(super) struct Facts<'a> {
    pub spec: &'a RunSpec,
    pub data: &'a (u64, String),
    pub store: &'a str,
}

/// Writes the run's facts into the journal, and says them to workers.
pub(super) fn describe(journal: &mut Journal, facts: &Facts<'_>) -> Result<v1::RunDescription, JournalError> {
    let token = match journal.fact("token")? {
        Some(token) => token,
        None => new_token(),
    };
    if journal.fact("data_fingerprint")?.is_some_and(|known| known != facts.data.1) {
        journal.forget_corrupt()?;
    }
    let spec_yaml = lsgan_runfile::to_yaml(facts.spec);
    let identity = facts.spec.identity().to_string();
    journal.set_facts(&[
        ("run", &facts.spec.run),
        ("token", &token),
        ("identity", &identity),
        ("spec_yaml", &spec_yaml),
        ("data_fingerprint", &facts.data.1),
        ("records", &facts.data.0.to_string()),
        ("virtual_ranks", &facts.spec.batch.virtual_ranks.to_string()),
    ])?;
    Ok(v1::RunDescription {
        run: facts.spec.run.clone(),
        spec_yaml,
        identity,
        token: blake3::hash(token.as_bytes()).as_bytes().to_vec(),
        store: facts.store.to_owned(),
        records: facts.data.0,
        data_fingerprint: facts.data.1.clone(),
        // Said as they are when somebody asks.
        generation: 0,
        incarnation: 0,
        metrics_until: 0,
    })
}

/// Digits that no other run has: the standard library's hasher is seeded by the operating system.
fn new_token() -> String {
    use std::hash::{BuildHasher, RandomState};
    let seed: Vec<u8> = (0..4_u64).flat_map(|i| RandomState::new().hash_one(i).to_le_bytes()).collect();
    blake3::hash(&seed).to_hex().to_string()
}
