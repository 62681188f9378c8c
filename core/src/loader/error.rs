//! Why a library is not used.

use std::io;
use std::path::{Path, PathBuf};

use oxidag_plugin_api::abi::{ABI_MAJOR, HANDSHAKE_SYMBOL};

use super::ENGINE_PATH;
use crate::trust::TrustError;

/// Why a library is not used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No file of this name in any of the folders.
    #[error(
        "the library {file} is in none of {}; build or install it there, or add its folder to {ENGINE_PATH}",
        list(folders)
    )]
    NotFound {
        /// The file's name.
        file: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// There is no such file, or it cannot be read.
    #[error("cannot read the library {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not the one that was pinned.
    #[error("the library {} has the SHA-256 {found}, but {} wants {wanted}; install the file that is meant, or, if this is it, {}", path.display(), by.display(), renew(by))]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash it should have.
        wanted: String,
        /// The file that says so.
        by: PathBuf,
    },
    /// There is a `plugins.lock`, which does not know it.
    #[error("the library {} is not in {}; `oxidag engines lock` puts it there if it is meant to be used", path.display(), lock.display())]
    NotLocked {
        /// The library.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// Others can change it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A part of the file is missing.
    #[error("the library {} is cut off: it has {length} bytes of at least {promised}; copy or build it again", path.display())]
    CutOff {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// The length that its header asks for.
        promised: u64,
    },
    /// The system does not open it.
    #[error("cannot open the library {}: {message}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// It is not the file any more that was looked at.
    #[error("the library {} is not loaded: another file took its place while it was looked at; try again once it is installed", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It is another kind of file.
    #[error("cannot open the library {}: it is not a shared library", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
    },
    /// It was built for another processor.
    #[error("the engine {} was built for {found}, this machine is {}; install the one for this machine", path.display(), std::env::consts::ARCH)]
    Machine {
        /// The file.
        path: PathBuf,
        /// Its target.
        found: String,
    },
    /// It has no handshake.
    #[error("{} is not an oxidag engine: it has no symbol {HANDSHAKE_SYMBOL}; was it built with export_engine!?", path.display())]
    NotAnEngine {
        /// The file.
        path: PathBuf,
    },
    /// It was built with another ABI.
    #[error("the engine {} has ABI {found}, this oxidag needs {ABI_MAJOR}.x; rebuild it with oxidag-plugin-api {ABI_MAJOR}, or use an oxidag of its time", path.display())]
    Abi {
        /// The file.
        path: PathBuf,
        /// Its ABI.
        found: String,
    },
    /// Its functions are not laid out as the ABI says.
    #[error("the engine {} says ABI {found} but is not laid out so ({message}); rebuild it with an unchanged oxidag-plugin-api or oxidag_engine.h", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// Its ABI.
        found: String,
        /// What is wrong, in one line.
        message: String,
    },
}

/// How a hash is brought up to date.
fn renew(by: &Path) -> &'static str {
    if by.extension().is_some_and(|extension| extension == "lock") {
        "run `oxidag engines lock`"
    } else {
        "update its `sha256`"
    }
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
