//! What the engine is configured with, and what one task asks for.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oxidag_plugin_api::{Error, Result, Task};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The engine's section of `plugins.toml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// DuckDB's program: a name to look up on PATH, or an absolute path.
    #[schemars(length(min = 1))]
    pub(crate) program: String,
    /// The database of a task that names none: a file, relative to the DAG's folder, or `:memory:`.
    #[schemars(length(min = 1))]
    pub(crate) database: String,
    /// The schema that a table without one belongs to.
    pub(crate) dataset: Option<String>,
    /// How long a task waits for other processes that use its database: seconds, or text such as `90s` or `5m`.
    pub(crate) lock_timeout: Seconds,
    /// Whether scripts are written in BigQuery's SQL. Without it they are DuckDB's own.
    pub(crate) translate: bool,
    /// What only BigQuery needs, so that an overlay may lay this engine over `bq`.
    #[serde(rename = "project")]
    _project: Option<Value>,
    /// As `project`.
    #[serde(rename = "location")]
    _location: Option<Value>,
    /// As `project`.
    #[serde(rename = "priority")]
    _priority: Option<Value>,
    /// As `project`.
    #[serde(rename = "maximum_bytes_billed")]
    _maximum_bytes_billed: Option<Value>,
    /// As `project`.
    #[serde(rename = "endpoint")]
    _endpoint: Option<Value>,
    /// As `project`.
    #[serde(rename = "iam_endpoint")]
    _iam_endpoint: Option<Value>,
    /// As `project`.
    #[serde(rename = "impersonate")]
    _impersonate: Option<Value>,
    /// As `project`.
    #[serde(rename = "quota_project")]
    _quota_project: Option<Value>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            program: "duckdb".to_owned(),
            database: ".oxidag/duckdb.db".to_owned(),
            dataset: None,
            lock_timeout: Seconds(Duration::from_secs(300)),
            translate: true,
            _project: None,
            _location: None,
            _priority: None,
            _maximum_bytes_billed: None,
            _endpoint: None,
            _iam_endpoint: None,
            _impersonate: None,
            _quota_project: None,
        }
    }
}

impl Config {
    /// What the schema cannot say.
    pub(crate) fn check(&self) -> Result<()> {
        if self.program.contains('/') && !self.program.starts_with('/') {
            return Err(Error::invalid(format!(
                "`program` names the relative path `{}`: write an absolute path, or a bare name to look up on PATH",
                self.program
            )));
        }
        Ok(())
    }
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

/// Where a task's tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Database {
    /// A file, by its absolute path.
    File(PathBuf),
    /// One that exists for this attempt alone.
    Memory,
}

/// Which rows a task leaves as its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultMode {
    /// Those of a script that is one query, if they fit.
    IfTheyFit,
    /// Those of the last statement, which must be a query whose rows fit.
    Rows,
    /// None.
    None,
}

/// What a task asks for: its parameters, and the configuration where it has none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) database: Database,
    pub(crate) dataset: Option<String>,
    pub(crate) result: ResultMode,
}

impl Request {
    /// # Errors
    ///
    /// When a parameter is none that can be meant.
    pub(crate) fn new(config: &Config, task: &Task) -> Result<Self> {
        let database = text(task, "database")?.unwrap_or(&config.database);
        let dataset = text(task, "dataset")?.or(config.dataset.as_deref());
        // BigQuery's tasks may name the dataset's project too.
        let dataset = dataset.map(|dataset| dataset.rsplit('.').next().unwrap_or(dataset).to_owned());
        if dataset.as_ref().is_some_and(String::is_empty) {
            return Err(Error::invalid("the parameter `dataset` names none: leave it out, or name one"));
        }
        let result = match text(task, "result")? {
            None => ResultMode::IfTheyFit,
            Some("rows") => ResultMode::Rows,
            Some("none") => ResultMode::None,
            Some(_) => return Err(Error::invalid("the parameter `result` must be `rows` or `none`")),
        };
        Ok(Self { database: Database::new(database, &task.working_dir)?, dataset, result })
    }
}

impl Database {
    fn new(name: &str, base: &Path) -> Result<Self> {
        if name == ":memory:" {
            return Ok(Self::Memory);
        }
        if name.is_empty() || name.ends_with('/') || name.contains('\0') {
            return Err(Error::invalid(format!(
                "the database {name:?} is no file: write a path, relative to the DAG's folder, or `:memory:`"
            )));
        }
        // DuckDB opens none as a file, and a folder named like one would help nobody. A file's name may hold a colon
        // behind a slash.
        let scheme = name.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| !scheme.is_empty());
        if scheme.is_some_and(|scheme| {
            scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '+')
        }) {
            return Err(Error::invalid(
                "the parameter or config `database` is a URL, which is no file here: write a path, relative to the \
                 DAG's folder, or `:memory:`",
            ));
        }
        Ok(Self::File(base.join(name)))
    }
}

fn text<'a>(task: &'a Task, name: &str) -> Result<Option<&'a str>> {
    match task.params.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        // The value is not shown: it may be a secret.
        Some(_) => Err(Error::invalid(format!("the parameter `{name}` must be text"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::task;

    fn request(params: Value) -> Result<Request> {
        Request::new(&Config::default(), &task("", params))
    }

    #[test]
    fn the_database_is_a_file_below_the_dags_folder_unless_told_otherwise() {
        let file = |params| request(params).unwrap().database;
        assert_eq!(file(json!({})), Database::File("/nowhere/.oxidag/duckdb.db".into()));
        assert_eq!(file(json!({"database": "a/b.db"})), Database::File("/nowhere/a/b.db".into()));
        assert_eq!(file(json!({"database": "./a:b.db"})), Database::File("/nowhere/a:b.db".into()));
        assert_eq!(file(json!({"database": "/a.db"})), Database::File("/a.db".into()));
        assert_eq!(file(json!({"database": ":memory:"})), Database::Memory);
    }

    #[test]
    fn a_parameter_that_cannot_be_meant_is_named() {
        for params in [json!({"database": 5}), json!({"database": "a/"}), json!({"database": ""})] {
            assert!(request(params).unwrap_err().message.contains("database"));
        }
        for url in ["s3://b/a.db", "https://u:p@h/a.db", "md:a", "gs://b/a", "file:a.db"] {
            let message = request(json!({"database": url})).unwrap_err().message;
            assert!(message.contains("`database` is a URL") && !message.contains(url), "{message}");
        }
        for params in [json!({"dataset": true}), json!({"dataset": "p."})] {
            assert!(request(params).unwrap_err().message.contains("`dataset`"));
        }
        assert!(request(json!({"result": "all"})).unwrap_err().message.contains("`result`"));
        assert_eq!(request(json!({"dataset": "p.d"})).unwrap().dataset.as_deref(), Some("d"));
    }

    #[test]
    fn the_configuration_refuses_what_it_does_not_know_but_takes_what_bq_needs() {
        let config = |json| serde_json::from_value::<Config>(json).map_err(|error| error.to_string());
        assert!(config(json!({"databse": "a"})).unwrap_err().starts_with("unknown field `databse`"));
        assert!(config(json!({"lock_timeout": "soon"})).unwrap_err().contains("not a duration"));
        config(json!({"project": "p", "location": "EU", "priority": "batch"})).unwrap();
        let relative = config(json!({"program": "bin/duckdb"})).unwrap().check().unwrap_err();
        insta::assert_snapshot!(relative, @"`program` names the relative path `bin/duckdb`: write an absolute path, or a bare name to look up on PATH");
    }
}
