//! `plugins.toml`: which engines an environment has, its connections, and where scripts are.
//!
//! Reads files; opens no library. `--env prod` lays `plugins.prod.toml` over `plugins.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::spec;

/// The engines of an environment without a `plugins.toml`: those that come with oxidag.
const DEFAULT_ENGINES: [&str; 3] = ["shell", "sql", "noop"];

/// An environment: a `plugins.toml` with its overlay.
#[derive(Debug, Default)]
pub struct Plugins {
    /// The engines by name.
    pub engines: BTreeMap<String, EngineConfig>,
    /// Pools by name with their slots; they win over those of a DAG.
    pub pools: BTreeMap<String, u32>,
    connections: BTreeMap<String, BTreeMap<String, Secret>>,
    local_root: Option<PathBuf>,
}

/// One engine's section.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// Where its library is.
    pub library: LibraryPath,
    /// The SHA-256 that the library's file must have, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// At most this many of its tasks in flight.
    pub max_concurrent: Option<u32>,
    /// Handed to the engine as it is.
    pub config: Value,
}

/// How a library is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LibraryPath {
    /// By its bare name, on the search path.
    Name(String),
    /// By its file.
    File(PathBuf),
}

/// A connection's value, or where it is.
#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "expected a text, { file = \"…\" } or { env = \"…\" }")]
enum Secret {
    Text(String),
    File(SecretFile),
    Env(SecretVariable),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    file: PathBuf,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretVariable {
    env: String,
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
}

/// A file as written; everything may be left to the file below.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    engines: BTreeMap<String, EngineSection>,
    #[serde(default)]
    pools: BTreeMap<PoolName, std::num::NonZeroU32>,
    #[serde(default)]
    connections: BTreeMap<String, BTreeMap<String, Secret>>,
    #[serde(default)]
    locations: Locations,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct EngineSection {
    path: Option<String>,
    sha256: Option<Sha256>,
    max_concurrent: Option<std::num::NonZeroU32>,
    isolation: Option<Isolation>,
    config: Option<toml::Table>,
    /// The folder that a relative `path` counts from; not in the file.
    #[serde(skip)]
    folder: PathBuf,
}

/// So many bytes in hexadecimal, in either case.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Sha256(String);

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

/// Where an engine runs; there is one way yet.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Isolation {
    InProcess,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Locations {
    local: Option<LocalLocation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocalLocation {
    root: PathBuf,
}

impl Plugins {
    /// Reads an environment: the file, and over it the file of the environment's name. Without a file, the
    /// engines that come with oxidag.
    ///
    /// # Errors
    ///
    /// Any [`PluginsError`] but that of a connection.
    pub fn load(path: Option<&Path>, environment: Option<&str>) -> Result<Self, PluginsError> {
        let base = path.map(read).transpose()?;
        let overlay = environment.map(|name| read_overlay(path, name)).transpose()?;
        let shown = path.unwrap_or(Path::new("plugins.toml"));
        let mut file = base.unwrap_or_else(default_file);
        if let Some(overlay) = overlay {
            file.lay_over(overlay);
        }
        file.finish(shown)
    }

    /// The folder in which buckets of the `local` location are, unless it is the DAG file's own.
    #[must_use]
    pub fn local_root(&self) -> Option<&Path> {
        self.local_root.as_deref()
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
        match secret {
            Secret::Text(text) => Ok(text.clone()),
            Secret::File(SecretFile { file }) => {
                read_secret(file).map_err(|e| problem(format!("cannot be read from {}: {e}", file.display())))
            }
            Secret::Env(SecretVariable { env }) => std::env::var(env).map_err(|_| {
                problem(format!("needs the environment variable {env}, which is not set to a text"))
            }),
        }
    }
}

/// The text of a file; a device would be read for ever.
fn read_secret(file: &Path) -> io::Result<String> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    fs::read_to_string(file)
}

/// `plugins.toml` becomes `plugins.prod.toml`.
fn read_overlay(path: Option<&Path>, name: &str) -> Result<File, PluginsError> {
    let base = path.unwrap_or(Path::new("plugins.toml"));
    let stem = base.file_stem().unwrap_or_default().to_string_lossy();
    let path = base.with_file_name(format!("{stem}.{name}.toml"));
    if name.contains('/') || !path.is_file() {
        return Err(PluginsError::NoOverlay { name: name.to_owned(), path });
    }
    read(&path)
}

fn default_file() -> File {
    let section =
        |name| EngineSection { path: Some(format!("oxidag_engine_{name}")), ..EngineSection::default() };
    File { engines: DEFAULT_ENGINES.map(|name| (name.to_owned(), section(name))).into(), ..File::default() }
}

/// Reads one file; relative paths in it count from its folder.
fn read(path: &Path) -> Result<File, PluginsError> {
    let text =
        fs::read_to_string(path).map_err(|source| PluginsError::Read { path: path.to_owned(), source })?;
    let mut file: File = toml::from_str(&text).map_err(|e| syntax(path, &text, &e))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for section in file.engines.values_mut() {
        folder.clone_into(&mut section.folder);
    }
    for secret in file.connections.values_mut().flat_map(BTreeMap::values_mut) {
        if let Secret::File(at) = secret {
            at.file = folder.join(&at.file);
        }
    }
    if let Some(local) = &mut file.locations.local {
        local.root = folder.join(&local.root);
    }
    Ok(file)
}

/// Only the parser's own words and the place: the line itself may hold a secret.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> PluginsError {
    let before = &text[..text.floor_char_boundary(error.span().map_or(0, |span| span.start))];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    PluginsError::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: without_values(error.message()).trim_end().replace('\n', "; "),
    }
}

