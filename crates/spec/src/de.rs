//! From the tree to the types: a serde deserializer whose errors are facts instead of sentences.

use std::fmt;

use serde::de::{
    self, Deserializer, EnumAccess, IntoDeserializer, MapAccess, Unexpected, VariantAccess, Visitor,
};

use crate::tree::{Entry, Node, Value};

/// Why a tree is not what a type asks for. Where it is comes from `serde_path_to_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// A key that the type does not have.
    UnknownKey(String),
    /// A choice that the type does not have.
    UnknownChoice(String),
    /// No choice or several, where exactly one is needed.
    NotOneChoice,
    /// A key that the type must have.
    Missing(&'static str),
    /// A value of another kind, or one that its type refuses.
    Value,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Value
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::UnknownKey(field.to_owned())
    }

    fn unknown_variant(variant: &str, _: &'static [&'static str]) -> Self {
        Self::UnknownChoice(variant.to_owned())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Whole(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_i128(*value),
            },
            Value::Real(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            Value::Map(entries) => visitor.visit_map(Map { entries: entries.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match &self.value {
            Value::Text(word) => visitor.visit_enum(Choice { word, content: None }),
            Value::Map(entries) => match entries.as_slice() {
                [Entry { key, node, .. }] => visitor.visit_enum(Choice { word: key, content: Some(node) }),
                _ => Err(Mismatch::NotOneChoice),
            },
            Value::Null | Value::Bool(_) | Value::Whole(_) | Value::Real(_) | Value::List => {
                Err(Mismatch::Value)
            }
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Map<'de> {
    entries: std::slice::Iter<'de, Entry>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Map<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(&entry.node);
        seed.deserialize(entry.key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        seed.deserialize(self.value.take().expect("serde asks for a value after its key"))
    }
}

/// A choice by its word alone (`minimax`) or with what belongs to it (`{ minimax: {} }`).
struct Choice<'de> {
    word: &'de str,
    content: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Mismatch;
    type Variant = Content<'de>;

    fn variant_seed<V: de::DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content<'de>), Mismatch> {
        Ok((seed.deserialize(self.word.into_deserializer())?, Content(self.content)))
    }
}

struct Content<'de>(Option<&'de Node>);

/// What a choice by its word alone holds.
static NOTHING: Node = Node { value: Value::Map(Vec::new()), place: crate::tree::Place::NOWHERE };

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        if self.0.is_none() { Ok(()) } else { Err(Mismatch::Value) }
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        seed.deserialize(self.0.unwrap_or(&NOTHING))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch::Value)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.0.unwrap_or(&NOTHING).deserialize_any(visitor)
    }
}
