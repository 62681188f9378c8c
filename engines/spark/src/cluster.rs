//! Jobs on a cluster of Dataproc.

use google_cloud_dataproc_v1::client::JobController;
use google_cloud_dataproc_v1::model::job_status::State;
use google_cloud_dataproc_v1::model::{
    Job, JobPlacement, JobReference, PySparkJob, SparkJob, SparkSqlJob, YarnApplication,
};
use google_cloud_gax::options::RequestOptionsBuilder as _;
use oxidag_google::{Account, Bucket, from_gax, labels, text_param};
use oxidag_plugin_api::{Error, ErrorKind, Result, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::google::{Place, Shared, copy, is_missing, is_taken, placed, stored, was_submitted};
use crate::output::Output;
use crate::remote::{End, Look, Remote, Tell};
use crate::source::Placed;
use crate::work::{Kind, Work};

/// A job, and how it is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handle {
    #[serde(flatten)]
    pub(crate) place: Place,
    pub(crate) cluster: String,
    job_id: String,
    /// The service has said that there is the job.
    #[serde(default)]
    submitted: bool,
}

impl Handle {
    /// Where the task's job goes, or has gone.
    ///
    /// # Errors
    ///
    /// When the project, region or cluster is missing.
    pub(crate) fn of(task: &Task, config: &Config) -> Result<Self> {
        if let Some(known) = stored(task) {
            return Ok(known);
        }
        let cluster = text_param(task, "cluster_name")?.or(config.cluster.as_deref()).ok_or_else(|| {
            Error::invalid(
                "no cluster: set `cluster` in the engine's config or `cluster_name` in the parameters",
            )
        })?;
        let (cluster, job_id) = (cluster.to_owned(), task.idempotency_key.clone());
        Ok(Self { place: Place::of(task, config)?, cluster, job_id, submitted: was_submitted(task) })
    }
}

/// A job on a cluster.
pub(crate) struct ClusterJob {
    client: JobController,
    bucket: Bucket,
    handle: Handle,
    script: Placed,
    /// What is asked for, until it has been.
    job: Option<Box<Job>>,
    output: Output,
}

impl ClusterJob {
    /// The task's job; nothing is asked of the service yet.
    ///
    /// # Errors
    ///
    /// When the task or the credentials are wrong.
    pub(crate) async fn of(task: &Task, work: &Work, config: &Config, shared: &Shared) -> Result<Box<Self>> {
        let handle = Handle::of(task, config)?;
        let script = placed(task, work, config)?;
        let account = Account::of(task, &config.google)?;
        let client = shared.jobs(&account, &handle.place, config).await?;
        let bucket = shared.storage(&account, config).await?;
        let job = Some(Box::new(job(&handle, work, &script.uri, task)));
        Ok(Box::new(Self { client, bucket, handle, script, job, output: Output::default() }))
    }

    async fn get(&self) -> google_cloud_gax::Result<Job> {
        let Handle { place: Place { project, region }, job_id, .. } = &self.handle;
        self.client.get_job().set_project_id(project).set_region(region).set_job_id(job_id).send().await
    }
}

impl Remote for ClusterJob {
    fn title(&self) -> String {
        format!("the job {} on the cluster {}", self.handle.job_id, self.handle.cluster)
    }

    fn link(&self) -> String {
        let Handle { place: Place { project, region }, job_id, .. } = &self.handle;
        format!(
            "https://console.cloud.google.com/dataproc/jobs/{job_id}/monitoring?region={region}&project={project}"
        )
    }

