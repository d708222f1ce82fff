//! The JSON schema of a run's file, made from the table, for editors: completion, descriptions, and most of what is wrong
//! while it is typed. What two fields mean together, only the program says.

use std::collections::BTreeSet;

use lsgan_spec::SIDES;
use lsgan_spec::table::{self, Kind, Presence, Range, Row};
use serde_json::{Map, Value as Json, json};

use crate::reference::{accepted, english};

/// The schema, as draft 7, which YAML language servers read.
#[must_use]
pub fn schema() -> String {
    let mut root = kind(&Kind::Section(table::rows()));
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("A run of lsgan");
    serde_json::to_string_pretty(&root).expect("a schema is JSON") + "\n"
}

fn row_schema(row: &Row) -> Json {
    let mut schema = kind(&row.field.kind);
    let description = [english(row), accepted(row)].join("\n\n");
    schema["description"] = json!(description.trim());
    if let Presence::Default(_) = row.field.presence {
        schema["default"] = row.example_value();
    }
    schema
}

fn kind(kind: &Kind) -> Json {
    match kind {
        Kind::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::OneOf(values) => json!({ "enum": values.iter().map(|(value, _)| value).collect::<Vec<_>>() }),
        Kind::Side => json!({ "enum": SIDES.iter().flat_map(|(_, sides)| *sides).collect::<BTreeSet<_>>() }),
        Kind::Number(range) => number(range),
        Kind::Words(words) => json!({ "enum": words.iter().map(|word| word.name).collect::<Vec<_>>() }),
        Kind::YesNo => json!({ "type": "boolean" }),
        Kind::Duration { auto, .. } => {
            let auto = if *auto { "auto|" } else { "" };
            json!({ "type": "string", "pattern": format!("^({auto}( *[0-9.]+ *[a-zµ]+)+)$") })
        }
        Kind::Text(form) => {
            let text = json!({ "type": "string", "pattern": form.pattern });
            let list = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
            if form.list { json!({ "anyOf": [text, list] }) } else { text }
        }
        Kind::Section(rows) => {
            let required = rows.iter().filter(|row| {
                row.field.presence != Presence::Optional && row.value_left_out(&Map::new()).is_none()
            });
            json!({
                "type": "object",
                "properties": properties(rows),
                "required": required.map(|row| row.name).collect::<Vec<_>>(),
                "additionalProperties": false,
            })
        }
        Kind::Choice(variants) => choice(variants),
    }
}

/// A map with exactly one of the variants, or its word alone where nothing in it is required.
fn choice(variants: &[Row]) -> Json {
    let map = json!({
        "type": "object",
        "properties": properties(variants),
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": false,
    });
    let alone = |row: &&Row| row.value_left_out(&Map::new()).is_some();
    let words: Vec<_> = variants.iter().filter(alone).map(|row| row.name).collect();
    if words.is_empty() { map } else { json!({ "anyOf": [map, { "enum": words }] }) }
}

fn properties(rows: &[Row]) -> Json {
    Json::Object(rows.iter().map(|row| (row.name.to_owned(), row_schema(row))).collect())
}

fn number(range: &Range) -> Json {
    let mut schema = json!({ "type": "number" });
    schema[if range.above { "exclusiveMinimum" } else { "minimum" }] = json!(range.least);
    schema[if range.below { "exclusiveMaximum" } else { "maximum" }] = json!(range.most);
    schema
}
