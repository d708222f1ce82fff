//! From a file and its `--set`s to a [`RunSpec`] that can be run, or to every error at once.
//!
//! The text becomes a tree with places ([`crate::tree`]), the overrides are written into it, and it is held against the
//! table of fields ([`crate::draft`]).

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use lsgan_spec::RunSpec;
use serde::{Deserialize, Serialize};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error as YamlError, UserMessageFormatter};

use crate::draft::Draft;
use crate::errors::{Problem, Sources, SpecErrors};
use crate::overrides::Override;
use crate::tree::Span;

/// The most bytes that a run's file may have: a hundred times what a full one has.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A run's file with its overrides: what the first process of a run reads, and hands to those that it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    /// All that it says, defaults included.
    pub spec: RunSpec,
    /// Whether it sets `data.mix`: the default differs between versions, and a run keeps the one that it began with.
    pub sets_mix: bool,
}

impl fmt::Display for RunFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).expect("a spec has texts as keys and UTF-8 as texts"))
    }
}

impl FromStr for RunFile {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Reads a run's file, applies the overrides in their order, and checks everything, also that the files which the run
/// needs are there.
///
/// # Errors
/// All errors at once, each with its place.
pub fn load(path: &Path, sets: &[Override]) -> Result<RunFile, SpecErrors> {
    let name = path.display().to_string();
    let text = read(path).map_err(|refusal| {
        let (line, problem) = *refusal;
        let span = Span { line, column: usize::from(line > 0), ..Span::default() };
        Sources::one(Sources::new(&name, "").error(span, problem))
    })?;
    let draft = Draft::new(&name, &text, sets)?;
    let sets_mix = draft.says("data.mix");
    Ok(RunFile { spec: draft.check(true)?, sets_mix })
}

/// The spec in a text that was stored, whose files are not looked for here. `name` is what errors call it.
///
/// # Errors
/// All errors at once, each with its place.
pub fn parse(text: &str, name: &str, sets: &[Override]) -> Result<RunSpec, SpecErrors> {
    Draft::new(name, text, sets)?.check(false)
}

/// The whole spec as YAML, defaults included; [`parse`] gives the same spec again, bit for bit.
#[must_use]
pub fn to_yaml(spec: &RunSpec) -> String {
    serde_saphyr::to_string(spec).expect("a spec that was checked has only UTF-8 and finite numbers")
}

/// The file's text, or in which line (0 for none) it is what it should not be.
fn read(path: &Path) -> Result<String, Box<(usize, Problem)>> {
    let refuse = |line, reason: String, fix: &str| {
        let accepted = "a YAML file of UTF-8 text, at most 1 MiB".to_owned();
        Err(Box::new((line, Problem::Unreadable { reason, accepted, fix: fix.to_owned() })))
    };
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return refuse(
                0,
                "there is no such file".to_owned(),
                "Correct the path, or copy configs/quickstart.yaml.",
            );
        }
        Err(error) => {
            return refuse(0, format!("the file cannot be read: {error}"), "Correct the path or its rights.");
        }
    };
    if !meta.is_file() {
        let what = if meta.is_dir() { "this is a directory" } else { "this is not a plain file" };
        return refuse(0, what.to_owned(), "Name the run's file itself.");
    }
    if meta.len() > MAX_FILE_BYTES {
        return refuse(0, format!("the file has {} bytes", meta.len()), "Is it the right file?");
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(0, format!("the file cannot be read: {error}"), "Correct its rights."),
    };
    String::from_utf8(bytes).or_else(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        refuse(line, "this line is not UTF-8 text".to_owned(), "Save the file as UTF-8.")
    })
}

/// What the parser's error says in our words.
pub(crate) fn yaml_problem(error: &YamlError) -> Problem {
    let own = |reason: &str, fix: &str| Problem::NotYaml { reason: reason.to_owned(), fix: fix.to_owned() };
    match error {
        YamlError::AliasError { error, .. } => yaml_problem(error),
        YamlError::MultipleDocuments { .. }
        | YamlError::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            own("there is more than one document (`---`)", "Keep one.")
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => {
            own("it holds more, or is nested deeper, than a run's file ever does", "Is it the right file?")
        }
        YamlError::UnknownAnchor { .. } => {
            own("there is no anchor (`&name`) before this alias (`*name`)", "Write the value itself.")
        }
        _ => {
            let text = error.render_with_formatter(&UserMessageFormatter);
            // The place stands in front of the message already.
            let reason = text.split(" at line ").next().unwrap_or(&text);
            own(reason, "Nesting is by spaces (not tabs), and `key: value` has a space after the colon.")
        }
    }
}
