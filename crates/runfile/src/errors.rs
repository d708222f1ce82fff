//! What is wrong with a run's description: every error at once, each with its place.

use std::fmt;
use std::sync::Arc;

use lsgan_spec::{masked, printable};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

use crate::tree::{Origin, Span};

/// What is wrong, what is accepted, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// A key that does not exist there.
    #[error("{path} is not known; accepted: {accepted}. {fix}")]
    UnknownKey { path: String, accepted: String, fix: String },
    /// A value of a wrong type or out of its range; a choice that does not exist, or none or several where one is needed.
    #[error("{path} is {found}; accepted: {accepted}. {fix}")]
    WrongValue { path: String, found: String, accepted: String, fix: String },
    /// A required field that is not there.
    #[error("{path} is missing; accepted: {accepted}. Add it, for example `{example}`.")]
    Missing { path: String, accepted: String, example: String },
    /// A key that stands twice in the same map.
    #[error(
        "{path} is given twice, first in line {first_line}; accepted: each key once. Remove one of the two."
    )]
    Twice { path: String, first_line: usize },
    /// A value that is fine by itself but makes no sense with another.
    #[error("{path} is {found}; {accepted}. {fix}")]
    Combination { path: String, found: String, accepted: String, fix: String },
    /// A file that the run needs cannot be used.
    #[error("{path} is {found}, {reason}; accepted: {accepted}. {fix}")]
    NoFile { path: String, found: String, reason: String, accepted: String, fix: String },
    /// The text is not YAML, or beyond the limits.
    #[error("this is not valid YAML: {reason}. {fix}")]
    NotYaml { reason: String, fix: String },
    /// The text holds nothing.
    #[error(
        "there is nothing in it; accepted: a run with {accepted}. Start from a copy of configs/quickstart.yaml."
    )]
    Empty { accepted: String },
    /// The run's file itself cannot be read.
    #[error("{reason}; accepted: {accepted}. {fix}")]
    Unreadable { reason: String, accepted: String, fix: String },
    /// A `--set` that cannot be applied.
    #[error("{reason}; accepted: path=value. {fix}")]
    BadOverride { reason: String, fix: String },
    /// There were so many errors that the rest was not looked for.
    #[error("there are more errors than the {shown} shown. Correct these first.")]
    More { shown: usize },
}

/// One error: a problem and its place.
#[derive(Clone, Debug)]
pub struct SpecError {
    /// What is wrong.
    pub problem: Problem,
    /// The file's name, or the option as it was given.
    pub origin: String,
    /// Counts from 1; 0 where there is none.
    pub line: usize,
    /// In characters, counts from 1; 0 where there is none.
    pub column: usize,
    span: Span,
    text: NamedSource<Arc<str>>,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}: {}", self.origin, self.problem),
            (line, column) => write!(f, "{}:{line}:{column}: {}", self.origin, self.problem),
        }
    }
}

impl std::error::Error for SpecError {}

impl Diagnostic for SpecError {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        (self.line > 0).then_some(&self.text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let bytes = (self.span.start_bytes, self.span.len_bytes);
        (self.line > 0).then(|| {
            let label = LabeledSpan::new_primary_with_span(None, bytes);
            Box::new(std::iter::once(label)) as Box<dyn Iterator<Item = LabeledSpan>>
        })
    }
}

/// Everything that is wrong with a run's description, in the order of the text; never empty.
#[derive(Clone, Debug, Error)]
#[error("{}", self.render_plain())]
pub struct SpecErrors(Vec<SpecError>);

impl SpecErrors {
    /// The errors.
    #[must_use]
    pub fn errors(&self) -> &[SpecError] {
        &self.0
    }

    /// One line for each error, without colours: `run.yaml:14:11: data.image.size is 60; …`.
    #[must_use]
    pub fn render_plain(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(SpecError::to_string).collect();
        lines.join("\n")
    }

    /// The same for a terminal, each with the lines of the file that it is about. Without colours: their escapes could not be
    /// told from those in the file.
    #[must_use]
    pub fn render_fancy(&self) -> String {
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        let mut text = String::new();
        for error in &self.0 {
            handler.render_report(&mut text, error).expect("a String takes every write");
        }
        text
    }
}

/// The texts that errors point into.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    name: String,
    text: Arc<str>,
    sets: Vec<(String, Arc<str>)>,
}

impl Sources {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self { name: printable(name).into_owned(), text: text.into(), sets: Vec::new() }
    }

    /// Adds an option of which `value` was parsed.
    pub(crate) fn add_set(&mut self, option: &str, value: &str) -> Origin {
        let option = masked(option);
        self.sets.push((printable(&format!("--set {option}")).into_owned(), value.into()));
        Origin::Set(self.sets.len() - 1)
    }

    pub(crate) fn error(&self, span: Span, problem: Problem) -> SpecError {
        let (origin, text, at) = match span.origin {
            Origin::File => (&self.name, &self.text, (span.line, span.column)),
            Origin::Set(index) => (&self.sets[index].0, &self.sets[index].1, (0, 0)),
            Origin::Nowhere => (&self.name, &self.text, (0, 0)),
        };
        let text = NamedSource::new(origin, Arc::from(masked(text)));
        SpecError { problem, origin: origin.clone(), line: at.0, column: at.1, span, text }
    }

    /// Sorts the errors, of which there is at least one, by their places; no more than `most` are shown.
    pub(crate) fn collect(&self, mut errors: Vec<SpecError>, most: usize) -> SpecErrors {
        errors.sort_by_key(|error| error.span);
        errors.dedup_by(|a, b| a.problem == b.problem && a.origin == b.origin);
        if errors.len() > most {
            errors.truncate(most);
            errors.push(self.error(Span::NOWHERE, Problem::More { shown: most }));
        }
        SpecErrors(errors)
    }

    pub(crate) fn one(error: SpecError) -> SpecErrors {
        SpecErrors(vec![error])
    }
}
