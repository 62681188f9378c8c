//! What the engine is configured with, and what one task asks for.

use google_cloud_bigquery_v2::model::DatasetReference;
use oxidag_google::{GoogleConfig, text_param};
use oxidag_plugin_api::{Error, Result, Task};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The engine's section of `plugins.toml`. A task's parameters of the same names come first.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub(crate) google: GoogleConfig,
    /// Where jobs run: `US`, `EU`, `europe-west1`, … Without it BigQuery decides by the tables.
    pub(crate) location: Option<String>,
    /// The dataset of tables that a script names without one: `dataset` or `project.dataset`.
    pub(crate) dataset: Option<String>,
    /// Whether jobs start at once or when BigQuery has resources to spare.
    pub(crate) priority: Option<Priority>,
    /// A job that would be billed for more bytes fails, and costs nothing.
    #[schemars(range(min = 1))]
    pub(crate) maximum_bytes_billed: Option<i64>,
}

impl Config {
    /// What the schema says and the types do not.
    pub(crate) fn check(&self) -> Result<()> {
        match self.maximum_bytes_billed {
            Some(bytes) if bytes < 1 => {
                Err(Error::invalid(format!("`maximum_bytes_billed` must be at least 1, not {bytes}")))
            }
            _ => Ok(()),
        }
    }
}

/// When a job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    /// At once.
    #[default]
    Interactive,
    /// When there are resources to spare.
    Batch,
}

impl Priority {
    /// BigQuery's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Interactive => "INTERACTIVE",
            Self::Batch => "BATCH",
        }
    }
}

/// Which rows a task leaves as its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultMode {
    /// Those of a single `SELECT`, if they fit.
    IfTheyFit,
    /// Those of the last statement, which must have some and fit.
    Rows,
    /// None.
    None,
}

/// What a task asks for, apart from its script and project.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) location: Option<String>,
    pub(crate) dataset: Option<DatasetReference>,
    pub(crate) priority: Priority,
    pub(crate) maximum_bytes_billed: Option<i64>,
    pub(crate) result: ResultMode,
}

impl Request {
    /// The task's parameters, and the configuration where it has none.
    ///
    /// # Errors
    ///
    /// When a parameter is not what it must be.
    pub(crate) fn new(config: &Config, task: &Task, project: &str) -> Result<Self> {
        let dataset = text_param(task, "dataset")?.or(config.dataset.as_deref());
        let location = text_param(task, "location")?.or(config.location.as_deref());
        Ok(Self {
            location: location.map(str::to_owned),
            dataset: dataset.map(|name| dataset_reference(name, project)).transpose()?,
            priority: priority(config, task)?,
            maximum_bytes_billed: maximum_bytes_billed(config, task)?,
            result: result_mode(task)?,
        })
    }
}

fn dataset_reference(name: &str, project: &str) -> Result<DatasetReference> {
    // A project of a domain has dots itself: `example.com:project.dataset`.
    let (project, dataset) = name.rsplit_once('.').unwrap_or((project, name));
    if project.is_empty() || dataset.is_empty() {
        return Err(Error::invalid(format!(
            "the dataset `{name}` is no name: write `dataset` or `project.dataset`"
        )));
    }
    Ok(DatasetReference::new().set_project_id(project).set_dataset_id(dataset))
}

fn priority(config: &Config, task: &Task) -> Result<Priority> {
    match text_param(task, "priority")? {
        None => Ok(config.priority.unwrap_or_default()),
        Some(text) if text.eq_ignore_ascii_case("interactive") => Ok(Priority::Interactive),
        Some(text) if text.eq_ignore_ascii_case("batch") => Ok(Priority::Batch),
        Some(text) => Err(wrong("priority", "`interactive` or `batch`", &Value::from(text))),
    }
}

/// pyDag's parameters are text throughout, so a number as text is one as well.
fn maximum_bytes_billed(config: &Config, task: &Task) -> Result<Option<i64>> {
    let name = "maximum_bytes_billed";
    let bytes = match task.params.get(name) {
        None | Some(Value::Null) => return Ok(config.maximum_bytes_billed),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
    };
    match bytes {
        Some(bytes) if bytes > 0 => Ok(Some(bytes)),
        _ => Err(wrong(name, "a whole number of bytes above 0", &task.params[name])),
    }
}

fn result_mode(task: &Task) -> Result<ResultMode> {
    match task.params.get("result") {
        None => Ok(ResultMode::IfTheyFit),
        Some(Value::String(text)) if text == "rows" => Ok(ResultMode::Rows),
        Some(Value::String(text)) if text == "none" => Ok(ResultMode::None),
        Some(other) => Err(wrong("result", "`rows` or `none`", other)),
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

    fn request(config: Value, params: Value) -> Result<Request> {
        Request::new(&serde_json::from_value(config).unwrap(), &task("", params), "p")
    }

    #[test]
    fn the_schema_refuses_unknown_keys_and_knows_those_of_all_google_engines() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_eq!(schema["additionalProperties"], false, "{schema:#}");
        for key in ["project", "endpoint", "impersonate", "location", "maximum_bytes_billed"] {
            assert!(schema["properties"][key].is_object(), "{key}");
        }
    }

    #[test]
    fn a_task_overrides_the_config() {
        let config =
            json!({"location": "US", "dataset": "d", "priority": "batch", "maximum_bytes_billed": 7});
        let from_config = request(config.clone(), json!({})).unwrap();
        assert_eq!(from_config.location.as_deref(), Some("US"));
        let dataset = DatasetReference::new().set_project_id("p").set_dataset_id("d");
        assert_eq!(from_config.dataset, Some(dataset));
        assert_eq!(from_config.priority, Priority::Batch);
        assert_eq!(from_config.maximum_bytes_billed, Some(7));
        let params = json!({"location": "EU", "dataset": "a.com:q.e", "priority": "INTERACTIVE", "maximum_bytes_billed": "8"});
        let own = request(config, params).unwrap();
        assert_eq!(own.location.as_deref(), Some("EU"));
        let dataset = DatasetReference::new().set_project_id("a.com:q").set_dataset_id("e");
        assert_eq!(own.dataset, Some(dataset));
        assert_eq!(own.priority, Priority::Interactive);
        assert_eq!(own.maximum_bytes_billed, Some(8));
    }

    #[test]
    fn a_parameter_of_the_wrong_kind_is_named() {
        for (name, value) in [
            ("location", json!(5)),
            ("dataset", json!(".d")),
            ("priority", json!("soon")),
            ("maximum_bytes_billed", json!(0)),
            ("maximum_bytes_billed", json!("10 GB")),
            ("result", json!(true)),
        ] {
            let error = request(json!({}), json!({name: value})).unwrap_err();
            assert!(error.message.contains(name), "{error}");
            assert_eq!(error.kind, oxidag_plugin_api::ErrorKind::Invalid);
        }
    }
}
