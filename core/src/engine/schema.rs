//! An engine's configuration, held against the engine's own JSON Schema. Mistakes are told by their place, what is allowed there and
//! what was probably meant; never by the value, which may be a secret.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::{Map, Value};

use crate::spec::suggest;

/// What is wrong with a configuration, each with its place; or what is wrong with the schema.
pub(super) fn problems(schema: &Value, config: &Value) -> Result<Vec<String>, String> {
    let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
    Ok(validator.iter_errors(config).map(|error| problem(schema, &error)).collect())
}

fn problem(schema: &Value, error: &ValidationError<'_>) -> String {
    let place = error.instance_path().to_string().replace('/', ".");
    let said = match error.kind() {
        Kind::AdditionalProperties { unexpected } => unknown_keys(schema, error, unexpected),
        Kind::Enum { .. } | Kind::Constant { .. } | Kind::OneOfNotValid { .. } | Kind::AnyOf { .. } => {
            not_allowed(schema, error)
        }
        _ => None,
    };
    format!("`config{place}`: {}", said.unwrap_or_else(|| error.masked().to_string()))
}

/// Keys that there are not, and the nearest one that there is, or all.
fn unknown_keys(schema: &Value, error: &ValidationError<'_>, unexpected: &[String]) -> Option<String> {
    let path = error.schema_path().to_string();
    let object = schema.pointer(path.strip_suffix("/additionalProperties")?)?;
    let known: Vec<&str> = object
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect();
    let told = unexpected.iter().map(|key| {
        let help = match known[..] {
            [] => "it has no keys".to_owned(),
            _ => suggest::or_list(key, "it has", &known),
        };
        format!("there is no key `{key}`; {help}")
    });
    Some(told.collect::<Vec<_>>().join("; "))
}

/// The values that are allowed where there are only so many, or the kinds of values; and the nearest one.
fn not_allowed(schema: &Value, error: &ValidationError<'_>) -> Option<String> {
    let rule = schema.pointer(error.schema_path().as_str())?;
    let mut allowed = Vec::new();
    let whole = match error.kind() {
        Kind::Enum { .. } => Value::from(Map::from_iter([("enum".to_owned(), rule.clone())])),
        Kind::Constant { .. } => Value::from(Map::from_iter([("const".to_owned(), rule.clone())])),
        _ => Value::from(Map::from_iter([("anyOf".to_owned(), rule.clone())])),
    };
    collect(schema, &whole, 0, &mut allowed)?;
    let near =
        error.instance().as_str().and_then(|word| suggest::nearest(word, allowed.iter().map(String::as_str)));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(format!(
        "must be one of {}{near}",
        allowed.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
    ))
}

/// What a part of the schema allows, as people write it. Nothing where that cannot be listed.
fn collect(schema: &Value, part: &Value, depth: usize, allowed: &mut Vec<String>) -> Option<()> {
    // A schema may be written in terms of itself.
    const DEEPEST: usize = 8;
    if depth > DEEPEST {
        return None;
    }
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(value) = part.get("const") {
        allowed.push(shown(value));
    } else if let Some(values) = part.get("enum").and_then(Value::as_array) {
        allowed.extend(values.iter().map(shown));
    } else if let Some(parts) = part.get("oneOf").or(part.get("anyOf")).and_then(Value::as_array) {
        parts.iter().try_for_each(|part| collect(schema, part, depth + 1, allowed))?;
    } else if let Some(place) = part.get("$ref").and_then(Value::as_str) {
        collect(schema, schema.pointer(place.strip_prefix('#')?)?, depth + 1, allowed)?;
    } else if part.get("type").and_then(Value::as_str) != Some("null") {
        return None;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As schemars writes enums, optional ones and those whose values have comments.
    fn said(config: &Value) -> Vec<String> {
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "colour": {"type": "string", "enum": ["red", "green", "blue"]},
                "mode": {"anyOf": [{"$ref": "#/$defs/Mode"}, {"type": "null"}]},
                "size": {"type": "integer", "minimum": 1},
                "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "nested": {"$ref": "#/$defs/Nested"},
            },
            "$defs": {
                "Mode": {"oneOf": [{"const": "fast", "type": "string"}, {"enum": ["slow", "slower"]}]},
                "Nested": {"type": "object", "properties": {"endpoint": {}}, "additionalProperties": false},
            },
        });
        problems(&schema, config).unwrap()
    }

    #[test]
    fn a_key_that_there_is_not_has_the_nearest_or_all_beside_it() {
        assert_eq!(
            said(&json!({"color": "red"})),
            ["`config`: there is no key `color`; did you mean `colour`?"]
        );
        let all = "`colour`, `either`, `mode`, `nested`, `size`";
        assert_eq!(said(&json!({"x": 1})), [format!("`config`: there is no key `x`; it has: {all}")]);
        assert_eq!(
            said(&json!({"nested": {"endpont": 1}})),
            ["`config.nested`: there is no key `endpont`; did you mean `endpoint`?"]
        );
    }

    #[test]
    fn a_value_that_is_not_allowed_has_those_that_are_beside_it() {
        assert_eq!(
            said(&json!({"colour": "hush"})),
            ["`config.colour`: must be one of `red`, `green`, `blue`"]
        );
        assert_eq!(
            said(&json!({"mode": "slwo"})),
            ["`config.mode`: must be one of `fast`, `slow`, `slower`; did you mean `slow`?"]
        );
    }

    #[test]
    fn no_other_mistake_shows_the_value_either() {
        for config in [json!({"size": "hush"}), json!({"size": -4711}), json!({"either": ["hush"]})] {
            let said = said(&config).concat();
            assert!(
                !said.contains("hush") && !said.contains("4711") && said.starts_with("`config."),
                "{said}"
            );
        }
    }
}
