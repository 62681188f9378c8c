//! From a tree of values to a [`Dag`](super::Dag): every mistake on the way is collected, none ends it.
//!
//! Where a value is wrong, a default takes its place; no [`Dag`](super::Dag) with such a place ever leaves [`super::parse`].

mod dag;
mod mapping;
mod notify;
mod params;
mod rules;
mod script;
mod task;
mod time;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

pub(super) use dag::{dag, json_dag};
pub(super) use rules::addition;
pub use time::PRESETS;

use super::dag::Script;
use super::diagnostic::{Diagnostic, Mistakes, quote};
use super::keys::{self, Keys};
use super::names::Names;
use super::source::{SourceFile, Span};
use super::suggest;
use super::tree::{Entry, Node, Value};
use crate::condition::{Condition, ConditionError, Vocabulary};
use task::Early;

/// Ids of DAGs and tasks are at most this long, as in Airflow.
pub(super) const LONGEST_ID: usize = 250;
/// A billion seconds: more is a slip, and would overflow clocks.
pub(super) const LONGEST_DURATION: Duration = Duration::from_secs(1_000_000_000);

/// More scripts than this are not remembered for tasks that run the same.
const SHARED_SCRIPTS: usize = 4096;

/// Which keys a mapping has.
#[derive(Debug)]
struct Found<K> {
    keys: u32,
    of: PhantomData<K>,
}

impl<K: Keys> Found<K> {
    fn none() -> Self {
        const { assert!(K::TABLE.len() <= 32, "one bit for each key") };
        Self { keys: 0, of: PhantomData }
    }

    fn add(&mut self, key: K) {
        self.keys |= 1 << key.index();
    }

    fn has(&self, key: K) -> bool {
        self.keys & 1 << key.index() != 0
    }
}

/// Reads values, and collects what is wrong with them.
pub(super) struct Lower<'s> {
    source: &'s SourceFile,
    mistakes: Mistakes,
    /// One allocation for each engine's name, however many tasks it has.
    engines: HashSet<Arc<str>, RandomState>,
    /// One allocation for each task's id, however often it is named.
    names: Names,
    /// Scripts that further tasks may run as well, and the last one.
    scripts: HashSet<Arc<Script>, RandomState>,
    last_script: Option<Arc<Script>>,
    /// The tasks of the file, where they were lowered as it was read.
    early: Option<Early>,
    /// Each condition is compiled once, however many tasks have it.
    conditions: HashMap<(Arc<str>, Vocabulary), Result<Arc<Condition>, ConditionError>>,
    /// What expressions may name where it reads.
    vocabulary: Vocabulary,
    /// How many tasks rules add.
    templates: u32,
}

impl<'s> Lower<'s> {
    pub(super) fn new(source: &'s SourceFile, mistakes: Mistakes) -> Self {
        Self {
            source,
            mistakes,
            engines: HashSet::default(),
            names: Names::new(),
            scripts: HashSet::default(),
            last_script: None,
            early: None,
            conditions: HashMap::new(),
            vocabulary: Vocabulary::Task,
            templates: 0,
        }
    }

    pub(super) fn into_mistakes(self) -> Mistakes {
        self.mistakes
    }

    fn mistake(&mut self, span: Span, message: impl Into<String>) {
        self.mistakes.push(Diagnostic::new(span, message));
    }

    fn mistake_with_help(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes.push(Diagnostic::new(span, message).with_help(help));
    }

    fn expected(&mut self, what: &str, name: &str, node: &Node<'_>) {
        if matches!(node.value, Value::Invalid) {
            // Reported where it was read.
            return;
        }
        if self.mistakes.is_full() {
            return self.mistake(node.span, "");
        }
        let message = format!("expected {what} for `{name}`, found {}", node.value.found());
        let mistake = Diagnostic::new(node.span, message);
        self.mistakes.push(match node.value {
            Value::Null => mistake.with_help("to leave the value out, leave its key out"),
            _ => mistake,
        });
    }

    /// The key an entry has; `None` once it is reported as unknown.
    fn key<K: Keys>(&mut self, entry: &Entry<'_>) -> Option<K> {
        let name = &*entry.key;
        let known = K::find(name);
        if known.is_none() {
            self.unknown_key::<K>(name, entry.key_span);
        }
        known
    }

    fn unknown_key<K: Keys>(&mut self, name: &str, span: Span) {
        if self.mistakes.is_full() {
            // Looking for suggestions takes time, and nobody would read them.
            return self.mistake(span, "");
        }
        if K::NOT_YET.contains(&name) {
            let message = format!("`{name}` is not supported by this version of oxidag");
            return self.mistake(span, message);
        }
        let message = format!("unknown key {} in {}", quote(name), K::OWNER);
        let names: Vec<&str> = K::TABLE.iter().map(|key| key.name).collect();
        let all = format!("the keys of {} are", K::OWNER);
        let help = match (keys::owner_of(name), name) {
            (Some(owner), _) => format!("`{name}` is a key of {owner}"),
            (None, "<<") => {
                "YAML 1.2 has no merge key; write the keys out, or use defaults of the DAG".to_owned()
            }
            _ => suggest::or_list(name, &all, &names),
        };
        self.mistake_with_help(span, message, help);
    }

