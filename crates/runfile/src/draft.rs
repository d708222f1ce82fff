//! A run's description while it is checked: its tree is held against the table's rows, field by field.
//!
//! What is wrong is reported and replaced by the row's example, so that the rest is checked too and the result is always a
//! spec. What was replaced is `doubtful`: the rules over several fields do not speak of it.

use std::collections::BTreeMap;

use lsgan_spec::table::{self, Form, Kind, Presence, Row, Scalar, join, listed, names};
use lsgan_spec::{RunSpec, leaves, rules};
use serde_json::{Map, Number, Value as Json};

use crate::errors::{Problem, Sources, SpecError, SpecErrors};
use crate::files;
use crate::load::yaml_problem;
use crate::overrides::{self, Override};
use crate::suggest;
use crate::tree::{self, Entry, Node, Origin, Span, Value, quoted};

/// After so many errors the rest is not shown.
const MAX_ERRORS: usize = 100;

/// One description on its way to a [`RunSpec`].
pub(crate) struct Draft {
    sources: Sources,
    tree: Node,
    errors: Vec<SpecError>,
    /// Where each key and its value stand, by the field's path.
    spans: BTreeMap<String, (Span, Span)>,
    doubtful: Vec<String>,
}

impl Draft {
    /// The text as a tree, with the overrides in it.
    pub(crate) fn new(name: &str, text: &str, sets: &[Override]) -> Result<Self, SpecErrors> {
        let mut sources = Sources::new(name, text);
        let mut tree = tree::parse(text, Origin::File).map_err(|error| {
            let mut span = error.location().map_or(Span::default(), |at| tree::span(&at, Origin::File));
            span.start_bytes = byte_offset(text, span.line, span.column);
            Sources::one(sources.error(span, yaml_problem(&error)))
        })?;
        let keys = listed(&names(table::rows()), "and");
        match &tree.value {
            Value::Map(_) => {}
            Value::Null => {
                return Err(Sources::one(sources.error(Span::default(), Problem::Empty { accepted: keys })));
            }
            Value::Scalar(_) | Value::List(_) => {
                let problem = Problem::WrongValue {
                    path: "the run".to_owned(),
                    found: tree.shown(),
                    accepted: format!("a map with {keys}"),
                    fix: "Start from a copy of configs/quickstart.yaml.".to_owned(),
                };
                return Err(Sources::one(sources.error(tree.span, problem)));
            }
        }
        let mut twice = Vec::new();
        tree.take_duplicates("", &mut twice);
        let mut errors: Vec<_> = twice
            .into_iter()
            .map(|(path, first, second)| {
                sources.error(second, Problem::Twice { path, first_line: first.line })
            })
            .collect();
        for set in sets {
            errors.extend(overrides::apply(&mut tree, set, &mut sources).err().map(|error| *error));
        }
        Ok(Self { sources, tree, errors, spans: BTreeMap::new(), doubtful: Vec::new() })
    }

    /// Whether the text or an override has this field.
    pub(crate) fn says(&self, path: &str) -> bool {
        self.tree.at(path).is_some()
    }

    /// The spec, or all that is wrong with it; `on_this_host` where also the files that it needs must be there.
    pub(crate) fn check(mut self, on_this_host: bool) -> Result<RunSpec, SpecErrors> {
        let tree = self.tree.clone();
        let json = self.section("", table::rows(), tree.entries());
        let spec: RunSpec = serde_json::from_value(json)
            .unwrap_or_else(|error| panic!("the table and the types differ: {error}"));
        for finding in rules::broken(&spec) {
            if !finding.about.iter().any(|path| self.is_doubtful(path)) {
                self.report_finding(finding);
            }
        }
        if on_this_host {
            for leaf in leaves::of(&spec) {
                let problem = files::missing(&leaf);
                if let Some(problem) = problem.filter(|_| !self.is_doubtful(&leaf.path)) {
                    self.report(&leaf.path, problem);
                }
            }
        }
        if self.errors.is_empty() { Ok(spec) } else { Err(self.sources.collect(self.errors, MAX_ERRORS)) }
    }

