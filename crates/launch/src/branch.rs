//! A branch of a run: `--fork NAME`.

use lsgan_console::Failure;
use lsgan_runfile::{RunFile, to_yaml};
use lsgan_snapshots::{Error, Store};
use lsgan_spec::{RunSpec, Step};

use crate::{From, Places, RunArgs, best_snapshot, keep_mix};

/// Copies a snapshot of the run at `old`, the newest or that of `--fork-at`, to a new run `name` beside it, under the
/// identity of `spec`. A branch that exists already goes on.
///
/// # Errors
/// No snapshot to begin with, or one that leaves nothing to train, with exit code 2.
pub async fn branch_off(
    RunFile { spec, sets_mix }: &mut RunFile,
    (args, name): (&RunArgs, &str),
    old: &Places,
    data_fingerprint: &str,
) -> Result<Places, Failure> {
    name.clone_into(&mut spec.run);
    let new = old.beside(name);
    if new.run_dir == old.run_dir || new.store == old.store {
        return Err(Failure::bad_input(format!(
            "--fork {name} names the run's own place, {}: a branch lies beside it. Choose another name.",
            old.store
        )));
    }
    spec.checkpoint.to.clone_from(&new.store);
    if new.run_dir.join("journal.sqlite").exists() {
        return Ok(new);
    }
    let from = match Store::open_existing(&old.store) {
        Err(error @ Error::NoStore { .. }) => return Err(Failure::bad_input_of(error)),
        opened => opened?,
    };
    let newest = match args.from {
        Some(From::Best) => Some(best(&from, old).await?),
        None => from.newest_valid().await?.manifest.map(|manifest| manifest.step),
    };
    let Some(step) = args.fork_at.map(Step).or(newest) else {
        return Err(Failure::bad_input(format!(
            "{} holds no snapshot to branch off from. Train until there is one, or start without --fork.",
            old.store
        )));
    };
    if step.0 >= spec.steps {
        return Err(nothing_to_branch(spec, step));
    }
    let mut snapshot = match from.load(step).await {
        Err(error @ Error::NoSnapshot { .. }) => return Err(Failure::bad_input_of(error)),
        loaded => loaded?,
    };
    keep_mix(spec, *sets_mix, &snapshot.spec_yaml);
    snapshot.identity = spec.identity().to_string();
    snapshot.data_fingerprint = data_fingerprint.to_owned();
    snapshot.spec_yaml = to_yaml(spec);
    Store::open(&new.store)?.write(&snapshot).await?;
    Ok(new)
}

/// The snapshot with the best score, of those that are there.
async fn best(store: &Store, old: &Places) -> Result<Step, Failure> {
    best_snapshot(store, &old.run_dir).await?.ok_or_else(|| {
        Failure::bad_input(format!(
            "none of the snapshots in {} has a score, so there is no best one. Score them with `lsgan eval --all --run {}`, or \
             branch off from a step with --fork-at STEP.",
            old.store,
            old.run_dir.display()
        ))
    })
}

/// A branch that would end where it begins would pass the weights of its origin off as its own.
fn nothing_to_branch(spec: &RunSpec, step: Step) -> Failure {
    Failure::bad_input(format!(
        "there is nothing to train for `{}`: it would begin with the snapshot of step {step}, and steps is {}. Set more \
         steps, for example --set steps={}, or branch off from an earlier snapshot with --fork-at STEP; \
         `lsgan checkpoints list` shows which there are.",
        spec.run,
        spec.steps,
        step.0.saturating_mul(2)
    ))
}
