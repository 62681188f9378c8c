//! The texts of scripts: from the DAG file itself, from files, from buckets and from tables of databases.
//!
//! Each stored script is read once, however many tasks share it; those of remote locations are fetched together, before
//! anything runs. Placeholders are [`crate::params`]'s.

mod database;
mod fetch;
mod local;
mod remote;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::spec::{Location, Script, ScriptSource};

pub use fetch::{Fetched, Progress};
pub use remote::Remote;

pub(crate) use fetch::{Wanted, fetch};

/// More scripts of DAG files than this are not remembered for tasks that run the same.
const SHARED: usize = 4096;

/// The largest script that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// A script before its placeholders are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedScript {
    /// For messages: the file's path, the place as a URI, or `inline`.
    pub name: String,
    /// The text as written; empty where the engine is only told the place.
    pub text: Arc<str>,
    /// The file that holds this text, absolute, where there is one.
    pub path: Option<PathBuf>,
    /// The place as a URI, where it has one.
    pub uri: Option<String>,
}

/// What an engine says of its scripts.
#[derive(Debug, Clone, Copy)]
pub struct Kind<'a> {
    /// What is appended to a script's name to find it, such as `.sql`.
    pub suffix: &'a str,
    /// Suffixes that a name may have instead.
    pub other_suffixes: &'a [String],
    /// It is told where a script is, and does not get the text.
    pub by_reference: bool,
    /// It gets the text as it was written.
    pub verbatim: bool,
}

impl Kind<'_> {
    /// Whether placeholders are filled in. Whoever reads a script at its place knows nothing of them.
    pub(crate) fn is_formatted(self) -> bool {
        !self.by_reference && !self.verbatim
    }

    /// The name with its suffix.
    fn file_name(&self, name: &str) -> String {
        let has_suffix = |suffix: &str| !suffix.is_empty() && name.ends_with(suffix);
        match has_suffix(self.suffix) || self.other_suffixes.iter().any(|suffix| has_suffix(suffix)) {
            true => name.to_owned(),
            false => format!("{name}{}", self.suffix),
        }
    }
}

/// Why a script cannot be loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ScriptError {
    /// Scripts of remote locations are not fetched here.
    #[error("scripts of the location `{0}` are not looked at here; `oxidag run --dry-run` fetches them")]
    NotFetched(&'static str),
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
    #[error("the script {name} is not UTF-8 text (byte {at})")]
    NotUtf8 {
        /// Its name for messages.
        name: String,
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
    /// A remote script cannot be had.
    #[error("cannot read the script {place}: {reason}")]
    Remote {
        /// The place.
        place: String,
        /// Why.
        reason: String,
        /// The service, the bucket or the database that keeps its other scripts, too, for this reason.
        shared: Option<String>,
    },
}

/// Loads scripts and remembers them.
#[derive(Debug)]
pub struct Scripts {
    root: PathBuf,
    files: HashMap<(PathBuf, bool), Result<Arc<LoadedScript>, ScriptError>>,
    fetched: HashMap<Remote, Result<Arc<LoadedScript>, ScriptError>>,
    /// Those that stand in the DAG file, as far as several tasks may have them.
    inline: HashMap<Arc<str>, Arc<LoadedScript>, RandomState>,
}

impl Scripts {
    /// `root` holds the buckets of the `local` location.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, files: HashMap::new(), fetched: HashMap::new(), inline: HashMap::default() }
    }

    /// The place from which a script's text has to be fetched before it can be loaded.
    #[must_use]
    pub fn to_fetch(script: &Script, kind: Kind<'_>) -> Option<Remote> {
        Remote::of(script, kind).filter(|remote| !kind.by_reference || remote.uri().is_none())
    }

    /// Takes what was fetched.
    pub fn take(&mut self, fetched: Fetched) {
        let loaded = |(remote, text): (Remote, Result<Arc<str>, ScriptError>)| {
            let script = text.map(|text| Arc::new(remote_script(&remote, text)));
            (remote, script)
        };
        self.fetched.extend(fetched.texts.into_iter().map(loaded));
    }

    /// The script.
    ///
    /// # Errors
    ///
    /// Any [`ScriptError`].
    pub fn load(&mut self, script: &Script, kind: Kind<'_>) -> Result<Arc<LoadedScript>, ScriptError> {
        match &script.source {
            ScriptSource::Inline(text) => Ok(self.inline(text)),
            ScriptSource::Stored { location: Location::Local, bucket, folder, name } => {
                let bucket = self.root.join(bucket);
                let path = bucket.join(folder).join(kind.file_name(name));
                let with_text = !kind.by_reference;
                let read = |(path, _): &(PathBuf, bool)| local::read(path, &bucket, with_text).map(Arc::new);
                self.files.entry((path, with_text)).or_insert_with_key(read).clone()
            }
            ScriptSource::Stored { location, .. } => match Remote::of(script, kind) {
                Some(remote) if kind.by_reference && remote.uri().is_some() => {
                    Ok(Arc::new(remote_script(&remote, "".into())))
                }
                remote => remote
                    .and_then(|remote| self.fetched.get(&remote).cloned())
                    .unwrap_or(Err(ScriptError::NotFetched(location.name()))),
            },
        }
    }

    fn inline(&mut self, text: &Arc<str>) -> Arc<LoadedScript> {
        if let Some(known) = self.inline.get(text) {
            return Arc::clone(known);
        }
        let (name, text) = ("inline".to_owned(), Arc::clone(text));
        let script = Arc::new(LoadedScript { name, text: Arc::clone(&text), path: None, uri: None });
        if self.inline.len() < SHARED {
            self.inline.insert(text, Arc::clone(&script));
        }
        script
    }

    /// For what is only looked at: a script of a remote location as if its text were empty.
    #[must_use]
    pub fn unread(script: &Script, kind: Kind<'_>) -> Option<Arc<LoadedScript>> {
        Remote::of(script, kind).map(|remote| Arc::new(remote_script(&remote, "".into())))
    }
}

fn remote_script(remote: &Remote, text: Arc<str>) -> LoadedScript {
    LoadedScript { name: remote.to_string(), text, path: None, uri: remote.uri() }
}

fn text_of(name: &str, bytes: Vec<u8>) -> Result<Arc<str>, ScriptError> {
    let text = String::from_utf8(bytes);
    text.map(Arc::from)
        .map_err(|e| ScriptError::NotUtf8 { name: name.to_owned(), at: e.utf8_error().valid_up_to() })
}
