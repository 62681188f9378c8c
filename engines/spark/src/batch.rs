//! Serverless batches of Dataproc.

use google_cloud_dataproc_v1::client::BatchController;
use google_cloud_dataproc_v1::model::batch::State;
use google_cloud_dataproc_v1::model::{
    Batch, EnvironmentConfig, ExecutionConfig, PySparkBatch, RuntimeConfig, SparkBatch, SparkSqlBatch,
};
use google_cloud_gax::options::RequestOptionsBuilder as _;
use oxidag_google::{Account, Bucket, from_gax, labels};
use oxidag_plugin_api::{ErrorKind, Result, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cluster::gone;
use crate::config::{Config, Serverless};
use crate::google::{Place, Shared, copy, is_missing, is_taken, placed, stored, was_submitted};
use crate::output::Output;
use crate::remote::{End, Look, Remote, Tell};
use crate::source::Placed;
use crate::work::{Kind, Work};

/// A batch, and how it is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handle {
    #[serde(flatten)]
    pub(crate) place: Place,
    batch_id: String,
    /// The service has said that there is the batch.
    #[serde(default)]
    submitted: bool,
}

impl Handle {
    /// Where the task's batch goes, or has gone.
    ///
    /// # Errors
    ///
    /// When the project or region is missing.
    pub(crate) fn of(task: &Task, config: &Config) -> Result<Self> {
        if let Some(known) = stored(task) {
            return Ok(known);
        }
        let (batch_id, submitted) = (task.idempotency_key.clone(), was_submitted(task));
        Ok(Self { place: Place::of(task, config)?, batch_id, submitted })
    }

    fn parent(&self) -> String {
        format!("projects/{}/locations/{}", self.place.project, self.place.region)
    }

    fn name(&self) -> String {
        format!("{}/batches/{}", self.parent(), self.batch_id)
    }
}

/// A batch.
pub(crate) struct ServerlessBatch {
    client: BatchController,
    bucket: Bucket,
    handle: Handle,
    script: Placed,
    /// What is asked for, until it has been.
    batch: Option<Box<Batch>>,
    output: Output,
}

impl ServerlessBatch {
    /// The task's batch; nothing is asked of the service yet.
    ///
    /// # Errors
    ///
    /// When the task or the credentials are wrong.
    pub(crate) async fn of(task: &Task, work: &Work, config: &Config, shared: &Shared) -> Result<Box<Self>> {
        let handle = Handle::of(task, config)?;
        let script = placed(task, work, config)?;
        let account = Account::of(task, &config.google)?;
        let client = shared.batches(&account, &handle.place, config).await?;
        let bucket = shared.storage(&account, config).await?;
        let batch = Some(Box::new(batch(work, &script.uri, task, &config.serverless)));
        Ok(Box::new(Self { client, bucket, handle, script, batch, output: Output::default() }))
    }

    async fn get(&self) -> google_cloud_gax::Result<Batch> {
        self.client.get_batch().set_name(self.handle.name()).send().await
    }
}

impl Remote for ServerlessBatch {
    fn title(&self) -> String {
        format!("the batch {}", self.handle.batch_id)
    }

    fn link(&self) -> String {
        let Handle { place: Place { project, region }, batch_id, .. } = &self.handle;
        format!(
            "https://console.cloud.google.com/dataproc/batches/{region}/{batch_id}/monitoring?project={project}"
        )
    }

    fn checkpoint(&self) -> Value {
        let Handle { place: Place { project, region }, batch_id, submitted } = &self.handle;
        json!({
            "backend": "dataproc-serverless", "project": project, "region": region, "batch_id": batch_id,
            "submitted": submitted,
        })
    }

    async fn find(&mut self) -> Result<bool> {
        // One that was there is not made again, should it be gone: looking at it says so.
        if self.handle.submitted {
            return Ok(true);
        }
        match self.get().await {
            Ok(_) => self.handle.submitted = true,
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(from_gax(&format!("cannot look for {}", self.title()), &error)),
        }
        Ok(self.handle.submitted)
    }

    async fn submit(&mut self) -> Result<bool> {
        copy(&self.script, &self.bucket).await?;
        let create = self.client.create_batch().set_parent(self.handle.parent());
        let create = create.set_batch_id(&self.handle.batch_id).set_request_id(&self.handle.batch_id);
        let made = match create
            .set_or_clear_batch(self.batch.take().map(|batch| *batch))
            .with_idempotency(true)
            .send()
            .await
        {
            Ok(_) => true,
            Err(error) if is_taken(&error) => false,
            Err(error) => return Err(from_gax(&format!("cannot submit {}", self.title()), &error)),
        };
        self.handle.submitted = true;
        Ok(made)
    }

    async fn look(&mut self) -> Result<Look> {
        match self.get().await {
            Ok(batch) => {
                if let Some(info) = &batch.runtime_info {
                    self.output.lies_at(&info.output_uri);
                }
                Ok(look(&batch, &self.handle.batch_id))
            }
            Err(error) if is_missing(&error) => Ok(gone()),
            Err(error) => Err(from_gax(&format!("cannot look at {}", self.title()), &error)),
        }
    }

    async fn output(&mut self, ended: bool, tell: Tell<'_>) -> Result<()> {
        self.output.read(&self.bucket, ended, tell).await
    }

    /// A batch is cancelled through the operation that makes it; deleting one is only for those that have ended.
    async fn cancel(&mut self) -> Result<bool> {
        let cannot = |error: &_| from_gax(&format!("cannot cancel {}", self.title()), error);
        let operation = match self.get().await {
            Ok(batch) if look(&batch, "").end.is_some() => return Ok(true),
            Ok(batch) => batch.operation,
            Err(error) if is_missing(&error) => return Ok(false),
            Err(error) => return Err(cannot(&error)),
        };
        let cancel = self.client.cancel_operation().set_name(operation).with_idempotency(true);
        cancel.send().await.map(|()| true).map_err(|error| cannot(&error))
    }
}

