//! `plugins.toml` as it is written, and one laid over another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::isolation::{Isolation, Limits};
use super::locations::{Cache, Locations};
use super::logs::Logs;
use super::secret::Secret;
use super::{EngineConfig, LibraryPath, Lock, Plugins, PluginsError};
use crate::{spec, trust};

/// The engines of an environment without a `plugins.toml`: those that do something without settings or an account.
const DEFAULT_ENGINES: [&str; 3] = ["shell", "sql", "noop"];

/// A file as written; everything may be left to the file below.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    engines: BTreeMap<String, EngineSection>,
    #[serde(default)]
    pools: BTreeMap<PoolName, std::num::NonZeroU32>,
    #[serde(default)]
    connections: BTreeMap<String, BTreeMap<String, Secret>>,
    #[serde(default)]
    locations: Locations,
    #[serde(default)]
    cache: Cache,
    #[serde(default)]
    logs: Logs,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct EngineSection {
    path: Option<String>,
    sha256: Option<Sha256>,
    max_concurrent: Option<std::num::NonZeroU32>,
    isolation: Option<Isolation>,
    limits: Option<Limits>,
    config: Option<toml::Table>,
    /// The folder that a relative `path` counts from; not in the file.
    #[serde(skip)]
    folder: PathBuf,
}

/// So many bytes in hexadecimal, in either case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Sha256(pub(super) String);

impl TryFrom<String> for Sha256 {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("sha256 must be 64 hexadecimal digits, as `sha256sum` prints them")
        }
    }
}

/// A name that a DAG file can give as well.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
struct PoolName(String);

impl TryFrom<String> for PoolName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if spec::is_id(&text) {
            Ok(Self(text))
        } else {
            Err("a pool's name must be 1 to 250 ASCII letters, digits, `_`, `-` and `.`")
        }
    }
}

/// `plugins.toml` becomes `plugins.prod.toml`.
pub(super) fn overlay(path: Option<&Path>, name: &str) -> PathBuf {
    let base = path.unwrap_or(Path::new("plugins.toml"));
    let stem = base.file_stem().unwrap_or_default().to_string_lossy();
    base.with_file_name(format!("{stem}.{name}.toml"))
}

/// What is laid over the file.
pub(super) fn read_overlay(
    path: Option<&Path>,
    name: &str,
    allow_writable: bool,
) -> Result<File, PluginsError> {
    let path = overlay(path, name);
    if name.contains('/') || !path.is_file() {
        return Err(PluginsError::NoOverlay { name: name.to_owned(), path });
    }
    read(&path, allow_writable)
}

pub(super) fn default_file() -> File {
    let section =
        |name| EngineSection { path: Some(format!("oxidag_engine_{name}")), ..EngineSection::default() };
    File { engines: DEFAULT_ENGINES.map(|name| (name.to_owned(), section(name))).into(), ..File::default() }
}

/// Reads one file; relative paths in it count from its folder.
pub(super) fn read(path: &Path, allow_writable: bool) -> Result<File, PluginsError> {
    let text = text(path, allow_writable)?;
    let mut file: File = toml::from_str(&text).map_err(|e| syntax(path, &text, &e))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for section in file.engines.values_mut() {
        folder.clone_into(&mut section.folder);
    }
    file.connections.values_mut().flat_map(BTreeMap::values_mut).for_each(|secret| secret.in_folder(folder));
    file.locations.in_folder(folder);
    file.cache.in_folder(folder);
    Ok(file)
}

/// The text of a file that decides what is run.
pub(super) fn text(path: &Path, allow_writable: bool) -> Result<String, PluginsError> {
    let text =
        fs::read_to_string(path).map_err(|source| PluginsError::Read { path: path.to_owned(), source })?;
    if !allow_writable {
        trust::check(path)?;
    }
    Ok(text)
}

