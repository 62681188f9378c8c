//! The `spark` engine: runs PySpark scripts, jars and SQL scripts on a cluster of Dataproc, as a serverless batch of
//! Dataproc, on a server of Livy, or by the program `spark-submit`.
//!
//! How the parts lie: `work` is what a task asks for, the same for every backend; `source` is where its script lies.
//! `remote` runs the job of a service, whichever it is; `cluster`, `batch` and `livy` are the services. `local` runs the
//! program. `output` and `livy_log` tell what is new in what a job prints.
//!
//! What it must not do: give a connection's value to a service or a program, or make two jobs for one attempt.

#[cfg(not(target_os = "linux"))]
compile_error!("the spark engine finds what an earlier scheduler left in /proc, which only Linux has");

mod batch;
mod cluster;
mod config;
mod google;
mod leftover;
mod lines;
mod livy;
mod livy_http;
mod livy_log;
mod local;
mod output;
mod remote;
mod sink;
mod source;
mod validate;
mod work;

use oxidag_google::text_param;
use oxidag_plugin_api::{
    AsyncEngine, Error, ErrorKind, Finding, Host, Level, Outcome, Result, Severity, Task, export_async_engine,
};
use serde::Deserialize;
use serde_json::Value;

use crate::config::{Backend, Config};
use crate::google::Shared;
use crate::sink::Sink;
use crate::work::Work;

struct Spark {
    config: Config,
    shared: Shared,
}

impl AsyncEngine for Spark {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".py";
    const OTHER_SUFFIXES: &'static [&'static str] = &[".sql", ".jar"];
    const BY_REFERENCE: bool = true;

    fn create(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config, shared: Shared::default() })
    }

    async fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        match validate::findings(&self.config, &self.shared, task).await {
            Err(error) if error.kind == ErrorKind::Invalid => Ok(vec![Finding {
                severity: Severity::Error,
                message: error.message,
                line: None,
                column: None,
            }]),
            checked => checked,
        }
    }

    async fn run(&self, task: Task, host: Host) -> Result<Outcome> {
        let (config, shared, resumed) = (&self.config, &self.shared, task.resumed);
        let left = |error| left_alone(error, &task, &host);
        let backend = backend(&task, config)?;
        let slot = match backend {
            Backend::SparkSubmit => None,
            _ => remote::turn(resumed, &host).await?,
        };
        let work = Box::new(Work::of(&task, config).map_err(left)?);
        match backend {
            Backend::Dataproc => {
                let job = Box::pin(cluster::ClusterJob::of(&task, &work, config, shared)).await;
                let mut job = job.map_err(left)?;
                drop((work, task));
                Box::pin(remote::run(&mut *job, resumed, slot, &host)).await
            }
            Backend::DataprocServerless => {
                let batch = Box::pin(batch::ServerlessBatch::of(&task, &work, config, shared)).await;
                let mut batch = batch.map_err(left)?;
                drop((work, task));
                Box::pin(remote::run(&mut *batch, resumed, slot, &host)).await
            }
            Backend::Livy => {
                let batch = Box::pin(livy::LivyBatch::of(&task, &work, config, shared)).await;
                let mut batch = batch.map_err(left)?;
                drop((work, task));
                Box::pin(remote::run(&mut *batch, resumed, slot, &host)).await
            }
            Backend::SparkSubmit => Box::pin(local::run(&task, &work, &config.spark_submit, &host)).await,
        }
    }
}

export_async_engine!(Spark, name = "spark");

/// What runs the task's job: where it was begun, else its parameter `backend`, else the config's.
fn backend(task: &Task, config: &Config) -> Result<Backend> {
    let named = |name: &Value| Backend::deserialize(name).ok();
    // The name may be masked, where it is the same as a secret; only Livy's place has a URL.
    let begun = |stored: &Value| named(&stored["backend"]).or(stored.get("url").map(|_| Backend::Livy));
    if let Some(begun) = task.checkpoint.as_ref().and_then(begun) {
        return Ok(begun);
    }
    match text_param(task, "backend")? {
        None => Ok(config.backend),
        Some(name) => named(&name.into()).ok_or_else(|| {
            Error::invalid(format!(
                "the parameter `backend` must be `dataproc`, `dataproc-serverless`, `livy` or `spark-submit`, \
                 not `{name}`"
            ))
        }),
    }
}

/// The error, which goes on by saying that a job begun before a crash is left alone: with what the task and the config
/// say by now it cannot be looked at.
fn left_alone(error: Error, task: &Task, host: &impl Sink) -> Error {
    let Some(begun) = &task.checkpoint else { return error };
    let said = format!("the job that was begun may still run and be billed, and is not looked at: {begun}");
    host.log(Level::Warn, &said);
    Error { message: format!("{}; {said}", error.message), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::{config, task};
    use serde_json::json;

    #[test]
    fn a_job_goes_on_where_it_was_begun() {
        let mut task = task(json!({"backend": "livy"}));
        let config = config(json!({"backend": "spark-submit"}));
        assert_eq!(backend(&task, &config).unwrap(), Backend::Livy);
        task.checkpoint = Some(json!({"backend": "dataproc-serverless"}));
        assert_eq!(backend(&task, &config).unwrap(), Backend::DataprocServerless);
        task.checkpoint = Some(json!({"backend": "***", "url": "http://***:8998", "name": "n", "id": 17}));
        task.params.clear();
        assert_eq!(backend(&task, &config).unwrap(), Backend::Livy);
        task.checkpoint = None;
        task.params.insert("backend".to_owned(), "yarn".into());
        insta::assert_snapshot!(backend(&task, &config).unwrap_err(), @"the parameter `backend` must be `dataproc`, `dataproc-serverless`, `livy` or `spark-submit`, not `yarn`");
    }
}
