//! Opens engines' libraries: the only place that does.
//!
//! A library is trusted step by step: its file is found, its handshake read from there, who can write it and its hash
//! looked at; only then is it opened, and its C table read, or the layout of its root module compared by abi_stable.
//! Nothing is ever unloaded: an abandoned attempt may still be running in it.

mod c_table;
mod error;
mod file;
mod functions;
mod image;

use std::mem::ManuallyDrop;
use std::path::Path;

use abi_stable::library::RawLibrary;
use oxidag_plugin_api::abi::{ABI_MAJOR, ABI_MINOR, Handshake};
use serde::{Deserialize, Serialize};

pub use error::LoadError;
pub use file::{ENGINE_PATH, find, sha256};
pub(crate) use functions::Functions;
pub use image::Image;

use crate::plugins::EngineConfig;
use crate::trust;

/// An opened library.
#[derive(Clone)]
pub struct Library {
    pub(crate) functions: Functions,
    /// What the library says of itself.
    pub info: LibraryInfo,
}

/// What a library says of itself, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryInfo {
    /// The engine's own name.
    pub engine: String,
    /// The engine's own version.
    pub version: String,
    /// The ABI it was built with, `major.minor`.
    pub abi: String,
    /// The version of the plugin-api crate that it was built with.
    pub plugin_api: String,
    /// The compiler that built it, whatever its language; `rustc` is the field's name in JSON alone.
    pub rustc: String,
    /// The target that it was built for.
    pub target: String,
}

impl LibraryInfo {
    fn of(handshake: &Handshake) -> Self {
        Self {
            engine: Handshake::text(&handshake.engine),
            version: Handshake::text(&handshake.engine_version),
            abi: format!("{}.{}", handshake.abi_major, handshake.abi_minor),
            plugin_api: Handshake::text(&handshake.plugin_api),
            rustc: Handshake::text(&handshake.rustc),
            target: Handshake::text(&handshake.target),
        }
    }
}

impl Library {
    /// Opens the library of an engine that is configured so.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn open(path: &Path, config: &EngineConfig) -> Result<Self, LoadError> {
        // One file is looked at, whatever comes to its path meanwhile.
        let file = file::open(path)?;
        let image = Image::of(path, &file)?;
        if !config.allow_writable {
            let metadata =
                file.metadata().map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
            trust::check_opened(path, &metadata)?;
        }
        file::check_hash(path, &file, config)?;
        image.check(path)?;
        file::check_unchanged(path, &file)?;
        let open = |error: &dyn std::error::Error| LoadError::Open {
            path: path.to_owned(),
            message: deepest(error),
        };
        // Never unloaded, refused or not: its constructors may have started a thread, and what abi_stable has read of it stays.
        let raw = ManuallyDrop::new(RawLibrary::load_at(path).map_err(|e| open(&e))?);
        let functions = Functions::of(&raw).map_err(|message| LoadError::Layout {
            path: path.to_owned(),
            found: image.info.abi.clone(),
            message,
        })?;
        Ok(Self { functions, info: image.info })
    }
}

/// The ABI that this oxidag offers, `major.minor`.
#[must_use]
pub fn host_abi() -> String {
    format!("{ABI_MAJOR}.{ABI_MINOR}")
}

/// The innermost cause: what the system's own loader says.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("info", &self.info).finish_non_exhaustive()
    }
}
