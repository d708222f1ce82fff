//! What a field accepts: which values, how an error says so, an example.

use std::fmt;
use std::time::Duration;

use serde_json::{Number, Value as Json};

use crate::table::{Row, listed, names};

/// What a field accepts.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number of this range, both ends included.
    Whole(u64, u64),
    /// One of these whole numbers, each with its meaning.
    OneOf(&'static [(u64, &'static str)]),
    /// The side of a picture: what the models accept.
    Side,
    /// A number of a range.
    Number(Range),
    /// One of these words, each with its meaning.
    Words(&'static [Word]),
    /// `true` or `false`.
    YesNo,
    /// A duration of this range, with its unit; also `auto` where `auto` is set.
    Duration {
        /// Whether the word `auto` is accepted.
        auto: bool,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// A text of a certain form.
    Text(Form),
    /// A map with these fields.
    Section(&'static [Row]),
    /// A map with exactly one of these, or its word alone where nothing must be said of it.
    Choice(&'static [Row]),
}

/// A range of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The least number.
    pub least: f64,
    /// The largest number.
    pub most: f64,
    /// Whether `least` itself is out of the range.
    pub above: bool,
    /// Whether `most` itself is out of the range.
    pub below: bool,
}

/// A word that a field accepts.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The word.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// The form of a text.
#[derive(Clone, Copy)]
pub struct Form {
    /// What is accepted, as an error says it after "accepted:".
    pub accepts: &'static str,
    /// Whether a text has the form.
    pub takes: fn(&str) -> bool,
    /// The same as a regular expression for editors, which may accept more.
    pub pattern: &'static str,
    /// Whether a list of its parts is accepted too, between which the text has commas.
    pub list: bool,
    /// What must lie on the disk at this path before a run can start, where it names such a thing.
    pub file: Option<&'static str>,
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.accepts)
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A whole number.
    Whole(i128),
    /// A float.
    Real(f64),
    /// A text, a word or a duration.
    Text(String),
    /// Yes or no.
    Bool(bool),
    /// A choice without anything in it.
    Nothing,
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) => write!(f, "{value:?}"),
            Self::Text(value) => f.write_str(value),
            Self::Bool(value) => value.fmt(f),
            Self::Nothing => f.write_str("{}"),
        }
    }
}

