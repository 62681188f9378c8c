//! One attempt: finds the function, deploys it where asked to, calls it.

use google_cloud_functions_v2::client::FunctionService;
use oxidag_google::{Account, connected};
use oxidag_plugin_api::{Error, Host, Outcome, Result, Task};
use reqwest::Url;

use crate::CloudFunction;
use crate::call::{self, Call, MAY_HAVE_RUN};
use crate::checkpoint::Checkpoint;
use crate::config::Auth;
use crate::deploy::{self, Deployer, Source};
use crate::request::{Function, Request, Target, audience, check_url, shown};
use crate::stage::{Stage, Stages};

/// One attempt on its way.
pub(crate) struct Attempt<'a> {
    engine: &'a CloudFunction,
    task: &'a Task,
    host: &'a Host,
    account: Account,
    request: Request,
    /// How far it had come when a scheduler died.
    stored: Option<Checkpoint>,
    stages: Stages,
}

impl<'a> Attempt<'a> {
    /// What the task asks for; of what was begun already, as it was begun.
    ///
    /// # Errors
    ///
    /// `invalid`, when its parameters cannot be meant.
    pub(crate) fn new(engine: &'a CloudFunction, task: &'a Task, host: &'a Host) -> Result<Self> {
        let mut request = Request::read(task, &engine.config)?;
        let asked = match &request.target {
            Target::Function(function) => Some(function),
            Target::Url(_) => None,
        };
        let stored = Checkpoint::of(task)?.map(|stored| stored.unmasked(asked));
        if let Some(
            Checkpoint::Deploying { function, .. } | Checkpoint::Calling { function: Some(function), .. },
        ) = &stored
        {
            request.target = Target::Function(function.clone());
        }
        let account = Account::of(task, &engine.config.google)?;
        let attempt = Self { engine, task, host, account, request, stored, stages: Stages::default() };
        attempt.resume()?;
        Ok(attempt)
    }

    /// Takes up what was under way when a scheduler died.
    ///
    /// # Errors
    ///
    /// When it may not be done again.
    fn resume(&self) -> Result<()> {
        match &self.stored {
            None => {}
            Some(Checkpoint::Deploying { .. }) => self.stages.enter(Stage::Deploying),
            Some(Checkpoint::Calling { .. }) if !self.request.idempotent => {
                return Err(Error::failed(format!("the scheduler stopped during the call; {MAY_HAVE_RUN}")));
            }
            Some(Checkpoint::Calling { url, .. }) => {
                let url = url.as_deref().and_then(|url| Url::parse(url).ok());
                let url = match (&url, &self.request.target) {
                    (Some(url), _) | (None, Target::Url(url)) => shown(url),
                    (None, Target::Function(function)) => function.to_string(),
                };
                self.stages.enter(Stage::Calling { url });
                self.host.info(
                    "the scheduler stopped during the call: it is made again with the same idempotency key",
                );
            }
        }
        Ok(())
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// How it ended, if not well.
    pub(crate) async fn run(&self) -> Result<Outcome> {
        // Apart, so that ten thousand calls do not each hold the room that a deployment takes.
        let (url, told) = Box::pin(self.url()).await?;
        let config = &self.engine.config;
        check_url(&url, config.auth)?;
        let (function, told) = (self.function().cloned(), told.then(|| url.clone().into()));
        Checkpoint::Calling { url: told, function }.store(self.host)?;
        let tokens = match config.auth {
            Auth::None => None,
            Auth::IdToken => {
                let audience = config.audience.clone().unwrap_or_else(|| audience(&url));
                Some(self.engine.tokens.source(&self.account, &audience)?)
            }
        };
        let see = self.function().map_or(String::new(), |function| format!(" ({})", function.link()));
        self.host.info(&format!("calling {}{see}", shown(&url)));
        let call = Call {
            client: &self.engine.client()?,
            url: &url,
            headers: call::headers(self.task),
            body: self.request.payload.to_string().into_bytes(),
            tokens,
            timeout: config.timeout.0.0,
            idempotent: self.request.idempotent,
            may_run: matches!(self.stored, Some(Checkpoint::Calling { .. })),
        };
        call.run(self.host, &self.stages).await
    }

    /// How it ends when it is asked to stop; says what cannot be stopped.
    pub(crate) fn cancelled(&self) -> Error {
        let (error, goes_on) = self.stages.cancelled(self.function());
        if goes_on {
            self.host.warn(&error.message);
        }
        error
    }

    fn function(&self) -> Option<&Function> {
        match &self.request.target {
            Target::Function(function) => Some(function),
            Target::Url(_) => None,
        }
    }

    /// Where to call, and whether Google has told.
    async fn url(&self) -> Result<(Url, bool)> {
        if let Some(Checkpoint::Calling { url: Some(url), .. }) = &self.stored {
            return Url::parse(url).map(|url| (url, true)).map_err(|error| {
                Error::failed(format!("the attempt's checkpoint holds no URL ({error}); run the task again"))
            });
        }
        let function = match &self.request.target {
            Target::Url(url) => return Ok((url.clone(), false)),
            Target::Function(function) => function,
        };
        match (&self.request.deploy, &self.engine.config.url) {
            (Some(deployment), _) => {
                let deployer = Deployer {
                    service: self.service().await?,
                    client: self.engine.client()?,
                    source: Source::new(self.task, function, deployment)?,
                    function,
                    deployment,
                    task: self.task,
                    host: self.host,
                    stages: &self.stages,
                };
                let operation = match &self.stored {
                    Some(Checkpoint::Deploying { operation, .. }) => operation.clone(),
                    _ => None,
                };
                Ok((deployer.run(operation).await?, true))
            }
            (None, Some(template)) => Ok((function.url(template)?, false)),
            (None, None) => Ok((deploy::find(&self.service().await?, function).await?, true)),
        }
    }

    async fn service(&self) -> Result<FunctionService> {
        let endpoint = self.engine.config.google.endpoint.as_deref();
        let build =
            async |credentials| connected(FunctionService::builder(), credentials, endpoint).build().await;
        self.engine.functions.get(&self.account, endpoint.unwrap_or_default(), build).await
    }
}
