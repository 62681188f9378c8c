//! JSON as CEL, and back.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use cel::objects::Key;
use serde_json::{Map, Value};

/// JSON as CEL: no value loses anything, as CEL has all three kinds of numbers that JSON here has.
pub(super) fn value(json: &Value) -> Cel {
    match json {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cel::Int(number),
            (None, Some(number)) => Cel::UInt(number),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(list) => Cel::List(Arc::new(list.iter().map(value).collect())),
        Value::Object(map) => object(map),
    }
}

pub(super) fn object(map: &Map<String, Value>) -> Cel {
    map.iter().map(|(key, json)| (key.clone(), value(json))).collect::<HashMap<_, _>>().into()
}

/// CEL as JSON; `None` where something in it has no place there, such as a key that is no text.
pub(super) fn of(value: &Cel) -> Option<Value> {
    Some(match value {
        Cel::Null => Value::Null,
        Cel::Bool(flag) => Value::Bool(*flag),
        Cel::Int(number) => Value::from(*number),
        Cel::UInt(number) => Value::from(*number),
        Cel::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        Cel::String(text) => Value::String(text.to_string()),
        Cel::List(list) => Value::Array(list.iter().map(of).collect::<Option<_>>()?),
        Cel::Map(map) => {
            let mut entries: Vec<(String, Value)> = Vec::with_capacity(map.map.len());
            for (key, value) in map.map.iter() {
                let Key::String(key) = key else { return None };
                entries.push((key.to_string(), of(value)?));
            }
            // CEL knows no order of keys, and a run that is repeated has the same one.
            entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        _ => return None,
    })
}
