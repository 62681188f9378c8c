//! `plugins.toml`: which engines an environment has, its connections, and where scripts are.
//!
//! Reads files; opens no library. `--env prod` lays `plugins.prod.toml` over `plugins.toml`.

mod file;
mod isolation;
mod locations;
mod lock;
mod logs;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::background::Background;
use crate::buckets::Buckets;
use crate::cache::{Redis, ScriptCache};
use crate::logs::Uploader;

pub use isolation::{ChildLimits, Isolation};
pub use locations::Columns;
pub use lock::{Change, Lock, LockError, Locked, environments};

use crate::secrets::with_password;
use crate::trust::TrustError;
pub(crate) use file::without_values;
use locations::{Cache, Locations, REDIS, WrongSetting, put};
use logs::Logs;
pub(crate) use secret::Secret;

/// An environment: a `plugins.toml` with its overlay.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    /// The engines by name.
    pub engines: BTreeMap<String, EngineConfig>,
    /// Pools by name with their slots; they win over those of a DAG.
    pub pools: BTreeMap<String, u32>,
    /// The files that it was read from, for messages.
    files: String,
    connections: BTreeMap<String, BTreeMap<String, Secret>>,
    locations: Locations,
    cache: Cache,
    logs: Logs,
    background: Arc<Background>,
    buckets: OnceLock<Arc<Buckets>>,
    script_cache: OnceLock<Arc<ScriptCache>>,
}

/// One engine's section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineConfig {
    /// Where its library is.
    pub library: LibraryPath,
    /// The same as it is written: what `plugins.lock` knows it by.
    pub written: String,
    /// The SHA-256 that the library's file must have, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// What `plugins.lock` says of the library, where there is such a file.
    pub lock: Option<Locked>,
    /// The library may be one that others can write.
    pub allow_writable: bool,
    /// At most this many of its tasks in flight.
    pub max_concurrent: Option<u32>,
    /// Where it runs.
    pub isolation: Isolation,
    /// What its process may use, where it has one of its own.
    pub limits: Option<ChildLimits>,
    /// Handed to the engine as it is.
    pub config: Value,
}

impl EngineConfig {
    /// The engine of this library with no settings.
    #[must_use]
    pub fn new(library: LibraryPath) -> Self {
        let written = match &library {
            LibraryPath::Name(name) => name.clone(),
            LibraryPath::File(path) => path.display().to_string(),
        };
        Self {
            library,
            written,
            sha256: None,
            lock: None,
            allow_writable: false,
            max_concurrent: None,
            isolation: Isolation::default(),
            limits: None,
            config: Value::Object(serde_json::Map::new()),
        }
    }
}

/// How a library is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LibraryPath {
    /// By its bare name, on the search path.
    Name(String),
    /// By its file.
    File(PathBuf),
}

/// What is wrong with an environment.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can change it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The file is not what it should be.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The environment has no overlay.
    #[error("environment `{name}` has no file {}; create it, or leave out --env", path.display())]
    NoOverlay {
        /// The environment.
        name: String,
        /// The file that would be its own.
        path: PathBuf,
    },
    /// An engine without a library.
    #[error("{}: engine `{engine}` has no `path`; name its library, such as path = \"oxidag_engine_{engine}\"", path.display())]
    NoPath {
        /// The file.
        path: PathBuf,
        /// The engine.
        engine: String,
    },
    /// A connection that a DAG needs is not there or cannot be read.
    #[error("the connection `**{section}_{key}` {problem}")]
    Connection {
        /// Its section.
        section: String,
        /// Its key.
        key: String,
        /// What is wrong; never the value.
        problem: String,
    },
    /// Another setting is wrong, or a secret that is needed cannot be read.
    #[error("{files}: {setting} {problem}")]
    Setting {
        /// The file, and the one over it.
        files: String,
        /// Which one.
        setting: String,
        /// What is wrong; never the value.
        problem: String,
    },
}

impl Plugins {
    /// Reads an environment: the file, and over it the file of the environment's name. Without a file, it has the engines
    /// that need neither settings nor an account. Files that others can write are refused unless `allow_writable`, and so are
    /// such libraries.
    ///
    /// # Errors
    ///
    /// Any [`PluginsError`] but that of a connection.
    pub fn load(
        path: Option<&Path>,
        environment: Option<&str>,
        allow_writable: bool,
    ) -> Result<Self, PluginsError> {
        let base = path.map(|path| file::read(path, allow_writable)).transpose()?;
        let overlay = environment.map(|name| file::read_overlay(path, name, allow_writable)).transpose()?;
        let lock = path.map(|path| Lock::read(path, allow_writable)).transpose()?.flatten();
        let shown = path.unwrap_or(Path::new("plugins.toml"));
        let mut file = base.unwrap_or_else(file::default_file);
        let mut files = shown.display().to_string();
        if let (Some(overlay), Some(name)) = (overlay, environment) {
            file.lay_over(overlay);
            files += &format!(" with {}", file::overlay(path, name).display());
        }
        let mut plugins = Self { files, ..file.finish(shown, lock.as_ref())? };
        plugins.engines.values_mut().for_each(|engine| engine.allow_writable = allow_writable);
        plugins.locations.check().map_err(|wrong| plugins.wrong(wrong))?;
        Ok(plugins)
    }

