//! The engine's section of `plugins.toml`.

use oxidag_google::GoogleConfig;
use oxidag_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Where and how jobs are run.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub(crate) google: GoogleConfig,
    /// What runs the jobs of tasks that have no parameter `backend`.
    pub(crate) backend: Backend,
    /// The region of clusters and batches, unless a task's parameter names one.
    pub(crate) region: Option<String>,
    /// The cluster, unless a task's parameter `cluster_name` names one.
    pub(crate) cluster: Option<String>,
    /// A folder, `gs://bucket/folder`, to which scripts are copied that the service cannot read where they lie.
    pub(crate) staging: Option<String>,
    /// The endpoint of Cloud Storage instead of Google's own.
    pub(crate) storage_endpoint: Option<String>,
    /// pyDag's `[SPARK-CONFIG]`: merged into every script's parameters. `spark.jars` names jars, other keys that begin
    /// with `spark.` become properties.
    #[serde(rename = "spark-config")]
    pub(crate) spark_config: Map<String, Value>,
    /// Dataproc's serverless batches.
    pub(crate) serverless: Serverless,
    /// A server of Livy.
    pub(crate) livy: Livy,
    /// The local program.
    #[serde(rename = "spark-submit")]
    pub(crate) spark_submit: SparkSubmit,
}

/// What runs a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Backend {
    /// A cluster of Dataproc.
    #[default]
    Dataproc,
    /// A batch of Dataproc, without a cluster.
    DataprocServerless,
    /// A server of Livy.
    Livy,
    /// The program `spark-submit` on this machine.
    SparkSubmit,
}

/// What batches run on.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Serverless {
    /// The version of Dataproc's runtime, such as `2.3`.
    pub(crate) version: Option<String>,
    /// A container image of one's own.
    pub(crate) container_image: Option<String>,
    /// The account that the batch runs as.
    pub(crate) service_account: Option<String>,
    /// The subnetwork to run in.
    pub(crate) subnetwork: Option<String>,
    /// The bucket for what the batch leaves, its output among it.
    pub(crate) staging_bucket: Option<String>,
}

/// A server of Livy.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Livy {
    /// Its address, such as `http://livy:8998`; a user and password come from a task's connections.
    pub(crate) url: Option<String>,
    /// The queue of YARN.
    pub(crate) queue: Option<String>,
    /// Whom the job runs as, if not as Livy's user.
    pub(crate) proxy_user: Option<String>,
}

/// The local program.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SparkSubmit {
    /// The program: a path, or a name to look up on PATH.
    pub(crate) program: String,
    /// Spark's master.
    pub(crate) master: String,
    /// How many seconds a cancelled job has to end by itself.
    #[schemars(range(min = 0, max = 3600))]
    pub(crate) grace_period: f64,
}

impl Default for SparkSubmit {
    fn default() -> Self {
        Self { program: "spark-submit".to_owned(), master: "local[*]".to_owned(), grace_period: 10.0 }
    }
}

impl Config {
    /// What the schema cannot say.
    ///
    /// # Errors
    ///
    /// When the configuration cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(staging) = &self.staging {
            let bucket = staging.strip_prefix("gs://").map(|place| place.split('/').next().unwrap_or(""));
            if bucket.is_none_or(str::is_empty) {
                return Err(Error::invalid(format!("`staging` is `{staging}`: write `gs://bucket/folder`")));
            }
        }
        if let Some(url) = &self.livy.url {
            check_url(url)?;
        }
        if self.spark_submit.program.is_empty() || self.spark_submit.program.contains('\0') {
            return Err(Error::invalid("`program` of `spark-submit` is no program: name one"));
        }
        if !(0.0..=3600.0).contains(&self.spark_submit.grace_period) {
            return Err(Error::invalid("`grace_period` of `spark-submit` must be from 0 to 3600 seconds"));
        }
        Ok(())
    }

    /// `spark-config`, where an unquoted `spark.jars` of TOML, a table in a table, is the same as a quoted one.
    pub(crate) fn spark_config(&self) -> Map<String, Value> {
        let mut flat = Map::new();
        flatten("", &self.spark_config, &mut flat);
        flat
    }
}

/// Whether this is the address of a server of Livy. It is not shown: one with a password may be among what is refused.
///
/// # Errors
///
/// When it is not, or holds a user or password, which would be stored with the attempt.
fn check_url(url: &str) -> Result<()> {
    let parsed = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let parsed = parsed
        .ok_or_else(|| Error::invalid("the URL of Livy is none: write one such as `http://livy:8998`"))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Error::invalid(
            "the URL of Livy holds a user or password: leave them out, and give the task the connections \
             `**LIVY_user` and `**LIVY_password`",
        ));
    }
    Ok(())
}

fn flatten(prefix: &str, from: &Map<String, Value>, into: &mut Map<String, Value>) {
    for (key, value) in from {
        match value {
            Value::Object(table) => flatten(&format!("{prefix}{key}."), table, into),
            value => {
                into.insert(format!("{prefix}{key}"), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(value: Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_empty_section_is_a_configuration() {
        let config = config(json!({}));
        config.check().unwrap();
        assert_eq!(config.backend, Backend::Dataproc);
        assert_eq!(config.spark_submit.master, "local[*]");
    }

    #[test]
    fn the_schema_refuses_unknown_keys_and_knows_googles() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_eq!(schema["additionalProperties"], false);
        for key in ["project", "endpoint", "impersonate", "backend", "spark-config", "spark-submit"] {
            assert!(schema["properties"][key].is_object(), "{key}: {schema}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        let message = |value| config(value).check().unwrap_err().message;
        insta::assert_snapshot!(message(json!({"staging": "/tmp"})), @"`staging` is `/tmp`: write `gs://bucket/folder`");
        insta::assert_snapshot!(message(json!({"livy": {"url": "livy:8998"}})), @"the URL of Livy is none: write one such as `http://livy:8998`");
        let secret = message(json!({"livy": {"url": "http://me:s3cret@livy"}}));
        assert!(secret.contains("`**LIVY_password`") && !secret.contains("s3cret"), "{secret}");
    }

    #[test]
    fn dots_in_keys_are_the_same_quoted_or_not() {
        let quoted = config(json!({"spark-config": {"spark.jars": "a", "x": 1}}));
        let tables = config(json!({"spark-config": {"spark": {"jars": "a"}, "x": 1}}));
        assert_eq!(quoted.spark_config(), tables.spark_config());
    }
}
