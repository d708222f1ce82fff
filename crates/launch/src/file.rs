//! The run's file, and how it compares with what the run began with.

use std::io::IsTerminal;
use std::path::Path;

use lsgan_console::Failure;
use lsgan_runfile::{Override, RunFile};
use lsgan_spec::RunSpec;

/// Reads a run's file with its overrides.
///
/// # Errors
/// All that is wrong with it, with exit code 2: with its lines on a terminal, a line each elsewhere.
pub fn load_file(config: &Path, sets: &[Override]) -> Result<RunFile, Failure> {
    lsgan_runfile::load(config, sets).map_err(|errors| {
        let fancy = std::io::stderr().is_terminal();
        Failure::bad_input(if fancy { errors.render_fancy() } else { errors.render_plain() })
    })
}

/// Keeps the `data.mix` that a run began with, whose specification is `began`, where the run's file does not set it: the
/// default differs between versions, and a run's mathematics does not change by itself. Returns a sentence for people.
pub fn keep_mix(spec: &mut RunSpec, sets_mix: bool, began: &str) -> Option<String> {
    let began = lsgan_runfile::parse(began, "its specification", &[]).ok()?.data;
    let is_other =
        began.source.mix_by_default() == spec.data.source.mix_by_default() && began.mix != spec.data.mix;
    if !is_other || sets_mix {
        return None;
    }
    let (now, then) = (spec.data.mix, began.mix);
    spec.data.mix = then;
    Some(format!(
        "data.mix is {then}, as when this run began; the file says nothing of it, and the default is {now} now"
    ))
}

/// The refusal of a run or snapshot, `what`, whose specification `theirs` has another identity, `began`.
#[must_use]
pub fn other_identity(spec: &RunSpec, (theirs, began): (&str, &str), what: &str) -> Failure {
    let diff = match lsgan_runfile::parse(theirs, "its specification", &[]) {
        Ok(mut theirs) => {
            theirs.keep_reduction(began);
            spec.identity_diff(&theirs).iter().map(|d| format!("\n  {d}")).collect()
        }
        Err(_) => String::from("\n  (its specification is of another version)"),
    };
    Failure::bad_input(format!(
        "{what} has other mathematics than this file:{diff}\nUndo the change, start anew with --fresh (the old run \
         is moved aside, not deleted), or branch off from its newest snapshot with --fork NAME."
    ))
}
