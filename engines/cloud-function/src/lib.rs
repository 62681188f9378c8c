//! The `cloud-function` engine: calls a function of Google Cloud, or any that answers HTTP, with the task's parameters
//! as JSON and an identity token, and deploys its source first where it is asked to.
//!
//! A call is one request for as long as the function runs; no thread waits for it. HTTP knows no way to find a call
//! again: after a crash, and when a connection breaks, it has failed, unless the task says that the function may run twice
//! with one `Idempotency-Key`.

mod attempt;
mod call;
mod checkpoint;
mod config;
mod deploy;
mod reply;
mod request;
mod stage;
#[cfg(test)]
mod testing;
mod tokens;

use std::sync::{Mutex, PoisonError};

use google_cloud_functions_v2::client::FunctionService;
use oxidag_google::Clients;
use oxidag_plugin_api::{
    AsyncEngine, Error, Finding, Host, Outcome, Result, Severity, Task, export_async_engine,
};
use reqwest::Client;

use crate::attempt::Attempt;
use crate::config::Config;
use crate::request::Request;
use crate::tokens::Tokens;

struct CloudFunction {
    config: Config,
    client: Mutex<Option<Client>>,
    functions: Clients<FunctionService>,
    tokens: Tokens,
}

impl AsyncEngine for CloudFunction {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".py";
    const OTHER_SUFFIXES: &'static [&'static str] = &[".js", ".go", ".rb", ".php"];
    const VERBATIM: bool = true;

    fn create(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config,
            client: Mutex::default(),
            functions: Clients::default(),
            tokens: Tokens::default(),
        })
    }

    async fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        let checked = Request::read(task, &self.config).and_then(|request| deploy::check(task, &request));
        let finding =
            |Error { message, .. }| Finding { severity: Severity::Error, message, line: None, column: None };
        Ok(checked.err().map(finding).into_iter().collect())
    }

    async fn run(&self, task: Task, host: Host) -> Result<Outcome> {
        let attempt = Attempt::new(self, &task, &host)?;
        tokio::select! {
            // A call that has ended is told as it ended.
            biased;
            end = attempt.run() => end,
            () = host.until_cancelled() => Err(attempt.cancelled()),
        }
    }
}

impl CloudFunction {
    /// The client that all calls share: made when it is first needed.
    fn client(&self) -> Result<Client> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        Ok(client.insert(call::client()?).clone())
    }
}

export_async_engine!(CloudFunction, name = "cloud-function");
