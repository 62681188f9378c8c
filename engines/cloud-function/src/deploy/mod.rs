//! Makes a function of a script's source, unless there is one with this source already.
//!
//! What there is decides, not what was asked for: after each step the function is looked at again. So a crash, a lost
//! reply and another run that deploys the same source need no special ways.

mod operation;
mod plan;
mod source;
mod upload;

use std::time::{Duration, Instant};

use google_cloud_functions_v2::client::FunctionService;
use google_cloud_functions_v2::model::Function as Found;
use google_cloud_gax::error::Error as Gax;
use google_cloud_wkt::FieldMask;
use oxidag_google::{Pace, from_gax, labels, request_slot};
use oxidag_plugin_api::{Error, Host, Result, Task};
use reqwest::{Client, Url};

use crate::checkpoint::Checkpoint;
use crate::config::Deployment;
use crate::request::{Function, Request, Target};
use crate::stage::{Stage, Stages};
use operation::Patience;
use plan::{Done, Next, Wanted};
pub(crate) use source::Source;

/// Whether a task's source can be deployed, if it shall be.
///
/// # Errors
///
/// `invalid`, when it cannot.
pub(crate) fn check(task: &Task, request: &Request) -> Result<()> {
    match (&request.deploy, &request.target) {
        (Some(deployment), Target::Function(function)) => Source::new(task, function, deployment).map(|_| ()),
        _ => Ok(()),
    }
}

/// The URL of a function that is there already.
///
/// # Errors
///
/// When it is not, or Google does not tell.
pub(crate) async fn find(service: &FunctionService, function: &Function) -> Result<Url> {
    let found = look(service, function).await.map_err(|error| cannot_look(function, &error))?;
    let Some(found) = found else {
        return Err(Error::invalid(format!(
            "there is no function `{}` in {} of the project {}: check the names, or have the task deploy it",
            function.name, function.region, function.project
        )));
    };
    let url = plan::url(&found)
        .ok_or_else(|| Error::failed(format!("{function} has no URL: {}", plan::why(&found))))?;
    parsed(function, &url)
}

/// Where a deployment is after a step.
enum Step {
    /// At its end.
    Ready(String),
    /// Nothing can be done yet.
    Wait,
    /// It has failed.
    Failed(Error),
}

/// One deployment on its way.
pub(crate) struct Deployer<'a> {
    pub(crate) service: FunctionService,
    pub(crate) client: Client,
    pub(crate) function: &'a Function,
    pub(crate) deployment: &'a Deployment,
    pub(crate) source: Source,
    pub(crate) task: &'a Task,
    pub(crate) host: &'a Host,
    pub(crate) stages: &'a Stages,
}

impl Deployer<'_> {
    /// The URL of the function, once it has this source. `operation`: what an earlier call of `run` waited for.
    ///
    /// # Errors
    ///
    /// When it cannot be deployed.
    pub(crate) async fn run(&self, operation: Option<String>) -> Result<Url> {
        let mut so_far = Done::default();
        if let Some(operation) = operation {
            self.host.info(&format!("{} is being deployed already; waiting for it", self.function));
            self.stages.enter(Stage::Deploying);
            self.wait_for(&operation).await??;
            so_far = Done { asked: true, taken: 1 };
        }
        let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(20));
        let mut patience = Patience::default();
        loop {
            match self.step(&mut so_far).await {
                Ok(Step::Ready(url)) => {
                    self.stages.enter(Stage::Idle);
                    return parsed(self.function, &url);
                }
                Ok(Step::Failed(error)) => return Err(error),
                Ok(Step::Wait) => patience = Patience::default(),
                Err(error) => patience.try_on(error, Instant::now())?,
            }
            tokio::time::sleep(pace.pause()).await;
        }
    }

    /// Looks at the function, and does what follows. The error is of the calls that this takes.
    async fn step(&self, so_far: &mut Done) -> Result<Step> {
        loop {
            let found = look(&self.service, self.function).await;
            let found = found.map_err(|error| cannot_look(self.function, &error))?;
            match plan::next(found.as_ref(), &self.source.hash, *so_far) {
                Next::Ready(url) => return Ok(Step::Ready(url)),
                Next::Fail(why) => return Ok(Step::Failed(self.failed(&why))),
                Next::Wait => {
                    self.stages.enter(Stage::Deploying);
                    return Ok(Step::Wait);
                }
                Next::Create | Next::Update => {
                    let Some(operation) = self.submit(found.as_ref(), so_far).await? else {
                        return Ok(Step::Wait);
                    };
                    if let Err(error) = self.wait_for(&operation).await? {
                        return Ok(Step::Failed(error));
                    }
                }
            }
        }
    }

    /// Asks for the deployment; `None` when another one is under way already. It is not asked again for what may
    /// have been heard: how the function is found tells.
    async fn submit(&self, existing: Option<&Found>, so_far: &mut Done) -> Result<Option<String>> {
        self.host.info(&format!("deploying {}: {}", self.function, self.function.link()));
        let archive =
            upload::upload(&self.service, &self.client, self.function, self.source.archive()?).await?;
        let wanted = Wanted {
            name: self.function.resource(),
            runtime: &self.source.runtime,
            entry_point: &self.source.entry_point,
            hash: &self.source.hash,
            deployment: self.deployment,
            labels: labels(self.task),
            archive,
        };
        let (function, fields) = wanted.function(existing);
        self.checkpoint(None)?;
        self.stages.enter(Stage::Deploying);
        so_far.asked = true;
        let slot = request_slot().await;
        let submitted = if existing.is_some() {
            let mask = FieldMask::default().set_paths(fields);
            self.service.update_function().set_function(function).set_update_mask(mask).send().await
        } else {
            let call = self.service.create_function().set_parent(self.function.parent());
            call.set_function_id(&self.function.name).set_function(function).send().await
        };
        drop(slot);
        match submitted {
            Ok(operation) => {
                so_far.taken += 1;
                self.checkpoint(Some(operation.name.clone()))?;
                Ok(Some(operation.name))
            }
            Err(error) if error.http_status_code() == Some(409) => Ok(None),
            Err(error) => Err(from_gax(&format!("cannot deploy {}", self.function), &error)),
        }
    }

    /// Waits for Google's work; the inner error is its end.
    async fn wait_for(&self, operation: &str) -> Result<Result<()>> {
        let end = operation::wait_for(&self.service, operation, self.host).await?;
        Ok(end.map_err(|(kind, why)| Error { kind, ..self.failed(&why) }))
    }

    fn checkpoint(&self, operation: Option<String>) -> Result<()> {
        Checkpoint::Deploying { function: self.function.clone(), operation }.store(self.host)
    }

    fn failed(&self, why: &str) -> Error {
        let why = why.trim_end_matches('.');
        Error::failed(format!("{} could not be deployed: {why}; see {}", self.function, self.function.link()))
    }
}

/// The function as it is; `None` when there is none.
async fn look(service: &FunctionService, function: &Function) -> Result<Option<Found>, Gax> {
    let _slot = request_slot().await;
    match service.get_function().set_name(function.resource()).send().await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.http_status_code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

fn cannot_look(function: &Function, error: &Gax) -> Error {
    from_gax(&format!("cannot look at {function}"), error)
}

fn parsed(function: &Function, url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| Error::failed(format!("{function} has no usable URL, `{url}`: {error}")))
}
