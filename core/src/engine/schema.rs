//! An engine's configuration, held against the engine's own JSON Schema. Mistakes are told by their place, what is allowed there and
//! what was probably meant; never by the value, which may be a secret.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError};
use serde_json::{Map, Value, json};

use crate::spec::suggest;

/// What is wrong with a configuration, each with its place; or what is wrong with the schema.
pub(super) fn problems(schema: &Value, config: &Value) -> Result<Vec<String>, String> {
    if allows_nothing_said(schema, config) {
        return Ok(Vec::new());
    }
    let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
    Ok(validator.iter_errors(config).flat_map(|error| told(schema, &error)).collect())
}

/// Whether nothing is configured and the schema plainly asks for nothing. Most engines are used so, and to make a schema ready,
/// which is held against the schema of schemas first, takes a third of a short run.
fn allows_nothing_said(schema: &Value, config: &Value) -> bool {
    /// Keywords that say nothing of an object without keys.
    const IDLE: [&str; 7] =
        ["$defs", "$schema", "additionalProperties", "description", "properties", "title", "type"];
    config.as_object().is_some_and(Map::is_empty)
        && schema["type"] == "object"
        && schema.as_object().is_some_and(|schema| schema.keys().all(|key| IDLE.contains(&key.as_str())))
}

fn told(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    if let Some(errors) = meant(error) {
        return errors.iter().flat_map(|error| told(schema, error)).collect();
    }
    let place = error.instance_path().to_string().replace('/', ".");
    let said = match error.kind() {
        Kind::AdditionalProperties { unexpected } => unknown_keys(schema, error, unexpected),
        Kind::Enum { .. } | Kind::Constant { .. } | Kind::OneOfNotValid { .. } | Kind::AnyOf { .. } => {
            not_allowed(schema, error)
        }
        Kind::Type { kind: TypeKind::Single(one) } => one_of(&[], &[*one]),
        Kind::Type { kind: TypeKind::Multiple(all) } => one_of(&[], &all.iter().collect::<Vec<_>>()),
        _ => None,
    };
    vec![format!("`config{place}`: {}", said.unwrap_or_else(|| error.masked().to_string()))]
}

/// Of several schemas of which none fits, the mistakes in the only one that is for such a value at all: an optional table, say.
fn meant<'e>(error: &'e ValidationError<'_>) -> Option<&'e [ValidationError<'static>]> {
    let (Kind::AnyOf { context } | Kind::OneOfNotValid { context }) = error.kind() else { return None };
    let is_other = |inner: &ValidationError<'_>| {
        inner.instance_path() == error.instance_path()
            && matches!(inner.kind(), Kind::Type { .. } | Kind::Enum { .. } | Kind::Constant { .. })
    };
    let mut fitting = context.iter().filter(|errors| !errors.iter().any(is_other));
    fitting.next().filter(|errors| !errors.is_empty() && fitting.next().is_none()).map(Vec::as_slice)
}

/// Keys that there are not, and the nearest one that there is, or all.
fn unknown_keys(schema: &Value, error: &ValidationError<'_>, unexpected: &[String]) -> Option<String> {
    let path = error.schema_path().to_string();
    let object = schema.pointer(path.strip_suffix("/additionalProperties")?)?;
    let known = object.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let known: Vec<&str> = known.map(String::as_str).collect();
    let told = unexpected.iter().map(|key| {
        let help = match known[..] {
            [] => "it has no keys".to_owned(),
            _ => suggest::or_list(key, "it has", &known),
        };
        format!("there is no key `{key}`; {help}")
    });
    Some(told.collect::<Vec<_>>().join("; "))
}

/// The values and the kinds of values that are allowed, and the nearest value.
fn not_allowed(schema: &Value, error: &ValidationError<'_>) -> Option<String> {
    let rule = schema.pointer(error.schema_path().as_str())?;
    let keyword = error.kind().keyword();
    let mut allowed = Allowed::default();
    allowed.add(schema, &json!({ keyword: rule }), 0)?;
    let said = one_of(&allowed.values, &allowed.kinds)?;
    let word = error.instance().as_str();
    let near = word.and_then(|word| suggest::nearest(word, allowed.values.iter().map(String::as_str)));
    Some(said + &near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())
}

