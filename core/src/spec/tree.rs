//! What JSON and YAML have in common: a tree of values, each with its place.
//!
//! It knows nothing of DAGs, and no syntax.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Number, Value as Json};

use super::diagnostic::{Diagnostic, Mistakes, quote};
use super::source::Span;

/// Lists and mappings may stand in each other this deep, so that recursion over a tree is safe.
pub(super) const MAX_DEPTH: usize = 128;

/// A value and its place; text is borrowed from the file where it stands there as it is.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) span: Span,
    pub(super) value: Value<'a>,
}

#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// Already reported as a mistake; whoever meets it says nothing more.
    Invalid,
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Box<[Node<'a>]>),
    Map(Box<[Entry<'a>]>),
}

/// A key of a mapping with its value. Keys of one mapping differ.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) key_span: Span,
    pub(super) value: Node<'a>,
}

/// A file whose syntax is right, with the mistakes that did not prevent reading it.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) root: Node<'a>,
    pub(super) mistakes: Mistakes,
}

/// A file that could not be read to its end.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) mistakes: Mistakes,
    /// Whether it is the syntax that is wrong, so that another one may be tried.
    pub(super) syntax: bool,
}

/// Why reading ends here.
#[derive(Debug)]
pub(super) struct Fatal {
    pub(super) mistake: Diagnostic,
    pub(super) syntax: bool,
}

impl Fatal {
    pub(super) fn syntax(mistake: Diagnostic) -> Self {
        Self { mistake, syntax: true }
    }

    pub(super) fn limit(mistake: Diagnostic) -> Self {
        Self { mistake, syntax: false }
    }
}

/// Collects the elements of lists and mappings under construction, the innermost ones last, so that
/// each ends up in one allocation of the right size.
#[derive(Debug, Default)]
pub(super) struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    entries: Vec<Entry<'a>>,
    pub(super) mistakes: Mistakes,
}

/// Where a list or mapping under construction begins.
pub(super) struct Open {
    nodes: usize,
    entries: usize,
}

impl<'a> Builder<'a> {
    /// Begins a list or mapping inside `depth` others.
    pub(super) fn open(&self, depth: usize, start: usize) -> Result<Open, Fatal> {
        if depth >= MAX_DEPTH {
            return Err(too_deep(Span::new(start, start + 1)));
        }
        Ok(Open { nodes: self.nodes.len(), entries: self.entries.len() })
    }

    pub(super) fn element(&mut self, node: Node<'a>) {
        self.nodes.push(node);
    }

    pub(super) fn entry(&mut self, entry: Entry<'a>) {
        self.entries.push(entry);
    }

    pub(super) fn close_list(&mut self, open: &Open) -> Value<'a> {
        Value::List(self.nodes.split_off(open.nodes).into())
    }

    /// Ends a mapping; a key that stands in it a second time is a mistake.
    pub(super) fn close_map(&mut self, open: &Open) -> Value<'a> {
        let mut entries = self.entries.split_off(open.entries);
        if has_duplicates(&entries) {
            let mut seen = HashSet::new();
            let mut kept = Vec::with_capacity(entries.len());
            for entry in entries {
                if seen.insert(entry.key.clone()) {
                    kept.push(entry);
                } else {
                    let message = format!("duplicate key {}", quote(&entry.key));
                    self.mistakes.push(
                        Diagnostic::new(entry.key_span, message)
                            .with_help("a key stands in a mapping once; remove one of the two"),
                    );
                }
            }
            entries = kept;
        }
        Value::Map(entries.into())
    }

    pub(super) fn finish(self, root: Result<Node<'a>, Fatal>) -> Result<Parsed<'a>, Refused> {
        let mut mistakes = self.mistakes;
        match root {
            Ok(root) => Ok(Parsed { root, mistakes }),
            Err(Fatal { mistake, syntax }) => {
                mistakes.push(mistake);
                Err(Refused { mistakes, syntax })
            }
        }
    }
}

pub(super) fn too_deep(span: Span) -> Fatal {
    Fatal::limit(
        Diagnostic::new(span, format!("nested deeper than {MAX_DEPTH} levels"))
            .with_help("a DAG file needs a handful of levels; is a bracket or an indent left open?"),
    )
}

fn has_duplicates(entries: &[Entry<'_>]) -> bool {
    // Most mappings are small, and comparing is cheaper than hashing there.
    const SMALL: usize = 16;
    if entries.len() <= SMALL {
        let mut rest = entries;
        while let [first, others @ ..] = rest {
            if others.iter().any(|other| other.key == first.key) {
                return true;
            }
            rest = others;
        }
        return false;
    }
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().any(|entry| !seen.insert(&*entry.key))
}

/// A decimal number as JSON writes it, if 64 bits hold it.
pub(super) fn number(digits: &str) -> Option<Number> {
    if digits.contains(['.', 'e', 'E']) {
        return Number::from_f64(digits.parse().ok()?);
    }
    let signed = digits.parse::<i64>().map(Number::from);
    signed.or_else(|_| digits.parse::<u64>().map(Number::from)).ok()
}

/// A number as a node, or a mistake where there is no such number.
pub(super) fn number_or_mistake<'a>(
    number: Option<Number>,
    span: Span,
    mistakes: &mut Mistakes,
) -> Value<'a> {
    number.map_or_else(
        || {
            mistakes.push(
                Diagnostic::new(span, "this number does not fit 64 bits")
                    .with_help("write it as text, in quotes"),
            );
            Value::Invalid
        },
        Value::Number,
    )
}

impl Node<'_> {
    /// The value without its places.
    pub(super) fn into_json(self) -> Json {
        match self.value {
            Value::Null | Value::Invalid => Json::Null,
            Value::Bool(value) => Json::Bool(value),
            Value::Number(number) => Json::Number(number),
            Value::Text(text) => Json::String(text.into_owned()),
            Value::List(nodes) => nodes.into_iter().map(Node::into_json).collect(),
            Value::Map(entries) => {
                entries.into_iter().map(|entry| (entry.key.into_owned(), entry.value.into_json())).collect()
            }
        }
    }
}

impl Value<'_> {
    /// For messages: "expected …, found" this.
    pub(super) fn found(&self) -> String {
        match self {
            Value::Invalid => "a mistake".to_owned(),
            Value::Null => "nothing (null)".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(number) => format!("the number {number}"),
            Value::Text(text) => format!("the text {}", quote(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}
