//! What the engine is configured with.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use oxidag_google::GoogleConfig;
use oxidag_plugin_api::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::request::Function;

/// The engine's section of `plugins.toml`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Config {
    /// What all of Google's engines have.
    #[serde(flatten)]
    pub(crate) google: GoogleConfig,
    /// The region of functions that are called by their name, unless a task's parameter names one.
    pub(crate) region: Option<String>,
    /// Where a function is called by its name, with `{project}`, `{region}` and `{function}`. Without it, Google
    /// is asked for the function's URL.
    pub(crate) url: Option<String>,
    /// Whom identity tokens are for, instead of the function's URL: a custom audience.
    pub(crate) audience: Option<String>,
    /// How a call says who calls.
    pub(crate) auth: Auth,
    /// How long one call may take: seconds, or text such as `10m`.
    pub(crate) timeout: Timeout,
    /// Whether functions may run twice for one call with the same `Idempotency-Key`, unless a task's parameter says otherwise. A
    /// call that may have run is then made again; else it is not, and has failed.
    pub(crate) idempotent: bool,
    /// What is deployed unless a task says otherwise.
    pub(crate) deploy: Deployment,
}

impl Config {
    /// Whether `url` can become a function's.
    ///
    /// # Errors
    ///
    /// `invalid`, when it has a placeholder that is none, or is no URL.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(template) = &self.url else { return Ok(()) };
        let sample = Function { project: "p".to_owned(), region: "r".to_owned(), name: "f".to_owned() };
        // What is left in braces was meant to be filled in.
        let filled = sample.fill(template);
        if let Some((_, rest)) = filled.split_once('{') {
            let name = rest.split('}').next().unwrap_or_default();
            return Err(Error::invalid(format!(
                "`url` has the unknown placeholder `{{{name}}}`: there are `{{project}}`, `{{region}}` and `{{function}}`"
            )));
        }
        sample.url(template).map(drop)
    }
}

/// How a call says who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Auth {
    /// By an identity token of the task's account.
    #[default]
    IdToken,
    /// Not at all: the function is public.
    None,
}

/// How long one call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub(crate) struct Timeout(pub(crate) Seconds);

impl Default for Timeout {
    /// The longest that Google lets a function run.
    fn default() -> Self {
        Self(Seconds(Duration::from_secs(60 * 60)))
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        // Beside a flattened struct serde does not say which key it is.
        Seconds::deserialize(deserializer).map(Self).map_err(|e| D::Error::custom(format!("`timeout`: {e}")))
    }
}

/// How a script's source becomes a function.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Deployment {
    /// Google's name for the language: `python312`, `nodejs22`, …
    pub(crate) runtime: Option<String>,
    /// What of the source is called; without it, the function's name with `_` for `-`.
    pub(crate) entry_point: Option<String>,
    /// What the source needs: the text of `requirements.txt`, `package.json`, `go.mod`, `Gemfile` or
    /// `composer.json`, or its lines.
    pub(crate) requirements: Option<Requirements>,
    /// Memory of an instance, such as `512Mi`.
    pub(crate) memory: Option<String>,
    /// Processors of an instance, such as `1`.
    pub(crate) cpu: Option<String>,
    /// How long the function may run: seconds, or text such as `9m`.
    pub(crate) timeout: Option<Seconds>,
    /// How many instances there may be.
    pub(crate) max_instances: Option<i32>,
    /// The email of the account that the function runs as.
    pub(crate) service_account: Option<String>,
    /// Environment variables of the function. Not for secrets: they show in the console.
    pub(crate) environment: BTreeMap<String, String>,
}

impl Deployment {
    /// This deployment, and the other's where it says nothing.
    pub(crate) fn or(self, other: &Self) -> Self {
        let mut environment = other.environment.clone();
        environment.extend(self.environment);
        Self {
            runtime: self.runtime.or_else(|| other.runtime.clone()),
            entry_point: self.entry_point.or_else(|| other.entry_point.clone()),
            requirements: self.requirements.or_else(|| other.requirements.clone()),
            memory: self.memory.or_else(|| other.memory.clone()),
            cpu: self.cpu.or_else(|| other.cpu.clone()),
            timeout: self.timeout.or(other.timeout),
            max_instances: self.max_instances.or(other.max_instances),
            service_account: self.service_account.or_else(|| other.service_account.clone()),
            environment,
        }
    }
}

/// A text, or its lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Requirements {
    /// The whole.
    Text(String),
    /// One requirement each.
    Lines(Vec<String>),
}

impl Requirements {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Lines(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
        }
    }
}

/// A duration as DAG files write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Seconds(pub(crate) Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let duration = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_f64().and_then(|n| Duration::try_from_secs_f64(n).ok()),
            Value::String(text) => humantime::parse_duration(&text).ok(),
            _ => None,
        };
        duration.filter(|duration| !duration.is_zero()).map(Self).ok_or_else(|| {
            D::Error::custom("not a duration above 0: write a number of seconds, or text such as `90s`")
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
        json_schema!({ "type": ["number", "string"], "exclusiveMinimum": 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_schema_refuses_unknown_keys_and_knows_those_that_are_shared() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_eq!(schema["additionalProperties"], json!(false));
        for key in ["project", "endpoint", "impersonate", "region", "url", "auth", "timeout", "deploy"] {
            assert!(schema["properties"][key].is_object(), "{key}: {schema}");
        }
    }

    #[test]
    fn a_config_is_read_with_its_defaults() {
        let config: Config = serde_json::from_value(json!({"project": "p", "timeout": "90s"})).unwrap();
        assert_eq!(config.google.project.as_deref(), Some("p"));
        assert_eq!(config.timeout.0.0, Duration::from_secs(90));
        assert_eq!(config.auth, Auth::IdToken);
        let config: Config = serde_json::from_value(json!({})).unwrap();
        assert_eq!(config.timeout.0.0, Duration::from_secs(3600));
        let wrong = serde_json::from_value::<Config>(json!({"timeout": "soon"})).unwrap_err();
        insta::assert_snapshot!(wrong, @"`timeout`: not a duration above 0: write a number of seconds, or text such as `90s`");
    }

    #[test]
    fn a_url_has_placeholders_that_there_are() {
        let check = |url: &str| serde_json::from_value::<Config>(json!({"url": url})).unwrap().check();
        check("https://{region}-{project}.cloudfunctions.net/{function}").unwrap();
        check("http://localhost:8080").unwrap();
        insta::assert_snapshot!(check("https://x/{fn}").unwrap_err(), @"`url` has the unknown placeholder `{fn}`: there are `{project}`, `{region}` and `{function}`");
        insta::assert_snapshot!(check("{function}").unwrap_err(), @"the config's `url` is no URL: relative URL without a base");
    }

    #[test]
    fn a_task_says_more_than_the_config_and_leaves_the_rest_to_it() {
        let read = |value| serde_json::from_value::<Deployment>(value).unwrap();
        let task = read(json!({"runtime": "python312", "environment": {"A": "task"}}));
        let config = read(
            json!({"runtime": "python39", "memory": "1Gi", "environment": {"A": "config", "B": "config"}}),
        );
        let expected = read(
            json!({"runtime": "python312", "memory": "1Gi", "environment": {"A": "task", "B": "config"}}),
        );
        assert_eq!(task.or(&config), expected);
    }
}
