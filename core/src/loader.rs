//! Opens engines' libraries: the only place that does.
//!
//! A library is trusted step by step: its file is found, its hash compared, its handshake read, and only
//! then does abi_stable compare the layout of its root module. Nothing is ever unloaded: an abandoned attempt
//! may still be running in it.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use abi_stable::library::{RawLibrary, lib_header_from_raw_library};
use oxidag_plugin_api::abi::{ABI_MAJOR, ABI_MINOR, EngineModuleRef, HANDSHAKE_SYMBOL, Handshake, MAGIC};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::plugins::LibraryPath;

/// The variable with more folders to look for libraries in, separated by colons.
pub const ENGINE_PATH: &str = "OXIDAG_ENGINE_PATH";

/// An opened library.
#[derive(Clone, Copy)]
pub struct Library {
    /// The engine's functions.
    pub module: EngineModuleRef,
    /// What the library says of itself.
    pub handshake: Handshake,
}

/// What a library says of itself, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    #[error("the library {} has the SHA-256 {found}, but plugins.toml wants {wanted}; install the pinned file, or update `sha256` if the change is meant", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash it should have.
        wanted: String,
    },
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
    /// The root module is not laid out as the ABI says.
    #[error("the engine {} says ABI {found} but is not laid out so ({message}); rebuild it with an unchanged oxidag-plugin-api", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// Its ABI.
        found: String,
        /// The first line of what abi_stable says.
        message: String,
    },
}

impl Library {
    /// Opens a library.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn open(path: &Path, sha256: Option<&str>) -> Result<Self, LoadError> {
        if let Some(wanted) = sha256 {
            check_hash(path, wanted)?;
        } else if let Err(source) = fs::File::open(path) {
            return Err(LoadError::Read { path: path.to_owned(), source });
        }
        check_complete(path)?;
        let open = |error: &dyn std::error::Error| LoadError::Open {
            path: path.to_owned(),
            message: deepest(error),
        };
        let raw = RawLibrary::load_at(path).map_err(|e| open(&e))?;
        let handshake = read_handshake(&raw, path)?;
        let module = root_module(&raw, path, &handshake)?;
        // Never unloaded, see above.
        std::mem::forget(raw);
        Ok(Self { module, handshake })
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

/// The file that is meant: for a bare name, the first one in [`ENGINE_PATH`], beside the executable, or in
/// `../lib/oxidag` from there. The current folder is never looked in.
///
/// # Errors
///
/// [`LoadError::NotFound`].
pub fn find(library: &LibraryPath) -> Result<PathBuf, LoadError> {
    let name = match library {
        LibraryPath::File(path) => return Ok(path.clone()),
        LibraryPath::Name(name) => name,
    };
    let file = format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let folders = search_path();
    let found = folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file());
    found.ok_or(LoadError::NotFound { file, folders })
}

fn search_path() -> Vec<PathBuf> {
    let listed = std::env::var_os(ENGINE_PATH).unwrap_or_default();
    // An empty or relative entry would mean the current folder.
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&listed).filter(|folder| folder.is_absolute()).collect();
    let executable = std::env::current_exe().and_then(|path| path.canonicalize());
    if let Some(folder) = executable.ok().as_deref().and_then(Path::parent) {
        folders.push(folder.to_owned());
        folders.extend(folder.parent().map(|above| above.join("lib/oxidag")));
    }
    folders
}

/// The SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
///
/// [`LoadError::Read`].
pub fn sha256(path: &Path) -> Result<String, LoadError> {
    let bytes = fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The system's loader dies of a library that was cut off, of a copy that stopped half-way: what its ELF header
/// (System V ABI, "Object Files") promises has to be in the file. Other files are left to the system to refuse.
fn check_complete(path: &Path) -> Result<(), LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let mut file = fs::File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut header = [0; 64];
    let is_elf64 = file.read_exact(&mut header).is_ok() && header.starts_with(b"\x7fELF\x02\x01");
    if !is_elf64 {
        return Ok(());
    }
    let number = |at: usize, size: usize| {
        header[at..at + size].iter().rev().fold(0_u64, |n, &byte| n << 8 | u64::from(byte))
    };
    let segments_end = number(32, 8).saturating_add(number(54, 2) * number(56, 2));
    let sections_end = number(40, 8).saturating_add(number(58, 2) * number(60, 2));
    let promised = segments_end.max(sections_end);
    if length < promised {
        return Err(LoadError::CutOff { path: path.to_owned(), length, promised });
    }
    Ok(())
}

fn check_hash(path: &Path, wanted: &str) -> Result<(), LoadError> {
    let found = sha256(path)?;
    if found == wanted {
        Ok(())
    } else {
        Err(LoadError::Hash { path: path.to_owned(), found, wanted: wanted.to_owned() })
    }
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

fn root_module(raw: &RawLibrary, path: &Path, handshake: &Handshake) -> Result<EngineModuleRef, LoadError> {
    let layout = |error: &dyn std::error::Error| LoadError::Layout {
        path: path.to_owned(),
        found: info(handshake).abi,
        message: error
            .to_string()
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default()
            .to_owned(),
    };
    // SAFETY: the library is never unloaded, so what the header points to stays.
    let header = unsafe { lib_header_from_raw_library(raw) }.map_err(|e| layout(&e))?;
    // Not `RootModule::load_*`: that caches one library per type, so the second engine would be the first again.
    header.init_root_module::<EngineModuleRef>().map_err(|e| layout(&e))
}

/// The innermost cause: what the system's own loader says.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("info", &self.info()).finish_non_exhaustive()
    }
}
