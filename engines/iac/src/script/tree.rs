//! A script's YAML as a tree of values, each with its place. Knows nothing of resources.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};
use serde_saphyr::{Location, Spanned};

use super::mistake::Mistake;

/// A line and a column, from 1; 0 where the text does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: number(location.line()), column: number(location.column()) }
    }
}

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What YAML knows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// When it is no YAML; the message does not quote the text, which may have secrets filled in.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        // `yes` and `n` are text, as YAML 1.2 has it.
        let options = serde_saphyr::options! { strict_booleans: true };
        serde_saphyr::from_str_with_options::<Self>(text, options).map_err(|error| {
            let error = error.without_snippet();
            let place = error.location().map(Place::from).unwrap_or_default();
            let message = error.to_string();
            // The place stands before the message anyway.
            let reason = message.split(" at line ").next().unwrap_or_default();
            Mistake::new(place, format!("the script is not valid YAML: {}", reason.trim_end_matches('.')))
        })
    }

    /// The same without places.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(list) => list.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                Json::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// What it is, for messages that say what was wanted instead.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: spanned.referenced.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has neither infinity nor what is no number.
        Ok(Number::from_f64(value).map_or_else(|| Value::Text(value.to_string()), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Node>()? {
            map.push(Entry { key: key.value, place: key.referenced.into(), value });
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_becomes_values_with_their_places() {
        let node = Node::parse("a: [1, n, 'x']\nb:\n  c: ~\n  d: 1.5\ne: true\n").unwrap();
        assert_eq!(node.to_json(), json!({"a": [1, "n", "x"], "b": {"c": null, "d": 1.5}, "e": true}));
        let Value::Map(entries) = node.value else { panic!() };
        assert_eq!((entries[1].key.as_str(), entries[1].place), ("b", Place { line: 2, column: 1 }));
        let Value::Map(inner) = &entries[1].value.value else { panic!() };
        assert_eq!(inner[1].place, Place { line: 4, column: 3 });
        assert_eq!(inner[1].value.place, Place { line: 4, column: 6 });
    }

    #[test]
    fn json_is_yaml() {
        assert_eq!(Node::parse(r#"{"a": {"b": [true]}}"#).unwrap().to_json(), json!({"a": {"b": [true]}}));
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_place_and_without_the_text() {
        for text in ["a: [s3cret", "a: s3cret\na: 2\n", "a: 1\n b: s3cret\n", "a: 1\n---\nb: s3cret\n"] {
            let mistake = Node::parse(text).unwrap_err();
            assert!(mistake.message.starts_with("the script is not valid YAML: "), "{mistake:?}");
            assert!(mistake.place.line > 0, "{mistake:?}");
            assert!(!mistake.message.contains("s3cret") && !mistake.message.contains('\n'), "{mistake:?}");
        }
    }
}
