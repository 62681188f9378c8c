//! From JSON to BigQuery's types and back to text: a parameter's value as the API takes it.

use google_cloud_bigquery_v2::model::{
    QueryParameter, QueryParameterStructType, QueryParameterType, QueryParameterValue,
};
use serde_json::{Map, Value};

/// Types of one value that may be named, with the older names that SQL knows as well.
const SCALARS: [&str; 20] = [
    "BOOL",
    "BOOLEAN",
    "INT64",
    "INTEGER",
    "INT",
    "FLOAT64",
    "FLOAT",
    "NUMERIC",
    "DECIMAL",
    "BIGNUMERIC",
    "BIGDECIMAL",
    "STRING",
    "BYTES",
    "DATE",
    "DATETIME",
    "TIME",
    "TIMESTAMP",
    "GEOGRAPHY",
    "INTERVAL",
    "JSON",
];

/// The parameter; an error goes on after "the query parameter `@name` …".
pub(super) fn parameter(name: &str, value: &Value) -> Result<QueryParameter, String> {
    let (kind, value) = typed(value)?;
    let parameter = QueryParameter::new().set_name(name);
    Ok(parameter.set_parameter_type(kind).set_parameter_value(value))
}

/// A type and a value of it, from what the value is, or from what it says it is: `{type, value}`.
fn typed(value: &Value) -> Result<(QueryParameterType, QueryParameterValue), String> {
    let name = match value {
        Value::Null => {
            return Err(
                "is null, which has no type: write {type, value}, as in {type: DATE, value: null}".into()
            );
        }
        Value::String(_) => "STRING",
        Value::Bool(_) => "BOOL",
        Value::Number(number) if number.is_f64() => "FLOAT64",
        Value::Number(number) if number.is_i64() => "INT64",
        Value::Number(_) => "NUMERIC",
        Value::Array(parts) => return array(parts),
        Value::Object(fields) => {
            return match (fields.len(), fields.get("type"), fields.get("value")) {
                (2, Some(Value::String(kind)), Some(value)) => {
                    let kind = named(kind)?;
                    let value = of_type(&kind, value)?;
                    Ok((kind, value))
                }
                _ => structure(fields),
            };
        }
    };
    Ok((scalar_type(name), scalar(value)))
}

fn array(parts: &[Value]) -> Result<(QueryParameterType, QueryParameterValue), String> {
    let mut kinds = Vec::new();
    let mut values = Vec::new();
    for part in parts {
        let (kind, value) = typed(part)?;
        kinds.push(kind);
        values.push(value);
    }
    // A list of numbers may have whole ones in it.
    if kinds.iter().any(|kind| kind.r#type == "FLOAT64") {
        for kind in kinds.iter_mut().filter(|kind| kind.r#type == "INT64") {
            *kind = scalar_type("FLOAT64");
        }
    }
    let Some(first) = kinds.first().cloned() else {
        return Err("is an empty list, which has no type: write {type: \"ARRAY<STRING>\", value: []}".into());
    };
    if kinds.iter().any(|kind| *kind != first) {
        return Err("is a list of values of different types".into());
    }
    if first.r#type == "ARRAY" {
        return Err("is a list of lists, which BigQuery does not know".into());
    }
    Ok((array_type(first), QueryParameterValue::new().set_array_values(values)))
}

fn structure(fields: &Map<String, Value>) -> Result<(QueryParameterType, QueryParameterValue), String> {
    let mut kinds = Vec::new();
    let mut values = Vec::new();
    for (name, value) in fields {
        let (kind, value) = typed(value)?;
        kinds.push(QueryParameterStructType::new().set_name(name).set_type(kind));
        values.push((name.clone(), value));
    }
    if kinds.is_empty() {
        return Err("is an object without fields".into());
    }
    let kind = QueryParameterType::new().set_type("STRUCT").set_struct_types(kinds);
    Ok((kind, QueryParameterValue::new().set_struct_values(values)))
}

/// A type by its name: one of [`SCALARS`], or a list of it.
fn named(name: &str) -> Result<QueryParameterType, String> {
    let name = name.trim().to_ascii_uppercase();
    if let Some(inner) = name.strip_prefix("ARRAY<").and_then(|rest| rest.strip_suffix('>')) {
        let inner = named(inner)?;
        return if inner.r#type == "ARRAY" {
            Err("is a list of lists, which BigQuery does not know".into())
        } else {
            Ok(array_type(inner))
        };
    }
    if SCALARS.contains(&name.as_str()) {
        return Ok(scalar_type(&name));
    }
    Err(format!("has the type `{name}`, which is none of {} and ARRAY<…>", SCALARS.join(", ")))
}

