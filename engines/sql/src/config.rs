//! What the engine is configured with, and what one task asks for.

use std::borrow::Cow;
use std::time::Duration;

use oxidag_plugin_api::{Error, Result, Task};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The engine's section of `plugins.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The database of a task that names none: `sqlite:FILE`, `sqlite::memory:` or `postgres://…`.
    pub(crate) url: Option<String>,
    /// How long a SQLite task waits for others that write: seconds, or text such as `90s` or `5m`.
    pub(crate) busy_timeout: Seconds,
    /// Whether a script that begins no transaction of its own runs in one.
    pub(crate) transaction: bool,
    /// Which rows a task leaves as its result. Without it: those of a script that is one statement.
    pub(crate) result: Option<ResultMode>,
}

impl Default for Config {
    fn default() -> Self {
        Self { url: None, busy_timeout: Seconds(Duration::from_secs(60)), transaction: true, result: None }
    }
}

/// Which rows are left as the task's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResultMode {
    /// Those of the last statement; the task fails if it has none or too many.
    Rows,
    /// None.
    None,
}

/// A duration as DAG files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duration = match Value::deserialize(deserializer)? {
            Value::Number(number) => {
                number.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            }
            Value::String(text) => humantime::parse_duration(&text).ok(),
            _ => None,
        };
        duration.map(Self).ok_or_else(|| {
            D::Error::custom("not a duration: write a number of seconds, or text such as `90s`")
        })
    }
}

impl JsonSchema for Seconds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"], "minimum": 0 })
    }
}

/// What a task asks for: its parameters, and the configuration where it has none.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) busy_timeout: Duration,
    pub(crate) transaction: bool,
    pub(crate) result: Option<ResultMode>,
}

impl Request {
    pub(crate) fn new(config: &Config, task: &Task) -> Result<Self> {
        let transaction = match task.params.get("transaction") {
            None => config.transaction,
            Some(Value::Bool(transaction)) => *transaction,
            Some(other) => return Err(wrong("transaction", "true or false", other)),
        };
        let result = match task.params.get("result") {
            None => config.result,
            Some(Value::String(text)) if text == "rows" => Some(ResultMode::Rows),
            Some(Value::String(text)) if text == "none" => Some(ResultMode::None),
            Some(other) => return Err(wrong("result", "`rows` or `none`", other)),
        };
        Ok(Self { url: url(config, task)?, busy_timeout: config.busy_timeout.0, transaction, result })
    }
}

/// The parameter `url`, else the one connection whose name ends in `url`, else the configured one.
fn url(config: &Config, task: &Task) -> Result<String> {
    let connections: Vec<&str> =
        task.connections.iter().map(String::as_str).filter(|name| name.ends_with("url")).collect();
    let name = match (task.params.contains_key("url"), connections.as_slice()) {
        (true, _) => "url",
        (false, [name]) => name,
        (false, []) => {
            return config.url.clone().ok_or_else(|| {
                Error::invalid(
                    "no database is named: give the task a parameter `url` or a connection `**NAME_url`, \
                     or set `url` in the engine's config",
                )
            });
        }
        (false, several) => {
            return Err(Error::invalid(format!(
                "the connections {} all end in `url`: keep one, or name the database by the parameter `url`",
                several.join(", ")
            )));
        }
    };
    match task.params.get(name) {
        Some(Value::String(url)) => Ok(url.trim().to_owned()),
        // The value is not shown: it may be a secret.
        _ => Err(Error::invalid(format!("the parameter `{name}` must be text, the URL of a database"))),
    }
}

fn wrong(name: &str, wanted: &str, found: &Value) -> Error {
    Error::invalid(format!("the parameter `{name}` must be {wanted}, not {found}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::task;

    fn config(value: Value) -> Result<Config, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    fn request(config: Value, params: Value, connections: &[&str]) -> Result<Request> {
        let mut task = task("", params);
        task.connections = connections.iter().map(|name| (*name).to_owned()).collect();
        Request::new(&serde_json::from_value(config).unwrap(), &task)
    }

    #[test]
    fn a_script_is_atomic_and_waits_a_minute_unless_told_otherwise() {
        let defaults = config(json!({})).unwrap();
        assert!(defaults.transaction);
        assert_eq!(defaults.busy_timeout.0, Duration::from_secs(60));
        let minutes = config(json!({"busy_timeout": "5m"})).unwrap();
        assert_eq!(minutes.busy_timeout.0, Duration::from_secs(300));
        assert_eq!(config(json!({"busy_timeout": 1.5})).unwrap().busy_timeout.0, Duration::from_millis(1500));
    }

    #[test]
    fn a_wrong_key_or_duration_is_refused() {
        let unknown = config(json!({"urls": "sqlite:a"})).unwrap_err();
        assert!(unknown.starts_with("unknown field `urls`"), "{unknown}");
        for wrong in [json!(-1), json!("soon"), json!(null), json!(1e300)] {
            let error = config(json!({"busy_timeout": wrong})).unwrap_err();
            assert!(error.contains("not a duration"), "{error}");
        }
    }

    #[test]
    fn the_schema_refuses_unknown_keys_too() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["busy_timeout"]["type"], json!(["number", "string"]));
    }

    #[test]
    fn the_tasks_own_url_wins_over_a_connection_and_that_over_the_config() {
        let all = json!({"url": "sqlite:own", "PG_url": "sqlite:connection"});
        let url = |params: Value| {
            request(json!({"url": "sqlite:config"}), params, &["PG_url", "PG_user"]).unwrap().url
        };
        assert_eq!(url(all), "sqlite:own");
        assert_eq!(url(json!({"PG_url": " sqlite:connection\n", "PG_user": "u"})), "sqlite:connection");
        assert_eq!(request(json!({"url": "sqlite:config"}), json!({}), &[]).unwrap().url, "sqlite:config");
    }

    #[test]
    fn no_url_or_two_of_them_is_an_error_that_says_what_to_do() {
        let none = request(json!({}), json!({"my_url": "sqlite:no connection"}), &[]).unwrap_err();
        insta::assert_snapshot!(none, @"no database is named: give the task a parameter `url` or a connection `**NAME_url`, or set `url` in the engine's config");
        let two = json!({"A_url": "sqlite:a", "B_url": "sqlite:b"});
        insta::assert_snapshot!(request(json!({}), two, &["A_url", "B_url"]).unwrap_err(), @"the connections A_url, B_url all end in `url`: keep one, or name the database by the parameter `url`");
    }

    #[test]
    fn a_parameter_of_the_wrong_type_is_named() {
        for (name, value) in [("transaction", json!("no")), ("result", json!(true)), ("url", json!(5))] {
            let mut params = json!({"url": "sqlite:a"});
            params[name] = value;
            let error = request(json!({}), params, &[]).unwrap_err();
            assert!(error.message.contains(&format!("`{name}`")), "{error}");
        }
    }
}
