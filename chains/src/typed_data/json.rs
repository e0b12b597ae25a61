//! JSON that can be read in one way only: a key is in an object once, and a number is a whole one of at most 64 bits.

use super::fault::BadTypedData;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As decimal digits, with a `-` where it is negative.
    Number(String),
    Text(String),
    List(Vec<Json>),
    /// In the order of the document.
    Map(Vec<(String, Json)>),
}

/// Reads a document. serde_json bounds how deep it may be, at 128, so that every walk over it is bounded, too.
pub(super) fn parse(content: &[u8]) -> Result<Json, BadTypedData> {
    serde_json::from_slice(content).map_err(|e| BadTypedData::Json { message: e.to_string() })
}

impl Json {
    pub(super) fn into_map(self, path: &str) -> Result<Vec<(String, Self)>, BadTypedData> {
        match self {
            Self::Map(members) => Ok(members),
            _ => Err(wrong(path, "an object")),
        }
    }

    pub(super) fn into_list(self, path: &str) -> Result<Vec<Self>, BadTypedData> {
        match self {
            Self::List(items) => Ok(items),
            _ => Err(wrong(path, "a list")),
        }
    }

    pub(super) fn into_text(self, path: &str) -> Result<String, BadTypedData> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(wrong(path, "a text")),
        }
    }
}

/// What a value of that path should have been.
pub(super) fn wrong(path: &str, want: impl Into<String>) -> BadTypedData {
    BadTypedData::Value { path: if path.is_empty() { "the document" } else { path }.into(), want: want.into() }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a whole number of 64 bits; put a larger one in quotes")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Json, E> {
        Ok(Json::Bool(b))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Json, E> {
        Ok(Json::Number(n.to_string()))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Json, E> {
        Ok(Json::Number(n.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Json::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let (mut keys, mut all) = (BTreeSet::new(), Vec::new());
        while let Some((key, value)) = members.next_entry::<String, Json>()? {
            if !keys.insert(key.clone()) {
                return Err(A::Error::custom(format!("key `{key}` is there twice")));
            }
            all.push((key, value));
        }
        Ok(Json::Map(all))
    }
}
