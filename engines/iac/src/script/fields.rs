//! The keys of one mapping: each is taken once, and what is left over is unknown.

use std::time::Duration;

use super::mistake::{Mistake, or_list};
use super::tree::{Entry, Node, Place, Value};

/// Reads a mapping key by key, and collects what is wrong.
pub(crate) struct Fields<'a> {
    entries: Vec<&'a Entry>,
    /// Of the mapping; for what is missing.
    place: Place,
    /// All keys that were asked for.
    known: Vec<&'static str>,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Fields<'a> {
    /// Of the mapping that a script is.
    pub(crate) fn of(node: &'a Node, mistakes: &'a mut Vec<Mistake>) -> Self {
        let entries = match &node.value {
            Value::Map(entries) => entries.iter().collect(),
            _ => {
                let wanted = "a script is a mapping that begins with `resource` and `action`";
                mistakes.push(Mistake::new(node.place, format!("{wanted}; this is {}", node.kind())));
                Vec::new()
            }
        };
        Self { entries, place: node.place, known: Vec::new(), mistakes }
    }

    /// Adds a mistake.
    pub(crate) fn wrong(&mut self, place: Place, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(place, message));
    }

    /// Adds a mistake about something that is not there.
    pub(crate) fn missing(&mut self, message: impl Into<String>) {
        self.wrong(self.place, message);
    }

    /// Whether there is such a key.
    pub(crate) fn there(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The mistakes, for whoever reads a value.
    pub(crate) fn mistakes(&mut self) -> &mut Vec<Mistake> {
        self.mistakes
    }

    /// A key's value; `None` where it is not there, or says nothing.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        let node = &self.entries.remove(index).value;
        (node.value != Value::Null).then_some(node)
    }

    /// A key's text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let node = self.take(key)?;
        match &node.value {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Bool(_) => {
                let kind = node.kind();
                self.wrong(node.place, format!("`{key}` must be text, and this is {kind}: put it in quotes"));
                None
            }
            _ => {
                self.wrong(node.place, format!("`{key}` must be text, not {}", node.kind()));
                None
            }
        }
    }

    /// The text of a key that has to be there.
    pub(crate) fn required(&mut self, key: &'static str, why: &str) -> Option<&'a str> {
        let there = self.there(key);
        let text = self.text(key);
        if text.is_none() && !there {
            self.missing(format!("`{key}` is missing: {why}"));
        }
        text.filter(|text| !text.is_empty())
    }

    /// A key's text, which has to be one of these.
    pub(crate) fn one_of(&mut self, key: &'static str, all: &[&'static str]) -> Option<&'static str> {
        let place = self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.place);
        let text = self.required(key, &format!("one of `{}`", all.join("`, `")))?;
        let known = all.iter().copied().find(|known| *known == text);
        if known.is_none() {
            let help = or_list(text, "there are", all);
            self.wrong(place.unwrap_or_default(), format!("there is no `{key}: {text}`; {help}"));
        }
        known
    }

    /// A key's whole number, from 0.
    pub(crate) fn count(&mut self, key: &'static str) -> Option<i32> {
        let node = self.take(key)?;
        let number = match &node.value {
            Value::Number(number) => number.as_u64(),
            // As it is when a parameter was text.
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.and_then(|number| i32::try_from(number).ok());
        if number.is_none() {
            self.wrong(node.place, format!("`{key}` must be a whole number from 0"));
        }
        number
    }

    /// A key's duration: seconds, or text such as `30m`.
    pub(crate) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let node = self.take(key)?;
        let duration = duration(node);
        if duration.is_none() {
            let wanted = "must be a number of seconds, or text such as `30m`";
            self.wrong(node.place, format!("`{key}` {wanted}"));
        }
        duration
    }

    /// A key's mapping of names to values.
    pub(crate) fn map(&mut self, key: &'static str) -> Vec<(&'a str, &'a Node)> {
        let Some(node) = self.take(key) else { return Vec::new() };
        let Value::Map(entries) = &node.value else {
            self.wrong(node.place, format!("`{key}` must be a mapping, not {}", node.kind()));
            return Vec::new();
        };
        entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect()
    }

    /// Refuses what nobody asked for; `elsewhere` are keys that are for something else, with what that is.
    pub(crate) fn finish(self, elsewhere: &[(&str, &str)]) {
        for entry in self.entries {
            let key = &entry.key;
            let message = match elsewhere.iter().find(|(other, _)| other == key) {
                Some((_, what)) => format!("`{key}` is for {what}"),
                None => format!("unknown key `{key}`; {}", or_list(key, "there are", &self.known)),
            };
            self.mistakes.push(Mistake::new(entry.place, message));
        }
    }
}

/// A number of seconds, or text such as `90s`.
pub(crate) fn duration(node: &Node) -> Option<Duration> {
    match &node.value {
        Value::Number(number) => Duration::try_from_secs_f64(number.as_f64()?).ok(),
        Value::Text(text) => humantime::parse_duration(text.trim()).ok(),
        _ => None,
    }
}
