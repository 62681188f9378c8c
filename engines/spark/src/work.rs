//! What a task asks of Spark, whichever backend runs it: pyDag's convention, applied to the task and the config.
//!
//! Connections stay here: none of them is among what this module gives out.

use std::collections::BTreeMap;

use oxidag_google::{labels, text_param};
use oxidag_plugin_api::{Error, Result, Task};
use serde_json::{Map, Value};

use crate::config::Config;

/// The key of a task's or config's jars, comma separated.
const JARS: &str = "spark.jars";

/// The property that holds the tags of an application on YARN, comma separated
/// (<https://spark.apache.org/docs/latest/running-on-yarn.html>).
const YARN_TAGS: &str = "spark.yarn.tags";

/// What kind of script it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    PySpark,
    Sql,
    Jar,
}

impl Kind {
    /// By the end of the script's name, else by the parameter `kind`, else PySpark.
    fn of(task: &Task) -> Result<Self> {
        let path = task.script.path.as_ref().and_then(|path| path.to_str());
        let names = [task.script.uri.as_deref(), path, Some(&task.script.name)];
        let by_name = names.into_iter().flatten().find_map(|name| {
            let kinds = [Self::PySpark, Self::Sql, Self::Jar];
            kinds.into_iter().find(|kind| name.to_ascii_lowercase().ends_with(kind.suffix()))
        });
        let asked = match text_param(task, "kind")? {
            None => None,
            Some("pyspark") => Some(Self::PySpark),
            Some("sql") => Some(Self::Sql),
            Some("jar") => Some(Self::Jar),
            Some(other) => {
                return Err(Error::invalid(format!(
                    "the parameter `kind` must be `pyspark`, `sql` or `jar`, not `{other}`"
                )));
            }
        };
        match (by_name, asked) {
            (Some(named), Some(asked)) if named != asked => Err(Error::invalid(format!(
                "the script {} ends in `{}`, and the parameter `kind` says otherwise: leave it out",
                task.script.name,
                named.suffix()
            ))),
            (named, asked) => Ok(named.or(asked).unwrap_or(Self::PySpark)),
        }
    }

    /// What its scripts' names end in.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::PySpark => ".py",
            Self::Sql => ".sql",
            Self::Jar => ".jar",
        }
    }
}

/// A job, as far as it is the same for every backend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Work {
    pub(crate) kind: Kind,
    /// `<dag_id>_<task_id>`.
    pub(crate) name: String,
    /// The script's arguments: `--params` and one JSON object. An SQL script has none.
    pub(crate) args: Vec<String>,
    /// An SQL script's variables: the same parameters, each as text.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) jars: Vec<String>,
    pub(crate) properties: BTreeMap<String, String>,
    /// The class of a jar that has the main method, where the jar's manifest does not say.
    pub(crate) main_class: Option<String>,
}

impl Work {
    /// What the task asks for.
    ///
    /// # Errors
    ///
    /// When a parameter is wrong.
    pub(crate) fn of(task: &Task, config: &Config) -> Result<Self> {
        let kind = Kind::of(task)?;
        let name = format!("{}_{}", task.dag_id, task.task_id);
        let params = merged(task, config, &name);
        let main_class = text_param(task, "main_class")?.map(str::to_owned);
        if main_class.is_some() && kind != Kind::Jar {
            return Err(Error::invalid(format!(
                "the parameter `main_class` is for jars, and {} is none: leave it out",
                task.script.name
            )));
        }
        let properties: BTreeMap<_, _> = params
            .iter()
            .filter(|(key, value)| key.starts_with("spark.") && *key != JARS && !value.is_null())
            .map(|(key, value)| (key.clone(), text(value)))
            .collect();
        let jars = match params.get(JARS) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(jars)) => {
                jars.split(',').map(str::trim).filter(|jar| !jar.is_empty()).map(str::to_owned).collect()
            }
            Some(_) => {
                return Err(Error::invalid(format!("`{JARS}` must be text: the jars, comma separated")));
            }
        };
        let (args, variables) = match kind {
            Kind::Sql => (Vec::new(), variables(&params)),
            Kind::PySpark | Kind::Jar => {
                (vec!["--params".to_owned(), Value::Object(params).to_string()], BTreeMap::new())
            }
        };
        Ok(Self { kind, name, args, variables, jars, properties, main_class })
    }
}

/// Properties by which a job without labels is found among others: tags of its application on YARN, beside those that the
/// task sets itself. Other masters take no notice.
pub(crate) fn tagged(work: &Work, task: &Task) -> BTreeMap<String, String> {
    let own = work.properties.get(YARN_TAGS).cloned();
    let mut labels: Vec<String> =
        labels(task).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.sort_unstable();
    let tags: Vec<String> = own.into_iter().chain(labels).collect();
    let mut properties = work.properties.clone();
    properties.insert(YARN_TAGS.to_owned(), tags.join(","));
    properties
}

/// The task's parameters over the config's `spark-config`, and `id`. Python's parser, which read pyDag's config,
/// lowers the case of keys, and pyDag's scripts look for them so: the config's are there as written and in lower case.
fn merged(task: &Task, config: &Config, name: &str) -> Map<String, Value> {
    let mut params = Map::new();
    for (key, value) in config.spark_config() {
        params.insert(key.to_lowercase(), value.clone());
        params.insert(key, value);
    }
    let own = task.params.iter().filter(|(key, _)| !task.connections.contains(key));
    params.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    params.insert("id".to_owned(), name.into());
    params
}

