//! Query parameters: `@name` stands for the task's parameter `name`, and becomes a literal.

use serde_json::{Map, Value};

use super::{Edits, Refused};
use crate::script::Statement;

/// Puts literals where parameters are.
///
/// # Errors
///
/// When the task has no such parameter, or its value has no literal.
pub(crate) fn fill(
    statement: &Statement<'_>,
    params: &Map<String, Value>,
    edits: &mut Edits,
) -> Result<(), Refused> {
    for token in &statement.tokens {
        let Some(name) = token.text.strip_prefix('@').filter(|name| is_name(name)) else { continue };
        let refused = |message| Refused { message, offset: token.start };
        // BigQuery takes parameters' names in any case.
        let value = params.get(name).or_else(|| {
            params.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        let value = value.ok_or_else(|| {
            refused(format!(
                "the query parameter `@{name}` gets no value: give the task a parameter `{name}`"
            ))
        })?;
        let text = literal(value).ok_or_else(|| {
            refused(format!("the value of the query parameter `@{name}` cannot be written in SQL"))
        })?;
        edits.replace(token.start..token.end, text);
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}

/// As BigQuery writes it.
fn literal(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(value) => value.to_string().to_uppercase(),
        // A sign must not meet another one: `x-@y`.
        Value::Number(number) => format!("({number})"),
        Value::String(text) => quoted(text)?,
        Value::Array(items) => format!("[{}]", all(items.iter().map(literal))?),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let name = (!name.contains('`')).then_some(name)?;
                Some(format!("{} AS `{name}`", literal(value)?))
            };
            format!("STRUCT({})", all(fields.iter().map(field))?)
        }
    })
}

fn all(parts: impl Iterator<Item = Option<String>>) -> Option<String> {
    Some(parts.collect::<Option<Vec<_>>>()?.join(", "))
}

fn quoted(text: &str) -> Option<String> {
    if text.contains('\0') {
        return None;
    }
    let escaped = text.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n").replace('\r', r"\r");
    Some(format!("'{escaped}'"))
}