/// `invalid type: string "…", expected a map` without the string: it may be a secret in the wrong place.
fn without_values(message: &str) -> String {
    match (message.split_once(": "), message.rsplit_once(", expected ")) {
        (Some((what @ ("invalid type" | "invalid value"), _)), Some((_, expected))) => {
            format!("{what}, expected {expected}")
        }
        _ => message.to_owned(),
    }
}

impl File {
    fn lay_over(&mut self, over: File) {
        for (name, section) in over.engines {
            self.engines.entry(name).or_default().lay_over(section);
        }
        for (name, section) in over.connections {
            self.connections.entry(name).or_default().extend(section);
        }
        self.pools.extend(over.pools);
        self.locations.local = over.locations.local.or(self.locations.local.take());
    }

    fn finish(self, path: &Path) -> Result<Plugins, PluginsError> {
        let mut engines = BTreeMap::new();
        for (name, section) in self.engines {
            let Some(config) = section.finish() else {
                return Err(PluginsError::NoPath { path: path.to_owned(), engine: name });
            };
            engines.insert(name, config);
        }
        let local_root = self.locations.local.map(|local| local.root);
        let pools = self.pools.into_iter().map(|(name, slots)| (name.0, slots.get())).collect();
        Ok(Plugins { engines, pools, connections: self.connections, local_root })
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
        self.isolation = over.isolation.or(self.isolation.take());
        match (&mut self.config, over.config) {
            (Some(config), Some(over)) => lay_over(config, over),
            (config, Some(over)) => *config = Some(over),
            (_, None) => {}
        }
    }

