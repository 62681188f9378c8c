//! What a mapped task is run for: items, each with a key by which its instance is called.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A longer key is not read by anybody.
const LONGEST_KEY: usize = 60;

/// Items in their order, each with its key. No key stands there twice.
#[derive(Debug, Clone, Default)]
pub struct Items {
    keys: Vec<Box<str>>,
    values: Values,
}

/// What the items are.
#[derive(Debug, Clone)]
enum Values {
    Each(Vec<Value>),
    /// Objects of several named values. There may be a million of them: each is made when it is asked for.
    Combined(Vec<Column>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

/// One of the lists that items are combined of.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    list: Vec<Value>,
    /// So many items in a row have the same value of it.
    repeats: usize,
}

impl Column {
    /// Which of its values an item has.
    fn place(&self, item: usize) -> usize {
        item / self.repeats % self.list.len()
    }
}

impl Items {
    /// The items of a list or an object; `None` for any other value.
    ///
    /// An object's keys are those of its items. In a list, text and numbers are their own keys; where that is not
    /// possible for all of them, they are numbered.
    #[must_use]
    pub fn of(value: Value) -> Option<Self> {
        match value {
            Value::Array(list) => {
                let keys = list.iter().map(word).collect();
                Some(Self::with_keys(keys, list))
            }
            Value::Object(map) => {
                let (keys, list): (Vec<_>, Vec<_>) = map.into_iter().unzip();
                Some(Self::with_keys(keys.iter().map(|key| readable(key)).collect(), list))
            }
            _ => None,
        }
    }

    /// The first items of all lists, then the second ones, and so on.
    ///
    /// # Errors
    ///
    /// The lists have different lengths.
    pub fn zip(lists: Vec<(String, Vec<Value>)>) -> Result<Self, String> {
        let lengths: Vec<String> =
            lists.iter().map(|(name, list)| format!("`{name}` has {}", list.len())).collect();
        let length = lists.first().map_or(0, |(_, list)| list.len());
        if lists.iter().any(|(_, list)| list.len() != length) {
            return Err(format!("the lists of `zip` differ in length: {}", lengths.join(", ")));
        }
        let columns = lists.into_iter().map(|(name, list)| Column { name, list, repeats: 1 });
        Ok(Self::combined(columns.collect(), length))
    }

    /// Every combination of the lists' items, the last list the fastest.
    ///
    /// # Errors
    ///
    /// There are more of them than the graph may have tasks; they are not made then.
    pub fn cross(lists: Vec<(String, Vec<Value>)>, most: u32) -> Result<Self, String> {
        let none = lists.iter().any(|(_, list)| list.is_empty());
        let count = lists.iter().try_fold(1_usize, |count, (_, list)| count.checked_mul(list.len()));
        let count = if none { Some(0) } else { count };
        let count = count.filter(|&count| count <= most as usize).ok_or_else(|| {
            let count = count.map_or_else(|| "too many".to_owned(), |count| count.to_string());
            format!(
                "the lists of `cross` have {count} combinations, and `max_tasks` is {most}; raise it in the DAG if that is meant"
            )
        })?;
        let mut repeats = 1_usize;
        let columns = lists.into_iter().rev().map(|(name, list)| {
            let before = repeats;
            repeats = before.saturating_mul(list.len().max(1));
            Column { name, list, repeats: before }
        });
        let mut columns: Vec<Column> = columns.collect();
        columns.reverse();
        Ok(Self::combined(columns, count))
    }

    /// So many items that are objects of several named values; their keys are those of the values, one after the other.
    fn combined(columns: Vec<Column>, count: usize) -> Self {
        let words: Vec<Vec<_>> =
            columns.iter().map(|column| column.list.iter().map(word).collect()).collect();
        let key = |item: usize| {
            let mut key = String::new();
            for (column, words) in columns.iter().zip(&words) {
                if !key.is_empty() {
                    key.push(',');
                }
                key.push_str(words[column.place(item)].as_ref()?);
            }
            readable(&key)
        };
        let keys = Self::usable((0..count).map(key).collect());
        Self { keys, values: Values::Combined(columns) }
    }

    fn with_keys(keys: Vec<Option<String>>, list: Vec<Value>) -> Self {
        Self { keys: Self::usable(keys), values: Values::Each(list) }
    }

    /// These keys, or numbers where one is none or is there twice.
    fn usable(keys: Vec<Option<String>>) -> Vec<Box<str>> {
        let mut seen = HashSet::with_capacity_and_hasher(keys.len(), RandomState::default());
        if keys.iter().all(|key| key.as_ref().is_some_and(|key| seen.insert(key))) {
            return keys.into_iter().flatten().map(String::into_boxed_str).collect();
        }
        (0..keys.len()).map(|index| index.to_string().into()).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Each key with its item.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, Value>)> {
        self.keys.iter().enumerate().map(|(place, key)| (&**key, self.value(place)))
    }

    fn value(&self, place: usize) -> Cow<'_, Value> {
        match &self.values {
            Values::Each(list) => Cow::Borrowed(&list[place]),
            Values::Combined(columns) => {
                let named = columns.iter().map(|c| (c.name.clone(), c.list[c.place(place)].clone()));
                Cow::Owned(Value::Object(named.collect::<Map<_, _>>()))
            }
        }
    }
}

/// However they are held, they are what they are.
impl PartialEq for Items {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Items {}

/// As a list of keys and items.
impl Serialize for Items {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items = self.keys.iter().enumerate();
        serializer.collect_seq(items.map(|(place, key)| (key, One { values: &self.values, place })))
    }
}

/// One item, which can only be written.
struct One<'a> {
    values: &'a Values,
    place: usize,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.values {
            Values::Each(list) => list[self.place].serialize(serializer),
            Values::Combined(columns) => {
                let mut map = serializer.serialize_map(Some(columns.len()))?;
                for column in columns {
                    map.serialize_entry(&column.name, &column.list[column.place(self.place)])?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (keys, list) = Vec::<(Box<str>, Value)>::deserialize(deserializer)?.into_iter().unzip();
        Ok(Self { keys, values: Values::Each(list) })
    }
}

/// The key of an item that is one word.
fn word(item: &Value) -> Option<String> {
    match item {
        Value::String(text) => readable(text),
        Value::Number(number) => readable(&number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text as it can stand in a task's name, which is also the name of a folder: `_` for what cannot.
fn readable(text: &str) -> Option<String> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ',' | ':' | '+' | '=' | '@');
    let key: String = text.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    (!key.is_empty() && key.len() <= LONGEST_KEY).then_some(key)
}
