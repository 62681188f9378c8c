//! Parameters: an object, or pyDag's text of single-quoted JSON.

use serde_json::{Map, Value as Json};

use super::super::diagnostic::quote;
use super::super::json;
use super::super::source::{SourceFile, Span};
use super::super::tree::{Entry, Node, Value};
use super::Lower;

impl Lower<'_> {
    pub(super) fn params(&mut self, name: &str, node: Node<'_>) -> Map<String, Json> {
        match node.value {
            Value::Map(entries) => self.object(entries),
            Value::Text(text) if text.trim().is_empty() => Map::new(),
            Value::Text(text) => self.quoted_json(&text, node.span),
            _ => {
                self.expected("a mapping", name, &node);
                Map::new()
            }
        }
    }

    fn object(&mut self, entries: Box<[Entry<'_>]>) -> Map<String, Json> {
        let mut params = Map::new();
        for entry in entries {
            if let Some((problem, help)) = key_problem(&entry.key) {
                let message = format!("parameter {} {problem}", quote(&entry.key));
                self.mistake_with_help(entry.key_span, message, help);
            }
            params.insert(entry.key.into_owned(), entry.value.into_json());
        }
        params
    }

    /// As pyDag reads it: every `'` is a `"`, and the rest is JSON.
    fn quoted_json(&mut self, text: &str, span: Span) -> Map<String, Json> {
        let json = text.replace('\'', "\"");
        // Mistakes in it point into the text where it stands in the file as it is.
        let source = SourceFile::new(self.source.path().to_owned(), json);
        let (params, inner, help) = match json::parse(source.text()) {
            Ok(parsed) => {
                let mut inner = Lower::new(&source, parsed.mistakes);
                let params = match parsed.root {
                    Node { value: Value::Map(entries), .. } => inner.object(entries),
                    other => {
                        inner.expected("a mapping", "params", &other);
                        Map::new()
                    }
                };
                (params, inner.into_mistakes(), None)
            }
            Err(refused) => {
                let help =
                    "pyDag's form turns every `'` into `\"`; a mapping in its place needs no such rule";
                (Map::new(), refused.mistakes, Some(help))
            }
        };
        for mut mistake in inner {
            let part = mistake.span.start as usize..mistake.span.end as usize;
            mistake.span = self.within(span, text, part);
            mistake.message.insert_str(0, "in the text of `params`: ");
            mistake.help = help.map(str::to_owned).or(mistake.help);
            self.mistakes.push(mistake);
        }
        params
    }
}

/// `**SECTION_key` is a connection, `*name` a variable, anything else a placeholder's name.
fn key_problem(key: &str) -> Option<(&'static str, &'static str)> {
    if let Some(connection) = key.strip_prefix("**") {
        let parts = connection.split_once('_');
        let valid = parts.is_some_and(|(section, key)| !section.is_empty() && !key.is_empty());
        let help = "a connection is `**SECTION_key`, for `key` of `[connections.SECTION]` in plugins.toml";
        return (!valid).then_some(("is not a connection", help));
    }
    match key {
        "" => Some(("has no name", "a parameter is named as the placeholder it fills")),
        "*" => Some(("has no name", "a variable is `*name`")),
        _ => None,
    }
}
