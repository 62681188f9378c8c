//! Opens engines' libraries: the only place that does.
//!
//! A library is trusted step by step: its file is found, its hash compared, its handshake read, and only
//! then is its C table read, or does abi_stable compare the layout of its root module. Nothing is ever unloaded: an abandoned attempt
//! may still be running in it.

mod c_table;
mod error;
mod file;
mod functions;

use std::fs;
use std::path::Path;

use abi_stable::library::RawLibrary;
use oxidag_plugin_api::abi::{ABI_MAJOR, ABI_MINOR, HANDSHAKE_SYMBOL, Handshake, MAGIC};
use serde::{Deserialize, Serialize};

pub use error::LoadError;
pub use file::{ENGINE_PATH, find, sha256};
pub(crate) use functions::Functions;

/// An opened library.
#[derive(Clone, Copy)]
pub struct Library {
    pub(crate) functions: Functions,
    handshake: Handshake,
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
    /// The compiler that built it.
    pub rustc: String,
    /// The target that it was built for.
    pub target: String,
}

impl Library {
    /// Opens a library.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn open(path: &Path, sha256: Option<&str>) -> Result<Self, LoadError> {
        if let Some(wanted) = sha256 {
            file::check_hash(path, wanted)?;
        } else if let Err(source) = fs::File::open(path) {
            return Err(LoadError::Read { path: path.to_owned(), source });
        }
        file::check_complete(path)?;
        let open = |error: &dyn std::error::Error| LoadError::Open {
            path: path.to_owned(),
            message: deepest(error),
        };
        let raw = RawLibrary::load_at(path).map_err(|e| open(&e))?;
        let handshake = read_handshake(&raw, path)?;
        let functions = Functions::of(&raw).map_err(|message| LoadError::Layout {
            path: path.to_owned(),
            found: info(&handshake).abi,
            message,
        })?;
        // Never unloaded, see above.
        std::mem::forget(raw);
        Ok(Self { functions, handshake })
    }

    /// What the library says of itself.
    #[must_use]
    pub fn info(&self) -> LibraryInfo {
        info(&self.handshake)
    }
}

fn info(handshake: &Handshake) -> LibraryInfo {
    LibraryInfo {
        engine: Handshake::text(&handshake.engine),
        version: Handshake::text(&handshake.engine_version),
        abi: format!("{}.{}", handshake.abi_major, handshake.abi_minor),
        plugin_api: Handshake::text(&handshake.plugin_api),
        rustc: Handshake::text(&handshake.rustc),
        target: Handshake::text(&handshake.target),
    }
}

/// The ABI that this oxidag offers, `major.minor`.
#[must_use]
pub fn host_abi() -> String {
    format!("{ABI_MAJOR}.{ABI_MINOR}")
}

fn read_handshake(raw: &RawLibrary, path: &Path) -> Result<Handshake, LoadError> {
    let not_an_engine = || LoadError::NotAnEngine { path: path.to_owned() };
    let symbol = format!("{HANDSHAKE_SYMBOL}\0");
    // SAFETY: the symbol is a static of a library that is never unloaded; nothing is read through the pointer yet.
    let pointer: *const Handshake =
        unsafe { *raw.get::<*const Handshake>(symbol.as_bytes()).map_err(|_| not_an_engine())? };
    // SAFETY: whoever exports this name promises at least the magic there, which every version begins with.
    let magic = unsafe { pointer.cast::<[u8; 16]>().read_unaligned() };
    if magic != MAGIC {
        return Err(not_an_engine());
    }
    // SAFETY: the magic stands for this layout, which no version of the ABI changes.
    let handshake = unsafe { pointer.read_unaligned() };
    if handshake.abi_major == ABI_MAJOR {
        Ok(handshake)
    } else {
        Err(LoadError::Abi { path: path.to_owned(), found: info(&handshake).abi })
    }
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
        f.debug_struct("Library").field("info", &self.info()).finish_non_exhaustive()
    }
}