    /// The fields of one section; every one of them has a value in the result, unless it is optional.
    fn section(&mut self, path: &str, rows: &'static [Row], entries: &[Entry]) -> Json {
        let mut given: BTreeMap<&str, &Entry> = BTreeMap::new();
        for entry in entries {
            match rows.iter().find(|row| row.name == entry.key) {
                Some(row) => drop(given.insert(row.name, entry)),
                None => {
                    // Under its right name its value is checked too, and it is not missing.
                    let meant = self.unknown_key(path, rows, entry);
                    let free = |meant: &&str| entries.iter().all(|other| other.key != **meant);
                    if let Some(meant) = meant.filter(free) {
                        given.entry(meant).or_insert(entry);
                    }
                }
            }
        }
        let mut values = Map::new();
        for row in rows {
            let here = join(path, row.name);
            let value = match given.get(row.name) {
                Some(entry) => {
                    self.spans.insert(here.clone(), (entry.key_span, entry.node.span));
                    let none =
                        row.field.presence == Presence::Optional && matches!(entry.node.value, Value::Null);
                    (!none).then(|| self.field(&here, row, &entry.node))
                }
                None => match row.value_left_out(&values) {
                    None if row.field.presence != Presence::Optional => Some(self.missing(&here, row)),
                    left_out => left_out,
                },
            };
            values.extend(value.map(|value| (row.name.to_owned(), value)));
        }
        Json::Object(values)
    }

    fn field(&mut self, path: &str, row: &'static Row, node: &Node) -> Json {
        if let Value::List(parts) = &node.value
            && let Some(text) = list_as_text(&row.field.kind, parts)
        {
            return Json::from(text);
        }
        match (row.field.kind, &node.value) {
            (Kind::Section(rows), Value::Map(entries)) => self.section(path, rows, entries),
            (Kind::Choice(rows), Value::Map(entries)) => match entries.as_slice() {
                [one] => self.choice(path, row, rows, one),
                _ => self.not_one_choice(path, row, rows, node),
            },
            (Kind::Choice(rows), Value::Scalar(Scalar::Text(word))) => self.word(path, row, rows, word),
            (kind, Value::Scalar(value)) if kind.takes(value) => json(&kind, value),
            _ => {
                self.report_value(path, row, node);
                self.stand_in(path, row)
            }
        }
    }

    /// A choice as a map: `{ minimax: {} }`.
    fn choice(&mut self, path: &str, row: &'static Row, rows: &'static [Row], entry: &Entry) -> Json {
        let variant = match rows.iter().find(|variant| variant.name == entry.key) {
            Some(variant) => variant,
            None => match self.unknown_word(path, row, rows, (&entry.key, Some(entry.key_span))) {
                Some(meant) => meant,
                None => return self.stand_in(path, row),
            },
        };
        let here = join(path, variant.name);
        self.spans.insert(here.clone(), (entry.key_span, entry.node.span));
        let content = self.field(&here, variant, &entry.node);
        chosen(variant, content)
    }

    /// A choice by its word alone: `minimax`.
    fn word(&mut self, path: &str, row: &'static Row, rows: &'static [Row], word: &str) -> Json {
        let Some(variant) = rows.iter().find(|variant| variant.name == word) else {
            self.unknown_word(path, row, rows, (word, None));
            return self.stand_in(path, row);
        };
        let here = join(path, variant.name);
        let content = match variant.field.kind {
            Kind::Section(rows) => self.section(&here, rows, &[]),
            _ => self.missing(&here, variant),
        };
        chosen(variant, content)
    }

    fn not_one_choice(&mut self, path: &str, row: &'static Row, rows: &'static [Row], node: &Node) -> Json {
        let span = node.entries().last().map(|entry| entry.key_span);
        let problem = Problem::WrongValue {
            path: path.to_owned(),
            found: node.shown(),
            accepted: format!("exactly one of {}", listed(&names(rows), "or")),
            fix: format!("Keep one, as `{}: {}`.", row.name, row.example()),
        };
        self.report_at(span.unwrap_or_else(|| self.span(path)), problem);
        self.stand_in(path, row)
    }

