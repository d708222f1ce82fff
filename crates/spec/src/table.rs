//! The table of a run's fields: one row for each, beside its Rust type.
//!
//! The macros `section!`, `choice!` and `words!` make a type, its serde and its rows from one text. A row
//! has the field's name, kind, default or example, what it adds to the identity, and its English (the doc comment). From
//! the rows come validation, messages, `configs/reference.yaml`, the JSON schema and the identity.

use serde_json::{Map, Value as Json};

use crate::RunSpec;
pub use crate::kind::{Form, Kind, Range, Scalar, Word};

/// A type that the table describes.
pub trait Described {
    /// What its values are.
    const KIND: Kind;
}

/// A field, a section, or one of the variants of a choice.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its key in the file.
    pub name: &'static str,
    /// What it is, one line for each line of its doc comment.
    pub help: &'static str,
    /// What it accepts, and what holds where it is left out.
    pub field: Field,
}

/// What a row says besides its name and its English.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// What it accepts.
    pub kind: Kind,
    /// What holds where it is left out.
    pub presence: Presence,
    /// A value that it accepts, as YAML; empty where the default is one, or where the rows below make one.
    pub example: &'static str,
    /// Whether it decides the mathematics.
    pub part: Part,
    /// Another default where the field `.0` beside it chooses the variant `.1`.
    pub default_with: Option<(&'static str, &'static str, &'static str)>,
}

/// Whether a field may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be there. A section whose fields all have defaults may be left out all the same.
    Required,
    /// Left out, it has this value, a YAML scalar.
    Default(&'static str),
    /// Left out, it is not there at all.
    Optional,
}

/// What a field contributes to the run's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its value: another value, other weights.
    Value,
    /// Its value, unless it is this one. A field that came later: it has this value, and so no part in the identity,
    /// in the runs that were made before, which therefore go on.
    ValueUnless(&'static str),
    /// Its value, where each word `.0` counts as the text `.1`. The meaning of a word changed, and runs that were made
    /// before keep theirs.
    ValueAs(&'static [(&'static str, &'static str)]),
    /// Only that it is there: it names a choice, but its value is a place.
    Presence,
    /// Nothing.
    Nothing,
}

impl Part {
    /// Whether another value makes another run.
    #[must_use]
    pub fn decides(self) -> bool {
        matches!(self, Self::Value | Self::ValueUnless(_) | Self::ValueAs(_))
    }
}

// How rows are written: `whole(1, 4096).required("4").identity()`.

/// A field of this kind, of which nothing else is said yet.
pub const fn field(kind: Kind) -> Field {
    Field { kind, presence: Presence::Required, example: "", part: Part::Nothing, default_with: None }
}

/// A section, choice or word whose rows stand at its type.
pub const fn of<T: Described>() -> Field {
    field(T::KIND)
}

/// A whole number, both ends included.
pub const fn whole(least: u64, most: u64) -> Field {
    field(Kind::Whole(least, most))
}

/// A number, both ends included.
pub const fn number(least: f64, most: f64) -> Field {
    field(Kind::Number(Range { least, most, above: false, below: false }))
}

/// A number above 0, at most `most`.
pub const fn above_zero(most: f64) -> Field {
    field(Kind::Number(Range { least: 0.0, most, above: true, below: false }))
}

/// A number, at least 0 and below 1.
pub const fn below_one() -> Field {
    field(Kind::Number(Range { least: 0.0, most: 1.0, above: false, below: true }))
}

/// A text of this form.
pub const fn text(form: Form) -> Field {
    field(Kind::Text(form))
}

impl Field {
    pub(crate) const fn required(self, example: &'static str) -> Self {
        Self { presence: Presence::Required, example, ..self }
    }

    pub(crate) const fn default(self, value: &'static str) -> Self {
        Self { presence: Presence::Default(value), ..self }
    }

    pub(crate) const fn default_with(
        self,
        field: &'static str,
        variant: &'static str,
        value: &'static str,
    ) -> Self {
        Self { default_with: Some((field, variant, value)), ..self }
    }

    pub(crate) const fn optional(self, example: &'static str) -> Self {
        Self { presence: Presence::Optional, example, ..self }
    }

    pub(crate) const fn identity(self) -> Self {
        Self { part: Part::Value, ..self }
    }

    pub(crate) const fn identity_unless(self, value: &'static str) -> Self {
        Self { part: Part::ValueUnless(value), ..self }
    }

    pub(crate) const fn identity_as(self, words: &'static [(&'static str, &'static str)]) -> Self {
        Self { part: Part::ValueAs(words), ..self }
    }

    pub(crate) const fn identity_of_presence(self) -> Self {
        Self { part: Part::Presence, ..self }
    }
}

impl Row {
    /// What it adds to the identity; a choice without anything in it adds that it is there.
    #[must_use]
    pub fn part(&self) -> Part {
        if matches!(self.field.kind, Kind::Section([])) { Part::Value } else { self.field.part }
    }

    /// Its English as one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.help.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A value that it accepts, as YAML on one line.
    #[must_use]
    pub fn example(&self) -> String {
        match (self.field.presence, self.field.example) {
            (Presence::Default(value), _) => value.to_owned(),
            (Presence::Required | Presence::Optional, "") => self.field.kind.example(),
            (Presence::Required | Presence::Optional, example) => example.to_owned(),
        }
    }

    /// The same as a value.
    #[must_use]
    pub fn example_value(&self) -> Json {
        let entry = |row: &Row| (row.name.to_owned(), row.example_value());
        match self.field.kind {
            Kind::Section(rows) => Json::Object(rows.iter().map(entry).collect()),
            Kind::Choice(rows) => Json::Object(rows[..1].iter().map(entry).collect()),
            kind => kind.json(&self.example()),
        }
    }

    /// Its value where it is left out beside `given`; none where it is required, or is then not there.
    #[must_use]
    pub fn value_left_out(&self, given: &Map<String, Json>) -> Option<Json> {
        if let Some((field, variant, value)) = self.field.default_with
            && given.get(field).is_some_and(|chosen| chosen.get(variant).is_some())
        {
            return Some(self.field.kind.json(value));
        }
        match (self.field.presence, self.field.kind) {
            (Presence::Default(value), kind) => Some(kind.json(value)),
            (Presence::Required, Kind::Section(rows)) => filled(rows, Map::new()),
            (Presence::Required | Presence::Optional, _) => None,
        }
    }
}

/// The rows of a run.
#[must_use]
pub fn rows() -> &'static [Row] {
    RunSpec::KIND.rows()
}

