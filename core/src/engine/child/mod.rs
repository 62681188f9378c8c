//! Engines in processes of their own (`isolation = "process"`): whatever their libraries do there costs no scheduler.
//!
//! One child has one engine and many attempts at once. When it dies, each attempt in it ends with an error that the task's
//! retries apply to, and the next one starts another child. `protocol` says what goes over the socket between them, `host` is
//! a child as the scheduler has it, `inside` is the child itself. No library is opened here: that is the loader's, in the child.

mod ending;
mod host;
mod inside;
mod outbox;
mod output;
mod protocol;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{Error, Finding};
use serde_json::Value;
use serde_json::value::RawValue;

use super::no_findings;
use super::{Attempt, EngineError};
use crate::plugins::EngineConfig;
use crate::secrets::Masker;
use host::{About, Child, Unanswered};
use protocol::ToChild;

pub use inside::serve;
pub(super) use protocol::Opened;

/// The first argument of the process of an engine, whose program is this one. It goes to [`serve`]; the second is the engine's
/// name, for people who look at processes.
pub const HOST_COMMAND: &str = "engine-host";

/// So many children in a row may die before they were given an attempt that needs one.
const MOST_STARTS: usize = 3;

/// An engine in processes of its own.
#[derive(Debug)]
pub(super) struct Isolated {
    about: About,
    path: PathBuf,
    config: EngineConfig,
    child: Mutex<Option<Arc<Child>>>,
    /// The newest answer of `blocks`: tasks often have the same parameters.
    blocks: Mutex<Option<(String, bool)>>,
}

impl Isolated {
    /// Starts a child that opens the library, and says what that says of itself. It has no engine before
    /// [`create`](Self::create).
    pub(super) fn open(
        name: &str,
        path: &Path,
        config: &EngineConfig,
    ) -> Result<(Self, Opened), EngineError> {
        let masker = masker(&config.config);
        let about = About { engine: name.into(), limits: config.limits.unwrap_or_default(), masker };
        let isolated = Self {
            about,
            path: path.to_owned(),
            config: config.clone(),
            child: Mutex::default(),
            blocks: Mutex::default(),
        };
        let (child, opened) = isolated.opened()?;
        *lock(&isolated.child) = Some(child);
        Ok((isolated, opened))
    }

    /// Makes the engine.
    pub(super) fn create(&self) -> Result<(), EngineError> {
        let child = lock(&self.child).clone();
        child.map_or(Ok(()), |child| create(&child))
    }

    /// Whether a task with these parameters blocks its thread; where the engine cannot be asked, it is taken to.
    pub(super) fn blocks(&self, params: &str) -> bool {
        let mut newest = lock(&self.blocks);
        if let Some((_, blocks)) = newest.as_ref().filter(|(of, _)| of == params) {
            return *blocks;
        }
        let asked = raw(params).and_then(|params| {
            self.child()?.ask_in_time(|call| ToChild::Blocks { call, params }).map_err(unanswered)
        });
        let answer = asked.ok().and_then(|answer| answer.as_bool());
        if let Some(answer) = answer {
            *newest = Some((params.to_owned(), answer));
        }
        answer.unwrap_or(true)
    }

    /// What the engine finds about a task.
    pub(super) fn validate(&self, task: &str) -> Result<Vec<Finding>, Error> {
        let task = raw(task)?;
        let findings = self.child()?.ask(|call| ToChild::Validate { call, task }).map_err(unanswered)?;
        serde_json::from_value(findings).map_err(|error| no_findings(&error))
    }

    /// Runs an attempt; where it blocks, until it has ended or is abandoned.
    pub(super) fn run(&self, task: &str, blocks: bool, attempt: Arc<dyn Attempt>) {
        let raw = match raw(task) {
            Ok(raw) => raw,
            Err(error) => return attempt.complete(End::Error(error)),
        };
        let mut attempt = attempt;
        for _ in 0..MOST_STARTS {
            let child = match self.child() {
                Ok(child) => child,
                Err(error) => return attempt.complete(End::Error(error)),
            };
            match child.run(raw, blocks, attempt) {
                Ok(()) => return,
                Err(back) => attempt = back,
            }
        }
        attempt.complete(End::Error(died_early()));
    }

    /// The child that takes attempts, started if there is none.
    fn child(&self) -> Result<Arc<Child>, Error> {
        let mut current = lock(&self.child);
        if let Some(child) = current.as_ref().filter(|child| child.takes_more()) {
            return Ok(Arc::clone(child));
        }
        *current = None;
        let started = self.opened().and_then(|(child, _)| create(&child).map(|()| child));
        let child = started.map_err(|error| match error {
            EngineError::Create(error) => error,
            error => Error::failed(format!("the engine cannot be started again: {error}")),
        })?;
        Ok(Arc::clone(current.insert(child)))
    }

    fn opened(&self) -> Result<(Arc<Child>, Opened), EngineError> {
        let isolated = |message: String| EngineError::Isolated { message };
        let child = Child::start(self.about.clone())
            .map_err(|error| isolated(format!("cannot start a process for the engine: {error}")))?;
        let (path, config) = (self.path.clone(), Box::new(self.config.clone()));
        let opened =
            child.ask_in_time(|call| ToChild::Open { call, path, config }).map_err(|why| match why {
                Unanswered::Engine(error) => isolated(error.message),
                Unanswered::Gone(why) => isolated(why.to_string()),
            })?;
        let opened = serde_json::from_value(opened).map_err(|error| isolated(error.to_string()))?;
        Ok((child, opened))
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        child.inspect(|child| child.end());
    }
}

fn create(child: &Child) -> Result<(), EngineError> {
    child
        .ask_in_time(|call| ToChild::Create { call })
        .map(drop)
        .map_err(|why| EngineError::Create(unanswered(why)))
}

/// Why an engine did not answer.
fn unanswered(why: Unanswered) -> Error {
    match why {
        Unanswered::Engine(error) => error,
        Unanswered::Gone(why) => gone(&why),
    }
}

/// The child died: the engine's fault, as a panic would be.
fn gone(why: &str) -> Error {
    Error::new(oxidag_plugin_api::ErrorKind::Panicked, why)
}

fn died_early() -> Error {
    gone("the process of the engine ends before it can be given anything to do")
}

fn raw(json: &str) -> Result<&RawValue, Error> {
    serde_json::from_str(json).map_err(|error| Error::invalid(format!("the task is not JSON: {error}")))
}

/// Of the texts in a configuration, which may be secrets; short ones are words like any.
fn masker(config: &Value) -> Masker {
    const SHORTEST: usize = 8;
    let mut texts = Vec::new();
    let mut values = vec![config];
    while let Some(value) = values.pop() {
        match value {
            Value::String(text) if text.len() >= SHORTEST => texts.push(text.as_str()),
            Value::Array(items) => values.extend(items),
            Value::Object(map) => values.extend(map.values()),
            _ => {}
        }
    }
    Masker::new(texts)
}

/// Nothing that a panic could leave half done is behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
