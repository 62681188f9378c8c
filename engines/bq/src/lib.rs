//! The `bq` engine: runs GoogleSQL scripts as jobs of BigQuery and waits for them.
//!
//! A job's id is the attempt's key, so that BigQuery itself refuses a second job for one attempt, and the engine takes
//! over the first, whatever has become of it. Where the job is, is stored before it is submitted.
//!
//! How the parts lie: `submit`, `wait` and `ending` are a job's way, on the calls in `remote`; `describe` says what is
//! submitted, `outcome` and `failure` what has become of it; `dry_run` looks without running.

mod cells;
mod config;
mod describe;
mod dry_run;
mod ending;
mod failure;
mod outcome;
mod parameters;
mod remote;
mod rows;
mod submit;
#[cfg(test)]
mod testing;
mod wait;
mod watch;
mod witness;

use google_cloud_bigquery_v2::client::JobService;
use google_cloud_bigquery_v2::model::Job;
use oxidag_google::{Account, Clients, MASK, connected, request_slot};
use oxidag_plugin_api::{
    AsyncEngine, Error, ErrorKind, Finding, Host, Outcome, Result, Task, export_async_engine,
};
use serde::Deserialize as _;
use serde_json::json;

use crate::config::{Config, Request, ResultMode};
use crate::remote::{Handle, Remote};

struct BigQuery {
    config: Config,
    clients: Clients<JobService>,
}

impl AsyncEngine for BigQuery {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".sql";

    fn create(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config, clients: Clients::default() })
    }

    async fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        let (request, handle) = match self.place(task) {
            Ok(placed) => placed,
            Err(error) => return Ok(vec![dry_run::mistake(error.message)]),
        };
        let job = match describe::dry_run(task, &request, &handle) {
            Ok(job) => job,
            Err(error) => return Ok(vec![dry_run::mistake(error.message)]),
        };
        let service = match self.service(task).await {
            Ok(service) => service,
            // A script can be looked at where nobody may run it.
            Err(error) if error.kind == ErrorKind::Invalid => {
                return Ok(vec![dry_run::unchecked(&error.message)]);
            }
            Err(error) => return Err(error),
        };
        let _slot = request_slot().await;
        Ok(dry_run::findings(Remote::new(service, handle).dry_run(job).await))
    }

    async fn run(&self, task: Task, host: Host) -> Result<Outcome> {
        // What a step takes is on the heap and gone after it: thousands of tasks wait at once.
        let slot = match submit::turn(&host).await {
            Ok(slot) => slot,
            Err(_) if task.checkpoint.is_some() => return Box::pin(self.stop(&task, &host)).await,
            Err(stopped) => return Err(stopped),
        };
        let (remote, mode, submitted) = Box::pin(self.begin(task, &host)).await?;
        drop(slot);
        let job = wait::until_done(&remote, submitted, &host).await?;
        let _slot = request_slot().await;
        Box::pin(outcome::of(&job, mode, &remote, &host)).await
    }
}

impl BigQuery {
    /// What the task asks for, and where its job is or will be.
    fn place(&self, task: &Task) -> Result<(Request, Handle)> {
        let known = self.known(task)?;
        let project = match &known {
            Some(handle) => &handle.project,
            None => self.config.google.project(task)?,
        };
        let request = Request::new(&self.config, task, project)?;
        let handle = known.clone().unwrap_or_else(|| Handle {
            project: project.to_owned(),
            job: task.idempotency_key.clone(),
            location: request.location.clone(),
        });
        Ok((request, handle))
    }

    /// Where the job is that an earlier call for the attempt may have submitted, whatever the configuration says by
    /// now.
    fn known(&self, task: &Task) -> Result<Option<Handle>> {
        let Some(checkpoint) = &task.checkpoint else { return Ok(None) };
        let mut handle = Handle::deserialize(checkpoint)
            .map_err(|error| Error::invalid(format!("the checkpoint is not this engine's: {error}")))?;
        // A name that is also the value of a connection was not stored.
        if handle.project.contains(MASK) {
            self.config.google.project(task)?.clone_into(&mut handle.project);
        }
        if handle.location.as_ref().is_some_and(|location| location.contains(MASK)) {
            handle.location = Request::new(&self.config, task, &handle.project)?.location;
        }
        Ok(Some(handle))
    }

    /// Submits the task's job, or finds it.
    async fn begin(&self, task: Task, host: &Host) -> Result<(Remote, ResultMode, Option<Box<Job>>)> {
        let known = self.known(&task)?;
        let (mut remote, job, mode) = match (self.prepare(&task).await, &known) {
            (Err(error), Some(handle)) => return Err(ending::out_of_reach(handle, error, host)),
            (prepared, _) => prepared?,
        };
        if let Some(name) = parameters::connection_in_script(&task) {
            host.warn(&format!(
                "the script has the value of the connection `**{name}` in it, and BigQuery keeps scripts with their jobs"
            ));
        }
        drop(task);
        let stored = remote.handle.clone();
        if known.is_none() {
            host.checkpoint(&json!(stored))?;
        }
        let submitted = submit::submit(&mut remote, job, known.is_some(), host).await?;
        if remote.handle != stored
            && let Err(error) = host.checkpoint(&json!(remote.handle))
        {
            let ended = ending::given_up(&remote, false, error, host).await?;
            return Ok((remote, mode, Some(ended)));
        }
        Ok((remote, mode, submitted))
    }

    async fn prepare(&self, task: &Task) -> Result<(Remote, Job, ResultMode)> {
        let (request, handle) = self.place(task)?;
        let job = describe::job(task, &request, &handle)?;
        Ok((Remote::new(self.service(task).await?, handle), job, request.result))
    }

    /// Ends the job that an earlier call for the attempt may have submitted: this one was stopped before its turn.
    async fn stop(&self, task: &Task, host: &Host) -> Result<Outcome> {
        let (request, handle) = self.place(task)?;
        let service = match self.service(task).await {
            Ok(service) => service,
            Err(error) => return Err(Error::cancelled(ending::left_running(&handle, &error.message, host))),
        };
        let remote = Remote::new(service, handle);
        let job = ending::stopped(&remote, host).await?;
        outcome::of(&job, request.result, &remote, host).await
    }

    async fn service(&self, task: &Task) -> Result<JobService> {
        let account = Account::of(task, &self.config.google)?;
        let endpoint = self.config.google.endpoint.as_deref();
        let build = async |credentials| connected(JobService::builder(), credentials, endpoint).build().await;
        self.clients.get(&account, endpoint.unwrap_or_default(), build).await
    }
}

export_async_engine!(BigQuery, name = "bq");
