//! A loaded engine, as the runner calls it: safe functions around the ABI's.

mod attempt;
pub(crate) mod c_host;
pub mod child;
pub(crate) mod rust_host;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxidag_plugin_api::abi::{Description, Instance, Mode};
use oxidag_plugin_api::{Error, Finding};
use serde_json::{Map, Value};

use crate::loader::{self, Library, LibraryInfo, LoadError};
use crate::plugins::{EngineConfig, Isolation};
use crate::scripts::Kind;

pub use attempt::{Attempt, OnCancel};
use child::{Isolated, Opened};

/// An engine that is ready to run tasks.
#[derive(Debug)]
pub struct Engine {
    name: Arc<str>,
    path: PathBuf,
    info: LibraryInfo,
    description: Description,
    max_concurrent: Option<u32>,
    place: Place,
}

/// Where an engine runs.
#[derive(Debug)]
enum Place {
    /// In this process.
    Here { library: Library, instance: Instance },
    /// In one of its own.
    Child(Isolated),
}

/// Why an engine is not ready.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Its library is not used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It does not describe itself as the ABI says.
    #[error("the engine {} does not describe itself: {message}", path.display())]
    Description {
        /// Its library.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Its configuration does not fit its schema.
    #[error("its configuration is refused: {}", problems.join("; "))]
    Config {
        /// Each problem with its place in `config`.
        problems: Vec<String>,
    },
    /// Its own process cannot be started, or its library is not used there.
    #[error("{message}")]
    Isolated {
        /// Why.
        message: String,
    },
    /// It refused to start.
    #[error("it cannot be created: {0}")]
    Create(Error),
}

impl EngineError {
    /// Its library is not installed here: a DAG that names it may be right.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Load(LoadError::NotFound { .. }))
    }
}

/// What a library says of itself, without an engine made from it.
///
/// # Errors
///
/// Any [`EngineError`] that comes before the configuration matters.
pub fn describe(config: &EngineConfig) -> Result<(PathBuf, LibraryInfo, Description), EngineError> {
    let path = loader::find(&config.library)?;
    let (info, description) = match config.isolation {
        Isolation::InProcess => {
            let (library, description) = open(&path, config)?;
            (library.info, description)
        }
        Isolation::Process => {
            let (_, Opened { info, description }) = Isolated::open("-", &path, config)?;
            (info, description)
        }
    };
    Ok((path, info, description))
}

/// A library in this process.
fn open(path: &Path, config: &EngineConfig) -> Result<(Library, Description), EngineError> {
    let library = Library::open(path, config)?;
    let description = library
        .functions
        .describe()
        .and_then(|json| serde_json::from_str(&json).map_err(|e| e.to_string()))
        .map_err(|message| EngineError::Description { path: path.to_owned(), message })?;
    Ok((library, description))
}

impl Engine {
    /// Loads the library, checks the configuration against the engine's schema, and creates the engine; all of it where the
    /// configuration says that the engine runs.
    ///
    /// # Errors
    ///
    /// Any [`EngineError`].
    pub fn load(name: &str, config: &EngineConfig) -> Result<Self, EngineError> {
        let path = loader::find(&config.library)?;
        let (info, description, place) = match config.isolation {
            Isolation::InProcess => {
                let (library, description) = open(&path, config)?;
                check_config(&path, &description.config_schema, &config.config)?;
                let created = library.functions.create(&config.config.to_string());
                let instance = created.map_err(|error| EngineError::Create(error_from(&error)))?;
                (library.info.clone(), description, Place::Here { library, instance })
            }
            Isolation::Process => {
                let (isolated, Opened { info, description }) = Isolated::open(name, &path, config)?;
                check_config(&path, &description.config_schema, &config.config)?;
                isolated.create()?;
                (info, description, Place::Child(isolated))
            }
        };
        let max_concurrent = config.max_concurrent;
        Ok(Self { name: name.into(), path, info, description, max_concurrent, place })
    }

    /// Its name in `plugins.toml`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its library's file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// What its library says of itself.
    #[must_use]
    pub fn info(&self) -> LibraryInfo {
        self.info.clone()
    }

    /// What it says of its scripts.
    #[must_use]
    pub fn scripts(&self) -> Kind<'_> {
        let Description { script_suffix, other_suffixes, by_reference, verbatim, .. } = &self.description;
        let (by_reference, verbatim) = (*by_reference, *verbatim);
        Kind { suffix: script_suffix, other_suffixes, by_reference, verbatim }
    }

    /// At most this many of its tasks in flight.
    #[must_use]
    pub fn max_concurrent(&self) -> Option<u32> {
        self.max_concurrent
    }

    /// Whether a task with these parameters needs a worker.
    #[must_use]
    pub fn blocks(&self, params: &Map<String, Value>) -> bool {
        match self.description.mode {
            Mode::Blocking => true,
            Mode::Async => false,
            Mode::PerTask => {
                let json = serde_json::to_string(params).unwrap_or_default();
                match &self.place {
                    Place::Here { library, instance } => library.functions.blocks(*instance, &json),
                    Place::Child(isolated) => isolated.blocks(&json),
                }
            }
        }
    }

    /// What the engine finds about a task without running it.
    ///
    /// # Errors
    ///
    /// The engine's own, when it could not check.
    pub fn validate(&self, task: &str) -> Result<Vec<Finding>, Error> {
        let (library, instance) = match &self.place {
            Place::Here { library, instance } => (library, *instance),
            Place::Child(isolated) => return isolated.validate(task),
        };
        let findings = library.functions.validate(instance, task).map_err(|e| error_from(&e))?;
        serde_json::from_str(&findings).map_err(|error| no_findings(&error))
    }

    /// Runs an attempt of a task, which [`blocks`](Self::blocks) or does not; it ends through [`Attempt::complete`], during this
    /// call or later.
    pub fn run<A: Attempt>(&self, task: &str, blocks: bool, attempt: Arc<A>) {
        match &self.place {
            Place::Here { library, instance } => library.functions.run(*instance, task, attempt),
            Place::Child(isolated) => isolated.run(task, blocks, attempt),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Place::Here { library, instance } = &self.place {
            // Every call holds an `Arc` of its engine, so none is in flight.
            library.functions.destroy(*instance);
        }
    }
}

fn check_config(path: &Path, schema: &Value, config: &Value) -> Result<(), EngineError> {
    let problems = schema::problems(schema, config).map_err(|why| EngineError::Description {
        path: path.to_owned(),
        message: format!("the schema of its configuration is not one: {why}"),
    })?;
    if problems.is_empty() { Ok(()) } else { Err(EngineError::Config { problems }) }
}

fn no_findings(error: &serde_json::Error) -> Error {
    Error::failed(format!("the engine's findings are not what the ABI says: {error}"))
}

/// The error that an engine gave, or that it gave none.
fn error_from(json: &str) -> Error {
    serde_json::from_str(json)
        .unwrap_or_else(|e| Error::failed(format!("the engine's error is not what the ABI says: {e}")))
}
