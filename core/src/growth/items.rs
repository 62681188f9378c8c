//! What a mapped task is run for: items, each with a key by which its instance is called.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A longer key is not read by anybody.
const LONGEST_KEY: usize = 60;

/// Items in their order, each with its key. No key stands there twice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Items(Vec<(String, Value)>);

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
        let at = |place: usize| lists.iter().map(|(name, list)| (name.as_str(), &list[place])).collect();
        Ok(Self::combined((0..length).map(at)))
    }

    /// Every combination of the lists' items, the last list the fastest.
    ///
    /// # Errors
    ///
    /// There are more of them than the graph may have tasks; they are not made then.
    pub fn cross(lists: &[(String, Vec<Value>)], most: u32) -> Result<Self, String> {
        let none = lists.iter().any(|(_, list)| list.is_empty());
        let count = lists.iter().try_fold(1_usize, |count, (_, list)| count.checked_mul(list.len()));
        let count = if none { Some(0) } else { count };
        let count = count.filter(|&count| count <= most as usize).ok_or_else(|| {
            let count = count.map_or_else(|| "too many".to_owned(), |count| count.to_string());
            format!(
                "the lists of `cross` have {count} combinations, and `max_tasks` is {most}; raise it in the DAG if that is meant"
            )
        })?;
        let at = |mut place: usize| {
            let mut one: Vec<(&str, &Value)> = Vec::with_capacity(lists.len());
            for (name, list) in lists.iter().rev() {
                one.push((name, &list[place % list.len()]));
                place /= list.len();
            }
            one.reverse();
            one
        };
        Ok(Self::combined((0..count).map(at)))
    }

    /// Items that are objects of several named values; their keys are those of the values, one after the other.
    fn combined<'a>(items: impl Iterator<Item = Vec<(&'a str, &'a Value)>>) -> Self {
        let (mut keys, mut list) = (Vec::new(), Vec::new());
        for parts in items {
            let words: Option<Vec<String>> = parts.iter().map(|(_, value)| word(value)).collect();
            keys.push(words.and_then(|words| readable(&words.join(","))));
            let object: Map<String, Value> =
                parts.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
            list.push(Value::Object(object));
        }
        Self::with_keys(keys, list)
    }

    fn with_keys(keys: Vec<Option<String>>, list: Vec<Value>) -> Self {
        let mut seen = HashSet::with_capacity(keys.len());
        let usable = keys.iter().all(|key| key.as_ref().is_some_and(|key| seen.insert(key)));
        if !usable {
            return Self((0_usize..).map(|index| index.to_string()).zip(list).collect());
        }
        Self(keys.into_iter().flatten().zip(list).collect())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key with its item.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, item)| (key.as_str(), item))
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
