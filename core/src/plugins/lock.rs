//! `plugins.lock`: the hashes of the libraries that an environment's engines are loaded from.
//!
//! It lies beside `plugins.toml`, or beside what that is a link to, and covers the overlays too, since it knows libraries by the `path` that they are configured
//! with. Where there is one, a library that is not in it, or is another file by now, is not used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, Sha256};
use super::{EngineConfig, PluginsError};
use crate::loader::{self, Image, LoadError};
use crate::trust;

/// The first lines of the file.
const HEAD: &str = "\
# The libraries that engines may be loaded from, by their `path` in plugins.toml and its overlays.
# Written by `oxidag engines lock`; keep it with plugins.toml.
";

/// What the lock file says of an engine's library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// The lock file.
    pub file: PathBuf,
    /// The hash that the library must have; none where the file does not know it.
    pub sha256: Option<String>,
}

/// The content of a lock file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    #[serde(default)]
    libraries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: String,
    sha256: Sha256,
}

/// One library in which two lock files differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its `path` in plugins.toml.
    pub library: String,
    /// Version and hash before; none for a new one.
    pub from: Option<String>,
    /// Version and hash after; none for one that nothing names any more.
    pub to: Option<String>,
}

/// Why no lock file can be made.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A library of one of the engines cannot be locked.
    #[error("engine `{engine}`: {source}")]
    Library {
        /// The engine.
        engine: String,
        /// Why.
        source: LoadError,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files beside it cannot be read.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
}

impl Lock {
    /// The lock file of a `plugins.toml`. Where that is a link, the lock file beside the link counts; if there is none, the one
    /// beside the file that it leads to: whoever locks that file, locks it for all that link to it.
    #[must_use]
    pub fn beside(plugins: &Path) -> PathBuf {
        let named = plugins.with_extension("lock");
        let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
        let of_target = || plugins.canonicalize().ok().map(|target| target.with_extension("lock"));
        match is_there(&named) {
            true => named,
            false => of_target().filter(is_there).unwrap_or(named),
        }
    }

    /// Reads the lock file of a `plugins.toml`, where there is one.
    ///
    /// # Errors
    ///
    /// [`PluginsError`], when it cannot be read, is not one, or others can write it.
    pub fn read(plugins: &Path, allow_writable: bool) -> Result<Option<Self>, PluginsError> {
        let path = Self::beside(plugins);
        // A link that leads nowhere is a lock that is gone, which has to be said.
        if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let text = file::text(&path, allow_writable)?;
        toml::from_str(&text).map(Some).map_err(|e| file::syntax(&path, &text, &e))
    }

    /// Takes up the libraries of these engines as they are now. Those of other environments stay, if one of the files beside
    /// still names them. No library is opened.
    ///
    /// # Errors
    ///
    /// [`LockError`] when a library is not there or is none, or a file of another environment cannot be read.
    pub fn update(
        &mut self,
        plugins: &Path,
        engines: &BTreeMap<String, EngineConfig>,
        allow_writable: bool,
    ) -> Result<(), LockError> {
        let named = named(plugins, allow_writable)?;
        self.libraries.retain(|path, _| named.contains(path));
        for (engine, config) in engines {
            let failed = |source| LockError::Library { engine: engine.clone(), source };
            let path = loader::find(&config.library).map_err(failed)?;
            if !allow_writable {
                trust::check(&path).map_err(|error| failed(error.into()))?;
            }
            let version = Image::read(&path).map_err(failed)?.info.version;
            let sha256 = Sha256(loader::sha256(&path).map_err(failed)?);
            self.libraries.insert(config.written.clone(), Entry { version, sha256 });
        }
        Ok(())
    }

    /// The file's text, the same for the same libraries.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (path, Entry { version, sha256 }) in &self.libraries {
            // A text of JSON is one of TOML, but for one character.
            let quoted = |text: &str| serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f");
            let (path, version) = (quoted(path), quoted(version));
            text += &format!("\n[libraries.{path}]\nversion = {version}\nsha256 = \"{}\"\n", sha256.0);
        }
        text
    }

    /// Writes the lock file of a `plugins.toml`, the whole of it or nothing, and returns its path.
    ///
    /// # Errors
    ///
    /// [`LockError::Write`].
    pub fn write(&self, plugins: &Path) -> Result<PathBuf, LockError> {
        let path = Self::beside(plugins);
        let written = || {
            let part = path.with_extension(format!("lock.{}", std::process::id()));
            let mut options = fs::OpenOptions::new();
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
            let mut file = options.write(true).create_new(true).open(&part)?;
            file.write_all(self.text().as_bytes())
                .and_then(|()| file.sync_all())
                .and_then(|()| fs::rename(&part, &path))
                .inspect_err(|_| _ = fs::remove_file(&part))
        };
        written().map_err(|source| LockError::Write { path: path.clone(), source })?;
        Ok(path)
    }

    /// What it says of a library that is configured with this path.
    pub(super) fn of(&self, plugins: &Path, path: &str) -> Locked {
        let sha256 = self.libraries.get(path).map(|entry| entry.sha256.0.clone());
        Locked { file: Self::beside(plugins), sha256 }
    }

    /// How many libraries it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.libraries.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.libraries.is_empty()
    }

    /// From this one to another.
    #[must_use]
    pub fn changes(&self, to: &Self) -> Vec<Change> {
        let libraries: BTreeSet<&String> = self.libraries.keys().chain(to.libraries.keys()).collect();
        let said = |lock: &Self, library: &str| lock.libraries.get(library).map(Entry::to_string);
        libraries
            .into_iter()
            .map(|library| Change {
                from: said(self, library),
                to: said(to, library),
                library: library.clone(),
            })
            .filter(|change| change.from != change.to)
            .collect()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sha256:{}", self.version, self.sha256.0)
    }
}

/// The libraries that `plugins.toml` and the overlays beside it name, by the paths written there.
fn named(plugins: &Path, allow_writable: bool) -> Result<BTreeSet<String>, PluginsError> {
    let mut paths: BTreeSet<String> = file::read(plugins, allow_writable)?.paths().collect();
    for environment in environments(plugins)? {
        paths.extend(file::read_overlay(Some(plugins), &environment, allow_writable)?.paths());
    }
    Ok(paths)
}

/// The names of the environments that have an overlay beside this `plugins.toml`.
///
/// # Errors
///
/// [`PluginsError::Read`] when its folder cannot be read.
pub fn environments(plugins: &Path) -> Result<BTreeSet<String>, PluginsError> {
    let folder = plugins.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |source| PluginsError::Read { path: folder.to_owned(), source };
    let stem = plugins.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let middle = name.strip_prefix(&stem).and_then(|rest| rest.strip_suffix(".toml"));
        names.extend(middle.and_then(|middle| middle.strip_prefix('.')).map(str::to_owned));
    }
    Ok(names)
}