    fn finish(self) -> Option<EngineConfig> {
        let path = self.path?;
        // In process, whether said or not.
        let _: Option<Isolation> = self.isolation;
        Some(EngineConfig {
            library: if path.contains('/') {
                LibraryPath::File(self.folder.join(path))
            } else {
                LibraryPath::Name(path)
            },
            sha256: self.sha256.map(|sha| sha.0),
            max_concurrent: self.max_concurrent.map(std::num::NonZeroU32::get),
            config: json(toml::Value::Table(self.config.unwrap_or_default())),
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

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(crate::secrets::MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        folder
    }

    fn load(folder: &tempfile::TempDir, environment: Option<&str>) -> Result<Plugins, String> {
        let path = folder.path().join("plugins.toml");
        let folder = format!("{}/", folder.path().display());
        Plugins::load(Some(&path), environment).map_err(|e| e.to_string().replace(&folder, ""))
    }

    #[test]
    fn an_overlay_changes_only_what_it_names() {
        let folder = folder(&[
            (
                "plugins.toml",
                "[engines.bq]\npath = 'bq'\nmax_concurrent = 4\n[engines.bq.config]\na = 1\nb = {c = 1, d = 1}",
            ),
            ("plugins.prod.toml", "[engines.bq]\npath = './lib/bq.so'\n[engines.bq.config]\nb = {d = 2}"),
        ]);
        let base = load(&folder, None).unwrap().engines["bq"].clone();
        assert_eq!(base.library, LibraryPath::Name("bq".to_owned()));
        let prod = load(&folder, Some("prod")).unwrap().engines["bq"].clone();
        assert_eq!(prod.library, LibraryPath::File(folder.path().join("./lib/bq.so")));
        assert_eq!(prod.max_concurrent, Some(4));
        assert_eq!(prod.config, json!({"a": 1, "b": {"c": 1, "d": 2}}));
    }

    #[test]
    fn an_overlay_adds_pools_and_changes_their_sizes() {
        let folder = folder(&[
            ("plugins.toml", "[pools]\nwarehouse = 4\n'api.v2' = 1"),
            ("plugins.prod.toml", "[pools]\nwarehouse = 16\nslow = 1"),
        ]);
        let pools = |environment| load(&folder, environment).unwrap().pools.into_iter().collect::<Vec<_>>();
        let named =
            |pools: &[(&str, u32)]| pools.iter().map(|&(name, n)| (name.to_owned(), n)).collect::<Vec<_>>();
        assert_eq!(pools(None), named(&[("api.v2", 1), ("warehouse", 4)]));
        assert_eq!(pools(Some("prod")), named(&[("api.v2", 1), ("slow", 1), ("warehouse", 16)]));
    }

    #[test]
    fn a_connection_is_a_text_a_file_or_a_variable() {
        let folder = folder(&[
            (
                "plugins.toml",
                "[connections.GCP]\nkey = { file = 'key.json' }\nuser = 'me'\nhome = { env = 'CARGO_MANIFEST_DIR' }\nno = { env = 'OXIDAG_NOT_SET' }",
            ),
            ("key.json", "{}"),
        ]);
        let plugins = load(&folder, None).unwrap();
        assert_eq!(plugins.connection("GCP", "key").unwrap(), "{}");
        assert_eq!(plugins.connection("GCP", "user").unwrap(), "me");
        assert_eq!(plugins.connection("GCP", "home").unwrap(), env!("CARGO_MANIFEST_DIR"));
        insta::assert_snapshot!(plugins.connection("GCP", "no").unwrap_err(), @"the connection `**GCP_no` needs the environment variable OXIDAG_NOT_SET, which is not set to a text");
        insta::assert_snapshot!(plugins.connection("AWS", "key").unwrap_err(), @"the connection `**AWS_key` is not in plugins.toml; add key below [connections.AWS]");
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_without_secrets() {
        let error = |text| load(&folder(&[("plugins.toml", text)]), None).unwrap_err();
        insta::assert_snapshot!(error("[engines.bq]\npath = 'x'\npth = 'y'"), @"plugins.toml:3:1: unknown field `pth`, expected one of `path`, `sha256`, `max_concurrent`, `isolation`, `config`");
        insta::assert_snapshot!(error("[connections]\nGCP = 's3cret'"), @"plugins.toml:2:7: invalid type, expected a map");
        insta::assert_snapshot!(error("[connections]\nGCP = 4711"), @"plugins.toml:2:7: invalid type, expected a map");
        insta::assert_snapshot!(error("[connections.GCP]\nkey = 4711"), @r#"plugins.toml:2:7: expected a text, { file = "…" } or { env = "…" }"#);
        insta::assert_snapshot!(error("[connections.GCP]\nkey = {file = 'a', env = 'b'}"), @r#"plugins.toml:2:7: expected a text, { file = "…" } or { env = "…" }"#);
        insta::assert_snapshot!(error("[connections.GCP]\nkey = 's3cret"), @"plugins.toml:2:14: invalid literal string, expected `'`");
        insta::assert_snapshot!(error("[engines.bq]\npath = 'x'\nmax_concurrent = 0"), @"plugins.toml:3:18: invalid value, expected a nonzero u32");
        insta::assert_snapshot!(error("[engines.bq]\npath = 'x'\nsha256 = '1'"), @"plugins.toml:3:10: sha256 must be 64 hexadecimal digits, as `sha256sum` prints them");
        insta::assert_snapshot!(error("[pools]\n'a b' = 1"), @r"plugins.toml:2:1: a pool's name must be 1 to 250 ASCII letters, digits, `_`, `-` and `.`");
        insta::assert_snapshot!(error("[pools]\na = 0"), @r"plugins.toml:2:5: invalid value, expected a nonzero u32");
        insta::assert_snapshot!(error("[engines.bq]"), @r#"plugins.toml: engine `bq` has no `path`; name its library, such as path = "oxidag_engine_bq""#);
        insta::assert_snapshot!(load(&folder(&[]), None).unwrap_err(), @"cannot read plugins.toml: No such file or directory (os error 2)");
        insta::assert_snapshot!(load(&folder(&[("plugins.toml", "")]), Some("prod")).unwrap_err(), @"environment `prod` has no file plugins.prod.toml; create it, or leave out --env");
    }

    #[test]
    fn without_a_file_there_are_the_engines_that_come_with_oxidag() {
        let plugins = Plugins::load(None, None).unwrap();
        assert_eq!(plugins.engines.keys().collect::<Vec<_>>(), ["noop", "shell", "sql"]);
        assert_eq!(plugins.engines["sql"].config, json!({}));
    }
}
