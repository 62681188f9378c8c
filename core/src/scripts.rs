//! The texts of scripts: from the DAG file itself, or from the `local` location.
//!
//! Each stored script is read once, however many tasks share it. Placeholders are [`crate::params`]'s.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::spec::{Location, Script, ScriptSource};

/// The largest script that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// A script's text before its placeholders are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedScript {
    /// For messages: the file's path, or `inline`.
    pub name: String,
    /// The text as written.
    pub text: Arc<str>,
    /// The file, absolute, where there is one.
    pub path: Option<PathBuf>,
}

/// Why a script cannot be loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScriptError {
    /// The location is known but cannot be read yet.
    #[error("scripts cannot be read from the location `{0}` yet")]
    Unavailable(&'static str),
    /// There is no such file.
    #[error("the script {} does not exist", .0.display())]
    Missing(PathBuf),
    /// The file is elsewhere than its bucket: a symbolic link leads out.
    #[error("the script {} is a link out of its bucket folder {}", path.display(), bucket.display())]
    Outside {
        /// The file as named.
        path: PathBuf,
        /// The folder that it has to be in.
        bucket: PathBuf,
    },
    /// Something else than a file is there, or a file that no script is.
    #[error("the script {} is no regular file of at most {} MiB", .0.display(), LARGEST >> 20)]
    NotAScript(PathBuf),
    /// The text is not UTF-8.
    #[error("the script {} is not UTF-8 text (byte {at})", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first byte that is not.
        at: usize,
    },
    /// The file cannot be read.
    #[error("cannot read the script {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
}

/// Loads scripts and remembers them.
#[derive(Debug)]
pub struct Scripts {
    root: PathBuf,
    loaded: HashMap<PathBuf, Result<Arc<LoadedScript>, ScriptError>>,
}

impl Scripts {
    /// `root` holds the buckets of the `local` location.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, loaded: HashMap::new() }
    }

    /// The script's text. `suffix` is its engine's, such as `.sql`.
    ///
    /// # Errors
    ///
    /// Any [`ScriptError`].
    pub fn load(&mut self, script: &Script, suffix: &str) -> Result<Arc<LoadedScript>, ScriptError> {
        match &script.source {
            ScriptSource::Inline(text) => {
                Ok(Arc::new(LoadedScript { name: "inline".to_owned(), text: Arc::clone(text), path: None }))
            }
            ScriptSource::Stored { location: Location::Local, bucket, folder, name } => {
                let bucket = self.root.join(bucket);
                let path = bucket.join(folder).join(format!("{name}{suffix}"));
                self.loaded.entry(path).or_insert_with_key(|path| read(path, &bucket).map(Arc::new)).clone()
            }
            ScriptSource::Stored { location, .. } => Err(ScriptError::Unavailable(location.name())),
        }
    }
}

fn read(path: &Path, bucket: &Path) -> Result<LoadedScript, ScriptError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ScriptError::Missing(path.to_owned()),
        _ => ScriptError::Read { path: path.to_owned(), source: Arc::new(error) },
    };
    let real = path.canonicalize().map_err(failed)?;
    if !real.starts_with(bucket.canonicalize().map_err(failed)?) {
        return Err(ScriptError::Outside { path: path.to_owned(), bucket: bucket.to_owned() });
    }
    // A pipe or a device would be waited for, or read, for ever.
    let kind = fs::metadata(&real).map_err(failed)?;
    if !kind.is_file() || kind.len() > LARGEST {
        return Err(ScriptError::NotAScript(path.to_owned()));
    }
    let bytes = fs::read(&real).map_err(failed)?;
    let text = String::from_utf8(bytes)
        .map_err(|e| ScriptError::NotUtf8 { path: path.to_owned(), at: e.utf8_error().valid_up_to() })?;
    Ok(LoadedScript { name: path.display().to_string(), text: text.into(), path: Some(real) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bucket: &str, name: &str) -> Script {
        let (bucket, name) = (bucket.to_owned(), name.to_owned());
        let source = ScriptSource::Stored { location: Location::Local, bucket, folder: "f".to_owned(), name };
        Script { engine: "sql".into(), source }
    }

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("b/f")).unwrap();
        root
    }

    #[test]
    fn a_script_is_found_by_its_place_and_its_engines_suffix() {
        let root = root();
        fs::write(root.path().join("b/f/x.sql"), "select 1").unwrap();
        let script = Scripts::new(root.path().to_owned()).load(&stored("b", "x"), ".sql").unwrap();
        assert_eq!(&*script.text, "select 1");
    }

    #[test]
    fn a_shared_script_is_read_once() {
        let root = root();
        let path = root.path().join("b/f/x.sql");
        fs::write(&path, "select 1").unwrap();
        let mut scripts = Scripts::new(root.path().to_owned());
        let first = scripts.load(&stored("b", "x"), ".sql").unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(scripts.load(&stored("b", "x"), ".sql").unwrap(), first);
    }

    #[test]
    fn a_link_out_of_the_bucket_is_refused() {
        let root = root();
        fs::write(root.path().join("outside.sql"), "select 1").unwrap();
        fs::write(root.path().join("b/inside.sql"), "select 1").unwrap();
        std::os::unix::fs::symlink("../../outside.sql", root.path().join("b/f/out.sql")).unwrap();
        std::os::unix::fs::symlink("../inside.sql", root.path().join("b/f/in.sql")).unwrap();
        let mut scripts = Scripts::new(root.path().to_owned());
        assert!(matches!(scripts.load(&stored("b", "out"), ".sql"), Err(ScriptError::Outside { .. })));
        assert!(scripts.load(&stored("b", "in"), ".sql").is_ok());
    }

    #[test]
    fn what_is_missing_or_not_text_is_told() {
        let root = root();
        fs::write(root.path().join("b/f/latin.sql"), b"caf\xe9").unwrap();
        let mut scripts = Scripts::new(root.path().to_owned());
        assert!(matches!(
            scripts.load(&stored("b", "latin"), ".sql"),
            Err(ScriptError::NotUtf8 { at: 3, .. })
        ));
        assert!(matches!(scripts.load(&stored("b", "no"), ".sql"), Err(ScriptError::Missing(_))));
        assert!(matches!(scripts.load(&stored("no", "no"), ".sql"), Err(ScriptError::Missing(_))));
        fs::create_dir(root.path().join("b/f/folder.sql")).unwrap();
        assert!(matches!(scripts.load(&stored("b", "folder"), ".sql"), Err(ScriptError::NotAScript(_))));
    }
}