/// A value of a type that was named.
fn of_type(kind: &QueryParameterType, value: &Value) -> Result<QueryParameterValue, String> {
    match (kind.r#type.as_str(), value) {
        ("ARRAY", Value::Array(parts)) => {
            let inner = kind.array_type.clone().unwrap_or_default();
            let values: Result<Vec<_>, _> = parts.iter().map(|part| of_type(&inner, part)).collect();
            Ok(QueryParameterValue::new().set_array_values(values?))
        }
        (_, Value::Null) => Ok(QueryParameterValue::new()),
        ("ARRAY", _) => Err("has the type of a list, but its value is none".into()),
        ("JSON", value) => Ok(QueryParameterValue::new().set_value(value.to_string())),
        (name, Value::Array(_) | Value::Object(_)) => {
            Err(format!("has the type `{name}`, but its value is no single one"))
        }
        (_, value) => Ok(scalar(value)),
    }
}

fn scalar_type(name: &str) -> QueryParameterType {
    QueryParameterType::new().set_type(name)
}

fn array_type(of: QueryParameterType) -> QueryParameterType {
    QueryParameterType::new().set_type("ARRAY").set_array_type(of)
}

fn scalar(value: &Value) -> QueryParameterValue {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    QueryParameterValue::new().set_value(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Type and value as the API has them.
    fn sent(value: Value) -> Value {
        let (kind, value) = typed(&value).unwrap();
        json!([trimmed(&serde_json::to_value(kind).unwrap()), trimmed(&serde_json::to_value(value).unwrap())])
    }

    /// Without what is empty.
    fn trimmed(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let empty = |value: &Value| *value == json!({}) || *value == json!([]) || *value == json!("");
                let kept = fields.iter().map(|(key, value)| (key.clone(), trimmed(value)));
                kept.filter(|(_, value)| !empty(value)).collect::<Map<_, _>>().into()
            }
            Value::Array(parts) => parts.iter().map(trimmed).collect(),
            other => other.clone(),
        }
    }

    #[test]
    fn json_says_the_type() {
        assert_eq!(sent(json!("x")), json!([{"type": "STRING"}, {"value": "x"}]));
        assert_eq!(sent(json!(-3)), json!([{"type": "INT64"}, {"value": "-3"}]));
        assert_eq!(sent(json!(2.5)), json!([{"type": "FLOAT64"}, {"value": "2.5"}]));
        assert_eq!(sent(json!(true)), json!([{"type": "BOOL"}, {"value": "true"}]));
        assert_eq!(sent(json!(u64::MAX)), json!([{"type": "NUMERIC"}, {"value": "18446744073709551615"}]));
        let list = json!([{"type": "ARRAY", "arrayType": {"type": "FLOAT64"}}, {"arrayValues": [{"value": "1"}, {"value": "0.5"}]}]);
        assert_eq!(sent(json!([1, 0.5])), list);
        let object = json!([
            {"type": "STRUCT", "structTypes": [{"name": "a", "type": {"type": "INT64"}}]},
            {"structValues": {"a": {"value": "1"}}}
        ]);
        assert_eq!(sent(json!({"a": 1})), object);
    }

    #[test]
    fn a_type_may_be_named() {
        assert_eq!(
            sent(json!({"type": "date", "value": "2024-02-29"})),
            json!([{"type": "DATE"}, {"value": "2024-02-29"}])
        );
        assert_eq!(sent(json!({"type": "DATE", "value": null})), json!([{"type": "DATE"}, {}]));
        assert_eq!(
            sent(json!({"type": "ARRAY<STRING>", "value": []})),
            json!([{"type": "ARRAY", "arrayType": {"type": "STRING"}}, {}])
        );
        assert_eq!(
            sent(json!({"type": "JSON", "value": {"a": []}})),
            json!([{"type": "JSON"}, {"value": "{\"a\":[]}"}])
        );
    }

    #[test]
    fn what_has_no_type_is_refused() {
        for value in [
            json!(null),
            json!([]),
            json!([1, "a"]),
            json!([[1]]),
            json!({}),
            json!({"type": "DAY", "value": "x"}),
            json!({"type": "DATE", "value": [1]}),
            json!({"type": "ARRAY<DATE>", "value": "x"}),
        ] {
            assert!(typed(&value).is_err(), "{value}");
        }
    }
}