    /// A mistake of the files' own.
    fn wrong(&self, WrongSetting { setting, problem }: WrongSetting) -> PluginsError {
        PluginsError::Setting { files: self.files.clone(), setting, problem }
    }

    /// The folder in which buckets of the `local` location are, unless it is the DAG file's own.
    #[must_use]
    pub fn local_root(&self) -> Option<&Path> {
        self.locations.local_root()
    }

    /// The value of a connection. Only those that a DAG names are ever read.
    ///
    /// # Errors
    ///
    /// [`PluginsError::Connection`] where there is none, or its file or variable cannot be read.
    pub fn connection(&self, section: &str, key: &str) -> Result<String, PluginsError> {
        let problem =
            |problem| PluginsError::Connection { section: section.to_owned(), key: key.to_owned(), problem };
        let Some(secret) = self.connections.get(section).and_then(|s| s.get(key)) else {
            return Err(problem(format!("is not in plugins.toml; add {key} below [connections.{section}]")));
        };
        secret.read().map_err(problem)
    }

    /// The URL of the database that a script's bucket names: `SECTION_key` is a connection, and a `SECTION` alone its
    /// `url`.
    ///
    /// # Errors
    ///
    /// As [`Plugins::connection`].
    pub fn database(&self, bucket: &str) -> Result<String, PluginsError> {
        let (section, key) = match bucket.split_once('_') {
            Some(parts) if !self.connections.contains_key(bucket) => parts,
            _ => (bucket, "url"),
        };
        self.connection(section, key).map(|url| url.trim().to_owned())
    }

    /// The columns in which tables of scripts have their names and texts.
    #[must_use]
    pub fn script_columns(&self) -> Columns {
        self.locations.columns()
    }

    /// The runtime for what talks to services.
    #[must_use]
    pub fn background(&self) -> &Background {
        &self.background
    }

    /// What reads and writes buckets; all DAGs that run together share it.
    ///
    /// # Errors
    ///
    /// [`PluginsError::Setting`] where a secret cannot be read.
    pub fn buckets(&self) -> Result<Arc<Buckets>, PluginsError> {
        if let Some(buckets) = self.buckets.get() {
            return Ok(Arc::clone(buckets));
        }
        let settings = self.locations.buckets().map_err(|wrong| self.wrong(wrong))?;
        let buckets = Arc::new(Buckets::new(settings, Arc::clone(&self.background)));
        Ok(Arc::clone(self.buckets.get_or_init(|| buckets)))
    }

    /// What uploads logs, where they are uploaded.
    ///
    /// # Errors
    ///
    /// As [`Plugins::buckets`].
    pub fn uploader(&self) -> Result<Option<Uploader>, PluginsError> {
        self.logs.target().map(|target| Ok(Uploader::new(self.buckets()?, target))).transpose()
    }

    /// The script cache; all DAGs that run together share it.
    ///
    /// # Errors
    ///
    /// [`PluginsError::Setting`] where the URL of the Redis cannot be read or is none.
    pub fn script_cache(&self) -> Result<Arc<ScriptCache>, PluginsError> {
        if let Some(cache) = self.script_cache.get() {
            return Ok(Arc::clone(cache));
        }
        let cache = match self.redis()? {
            Some(redis) => ScriptCache::redis(redis),
            None => ScriptCache::in_process(),
        };
        Ok(Arc::clone(self.script_cache.get_or_init(|| Arc::new(cache))))
    }

    /// The Redis that keeps scripts, where one does.
    ///
    /// # Errors
    ///
    /// As [`Plugins::script_cache`].
    pub fn redis(&self) -> Result<Option<Redis>, PluginsError> {
        let Some(url) = self.cache.redis().map_err(|wrong| self.wrong(wrong))? else { return Ok(None) };
        let wrong = |problem| self.wrong(WrongSetting { setting: REDIS.to_owned(), problem });
        let redis = Redis::new(&url).map_err(wrong)?;
        Ok(Some(match self.cache.timeout() {
            Some(timeout) => redis.with_timeout(timeout),
            None => redis,
        }))
    }

    /// The secrets of `[locations]` and `[cache]`, for masking; those that cannot be read are in nobody's hands.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let secrets = self.locations.secrets().filter_map(|secret| secret.read().ok());
        let redis = self.cache.redis().ok().flatten();
        secrets.chain(redis.into_iter().flat_map(with_password)).collect()
    }
}
