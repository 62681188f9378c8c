//! An engine whose remote jobs run in the ledger service of the tests. For tests alone.
//!
//! It does what an engine for a real service does: the attempt's key makes the service refuse a second job, and
//! the job's id is the checkpoint. Parameters, all optional: `duration_ms`, how long the job takes; `fail`, how
//! many attempts fail, from the first; `pause_ms`, how long the engine dawdles between the two; `unreachable`, for how
//! many attempts, from the first, the service is said not to be there.

mod service;

use std::time::Duration;

use oxidag_plugin_api::{AsyncEngine, Error, Host, Outcome, Result, Task, export_async_engine};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::service::{Job, Service};

/// How long a job is left alone between two looks at it.
const POLL: Duration = Duration::from_millis(3);

/// Where the service is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// `HOST:PORT`.
    address: String,
}

/// What a task asks for.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Request {
    duration_ms: u64,
    pause_ms: u64,
    fail: u32,
    unreachable: u32,
}

struct Ledger {
    address: String,
}

impl AsyncEngine for Ledger {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".txt";

    fn create(config: Config) -> Result<Self> {
        Ok(Self { address: config.address })
    }

    async fn run(&self, task: Task, host: Host) -> Result<Outcome> {
        let request = Request::deserialize(Value::Object(task.params.clone()))
            .map_err(|e| Error::invalid(format!("the parameters of `{}`: {e}", task.task_id)))?;
        if task.attempt <= request.unreachable {
            return Err(Error::transient("the service is not there, as the parameter `unreachable` asks"));
        }
        let mut service = Service::connect(&self.address).await?;
        let job = match &task.checkpoint {
            Some(checkpoint) => checkpoint["job"]
                .as_u64()
                .map(Job)
                .ok_or_else(|| Error::invalid(format!("no checkpoint of this engine: {checkpoint}")))?,
            None => submit(&mut service, &task, &request, &host).await?,
        };
        wait(&mut service, job, &host).await
    }
}

/// Hands the job to the service, which may have it already, and stores its id.
async fn submit(service: &mut Service, task: &Task, request: &Request, host: &Host) -> Result<Job> {
    let job = service
        .submit(&json!({
            "op": "submit",
            "key": task.idempotency_key,
            "task": task.task_id,
            "attempt": task.attempt,
            "duration_ms": request.duration_ms,
            "fail": task.attempt <= request.fail,
        }))
        .await?;
    tokio::time::sleep(Duration::from_millis(request.pause_ms)).await;
    host.checkpoint(&json!({"job": job.0}))?;
    service.stored(job).await?;
    Ok(job)
}

/// Waits for the job's end, and stops it when asked to.
async fn wait(service: &mut Service, job: Job, host: &Host) -> Result<Outcome> {
    loop {
        match service.state(job).await?.as_str() {
            "running" => {}
            "succeeded" => return Ok(Outcome::default().with_metric("job", job.0)),
            "cancelled" => return Err(Error::cancelled("the job was cancelled")),
            state => return Err(Error::failed(format!("job {} is {state}", job.0))),
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = host.until_cancelled() => {
                service.cancel(job).await?;
                return Err(Error::cancelled("the job was cancelled"));
            }
        }
    }
}

export_async_engine!(Ledger, name = "ledger");
