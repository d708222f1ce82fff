//! `configs/reference.yaml`, made from the table: every field with its English, what it accepts and its default.

use lsgan_spec::table::{self, Kind, Presence, Row, join, listed, names};

const HEAD: &str = "\
# yaml-language-server: $schema=run.schema.json
# Every field that a run's file can have. It runs as it stands: it is the quickstart with everything written out.
# Copy what you need; a field that has a default may be left out. `lsgan schema --reference` prints this file.
#
# Where one of several can be chosen, the others follow as comments; without the `# ` in front one takes the place of the
# chosen one. A single field can be set on the command line: `--set data.image.size=64`, `--set 'objective={ minimax: {} }'`.
# \"Identity\" says that the field decides the trained weights: a run with another value is another run, and does not
# go on from the snapshots of this one.
";

/// What this file calls its run.
const NAMED: [(&str, &str); 2] = [("run", "reference"), ("checkpoint.to", "runs/reference")];

const WIDTH: usize = 120;

/// The whole file.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for row in table::rows() {
        text.push('\n');
        field(row, row.name, "", &mut text);
    }
    text
}

/// One field; `prefix` is what stands before each of its lines.
fn field(row: &Row, path: &str, prefix: &str, text: &mut String) {
    comment(&english(row), prefix, text);
    comment(&accepted(row), prefix, text);
    let optional = row.field.presence == Presence::Optional && row.field.kind.rows().is_empty();
    let (prefix, inner) = (format!("{prefix}{}", if optional { "# " } else { "" }), format!("{prefix}  "));
    match row.field.kind {
        Kind::Section(rows @ [_, ..]) => {
            text.push_str(&format!("{prefix}{}:\n", row.name));
            for row in rows {
                field(row, &join(path, row.name), &inner, text);
            }
        }
        Kind::Choice(variants) => {
            text.push_str(&format!("{prefix}{}:\n", row.name));
            for (index, variant) in variants.iter().enumerate() {
                let inner = if index == 0 { inner.clone() } else { format!("{inner}# ") };
                field(variant, &join(path, variant.name), &inner, text);
            }
        }
        _ => {
            let named = NAMED.iter().find(|(named, _)| *named == path);
            let value = named.map_or_else(|| row.example(), |(_, value)| (*value).to_owned());
            text.push_str(&format!("{prefix}{}: {value}\n", row.name));
        }
    }
}

fn comment(sentences: &str, prefix: &str, text: &mut String) {
    let mut line = String::new();
    for word in sentences.split_whitespace() {
        if !line.is_empty() && prefix.len() + 2 + line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&format!("{prefix}# {line}\n"));
            line.clear();
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    if !line.is_empty() {
        text.push_str(&format!("{prefix}# {line}\n"));
    }
}

/// What a field is, with the meanings of its words.
pub(crate) fn english(row: &Row) -> String {
    let Kind::Words(words) = row.field.kind else { return row.sentence() };
    let meaning = |word: &table::Word| format!(" {}: {}.", word.name, words_of(word.help));
    row.sentence() + &words.iter().map(meaning).collect::<String>()
}

fn words_of(help: &str) -> String {
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a field accepts, its default, and whether it is part of the identity; nothing for a section.
pub(crate) fn accepted(row: &Row) -> String {
    let accepts = match row.field.kind {
        Kind::Section([_, ..]) => return String::new(),
        Kind::Choice(variants) => format!("One of {}.", listed(&names(variants), "or")),
        kind => format!("Accepted: {}.", kind.accepts()),
    };
    let presence = match (row.field.presence, row.field.kind) {
        (_, Kind::Section(_)) => String::new(),
        (Presence::Required, _) => " Required.".to_owned(),
        (Presence::Default(value), _) => format!(" Default: {value}."),
        (Presence::Optional, _) => " Default: none.".to_owned(),
    };
    let with = row.field.default_with.map(|(_, variant, value)| format!(" With {variant}: {value}."));
    let identity = if decides(row) { " Identity." } else { "" };
    format!("{accepts}{presence}{}{identity}", with.unwrap_or_default())
}

/// Whether another value, or another choice, makes another run.
fn decides(row: &Row) -> bool {
    match row.field.kind {
        Kind::Choice(_) => true,
        _ => row.part().decides(),
    }
}
