//! YAML text to a [`Node`]: one document, aliases expanded within a budget.
//!
//! saphyr-parser reads the syntax. What plain scalars mean is in [`super::scalar`].

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::diagnostic::{Diagnostic, quote};
use super::scalar;
use super::source::Span;
use super::tree::{self, Builder, Entry, Fatal, MAX_DEPTH, Node, Parsed, Refused, Value};

/// Aliases may make a file this many times as large, …
const EXPANSION: usize = 4;
/// … or this large, in bytes.
const EXPANDED: usize = 64 << 20;

/// Reads the one document that is the whole text; `invalid` begins messages about its syntax. Without a
/// document, the root is null and its span empty.
pub(super) fn parse<'a>(text: &'a str, invalid: &'a str) -> Result<Parsed<'a>, Refused> {
    let mut reader = Reader {
        text,
        invalid,
        parser: Parser::new_from_str(text),
        places: Places::new(text),
        anchors: HashMap::new(),
        budget: EXPANDED.max(text.len().saturating_mul(EXPANSION)),
        builder: Builder::default(),
    };
    let root = reader.document();
    reader.builder.finish(root)
}

struct Reader<'a> {
    text: &'a str,
    /// What messages about syntax begin with.
    invalid: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    places: Places<'a>,
    /// Complete nodes that aliases may refer to.
    anchors: HashMap<usize, Anchored<'a>>,
    /// Bytes that aliases may still add.
    budget: usize,
    builder: Builder<'a>,
}

