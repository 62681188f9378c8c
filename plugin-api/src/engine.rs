//! The two traits of which an engine's author chooses one.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
#[cfg(feature = "async")]
use serde_json::{Map, Value};

use crate::host::Host;
use crate::task::{Finding, Outcome, Result, Task};

/// An engine whose `run` blocks: it is called on one of the host's worker threads.
///
/// One engine serves all tasks that name it, several at a time.
pub trait Engine: Send + Sync + Sized + 'static {
    /// The engine's section of `plugins.toml`; [`NoConfig`] for none. The host checks it against the schema first.
    type Config: DeserializeOwned + JsonSchema;

    /// What is appended to a script's name to find its file.
    const SCRIPT_SUFFIX: &'static str = "";

    /// Other suffixes of scripts: a spelled-out name that ends in one of them is taken as it is.
    const OTHER_SUFFIXES: &'static [&'static str] = &[];

    /// Whether the engine hands a script's place ([`Script::uri`](crate::Script::uri)) to a service that reads it
    /// there. Such a script comes without its text where it has a place, and placeholders are never filled in.
    const BY_REFERENCE: bool = false;

    /// Whether a script's text comes as it was written: source code, whose braces are no placeholders.
    const VERBATIM: bool = false;

    /// An engine with this configuration. Connecting to a service is better left to `run`.
    ///
    /// # Errors
    ///
    /// When the configuration cannot work; DAGs that need the engine are then refused.
    fn create(config: Self::Config) -> Result<Self>;

    /// A dry run: what would be wrong with this task.
    ///
    /// # Errors
    ///
    /// When the check itself could not be made.
    fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        let _ = task;
        Ok(Vec::new())
    }

    /// Runs one attempt and returns when it has ended. Looks at [`Host::cancelled`], or uses [`Host::on_cancel`].
    ///
    /// # Errors
    ///
    /// When the attempt did not succeed; the kind of the error decides whether another one follows.
    fn run(&self, task: Task, host: &Host) -> Result<Outcome>;
}

/// An engine that waits without holding a thread: `run` is a future on the engine's own runtime.
#[cfg(feature = "async")]
pub trait AsyncEngine: Send + Sync + Sized + 'static {
    /// As in [`Engine::Config`].
    type Config: DeserializeOwned + JsonSchema;

    /// As in [`Engine::SCRIPT_SUFFIX`].
    const SCRIPT_SUFFIX: &'static str = "";

    /// As in [`Engine::OTHER_SUFFIXES`].
    const OTHER_SUFFIXES: &'static [&'static str] = &[];

    /// As in [`Engine::BY_REFERENCE`].
    const BY_REFERENCE: bool = false;

    /// As in [`Engine::VERBATIM`].
    const VERBATIM: bool = false;

    /// Whether [`blocks`](Self::blocks) has to be asked.
    const MIXED: bool = false;

    /// As [`Engine::create`].
    ///
    /// # Errors
    ///
    /// When the configuration cannot work.
    fn create(config: Self::Config) -> Result<Self>;

    /// As [`Engine::validate`].
    ///
    /// # Errors
    ///
    /// When the check itself could not be made.
    fn validate(&self, task: &Task) -> impl Future<Output = Result<Vec<Finding>>> + Send {
        let _ = task;
        async { Ok(Vec::new()) }
    }

    /// Runs one attempt. Selects over [`Host::until_cancelled`] where it waits.
    ///
    /// # Errors
    ///
    /// When the attempt did not succeed; the kind of the error decides whether another one follows.
    fn run(&self, task: Task, host: Host) -> impl Future<Output = Result<Outcome>> + Send;

    /// For a [`MIXED`](Self::MIXED) engine: whether a task with these parameters goes to
    /// [`run_blocking`](Self::run_blocking) on one of the host's workers. Must not depend on anything else.
    fn blocks(&self, params: &Map<String, Value>) -> bool {
        let _ = params;
        false
    }

    /// For a [`MIXED`](Self::MIXED) engine: as [`Engine::run`].
    ///
    /// # Errors
    ///
    /// As [`Engine::run`].
    fn run_blocking(&self, task: Task, host: &Host) -> Result<Outcome> {
        let _ = (task, host);
        Err(crate::Error::invalid("this engine has no blocking tasks"))
    }
}

/// The configuration of an engine that has none; any key is refused.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
