//! A spec as a flat list of its fields, defaults included: what the identity and the diff are made from.

use serde_json::Value as Json;

use crate::RunSpec;
use crate::table::{Scalar, join};

/// A field and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// As in [`crate::table`].
    pub path: String,
    /// What it holds.
    pub value: Scalar,
}

/// All fields of a spec, in the order of their paths.
#[must_use]
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
        Json::Object(_) => Scalar::Nothing,
        Json::String(text) => Scalar::Text(text.clone()),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), _, _) => Scalar::Whole(whole.into()),
            (None, Some(whole), _) => Scalar::Whole(whole.into()),
            (None, None, real) => Scalar::Real(real.unwrap_or(f64::NAN)),
        },
        // JSON has no NaN and no infinity: a float that is not finite arrives as null.
        Json::Null => Scalar::Real(f64::NAN),
        Json::Bool(value) => Scalar::Bool(*value),
        Json::Array(_) => unreachable!("no field is a list"),
    };
    leaves.push(Leaf { path, value });
}