impl Kind {
    /// The rows below it; none below a value.
    #[must_use]
    pub fn rows(&self) -> &'static [Row] {
        match self {
            Self::Section(rows) | Self::Choice(rows) => rows,
            Self::Whole(..)
            | Self::OneOf(_)
            | Self::Side
            | Self::Number(_)
            | Self::Words(_)
            | Self::YesNo
            | Self::Duration { .. }
            | Self::Text(_) => &[],
        }
    }

    /// Whether this value is accepted. Sections and choices accept none: theirs are maps.
    #[must_use]
    pub fn takes(&self, value: &Scalar) -> bool {
        match (self, value) {
            (Self::Whole(least, most), Scalar::Whole(value)) => {
                (i128::from(*least)..=i128::from(*most)).contains(value)
            }
            (Self::OneOf(values), Scalar::Whole(value)) => {
                values.iter().any(|(one, _)| i128::from(*one) == *value)
            }
            (Self::Side, Scalar::Whole(value)) => u32::try_from(*value).is_ok(),
            (Self::Number(range), Scalar::Whole(value)) => range.contains(*value as f64),
            (Self::Number(range), Scalar::Real(value)) => range.contains(*value),
            (Self::Words(words), Scalar::Text(text)) => words.iter().any(|word| word.name == text),
            (Self::YesNo, Scalar::Bool(_)) => true,
            (Self::Duration { auto, least, most }, Scalar::Text(text)) => {
                (*auto && text == "auto")
                    || humantime::parse_duration(text).is_ok_and(|value| (*least..=*most).contains(&value))
            }
            (Self::Text(form), Scalar::Text(text)) => (form.takes)(text),
            _ => false,
        }
    }

    /// A text of the table as the value that it stands for.
    pub(crate) fn json(&self, text: &str) -> Json {
        let number = |text: &str| text.parse().ok().and_then(Number::from_f64).map(Json::Number);
        let value = match self {
            Self::Whole(..) | Self::OneOf(_) | Self::Side => text.parse::<u64>().ok().map(Json::from),
            Self::Number(_) => number(text),
            Self::YesNo => text.parse::<bool>().ok().map(Json::Bool),
            Self::Words(_) | Self::Duration { .. } => Some(Json::from(text)),
            // A text with braces stands in quotes.
            Self::Text(_) => Some(Json::from(text.trim_matches('\''))),
            Self::Section(_) | Self::Choice(_) => None,
        };
        value.unwrap_or_else(|| panic!("the table says `{text}`, which is no value of {self:?}"))
    }

    /// A value that a section or choice accepts, as YAML on one line.
    #[must_use]
    pub fn example(&self) -> String {
        let entry = |row: &Row| format!("{}: {}", row.name, row.example());
        match self {
            Self::Section([]) => "{}".to_owned(),
            Self::Section(rows) => {
                format!("{{ {} }}", rows.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
            Self::Choice(rows) => format!("{{ {} }}", entry(&rows[0])),
            _ => String::new(),
        }
    }

    /// What is accepted, as an error says it after "accepted:".
    #[must_use]
    pub fn accepts(&self) -> String {
        match self {
            Self::Whole(least, most) => format!("a whole number, {} to {}", counted(*least), counted(*most)),
            Self::OneOf(values) => {
                let values: Vec<_> = values.iter().map(|(value, help)| format!("{value} ({help})")).collect();
                listed(&values, "or")
            }
            Self::Side => {
                let sides = |sides: &[u32]| sides.iter().map(u32::to_string).collect::<Vec<_>>();
                let of_pictures = crate::model::SIDES.iter().filter(|(_, accepted)| !accepted.is_empty());
                let texts: Vec<_> = of_pictures
                    .map(|(model, accepted)| format!("{} for {model}", listed(&sides(accepted), "or")))
                    .collect();
                format!("a whole number: {}", texts.join(", "))
            }
            Self::Number(range) => range.accepts(),
            Self::Words(words) => listed(&words.iter().map(|word| word.name).collect::<Vec<_>>(), "or"),
            Self::YesNo => "true or false".to_owned(),
            Self::Duration { auto, least, most } => {
                let (least, most) = (humantime::format_duration(*least), humantime::format_duration(*most));
                let auto = if *auto { "auto, or " } else { "" };
                format!("{auto}a duration with its unit, {least} to {most}")
            }
            Self::Text(form) => form.accepts.to_owned(),
            Self::Section([]) => "nothing in it: {}".to_owned(),
            Self::Section(rows) => format!("a map with {}", listed(&names(rows), "and")),
            Self::Choice(rows) => format!("a map with one of {}", listed(&names(rows), "or")),
        }
    }
}

impl Range {
    /// Whether a number is in the range; NaN never is.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        let least = if self.above { value > self.least } else { value >= self.least };
        least && if self.below { value < self.most } else { value <= self.most }
    }

    fn accepts(&self) -> String {
        let shown = |value: f64| {
            if value.abs() == 1e6 {
                format!("{}10^6", if value < 0.0 { "-" } else { "" })
            } else {
                value.to_string()
            }
        };
        let (least, most) = (shown(self.least), shown(self.most));
        match (self.above, self.below) {
            (true, false) => format!("a number above {least}, at most {most}"),
            (true, true) => format!("a number above {least} and below {most}"),
            (false, true) => format!("a number, at least {least} and below {most}"),
            (false, false) => format!("a number, {least} to {most}"),
        }
    }
}

/// A count as people write it: `4,096`, `2^40`, `2^63 - 1`.
fn counted(value: u64) -> String {
    if value > 1 << 32 && value.is_power_of_two() {
        return format!("2^{}", value.trailing_zeros());
    }
    if value > 1 << 32 && (value + 1).is_power_of_two() {
        return format!("2^{} - 1", (value + 1).trailing_zeros());
    }
    let digits = value.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