    /// Reports a word that is no choice. Returns the one that it was probably meant to be.
    fn unknown_word(
        &mut self,
        path: &str,
        row: &'static Row,
        rows: &'static [Row],
        (word, span): (&str, Option<Span>),
    ) -> Option<&'static Row> {
        let known = names(rows);
        let meant = suggest::word(path, word).or_else(|| suggest::nearest(word, &known));
        let problem = Problem::WrongValue {
            path: path.to_owned(),
            found: quoted(word),
            accepted: listed(&known, "or"),
            fix: match meant {
                Some(meant) => format!("Did you mean `{meant}`?"),
                None => format!("Write for example `{}: {}`.", row.name, row.example()),
            },
        };
        self.report_at(span.unwrap_or_else(|| self.span(path)), problem);
        rows.iter().find(|row| Some(row.name) == meant)
    }

    /// Reports a key that does not exist. Returns the one beside it that it was probably meant to be.
    fn unknown_key(&mut self, parent: &str, rows: &'static [Row], entry: &Entry) -> Option<&'static str> {
        let known = names(rows);
        let (meant, fix) = suggest::key(parent, &entry.key, &known, &self.tree);
        let path = quoted(&join(parent, &entry.key)).trim_matches('`').to_owned();
        self.report_at(entry.key_span, Problem::UnknownKey { path, accepted: listed(&known, "and"), fix });
        rows.iter().map(|row| row.name).find(|name| Some(*name) == meant)
    }

    fn missing(&mut self, path: &str, row: &'static Row) -> Json {
        let (accepted, example) = (row.field.kind.accepts(), format!("{}: {}", row.name, row.example()));
        self.report(path, Problem::Missing { path: path.to_owned(), accepted, example });
        self.stand_in(path, row)
    }

    /// A value that is known to be good in the place of one that was reported.
    fn stand_in(&mut self, path: &str, row: &'static Row) -> Json {
        self.doubtful.push(path.to_owned());
        row.example_value()
    }

    fn report_value(&mut self, path: &str, row: &'static Row, node: &Node) {
        let fix = suggest::value(path, &row.field.kind, node)
            .unwrap_or_else(|| format!("Write for example `{}: {}`.", row.name, row.example()));
        let (found, accepted) = (node.shown(), row.field.kind.accepts());
        self.report(path, Problem::WrongValue { path: path.to_owned(), found, accepted, fix });
    }

    fn report_finding(&mut self, finding: rules::Finding) {
        let rules::Finding { path, mut found, accepted, fix, about: _ } = finding;
        let is_value = table::find(path).is_some_and(|row| row.field.kind.rows().is_empty());
        if is_value && !self.spans.contains_key(path) {
            found.push_str(" by default");
        }
        self.report(path, Problem::Combination { path: path.to_owned(), found, accepted, fix });
    }

    fn report(&mut self, path: &str, problem: Problem) {
        self.report_at(self.span(path), problem);
    }

    fn report_at(&mut self, span: Span, problem: Problem) {
        self.errors.push(self.sources.error(span, problem));
    }

    /// Where `path` is, or where the nearest thing around it begins.
    fn span(&self, path: &str) -> Span {
        if let Some((_, value)) = self.spans.get(path) {
            return *value;
        }
        let mut around = path;
        while let Some((parent, _)) = around.rsplit_once('.') {
            if let Some((key, value)) = self.spans.get(parent) {
                // A map that an option gave stands under a key of the file.
                return if matches!(value.origin, Origin::Set(_)) { *value } else { *key };
            }
            around = parent;
        }
        Span::default()
    }

    /// Whether `path` or something around it was reported already.
    fn is_doubtful(&self, path: &str) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with('.');
        self.doubtful.iter().any(|around| path.strip_prefix(around.as_str()).is_some_and(inside))
    }
}

fn chosen(variant: &Row, content: Json) -> Json {
    Json::Object(Map::from_iter([(variant.name.to_owned(), content)]))
}

/// A list as the text that stands for it; none where the kind takes no list, or not this one.
fn list_as_text(kind: &Kind, parts: &[Value]) -> Option<String> {
    let Kind::Text(Form { list: true, takes, .. }) = kind else { return None };
    let word = |part: &Value| match part {
        Value::Scalar(scalar) => Some(scalar.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    };
    let words: Vec<_> = parts.iter().map(word).collect::<Option<_>>()?;
    Some(words.join(",")).filter(|text| takes(text))
}

/// A value that its kind takes, as its type reads it.
fn json(kind: &Kind, value: &Scalar) -> Json {
    let real = |value: f64| Number::from_f64(value).map_or(Json::Null, Json::Number);
    match (kind, value) {
        (Kind::Number(_), Scalar::Whole(value)) => real(*value as f64),
        (_, Scalar::Whole(value)) => u64::try_from(*value).map_or(Json::Null, Json::from),
        (_, Scalar::Real(value)) => real(*value),
        (_, Scalar::Text(text)) => Json::from(text.as_str()),
        (_, Scalar::Bool(value)) => Json::from(*value),
        (_, Scalar::Nothing) => Json::Object(Map::new()),
    }
}

/// The byte at a line and column, as the parser's own errors do not carry it.
fn byte_offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let inside: usize = text[before..].chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
    before + inside
}