struct Anchored<'a> {
    node: Node<'a>,
    bytes: usize,
    height: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fatal> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let span = self.places.span(span.start, span.end);
                Ok((event, span))
            }
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::new(self.text.len(), self.text.len()))),
        }
    }

    fn syntax(&mut self, error: &ScanError) -> Fatal {
        let at = *error.marker();
        let span = self.places.span(at, at);
        // The scanner reads ahead of the tree, and has a limit of its own on open brackets.
        if error.info() == "recursion limit exceeded" {
            return tree::too_deep(span);
        }
        let message = format!("{}: {}", self.invalid, error.info());
        Fatal::syntax(Diagnostic::new(span, message))
    }

    fn document(&mut self) -> Result<Node<'a>, Fatal> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => {
                    let nothing = Node { span: Span::default(), value: Value::Null };
                    return Ok(root.unwrap_or(nothing));
                }
                Event::DocumentStart(_) if root.is_some() => {
                    let mistake = Diagnostic::new(span, "a second document begins here");
                    let help = "a DAG file holds one DAG; put each into a file of its own";
                    return Err(Fatal::limit(mistake.with_help(help)));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node<'a>, Fatal> {
        let (node, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(text, style, tag.as_deref(), span), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", span);
                (self.list(span, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", span);
                (self.map(span, depth)?, anchor)
            }
            other => {
                let mistake = Diagnostic::new(span, format!("{}: unexpected {other:?}", self.invalid));
                return Err(Fatal::syntax(mistake));
            }
        };
        if anchor != 0 {
            self.remember(anchor, &node)?;
        }
        Ok(node)
    }

    fn list(&mut self, span: Span, depth: usize) -> Result<Node<'a>, Fatal> {
        let open = self.builder.open(depth, span.start as usize)?;
        let mut end = span.end;
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                let span = Span { start: span.start, end: end_of(end, at) };
                return Ok(Node { span, value: self.builder.close_list(&open) });
            }
            let element = self.node(event, at, depth + 1)?;
            end = end.max(element.span.end);
            self.builder.element(element);
        }
    }

    fn map(&mut self, span: Span, depth: usize) -> Result<Node<'a>, Fatal> {
        let open = self.builder.open(depth, span.start as usize)?;
        let mut end = span.end;
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                let span = Span { start: span.start, end: end_of(end, at) };
                return Ok(Node { span, value: self.builder.close_map(&open) });
            }
            let (key, key_span) = self.key(event, at, depth)?;
            let (event, at) = self.next()?;
            let mut value = self.node(event, at, depth + 1)?;
            if value.span.start >= value.span.end {
                // Nothing stands there; its key is what one can point at.
                value.span = key_span;
            }
            end = end.max(value.span.end);
            if let Some(key) = key {
                self.builder.entry(Entry { key, key_span, value });
            }
        }
    }

    /// A key is text, whatever it would mean as a value; `None` once it is reported as a mistake.
    fn key(
        &mut self,
        event: Event<'a>,
        span: Span,
        depth: usize,
    ) -> Result<(Option<Cow<'a, str>>, Span), Fatal> {
        if let Event::Scalar(text, style, anchor, _) = event {
            let key = self.borrowed(text, span);
            if anchor != 0 {
                let value = Value::Text(key.clone());
                self.remember(anchor, &Node { span, value })?;
            }
            if !key.is_empty() || style != ScalarStyle::Plain {
                return Ok((Some(key), span));
            }
        } else {
            let node = self.node(event, span, depth + 1)?;
            if let Value::Text(text) = node.value {
                return Ok((Some(text), node.span));
            }
        }
        let mistake = Diagnostic::new(span, "a key of a mapping must be text");
        self.builder.mistakes.push(mistake);
        Ok((None, span))
    }

    fn scalar(&mut self, text: Cow<'a, str>, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node<'a> {
        let text = self.borrowed(text, span);
        let plain = style == ScalarStyle::Plain;
        let value = match tag {
            None if plain => scalar::plain(text, span, &mut self.builder.mistakes),
            None => Value::Text(text),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Value::Text(text),
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Value::Text(text),
            Some(tag) if tag.is_yaml_core_schema() => {
                let value = scalar::plain(text, span, &mut self.builder.mistakes);
                self.tagged(value, &tag.suffix, span)
            }
            Some(_) => {
                self.check_tag(tag, "str", span);
                Value::Text(text)
            }
        };
        Node { span, value }
    }

    /// A scalar that a tag such as `!!int` says to be of a type.
    fn tagged(&mut self, value: Value<'a>, suffix: &str, span: Span) -> Value<'a> {
        let fits = match (suffix, &value) {
            ("null", Value::Null)
            | ("bool", Value::Bool(_))
            | ("float", Value::Number(_))
            | (_, Value::Invalid) => true,
            ("int", Value::Number(number)) => !number.is_f64(),
            _ => false,
        };
        if fits {
            return value;
        }
        let message = format!("{} is not what the tag `!!{suffix}` says", value.found());
        self.builder.mistakes.push(Diagnostic::new(span, message));
        Value::Invalid
    }

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, span: Span) {
        let Some(tag) = tag else { return };
        if tag.is_yaml_core_schema() && tag.suffix == expected || tag.handle.is_empty() && tag.suffix == "!" {
            return;
        }
        let message = format!("a DAG file has no use for the tag {}", quote(&tag.to_string()));
        let mistake = Diagnostic::new(span, message).with_help("remove the tag");
        self.builder.mistakes.push(mistake);
    }

    /// The text as a part of the file, where it stands there as it is.
    fn borrowed(&self, text: Cow<'a, str>, span: Span) -> Cow<'a, str> {
        let part = |start: usize| self.text.get(start..start + text.len());
        let start = span.start as usize;
        for candidate in [part(start), part(start + 1)] {
            if let Some(part) = candidate.filter(|part| *part == text) {
                return Cow::Borrowed(part);
            }
        }
        text
    }

    fn remember(&mut self, anchor: usize, node: &Node<'a>) -> Result<(), Fatal> {
        let (bytes, height) = measure(node);
        self.spend(bytes, node.span)?;
        let node = node.clone();
        self.anchors.insert(anchor, Anchored { node, bytes, height });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Node<'a>, Fatal> {
        let Some(&Anchored { bytes, height, .. }) = self.anchors.get(&anchor) else {
            let mistake = Diagnostic::new(span, "this alias stands inside what it refers to");
            return Err(Fatal::limit(mistake));
        };
        if depth + height > MAX_DEPTH {
            return Err(tree::too_deep(span));
        }
        self.spend(bytes, span)?;
        let value = self.anchors[&anchor].node.value.clone();
        Ok(Node { span, value })
    }

    fn spend(&mut self, bytes: usize, span: Span) -> Result<(), Fatal> {
        let Some(left) = self.budget.checked_sub(bytes) else {
            let mistake = Diagnostic::new(span, "aliases make this file too large");
            let help = "write out what differs, or move what is common into `params` of the DAG";
            return Err(Fatal::limit(mistake.with_help(help)));
        };
        self.budget = left;
        Ok(())
    }
}

/// The end of a list or mapping: of its closing bracket, or of its last element where it has none.
fn end_of(last: u32, closing: Span) -> u32 {
    if closing.start < closing.end { closing.end } else { last }
}

/// How much memory a copy takes, and how many lists and mappings stand in each other.
fn measure(node: &Node<'_>) -> (usize, usize) {
    let own = size_of::<Node<'_>>();
    let add = |(bytes, height): (usize, usize), (b, h): (usize, usize)| (bytes + b, height.max(h));
    let (bytes, height) = match &node.value {
        Value::Text(text) => return (own + text.len(), 0),
        Value::List(list) => list.iter().map(measure).fold((0, 0), add),
        Value::Map(entries) => {
            let key = |entry: &Entry<'_>| size_of::<Entry<'_>>() + entry.key.len();
            let entries = entries.iter().map(|entry| add((key(entry), 0), measure(&entry.value)));
            entries.fold((0, 0), add)
        }
        _ => return (own, 0),
    };
    (own + bytes, height + 1)
}

/// saphyr counts characters, [`Span`] counts bytes; questions come nearly in the text's order.
struct Places<'a> {
    text: &'a str,
    is_ascii: bool,
    character: usize,
    byte: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, is_ascii: text.is_ascii(), character: 0, byte: 0 }
    }

    fn span(&mut self, start: Marker, end: Marker) -> Span {
        Span::new(self.byte(start.index()), self.byte(end.index()))
    }

    fn byte(&mut self, character: usize) -> usize {
        if self.is_ascii {
            return character.min(self.text.len());
        }
        let (before, after) = self.text.split_at(self.byte);
        if character < self.character {
            let back = self.character - character;
            self.byte -= before.chars().rev().take(back).map(char::len_utf8).sum::<usize>();
        } else {
            let ahead = character - self.character;
            self.byte += after.chars().take(ahead).map(char::len_utf8).sum::<usize>();
        }
        self.character = character;
        self.byte
    }
}
