//! Parameters: what a task's placeholders stand for, and the text with them filled in.
//!
//! Formatting knows what Python's `str.format` does with names: `{name}`, and `{{` and `}}` for braces. Text
//! goes in as it is, any other value as JSON prints it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The values of connections, by section and key as in `plugins.toml`.
pub type Connections = BTreeMap<(String, String), String>;

/// A key of `params` that names a connection: `**SECTION_key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionKey<'a> {
    /// What fills the placeholder: `SECTION_key`.
    pub name: &'a str,
    /// The section below `connections`.
    pub section: &'a str,
    /// The key in it.
    pub key: &'a str,
}

impl<'a> ConnectionKey<'a> {
    /// Reads a key of `params`; `None` for any other parameter.
    #[must_use]
    pub fn parse(param: &'a str) -> Option<Self> {
        let name = param.strip_prefix("**")?;
        let (section, key) = name.split_once('_')?;
        Some(Self { name, section, key })
    }
}

/// A task's parameters: the DAG's, then the task's own, then those of the command line; connections stand
/// under their names with their values.
#[must_use]
pub fn effective(
    dag: &Map<String, Value>,
    task: &Map<String, Value>,
    overrides: &Map<String, Value>,
    connections: &Connections,
) -> Map<String, Value> {
    let mut params = Map::with_capacity(dag.len() + task.len() + overrides.len());
    for (key, value) in dag.iter().chain(task) {
        match ConnectionKey::parse(key) {
            None => _ = params.insert(key.clone(), value.clone()),
            Some(connection) => {
                let place = (connection.section.to_owned(), connection.key.to_owned());
                if let Some(value) = connections.get(&place) {
                    params.insert(connection.name.to_owned(), Value::String(value.clone()));
                }
            }
        }
    }
    params.extend(overrides.iter().map(|(key, value)| (key.clone(), value.clone())));
    params
}

/// A mistake in a text with placeholders, at a byte of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FormatError {
    /// Where the placeholder or brace stands.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// Whether a value is all that is missing.
    pub is_missing_value: bool,
}

/// Fills in the placeholders.
///
/// # Errors
///
/// Every mistake in the text: a placeholder without a value, a brace that is not doubled, a format
/// specification or conversion.
pub fn format<'t>(text: &'t str, params: &Map<String, Value>) -> Result<Cow<'t, str>, Vec<FormatError>> {
    if !text.contains(['{', '}']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let at = text.len() - rest.len() + brace;
        out.push_str(&rest[..brace]);
        rest = &rest[brace..];
        match placeholder(rest, params, &mut out) {
            Ok(length) => rest = &rest[length..],
            Err((length, error)) => {
                errors.push(FormatError { at, ..error });
                rest = &rest[length..];
            }
        }
    }
    out.push_str(rest);
    if errors.is_empty() { Ok(Cow::Owned(out)) } else { Err(errors) }
}

/// Reads what begins with the brace at the start of `text`, and tells how long it is. A mistake is at 0 there.
fn placeholder(
    text: &str,
    params: &Map<String, Value>,
    out: &mut String,
) -> Result<usize, (usize, FormatError)> {
    if text.starts_with("{{") || text.starts_with("}}") {
        out.push_str(&text[..1]);
        return Ok(2);
    }
    if text.starts_with('}') {
        return Err((1, mistake("a single `}`; write `}}` for a brace in the text".to_owned())));
    }
    let Some(end) =
        text[1..].find(['{', '}', '\n']).map(|end| end + 1).filter(|&end| text[end..].starts_with('}'))
    else {
        return Err((1, mistake("a single `{`; write `{{` for a brace in the text".to_owned())));
    };
    let name = &text[1..end];
    match params.get(name) {
        Some(Value::String(value)) => out.push_str(value),
        Some(value) => out.push_str(&value.to_string()),
        None => return Err((end + 1, without_value(name))),
    }
    Ok(end + 1)
}

fn mistake(message: String) -> FormatError {
    FormatError { at: 0, message, is_missing_value: false }
}

fn without_value(name: &str) -> FormatError {
    let word =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_-.*".contains(c));
    match name.split_once([':', '!']) {
        Some((before, _)) if word(before) => mistake(format!(
            "`{{{name}}}` has a format specification or conversion, which is not supported; write `{{{before}}}`"
        )),
        _ if word(name) => {
            let message = format!("the placeholder `{{{name}}}` has no value");
            FormatError { is_missing_value: true, ..mistake(message) }
        }
        _ => mistake(format!(
            "`{{{name}}}` is not a placeholder; write `{{{{` and `}}}}` for braces in the text"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn filled(text: &str, params: Value) -> Result<String, String> {
        let Value::Object(params) = params else { unreachable!() };
        let joined = |errors: Vec<FormatError>| {
            errors.iter().map(|e| format!("{}: {e}", e.at)).collect::<Vec<_>>().join("; ")
        };
        format(text, &params).map(Cow::into_owned).map_err(joined)
    }

    #[test]
    fn placeholders_are_filled_and_doubled_braces_are_braces() {
        let params = json!({"table": "t1", "n": 3, "list": ["a"], "*v": true, "GCP_service-account": "k"});
        assert_eq!(filled("from {table} limit {n} {{x}}", params.clone()).unwrap(), "from t1 limit 3 {x}");
        assert_eq!(filled("{list}{*v}{GCP_service-account}", params).unwrap(), "[\"a\"]truek");
    }

    #[test]
    fn a_value_with_braces_is_not_formatted_again() {
        assert_eq!(filled("{a}", json!({"a": "{b}}"})).unwrap(), "{b}}");
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let error = filled("{a} {b:>3} } {c d} {", json!({})).unwrap_err();
        insta::assert_snapshot!(error, @"0: the placeholder `{a}` has no value; 4: `{b:>3}` has a format specification or conversion, which is not supported; write `{b}`; 11: a single `}`; write `}}` for a brace in the text; 13: `{c d}` is not a placeholder; write `{{` and `}}` for braces in the text; 19: a single `{`; write `{{` for a brace in the text");
    }

    #[test]
    fn the_command_line_comes_before_the_task_and_the_task_before_the_dag() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let connections = Connections::from([(("GCP".into(), "key".into()), "secret".into())]);
        let params = effective(
            &map(json!({"a": 1, "b": 1, "c": 1})),
            &map(json!({"b": 2, "c": 2, "**GCP_key": ""})),
            &map(json!({"c": 3})),
            &connections,
        );
        assert_eq!(Value::Object(params), json!({"a": 1, "b": 2, "c": 3, "GCP_key": "secret"}));
    }

    proptest! {
        #[test]
        fn doubling_the_braces_of_any_text_keeps_it(text in ".*") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(format(&doubled, &Map::new()).unwrap(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[{}a:! \n]*") {
            let _ = format(&text, &Map::new());
        }
    }
}