    fn checkpoint(&self) -> Value {
        let Handle { place: Place { project, region }, cluster, job_id, submitted } = &self.handle;
        json!({
            "backend": "dataproc", "project": project, "region": region, "cluster": cluster, "job_id": job_id,
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
        let Place { project, region } = &self.handle.place;
        let submit = self.client.submit_job().set_project_id(project).set_region(region);
        let submit =
            submit.set_request_id(&self.handle.job_id).set_or_clear_job(self.job.take().map(|job| *job));
        let made = match submit.with_idempotency(true).send().await {
            Ok(_) => true,
            Err(error) if is_taken(&error) => false,
            Err(error) => return Err(from_gax(&format!("cannot submit {}", self.title()), &error)),
        };
        self.handle.submitted = true;
        Ok(made)
    }

    async fn look(&mut self) -> Result<Look> {
        match self.get().await {
            Ok(job) => {
                self.output.lies_at(&job.driver_output_resource_uri);
                Ok(look(&job))
            }
            Err(error) if is_missing(&error) => Ok(gone()),
            Err(error) => Err(from_gax(&format!("cannot look at {}", self.title()), &error)),
        }
    }

    async fn output(&mut self, ended: bool, tell: Tell<'_>) -> Result<()> {
        self.output.read(&self.bucket, ended, tell).await
    }

    async fn cancel(&mut self) -> Result<bool> {
        let Handle { place: Place { project, region }, job_id, .. } = &self.handle;
        let cancel = self.client.cancel_job().set_project_id(project).set_region(region).set_job_id(job_id);
        match cancel.with_idempotency(true).send().await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => match self.get().await {
                // One that has ended is not cancelled any more.
                Ok(job) if look(&job).end.is_some() => Ok(true),
                _ => Err(from_gax(&format!("cannot cancel {}", self.title()), &error)),
            },
        }
    }
}

/// A job or batch that was there and is not any more.
pub(crate) fn gone() -> Look {
    let why = "the service does not know it any more: it was deleted, and whether it succeeded is unknown";
    let end = Some(End::Failed(ErrorKind::Failed, why.to_owned()));
    Look { state: "DELETED".to_owned(), end, ..Look::default() }
}

/// The job as Dataproc takes it.
fn job(handle: &Handle, work: &Work, uri: &str, task: &Task) -> Job {
    let reference = JobReference::new().set_project_id(&handle.place.project).set_job_id(&handle.job_id);
    let placement = JobPlacement::new().set_cluster_name(&handle.cluster);
    let job = Job::new().set_reference(reference).set_placement(placement).set_labels(labels(task));
    let jars = work.jars.iter().cloned();
    let properties = work.properties.clone();
    match work.kind {
        Kind::PySpark => job.set_pyspark_job(
            PySparkJob::new()
                .set_main_python_file_uri(uri)
                .set_args(work.args.clone())
                .set_jar_file_uris(jars)
                .set_properties(properties),
        ),
        Kind::Sql => job.set_spark_sql_job(
            SparkSqlJob::new()
                .set_query_file_uri(uri)
                .set_script_variables(work.variables.clone())
                .set_jar_file_uris(jars)
                .set_properties(properties),
        ),
        Kind::Jar => {
            let jar = SparkJob::new().set_args(work.args.clone()).set_properties(properties);
            job.set_spark_job(match &work.main_class {
                Some(class) => {
                    jar.set_main_class(class).set_jar_file_uris(std::iter::once(uri.to_owned()).chain(jars))
                }
                None => jar.set_main_jar_file_uri(uri).set_jar_file_uris(jars),
            })
        }
    }
}

/// Where a job stands.
fn look(job: &Job) -> Look {
    let status = job.status.clone().unwrap_or_default();
    let end = match status.state {
        State::Done => Some(End::Succeeded),
        State::Cancelled => Some(End::Cancelled),
        State::Error => Some(End::Failed(fault(&status.details), status.details.trim().to_owned())),
        _ => None,
    };
    let state = status.state.name().map_or_else(|| status.state.to_string(), str::to_owned);
    let application = job.yarn_applications.last();
    let mut metrics = Map::new();
    metrics.insert("backend".to_owned(), "dataproc".into());
    if let Some(reference) = &job.reference {
        metrics.insert("job_id".to_owned(), reference.job_id.clone().into());
    }
    if let Some(placement) = &job.placement {
        metrics.insert("cluster".to_owned(), placement.cluster_name.clone().into());
    }
    if let Some(application) = application {
        metrics.insert("yarn_application".to_owned(), application.name.clone().into());
        metrics.insert("yarn_state".to_owned(), yarn_state(application).into());
    }
    Look { state, end, progress: application.map(progress), metrics }
}

fn yarn_state(application: &YarnApplication) -> String {
    application.state.name().map_or_else(|| application.state.to_string(), str::to_owned)
}

/// Documented from 1 to 100, and seen from 0 to 1.
fn progress(application: &YarnApplication) -> (f64, String) {
    let told = f64::from(application.progress);
    let fraction = if told > 1.0 { told / 100.0 } else { told };
    (fraction.clamp(0.0, 1.0), format!("{}: {}", application.name, yarn_state(application)))
}

/// Whose fault it is: that a job never got to its driver, or lost the machine under it, is the service's. What a driver
/// says of its own failure stands in brackets.
fn fault(details: &str) -> ErrorKind {
    let by_driver = details.contains("failed with message [");
    let by_service = ["not acquired", "preempted"].iter().any(|words| details.contains(words));
    if by_service && !by_driver { ErrorKind::Transient } else { ErrorKind::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::{config, task};
    use google_cloud_dataproc_v1::model::JobStatus;
    use google_cloud_dataproc_v1::model::yarn_application::State as Yarn;

    fn request(uri: &str, params: Value) -> Value {
        let mut task = task(params);
        task.script.uri = Some(uri.to_owned());
        let config = config(json!({"project": "p", "region": "r", "cluster": "c"}));
        let work = Work::of(&task, &config).unwrap();
        let handle = Handle::of(&task, &config).unwrap();
        serde_json::to_value(job(&handle, &work, uri, &task)).unwrap()
    }

    #[test]
    fn each_kind_of_script_is_a_kind_of_job() {
        let py = request("gs://b/x.py", json!({"spark.jars": "gs://j.jar", "spark.x": 1}));
        assert_eq!(py["reference"]["jobId"], "oxidag-0123456789abcdef0123456789abcdef");
        assert_eq!(py["placement"]["clusterName"], "c");
        assert_eq!(py["labels"], json!({"oxidag-dag": "d", "oxidag-task": "t", "oxidag-run": "r"}));
        let job = &py["pysparkJob"];
        assert_eq!(job["mainPythonFileUri"], "gs://b/x.py");
        assert_eq!(job["args"][0], "--params");
        assert_eq!(job["jarFileUris"], json!(["gs://j.jar"]));
        assert_eq!(job["properties"], json!({"spark.x": "1"}));

        let sql = request("gs://b/x.sql", json!({"year": 2022}));
        assert_eq!(sql["sparkSqlJob"]["queryFileUri"], "gs://b/x.sql");
        assert_eq!(sql["sparkSqlJob"]["scriptVariables"], json!({"id": "d_t", "year": "2022"}));

        let jar = request("gs://b/x.jar", json!({}));
        assert_eq!(jar["sparkJob"]["mainJarFileUri"], "gs://b/x.jar");
        let class = request("gs://b/x.jar", json!({"main_class": "a.B", "spark.jars": "gs://j.jar"}));
        assert_eq!(class["sparkJob"]["mainClass"], "a.B");
        assert_eq!(class["sparkJob"]["jarFileUris"], json!(["gs://b/x.jar", "gs://j.jar"]));
    }

    #[test]
    fn what_was_stored_wins_over_the_config() {
        let mut task = task(json!({"cluster_name": "new"}));
        let stored =
            json!({"backend": "dataproc", "project": "p", "region": "r", "cluster": "old", "job_id": "k"});
        task.checkpoint = Some(stored);
        let handle = Handle::of(&task, &config(json!({"project": "other", "region": "other"}))).unwrap();
        assert_eq!((handle.place.project.as_str(), handle.cluster.as_str()), ("p", "old"));
        task.checkpoint.as_mut().unwrap()["region"] = "***".into();
        let masked = Handle::of(&task, &config(json!({"project": "p", "region": "r"}))).unwrap();
        assert_eq!((masked.place.region.as_str(), masked.job_id), ("r", task.idempotency_key.clone()));
        assert!(!masked.submitted);
        task.checkpoint.as_mut().unwrap()["submitted"] = true.into();
        let masked = Handle::of(&task, &config(json!({"project": "p", "region": "r"}))).unwrap();
        assert!(masked.submitted, "that is known, wherever the job is");
        let none = Handle::of(&crate::work::tests::task(json!({})), &config(json!({}))).unwrap_err();
        insta::assert_snapshot!(none, @"no cluster: set `cluster` in the engine's config or `cluster_name` in the parameters");
    }

    #[test]
    fn states_become_ends() {
        let at = |state: State, details: &str| {
            look(&Job::new().set_status(JobStatus::new().set_state(state).set_details(details)))
        };
        assert_eq!(at(State::Done, "").end, Some(End::Succeeded));
        assert_eq!(at(State::Cancelled, "").end, Some(End::Cancelled));
        for state in [State::Pending, State::Running, State::CancelStarted, State::from(77)] {
            assert_eq!(at(state, "").end, None);
        }
        assert_eq!(at(State::Running, "").state, "RUNNING");
        assert_eq!(
            at(State::Error, "Job failed\n").end,
            Some(End::Failed(ErrorKind::Failed, "Job failed".to_owned()))
        );
        let lost = at(State::Error, "Task was not acquired").end;
        assert!(matches!(lost, Some(End::Failed(ErrorKind::Transient, _))));
        let own = at(State::Error, "Job failed with message [ValueError: lock not acquired]").end;
        assert!(matches!(own, Some(End::Failed(ErrorKind::Failed, _))));
    }

    #[test]
    fn progress_is_told_by_yarn() {
        let application = YarnApplication::new().set_name("app").set_state(Yarn::Running);
        for told in [0.5, 50.0] {
            let job = Job::new().set_yarn_applications([application.clone().set_progress(told as f32)]);
            assert_eq!(look(&job).progress, Some((0.5, "app: RUNNING".to_owned())));
        }
    }
}