/// The row of `path`, as `objective.least_squares.a`: a choice is one step of a path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Row> {
    let mut rows = self::rows();
    let mut found = None;
    for name in path.split('.') {
        let row = rows.iter().find(|row| row.name == name)?;
        rows = row.field.kind.rows();
        found = Some(row);
    }
    found
}

/// Every row with its path, sections and choices before what is in them.
#[must_use]
pub fn all() -> Vec<(String, &'static Row)> {
    fn walk(prefix: &str, rows: &'static [Row], found: &mut Vec<(String, &'static Row)>) {
        for row in rows {
            let path = join(prefix, row.name);
            found.push((path.clone(), row));
            walk(&path, row.field.kind.rows(), found);
        }
    }
    let mut found = Vec::new();
    walk("", rows(), &mut found);
    found
}

/// A section's value with the defaults of what is not given; none where something required is missing.
#[must_use]
pub fn filled(rows: &[Row], mut given: Map<String, Json>) -> Option<Json> {
    for row in rows {
        if given.contains_key(row.name) {
            continue;
        }
        match row.value_left_out(&given) {
            Some(value) => drop(given.insert(row.name.to_owned(), value)),
            None if row.field.presence == Presence::Optional => {}
            None => return None,
        }
    }
    Some(Json::Object(given))
}

/// A section of which only some fields are said, the others at their defaults.
pub(crate) fn with_defaults<T: Described + serde::de::DeserializeOwned>(given: Json) -> T {
    let Json::Object(given) = given else { panic!("a section is a map") };
    let value = filled(T::KIND.rows(), given).expect("all that is required is given");
    serde_json::from_value(value).expect("the table's defaults are of their types")
}

/// `path.key`, or `key` at the root.
#[must_use]
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The names of some rows.
#[must_use]
pub fn names(rows: &[Row]) -> Vec<&'static str> {
    rows.iter().map(|row| row.name).collect()
}

/// `a, b and c`, with the last word that is asked for.
#[must_use]
pub fn listed(names: &[impl AsRef<str>], last: &str) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match &names[..] {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}