/// Parameters that can be variables of Spark SQL: what is a single value, under a name.
fn variables(params: &Map<String, Value>) -> BTreeMap<String, String> {
    let single = params.iter().filter(|(key, value)| {
        !key.starts_with("spark.") && !value.is_null() && !value.is_object() && !value.is_array()
    });
    single.map(|(key, value)| (key.clone(), text(value))).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A task with an inline script and these parameters.
    pub(crate) fn task(params: Value) -> Task {
        serde_json::from_value(json!({
            "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1,
            "idempotency_key": "oxidag-0123456789abcdef0123456789abcdef",
            "script": {"text": "print(1)", "name": "inline"}, "params": params, "working_dir": "/",
        }))
        .unwrap()
    }

    fn at(uri: &str, params: Value) -> Task {
        let mut task = task(params);
        (task.script.uri, task.script.text) = (Some(uri.to_owned()), String::new());
        uri.clone_into(&mut task.script.name);
        task
    }

    pub(crate) fn config(value: Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    fn params(work: &Work) -> Value {
        assert_eq!(work.args[0], "--params");
        assert_eq!(work.args.len(), 2);
        serde_json::from_str(&work.args[1]).unwrap()
    }

    #[test]
    fn pydags_example_gets_what_pydag_gave_it_but_for_the_secret() {
        let config = config(json!({"spark-config": {
            "spark.jars": "gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar",
            "temporaryGcsBucket": "pydag-temporary-bucket",
        }}));
        let mut task = at(
            "gs://project-pydag/module_name/csv_gcs_to_bq.py",
            json!({"cluster_name": "c", "dataset": "datasettest", "id": "own", "GCP_service-account": "s3cret"}),
        );
        task.connections = vec!["GCP_service-account".to_owned()];
        let work = Work::of(&task, &config).unwrap();
        assert_eq!(work.kind, Kind::PySpark);
        assert_eq!(work.jars, ["gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar"]);
        assert_eq!(
            params(&work),
            json!({
                "cluster_name": "c", "dataset": "datasettest", "id": "d_t",
                "spark.jars": "gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar",
                "temporaryGcsBucket": "pydag-temporary-bucket", "temporarygcsbucket": "pydag-temporary-bucket",
            })
        );
        assert!(work.properties.is_empty() && !format!("{work:?}").contains("s3cret"));
    }

    #[test]
    fn a_tasks_own_values_win_and_spark_keys_become_properties() {
        let config =
            config(json!({"spark-config": {"spark.jars": "a.jar", "spark.executor.cores": 2, "x": "c"}}));
        let own = json!({"spark.jars": "b.jar , c.jar,", "spark.sql.ansi.enabled": true, "x": "t"});
        let work = Work::of(&task(own), &config).unwrap();
        assert_eq!(work.jars, ["b.jar", "c.jar"]);
        let properties: Vec<_> = work.properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(properties, [("spark.executor.cores", "2"), ("spark.sql.ansi.enabled", "true")]);
        assert_eq!(params(&work)["x"], "t");
    }

    #[test]
    fn labels_are_tags_on_yarn_beside_the_tasks_own() {
        let tags = |params| {
            let task = task(params);
            tagged(&Work::of(&task, &Config::default()).unwrap(), &task)[YARN_TAGS].clone()
        };
        assert_eq!(tags(json!({})), "oxidag-dag=d,oxidag-run=r,oxidag-task=t");
        assert_eq!(tags(json!({YARN_TAGS: "etl"})), "etl,oxidag-dag=d,oxidag-run=r,oxidag-task=t");
    }

    #[test]
    fn an_sql_script_gets_variables_and_no_arguments() {
        let mut task =
            at("gs://b/f/q.sql", json!({"year": 2022, "list": [1], "spark.x": "1", "A_password": "p"}));
        task.connections = vec!["A_password".to_owned()];
        let work = Work::of(&task, &Config::default()).unwrap();
        assert_eq!(work.kind, Kind::Sql);
        assert!(work.args.is_empty());
        let variables: Vec<_> = work.variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(variables, [("id", "d_t"), ("year", "2022")]);
    }

    #[test]
    fn the_kind_follows_from_the_name_else_the_parameter() {
        let kind = |task: &Task| Work::of(task, &Config::default()).map(|work| work.kind);
        assert_eq!(kind(&at("gs://b/f/x.jar", json!({}))).unwrap(), Kind::Jar);
        assert_eq!(kind(&task(json!({"kind": "sql"}))).unwrap(), Kind::Sql);
        assert_eq!(kind(&task(json!({}))).unwrap(), Kind::PySpark);
        let error = kind(&at("gs://b/f/x.py", json!({"kind": "jar"}))).unwrap_err();
        insta::assert_snapshot!(error, @"the script gs://b/f/x.py ends in `.py`, and the parameter `kind` says otherwise: leave it out");
        insta::assert_snapshot!(kind(&task(json!({"kind": "r"}))).unwrap_err(), @"the parameter `kind` must be `pyspark`, `sql` or `jar`, not `r`");
        insta::assert_snapshot!(kind(&task(json!({"main_class": "a.B"}))).unwrap_err(), @"the parameter `main_class` is for jars, and inline is none: leave it out");
    }
}
