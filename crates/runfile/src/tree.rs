//! A YAML text as a tree of values that know where they stand.
//!
//! The tree is what makes every error point at a line and a column, and what `--set` writes into, before any
//! type is involved.

use std::fmt;

use lsgan_spec::table::{Scalar, join};
use lsgan_spec::without_user;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

/// Where a value was written: by whom, and there at which line, column and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Whose text it is.
    pub origin: Origin,
    /// Counts from 1; 0 where there is none.
    pub line: usize,
    /// In characters, counts from 1; 0 where there is none.
    pub column: usize,
    /// First byte in the origin's text.
    pub start_bytes: usize,
    /// Length in the origin's text.
    pub len_bytes: usize,
}

impl Span {
    /// Behind everything that was written.
    pub const NOWHERE: Self =
        Self { origin: Origin::Nowhere, line: 0, column: 0, start_bytes: 0, len_bytes: 0 };
}

/// Whose text a value comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The run's file.
    #[default]
    File,
    /// The n-th `--set`.
    Set(usize),
    /// No text.
    Nowhere,
}

/// A value and where it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Spanned<Value>")]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it is.
    pub span: Span,
}

/// What YAML knows.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A number, a text, `true` or `false`.
    Scalar(Scalar),
    /// `[...]`.
    List(Vec<Value>),
    /// `{...}`, in the order of the text; a key that is given twice is there twice.
    Map(Vec<Entry>),
}

/// A key of a map and what it holds.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// What it holds.
    pub node: Node,
}

/// Parses one YAML document within limits that no run's file comes near.
pub fn parse(text: &str, origin: Origin) -> Result<Node, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 20_000,
            max_nodes: 10_000,
            max_depth: 32,
            max_aliases: 256,
            max_anchors: 256,
            max_documents: 1,
            // Who copies the reference and takes something out leaves many lines of comments in a row.
            max_buffered_comment_events: 10_000,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    };
    let mut node: Node = serde_saphyr::from_str_with_options(text, options)?;
    node.set_origin(origin);
    Ok(node)
}

impl Node {
    fn set_origin(&mut self, origin: Origin) {
        self.span.origin = origin;
        if let Value::Map(entries) = &mut self.value {
            for entry in entries {
                entry.key_span.origin = origin;
                entry.node.set_origin(origin);
            }
        }
    }

    /// What a map holds; nothing for another value.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    /// The entry at `path`; none for the root.
    pub fn at(&self, path: &str) -> Option<&Entry> {
        let mut found = None;
        let mut node = self;
        for key in path.split('.') {
            let entry = node.entries().iter().find(|entry| entry.key == key)?;
            node = &entry.node;
            found = Some(entry);
        }
        found
    }

    /// Puts `node` at `path` and makes the maps on the way. A word on the way that names a choice becomes that
    /// choice: `minimax` is `{ minimax: {} }`. Gives the path of the value that stands in the way, if one does.
    pub fn put(&mut self, path: &str, node: Node, key_span: Span) -> Result<(), String> {
        let mut here = self;
        let mut walked = String::new();
        for key in path.split('.') {
            here.make_map(key).map_err(|()| walked.clone())?;
            let Value::Map(entries) = &mut here.value else { return Err(walked) };
            let index = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
                let empty = Node { value: Value::Map(Vec::new()), span: key_span };
                entries.push(Entry { key: key.to_owned(), key_span, node: empty });
                entries.len() - 1
            });
            here = &mut entries[index].node;
            if !walked.is_empty() {
                walked.push('.');
            }
            walked.push_str(key);
        }
        *here = node;
        Ok(())
    }

    fn make_map(&mut self, key: &str) -> Result<(), ()> {
        match &self.value {
            Value::Map(_) => Ok(()),
            Value::Null => {
                self.value = Value::Map(Vec::new());
                Ok(())
            }
            Value::Scalar(Scalar::Text(word)) if word == key => {
                let empty = Node { value: Value::Map(Vec::new()), span: self.span };
                let entry = Entry { key: word.clone(), key_span: self.span, node: empty };
                self.value = Value::Map(vec![entry]);
                Ok(())
            }
            Value::Scalar(_) | Value::List(_) => Err(()),
        }
    }

    /// Takes the second and later entries of a name out and gives each: (path, first place, this place).
    pub fn take_duplicates(&mut self, path: &str, found: &mut Vec<(String, Span, Span)>) {
        let Value::Map(entries) = &mut self.value else { return };
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        for mut entry in entries.drain(..) {
            let here = join(path, &entry.key);
            if let Some(first) = kept.iter().find(|first| first.key == entry.key) {
                found.push((here, first.key_span, entry.key_span));
            } else {
                entry.node.take_duplicates(&here, found);
                kept.push(entry);
            }
        }
        *entries = kept;
    }

    /// The value as an error shows it: short, on one line, without control characters.
    pub fn shown(&self) -> String {
        match &self.value {
            Value::Null => "empty".to_owned(),
            Value::Scalar(Scalar::Real(value)) if value.is_nan() => ".nan".to_owned(),
            Value::Scalar(Scalar::Real(value)) if value.is_infinite() => {
                if *value > 0.0 { ".inf" } else { "-.inf" }.to_owned()
            }
            Value::Scalar(Scalar::Text(text)) => quoted(text),
            Value::Scalar(value) => value.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(entries) if entries.is_empty() => "an empty map".to_owned(),
            Value::Map(entries) => {
                let keys: Vec<_> =
                    entries.iter().take(4).map(|entry| entry.key.escape_debug().to_string()).collect();
                format!("a map with {}{}", keys.join(", "), if entries.len() > 4 { ", …" } else { "" })
            }
        }
    }
}

/// A text as an error shows it: in backquotes, at most 60 characters, without control characters. Of a URL it hides user,
/// password and query.
pub fn quoted(text: &str) -> String {
    let text = &if text.contains("://") { without_query(without_user(text)) } else { text.to_owned() };
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug())
}

fn without_query(url: String) -> String {
    url.split_once('?').map(|(place, _)| format!("{place}?…")).unwrap_or(url)
}

/// The span of the parser's location.
pub fn span(location: &serde_saphyr::Location, origin: Origin) -> Span {
    let number = |n: u64| usize::try_from(n).unwrap_or(0);
    let span = location.span();
    Span {
        origin,
        line: number(location.line()),
        column: number(location.column()),
        start_bytes: number(span.byte_offset().unwrap_or(0)),
        len_bytes: number(span.byte_len().unwrap_or(0)),
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { span: span(&spanned.referenced, Origin::File), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Whole(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Whole(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Whole(value)))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        let scalar = i128::try_from(value).map_or_else(|_| Scalar::Text(value.to_string()), Scalar::Whole);
        Ok(Value::Scalar(scalar))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Real(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            parts.push(part);
        }
        Ok(Value::List(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Node, Node>()? {
            let text = match &key.value {
                Value::Scalar(Scalar::Text(text)) => text.clone(),
                _ => key.shown(),
            };
            entries.push(Entry { key: text, key_span: key.span, node });
        }
        Ok(Value::Map(entries))
    }
}