/// The batch as Dataproc takes it.
fn batch(work: &Work, uri: &str, task: &Task, settings: &Serverless) -> Batch {
    let runtime = RuntimeConfig::new()
        .set_version(settings.version.clone().unwrap_or_default())
        .set_container_image(settings.container_image.clone().unwrap_or_default())
        .set_properties(work.properties.clone());
    let mut execution = ExecutionConfig::new()
        .set_service_account(settings.service_account.clone().unwrap_or_default())
        .set_staging_bucket(settings.staging_bucket.clone().unwrap_or_default());
    if let Some(subnetwork) = &settings.subnetwork {
        execution = execution.set_subnetwork_uri(subnetwork);
    }
    let batch = Batch::new()
        .set_labels(labels(task))
        .set_runtime_config(runtime)
        .set_environment_config(EnvironmentConfig::new().set_execution_config(execution));
    let jars = work.jars.iter().cloned();
    match work.kind {
        Kind::PySpark => batch.set_pyspark_batch(
            PySparkBatch::new()
                .set_main_python_file_uri(uri)
                .set_args(work.args.clone())
                .set_jar_file_uris(jars),
        ),
        Kind::Sql => batch.set_spark_sql_batch(
            SparkSqlBatch::new()
                .set_query_file_uri(uri)
                .set_query_variables(work.variables.clone())
                .set_jar_file_uris(jars),
        ),
        Kind::Jar => {
            let jar = SparkBatch::new().set_args(work.args.clone());
            batch.set_spark_batch(match &work.main_class {
                Some(class) => {
                    jar.set_main_class(class).set_jar_file_uris(std::iter::once(uri.to_owned()).chain(jars))
                }
                None => jar.set_main_jar_file_uri(uri).set_jar_file_uris(jars),
            })
        }
    }
}

/// Where a batch stands.
fn look(batch: &Batch, id: &str) -> Look {
    let end = match batch.state {
        State::Succeeded => Some(End::Succeeded),
        State::Cancelled => Some(End::Cancelled),
        State::Failed => Some(End::Failed(ErrorKind::Failed, batch.state_message.trim().to_owned())),
        _ => None,
    };
    let mut metrics = Map::new();
    metrics.insert("backend".to_owned(), "dataproc-serverless".into());
    metrics.insert("job_id".to_owned(), id.into());
    let usage = batch.runtime_info.as_ref().and_then(|info| info.approximate_usage.as_ref());
    if let Some(usage) = usage {
        metrics.insert("milli_dcu_seconds".to_owned(), usage.milli_dcu_seconds.into());
        metrics.insert("shuffle_storage_gb_seconds".to_owned(), usage.shuffle_storage_gb_seconds.into());
    }
    let state = batch.state.name().map_or_else(|| batch.state.to_string(), str::to_owned);
    Look { state, end, progress: None, metrics }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::{config, task};
    use google_cloud_dataproc_v1::model::{RuntimeInfo, UsageMetrics};

    fn request(uri: &str, params: Value) -> Value {
        let mut task = task(params);
        task.script.uri = Some(uri.to_owned());
        let config = config(json!({"serverless": {"version": "2.3", "subnetwork": "net"}}));
        let work = Work::of(&task, &config).unwrap();
        serde_json::to_value(batch(&work, uri, &task, &config.serverless)).unwrap()
    }

    #[test]
    fn each_kind_of_script_is_a_kind_of_batch() {
        let py = request("gs://b/x.py", json!({"spark.jars": "gs://j.jar", "spark.x": 1}));
        assert_eq!(py["pysparkBatch"]["mainPythonFileUri"], "gs://b/x.py");
        assert_eq!(py["pysparkBatch"]["args"][0], "--params");
        assert_eq!(py["pysparkBatch"]["jarFileUris"], json!(["gs://j.jar"]));
        assert_eq!(py["runtimeConfig"]["properties"], json!({"spark.x": "1"}));
        assert_eq!(py["runtimeConfig"]["version"], "2.3");
        assert_eq!(py["environmentConfig"]["executionConfig"]["subnetworkUri"], "net");
        assert_eq!(py["labels"]["oxidag-task"], "t");

        let sql = request("gs://b/x.sql", json!({"year": 2022}));
        assert_eq!(sql["sparkSqlBatch"]["queryVariables"], json!({"id": "d_t", "year": "2022"}));
        let jar = request("gs://b/x.jar", json!({"main_class": "a.B"}));
        assert_eq!(jar["sparkBatch"]["mainClass"], "a.B");
        assert_eq!(jar["sparkBatch"]["jarFileUris"], json!(["gs://b/x.jar"]));
    }

    #[test]
    fn states_become_ends_and_usage_is_told() {
        let usage = UsageMetrics::new().set_milli_dcu_seconds(42);
        let done = Batch::new()
            .set_state(State::Succeeded)
            .set_runtime_info(RuntimeInfo::new().set_approximate_usage(usage));
        let seen = look(&done, "k");
        assert_eq!(seen.end, Some(End::Succeeded));
        assert_eq!(seen.metrics["milli_dcu_seconds"], 42);
        assert_eq!(look(&Batch::new().set_state(State::Cancelling), "k").end, None);
        let failed = Batch::new().set_state(State::Failed).set_state_message("Job failed");
        assert_eq!(look(&failed, "k").end, Some(End::Failed(ErrorKind::Failed, "Job failed".to_owned())));
    }
}