/// What a part of a schema allows.
#[derive(Default)]
struct Allowed {
    /// As people write them.
    values: Vec<String>,
    kinds: Vec<JsonType>,
}

impl Allowed {
    /// Nothing where it cannot be listed.
    fn add(&mut self, schema: &Value, part: &Value, depth: usize) -> Option<()> {
        // A schema may be written in terms of itself.
        const DEEPEST: usize = 8;
        if depth > DEEPEST {
            return None;
        }
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Some(value) = part.get("const") {
            self.values.push(shown(value));
        } else if let Some(values) = part.get("enum").and_then(Value::as_array) {
            self.values.extend(values.iter().map(shown));
        } else if let Some(parts) = part.get("oneOf").or(part.get("anyOf")).and_then(Value::as_array) {
            parts.iter().try_for_each(|part| self.add(schema, part, depth + 1))?;
        } else if let Some(place) = part.get("$ref").and_then(Value::as_str) {
            self.add(schema, schema.pointer(place.strip_prefix('#')?)?, depth + 1)?;
        } else {
            let kinds = part.get("type")?;
            for kind in kinds.as_array().map_or(std::slice::from_ref(kinds), Vec::as_slice) {
                self.kinds.push(kind.as_str()?.parse().ok()?);
            }
        }
        Some(())
    }
}

/// `must be this, that or a number`; what is `null` cannot be written in TOML.
fn one_of(values: &[String], kinds: &[JsonType]) -> Option<String> {
    let kinds = kinds.iter().filter(|kind| **kind != JsonType::Null).map(|kind| name(*kind).to_owned());
    let mut all: Vec<String> = values.iter().map(|value| format!("`{value}`")).chain(kinds).collect();
    let last = all.pop()?;
    let before = all.join(", ");
    Some(if all.is_empty() { format!("must be {last}") } else { format!("must be {before} or {last}") })
}

/// In the words of TOML.
fn name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a table",
        JsonType::String => "a text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As schemars writes enums, optional ones and those whose values have comments.
    fn said(config: &Value) -> Vec<String> {
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "colour": {"type": "string", "enum": ["red", "green", "blue"]},
                "mode": {"anyOf": [{"$ref": "#/$defs/Mode"}, {"type": "null"}]},
                "size": {"type": "integer", "minimum": 1},
                "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "nested": {"anyOf": [{"$ref": "#/$defs/Nested"}, {"type": "null"}]},
            },
            "$defs": {
                "Mode": {"oneOf": [{"const": "fast", "type": "string"}, {"enum": ["slow", "slower"]}]},
                "Nested": {"type": "object", "properties": {"endpoint": {}}, "additionalProperties": false},
            },
        });
        problems(&schema, config).unwrap()
    }

    #[test]
    fn nothing_said_fits_where_nothing_is_asked_for() {
        assert_eq!(said(&json!({})), [""; 0]);
        let asking = json!({"type": "object", "properties": {"key": {}}, "required": ["key"]});
        assert_eq!(problems(&asking, &json!({})).unwrap().len(), 1);
        assert_eq!(problems(&json!({"type": "string"}), &json!({})).unwrap().len(), 1);
        assert!(problems(&json!({"type": "objekt"}), &json!({})).is_err());
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
        assert_eq!(said(&json!({"colour": "hush"})), ["`config.colour`: must be `red`, `green` or `blue`"]);
        assert_eq!(
            said(&json!({"mode": "slwo"})),
            ["`config.mode`: must be `fast`, `slow` or `slower`; did you mean `slow`?"]
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_has_the_right_one_beside_it() {
        assert_eq!(said(&json!({"size": "hush"})), ["`config.size`: must be a whole number"]);
        assert_eq!(said(&json!({"either": ["hush"]})), ["`config.either`: must be a text or a whole number"]);
        assert_eq!(said(&json!({"nested": "hush"})), ["`config.nested`: must be a table"]);
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
