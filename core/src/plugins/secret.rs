//! A value that is a secret, and where it is kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A secret, or where it is.
#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "expected a text, { file = \"…\" } or { env = \"…\" }")]
pub(crate) enum Secret {
    Text(String),
    File(SecretFile),
    Env(SecretVariable),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretFile {
    pub(super) file: PathBuf,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretVariable {
    env: String,
}

impl Secret {
    /// A file's path counts from this folder.
    pub(crate) fn in_folder(&mut self, folder: &Path) {
        if let Secret::File(at) = self {
            at.file = folder.join(&at.file);
        }
    }

    /// The value, or why it cannot be had; the reason never holds it.
    pub(crate) fn read(&self) -> Result<String, String> {
        match self {
            Secret::Text(text) => Ok(text.clone()),
            Secret::File(SecretFile { file }) => {
                read_file(file).map_err(|e| format!("cannot be read from {}: {e}", file.display()))
            }
            Secret::Env(SecretVariable { env }) => std::env::var(env)
                .map_err(|_| format!("needs the environment variable {env}, which is not set to a text")),
        }
    }
}

/// The text of a file; a device would be read for ever.
fn read_file(file: &Path) -> io::Result<String> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    fs::read_to_string(file)
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(crate::secrets::MASK)
    }
}