    /// Every key that has to be there and is not.
    fn require<K: Keys>(&mut self, found: &Found<K>, mapping: Span) {
        if found.keys & K::REQUIRED == K::REQUIRED {
            return;
        }
        let start = Span { start: mapping.start, end: mapping.end.min(mapping.start.saturating_add(1)) };
        for (index, key) in K::TABLE.iter().enumerate() {
            if key.required && found.keys & 1 << index == 0 {
                self.mistake(start, format!("`{}` is missing in {}", key.name, K::OWNER));
            }
        }
    }

    fn text<'a>(&mut self, name: &str, node: Node<'a>) -> Option<Cow<'a, str>> {
        match node.value {
            Value::Text(text) => Some(text),
            _ => {
                self.expected("text", name, &node);
                None
            }
        }
    }

    /// Text, where an empty one is none: pyDag writes `""` for what it does not say.
    fn text_or_none(&mut self, name: &str, node: Node<'_>) -> Option<String> {
        let text = self.text(name, node)?;
        (!text.trim().is_empty()).then(|| text.into_owned())
    }

    fn texts(&mut self, name: &str, node: Node<'_>) -> Vec<String> {
        let list = self.list(name, "a list of texts", node);
        list.filter_map(|node| self.text(name, node).map(Cow::into_owned)).collect()
    }

    fn list<'a>(&mut self, name: &str, what: &str, node: Node<'a>) -> std::vec::IntoIter<Node<'a>> {
        match node.value {
            Value::List(nodes) => nodes.into_vec(),
            _ => {
                self.expected(what, name, &node);
                Vec::new()
            }
        }
        .into_iter()
    }

    fn flag(&mut self, name: &str, node: &Node<'_>) -> Option<bool> {
        if let Value::Bool(flag) = node.value {
            return Some(flag);
        }
        self.expected("`true` or `false`", name, node);
        None
    }

    /// A whole number of at least `least`.
    fn count(&mut self, name: &str, node: &Node<'_>, least: u32) -> Option<u32> {
        let number = whole(&node.value).and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| *number >= least);
        if number.is_none() {
            self.expected(&format!("a whole number of at least {least}"), name, node);
        }
        number
    }

    fn priority(&mut self, name: &str, node: &Node<'_>) -> Option<i32> {
        let number = whole(&node.value).and_then(|number| i32::try_from(number).ok());
        if number.is_none() {
            self.expected("a whole number of 32 bits", name, node);
        }
        number
    }

    /// One of a few words.
    fn choice<T: Copy>(&mut self, name: &str, node: Node<'_>, choices: &[(&str, T)]) -> Option<T> {
        let span = node.span;
        let text = self.text(name, node)?;
        let chosen = choices.iter().find(|(choice, _)| *choice == text).map(|&(_, value)| value);
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|&(choice, _)| choice).collect();
            let help = suggest::or_list(&text, "it is one of", &names);
            self.mistake_with_help(span, format!("unknown {name} {}", quote(&text)), help);
        }
        chosen
    }

    /// The id of a DAG or a task, which is also the name of a folder for its logs. A wrong one is given as
    /// well, so that what refers to it is not wrong too.
    fn id(&mut self, name: &str, node: Node<'_>) -> Option<String> {
        let span = node.span;
        let id = self.text(name, node)?.into_owned();
        self.check_id(name, &id, span);
        Some(id)
    }

    fn check_id(&mut self, name: &str, id: &str, span: Span) -> bool {
        let Some(problem) = id_problem(id) else {
            return true;
        };
        let help = "an id is 1 to 250 ASCII letters, digits, `_`, `-` and `.`";
        self.mistake_with_help(span, format!("{name} {} {problem}", quote(id)), help);
        false
    }

    /// A script, shared with other tasks that run it.
    fn shared(&mut self, script: Script) -> Arc<Script> {
        let known = self.scripts.get(&script).cloned();
        let script = known.unwrap_or_else(|| {
            let script = Arc::new(script);
            if self.scripts.len() < SHARED_SCRIPTS {
                self.scripts.insert(Arc::clone(&script));
            }
            script
        });
        self.last_script = Some(Arc::clone(&script));
        script
    }

    /// The place of a part of a text, where the text stands in the file as it is; else the whole.
    fn within(&self, span: Span, text: &str, part: Range<usize>) -> Span {
        self.source.within(span, text, part)
    }
}

/// Whether a DAG, a task or a pool may be called this.
#[must_use]
pub fn is_id(text: &str) -> bool {
    id_problem(text).is_none()
}

fn id_problem(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("is empty")
    } else if id.len() > LONGEST_ID {
        Some("is longer than 250 characters")
    } else if !id.bytes().all(|byte| is_id_character(byte.into())) {
        Some("has characters other than letters, digits, `_`, `-` and `.`")
    } else if id == "." || id == ".." {
        Some("is the name of a folder")
    } else {
        None
    }
}

pub(super) fn is_id_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A number without a fraction; `4.0` is one, as it is in JSON Schema.
fn whole(value: &Value<'_>) -> Option<i64> {
    let Value::Number(number) = value else {
        return None;
    };
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within range")]
        Some(float as i64)
    })
}
