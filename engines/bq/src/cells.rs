//! Rows as the API writes them (`{"f": [{"v": …}]}`), read by their schema as plain JSON.

use google_cloud_bigquery_v2::model::TableFieldSchema;
use google_cloud_wkt::Timestamp;
use serde_json::{Map, Number, Value};

/// A row as an object of its columns.
pub(crate) fn row(fields: &[TableFieldSchema], row: &Map<String, Value>) -> Value {
    let cells = row.get("f").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let values =
        fields.iter().zip(cells).map(|(field, cell)| (field.name.clone(), column(field, &cell["v"])));
    Value::Object(values.collect())
}

fn column(field: &TableFieldSchema, value: &Value) -> Value {
    match value {
        Value::Array(parts) if field.mode == "REPEATED" => {
            parts.iter().map(|part| one(field, &part["v"])).collect()
        }
        value => one(field, value),
    }
}

fn one(field: &TableFieldSchema, value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text,
        Value::Object(fields) => return row(&field.fields, fields),
        other => return other.clone(),
    };
    let typed = match field.r#type.as_str() {
        "INTEGER" | "INT64" => text.parse().ok().map(|number: i64| number.into()),
        "FLOAT" | "FLOAT64" => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
        "BOOLEAN" | "BOOL" => text.parse().ok().map(Value::Bool),
        "TIMESTAMP" => timestamp(text),
        "JSON" => serde_json::from_str(text).ok(),
        // Exact numbers, days and times have no type in JSON.
        _ => None,
    };
    typed.unwrap_or_else(|| text.clone().into())
}

/// Microseconds since 1970 as RFC 3339.
fn timestamp(text: &str) -> Option<Value> {
    let micros: i64 = text.parse().ok()?;
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000).ok()?;
    let time = Timestamp::new(micros.div_euclid(1_000_000), nanos).ok()?;
    Some(String::from(time).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(name: &str, kind: &str) -> TableFieldSchema {
        TableFieldSchema::new().set_name(name).set_type(kind).set_mode("NULLABLE")
    }

    fn read(fields: &[TableFieldSchema], cells: Value) -> Value {
        row(fields, json!({"f": cells}).as_object().unwrap())
    }

    #[test]
    fn values_have_the_types_of_their_columns() {
        for (kind, text, value) in [
            ("INTEGER", "9223372036854775807", json!(i64::MAX)),
            ("FLOAT", "1.5E-3", json!(0.0015)),
            ("FLOAT", "NaN", json!("NaN")),
            ("BOOLEAN", "true", json!(true)),
            ("NUMERIC", "0.1", json!("0.1")),
            ("DATE", "2024-02-29", json!("2024-02-29")),
            ("TIMESTAMP", "1709164800000001", json!("2024-02-29T00:00:00.000001Z")),
            ("TIMESTAMP", "-1", json!("1969-12-31T23:59:59.999999Z")),
            ("JSON", "{\"a\":[1]}", json!({"a": [1]})),
            ("STRING", "7", json!("7")),
        ] {
            assert_eq!(read(&[field("c", kind)], json!([{"v": text}])), json!({"c": value}), "{kind}");
        }
        assert_eq!(read(&[field("c", "INTEGER")], json!([{"v": null}])), json!({"c": null}));
    }

    #[test]
    fn records_and_lists_are_nested() {
        let inner = [field("n", "INTEGER"), field("s", "STRING").set_mode("REPEATED")];
        let fields = [field("r", "RECORD").set_mode("REPEATED").set_fields(inner)];
        let cells = json!([{"v": [{"v": {"f": [{"v": "1"}, {"v": [{"v": "a"}, {"v": "b"}]}]}}, {"v": {"f": [{"v": null}, {"v": []}]}}]}]);
        assert_eq!(read(&fields, cells), json!({"r": [{"n": 1, "s": ["a", "b"]}, {"n": null, "s": []}]}));
    }
}
