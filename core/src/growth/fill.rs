//! Placeholders in the parameters of tasks that are added: `{item}`, `{index}`, `{key}`, and what is inside of them
//! (`{item.name}`).
//!
//! Only these are looked at. All other braces stay as they are: they may be part of a script's own text.

use serde_json::{Map, Value};

/// What placeholders stand for, by name.
pub(super) type Bindings<'a> = [(&'static str, &'a Value)];

/// The parameters with their placeholders filled in; why not, where one stands for nothing.
pub(super) fn fill_all(
    params: &Map<String, Value>,
    bindings: &Bindings<'_>,
) -> Result<Map<String, Value>, String> {
    params.iter().map(|(name, value)| Ok((name.clone(), fill(value, bindings)?))).collect()
}

/// Text that is nothing but one placeholder becomes its value, of whatever type; within a text, text goes in as it is
/// and any other value as JSON prints it.
pub(super) fn fill(value: &Value, bindings: &Bindings<'_>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(path) if !path.contains(['{', '}']) && is_bound(path, bindings) => {
                find(path, bindings)?.clone()
            }
            _ => Value::String(fill_text(text, bindings)?),
        },
        Value::Array(list) => list.iter().map(|value| fill(value, bindings)).collect::<Result<_, _>>()?,
        Value::Object(map) => Value::Object(fill_all(map, bindings)?),
        other => other.clone(),
    })
}

/// The text with its placeholders filled in.
pub(super) fn fill_text(text: &str, bindings: &Bindings<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let path = rest[1..]
            .find(['{', '}'])
            .map(|end| &rest[1..=end])
            .filter(|path| rest[1 + path.len()..].starts_with('}') && is_bound(path, bindings));
        let Some(path) = path else {
            out.push('{');
            rest = &rest[1..];
            continue;
        };
        match find(path, bindings)? {
            Value::String(text) => out.push_str(text),
            other => out.push_str(&other.to_string()),
        }
        rest = &rest[path.len() + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

fn is_bound(path: &str, bindings: &Bindings<'_>) -> bool {
    let name = path.split('.').next().unwrap_or_default();
    bindings.iter().any(|(bound, _)| *bound == name)
}

fn find<'a>(path: &str, bindings: &Bindings<'a>) -> Result<&'a Value, String> {
    let mut parts = path.split('.');
    let name = parts.next().unwrap_or_default();
    let bound = bindings.iter().find(|(bound, _)| *bound == name).map(|(_, value)| *value);
    let found = bound.and_then(|bound| parts.try_fold(bound, part));
    found.ok_or_else(|| format!("the placeholder `{{{path}}}` stands for nothing: there is no such part"))
}

fn part<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(name),
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}
