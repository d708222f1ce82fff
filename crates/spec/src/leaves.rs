//! A spec as a flat list of its fields, defaults included: what the identity and the diff are made from.

use std::fmt;

use serde_json::Value as Json;

use crate::RunSpec;
use crate::tree::join;

/// A field and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// As in [`crate::fields`].
    pub path: String,
    /// What it holds.
    pub value: LeafValue,
}

/// What a field can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum LeafValue {
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

impl fmt::Display for LeafValue {
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

/// All fields of a spec, in the order of their paths.
pub fn of(spec: &RunSpec) -> Vec<Leaf> {
    let json = serde_json::to_value(spec).expect("a spec has texts as keys and UTF-8 as texts");
    let mut leaves = Vec::new();
    walk(&json, String::new(), &mut leaves);
    leaves.sort_by(|a, b| a.path.cmp(&b.path));
    leaves
}

fn walk(json: &Json, path: String, leaves: &mut Vec<Leaf>) {
    let value = match json {
        Json::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                walk(value, join(&path, key), leaves);
            }
            return;
        }
        Json::Object(_) => LeafValue::Nothing,
        Json::String(text) => LeafValue::Text(text.clone()),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), _, _) => LeafValue::Whole(whole.into()),
            (None, Some(whole), _) => LeafValue::Whole(whole.into()),
            (None, None, real) => LeafValue::Real(real.unwrap_or(f64::NAN)),
        },
        // JSON has no NaN and no infinity: a float that is not finite arrives as null.
        Json::Null => LeafValue::Real(f64::NAN),
        Json::Bool(value) => LeafValue::Bool(*value),
        Json::Array(_) => unreachable!("no field is a list"),
    };
    leaves.push(Leaf { path, value });
}

/// The field that garde means: its paths leave the choices out and count the parts of a tuple
/// (`model.generator.latent[0]` is `model.generator.dcgan.latent.normal`).
pub fn named_by_garde<'a>(leaves: &'a [Leaf], path: &str) -> Option<&'a Leaf> {
    let wanted: Vec<&str> = path.split(['.', '[', ']']).filter(|part| !part.is_empty()).collect();
    leaves.iter().find(|leaf| {
        let mut parts = leaf.path.split('.').peekable();
        let mut all = true;
        for part in &wanted {
            if part.bytes().all(|byte| byte.is_ascii_digit()) {
                all &= parts.next().is_some();
            } else {
                all &= parts.any(|have| have == *part);
            }
        }
        all && parts.next().is_none()
    })
}
