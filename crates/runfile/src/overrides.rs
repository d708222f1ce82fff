//! `--set path=value`: written into the tree before any type is looked at, so that it is checked as the file is.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use lsgan_spec::table;

use crate::errors::{Problem, Sources, SpecError};
use crate::load::yaml_problem;
use crate::tree::{self, Node, Span, Value};

/// One `--set` as it was given. It is checked where the file is, so that all errors come together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override(String);

impl FromStr for Override {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes one `--set` into the tree.
pub(crate) fn apply(tree: &mut Node, set: &Override, sources: &mut Sources) -> Result<(), Box<SpecError>> {
    let (path, value) = set.0.split_once('=').unwrap_or((&set.0, ""));
    let (path, value) = (path.trim(), value.trim());
    let span = Span { origin: sources.add_set(&set.0, value), ..Span::default() };
    let bad = |reason: &str, fix: &str| {
        let (reason, fix) = (reason.to_owned(), fix.to_owned());
        Err(Box::new(sources.error(span, Problem::BadOverride { reason, fix })))
    };
    if !set.0.contains('=') {
        return bad("there is no `=` in it", "Write for example `--set steps=500`.");
    }
    if path.is_empty() || path.split('.').any(|key| key.trim() != key || key.is_empty()) {
        return bad(
            "its path has an empty part or a space",
            "Write the keys from the top with a dot between them, as `data.image.size`.",
        );
    }
    let mut node = tree::parse(value, span.origin)
        .map_err(|error| Box::new(sources.error(span, yaml_problem(&error))))?;
    let mut twice = Vec::new();
    node.take_duplicates(path, &mut twice);
    if let Some((path, first, _)) = twice.into_iter().next() {
        return Err(Box::new(sources.error(span, Problem::Twice { path, first_line: first.line })));
    }
    // An empty text is nothing, as `key:` is in a file; the parser knows no place for it.
    if matches!(node.value, Value::Null) {
        node.span = span;
    }
    match tree.put(path, node, span) {
        Ok(()) => Ok(()),
        Err(in_the_way) => {
            let found = tree.at(&in_the_way).map_or_else(|| "a value".to_owned(), |entry| entry.node.shown());
            bad(
                &format!("{in_the_way} is {found}, which has no keys"),
                &match table::find(&in_the_way) {
                    Some(row) => format!("Set the whole of it, as `--set {in_the_way}={}`.", row.example()),
                    None => "Write the keys from the top, as `data.image.size`.".to_owned(),
                },
            )
        }
    }
}