/// Only the parser's own words and the place: the line itself may hold a secret.
pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> PluginsError {
    let before = &text[..text.floor_char_boundary(error.span().map_or(0, |span| span.start))];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    PluginsError::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: without_values(error.message()).trim_end().replace('\n', "; "),
    }
}

/// `invalid type: string "…", expected a map` without the string: it may be a secret in the wrong place. What is a map to the
/// parser is a table in TOML.
pub(crate) fn without_values(message: &str) -> String {
    match (message.split_once(": "), message.rsplit_once(", expected ")) {
        (Some((what @ ("invalid type" | "invalid value"), _)), Some((_, expected))) => {
            format!("{what}, expected {}", expected.replace("a map", "a table"))
        }
        _ => message.to_owned(),
    }
}

impl File {
    pub(super) fn lay_over(&mut self, over: File) {
        for (name, section) in over.engines {
            self.engines.entry(name).or_default().lay_over(section);
        }
        for (name, section) in over.connections {
            self.connections.entry(name).or_default().extend(section);
        }
        self.pools.extend(over.pools);
        self.locations.lay_over(over.locations);
        self.cache.lay_over(over.cache);
        self.logs.lay_over(over.logs);
    }

    /// The libraries that it names, as they are written.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        self.engines.values().filter_map(|section| section.path.clone())
    }

    /// The environment. `lock` is what the lock file of `path` holds, where there is one.
    pub(super) fn finish(mut self, path: &Path, lock: Option<&Lock>) -> Result<Plugins, PluginsError> {
        let mut engines = BTreeMap::new();
        for (name, section) in std::mem::take(&mut self.engines) {
            let Some(mut config) = section.finish() else {
                return Err(PluginsError::NoPath { path: path.to_owned(), engine: name });
            };
            if config.limits.is_some() && config.isolation == Isolation::InProcess {
                return Err(PluginsError::Setting {
                    files: path.display().to_string(),
                    setting: format!("[engines.{name}.limits]"),
                    problem:
                        "is for a process of the engine's own; add isolation = \"process\" to its section"
                            .to_owned(),
                });
            }
            config.lock = lock.map(|lock| lock.of(path, &config.written));
            engines.insert(name, config);
        }
        let pools =
            std::mem::take(&mut self.pools).into_iter().map(|(name, slots)| (name.0, slots.get())).collect();
        let File { connections, locations, cache, logs, .. } = self;
        Ok(Plugins { engines, pools, connections, locations, cache, logs, ..Plugins::default() })
    }
}

impl EngineSection {
    fn lay_over(&mut self, over: EngineSection) {
        if over.path.is_some() {
            self.path = over.path;
            self.folder = over.folder;
            // A hash belongs to one library.
            self.sha256 = None;
        }
        self.sha256 = over.sha256.or(self.sha256.take());
        self.max_concurrent = over.max_concurrent.or(self.max_concurrent);
        self.isolation = over.isolation.or(self.isolation);
        self.limits = match (self.limits.take(), over.limits) {
            (Some(below), Some(above)) => Some(below.lay_over(above)),
            (below, above) => above.or(below),
        };
        match (&mut self.config, over.config) {
            (Some(config), Some(over)) => lay_over(config, over),
            (config, Some(over)) => *config = Some(over),
            (_, None) => {}
        }
    }

    fn finish(self) -> Option<EngineConfig> {
        let path = self.path?;
        let library = match path.contains('/') {
            true => LibraryPath::File(self.folder.join(&path)),
            false => LibraryPath::Name(path.clone()),
        };
        Some(EngineConfig {
            written: path,
            sha256: self.sha256.map(|sha| sha.0),
            max_concurrent: self.max_concurrent.map(std::num::NonZeroU32::get),
            isolation: self.isolation.unwrap_or_default(),
            limits: self.limits.map(Limits::read),
            config: json(toml::Value::Table(self.config.unwrap_or_default())),
            ..EngineConfig::new(library)
        })
    }
}

fn lay_over(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => _ = table.insert(key, value),
        }
    }
}

/// TOML as JSON: dates and times become text.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
    }
}
