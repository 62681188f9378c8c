//! Values and errors of CEL in words.

use cel::{ExecutionError, Value};

use crate::spec::quote;

/// A value, for "the condition gives …".
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Int(number) => format!("the number {number}"),
        Value::UInt(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", quote(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
        other => format!("a value of type {}", other.type_of()),
    }
}

/// Why an evaluation failed. Values in it are cut short: a result may have 64 KiB.
pub(super) fn error(error: &ExecutionError) -> String {
    use ExecutionError as E;
    match error {
        E::NoSuchKey(key) => format!("there is no key {}", quote(key)),
        E::UndeclaredReference(name) => format!("the name {} is unknown", quote(name)),
        E::UnexpectedType { got, want } => format!("a {want} is needed where a {got} is"),
        E::NoSuchOverload(call) => {
            let function = quote(call.function().trim_matches(['_', '@']));
            format!("{function} cannot be applied to {}", types(call.argument_types()))
        }
        E::UnsupportedBinaryOperator(operator, left, right) => {
            let sides = [left, right].map(|side| side.type_of().to_string());
            format!("`{operator}` cannot be applied to {}", types(&sides))
        }
        E::ValuesNotComparable(left, right) => {
            format!("{} cannot be compared with {}", value(left), value(right))
        }
        E::IndexOutOfBounds(index) => format!("the list ends before the index: {}", value(index)),
        E::DivisionByZero(number) | E::RemainderByZero(number) => {
            format!("{} cannot be divided by zero", value(number))
        }
        E::Overflow(operator, ..) => format!("the numbers are too large to `{operator}`"),
        E::FunctionError { function, message } => format!("{function}: {}", short(message)),
        other => short(&other.to_string()),
    }
}

fn types(types: &[String]) -> String {
    if types.is_empty() { "nothing".to_owned() } else { types.join(" and ") }
}

/// One line, at most so long.
fn short(message: &str) -> String {
    const LONGEST: usize = 200;
    let words: Vec<&str> = message.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let mut short = words.join(" ");
    if let Some((end, _)) = short.char_indices().nth(LONGEST) {
        short.truncate(end);
        short.push('…');
    }
    short
}
