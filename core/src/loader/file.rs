//! A library as a file: where it is, whether it is the one that is meant, and whether all of it is there.
//! Nothing of it is run here.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::LoadError;
use crate::plugins::{EngineConfig, LibraryPath, Locked};

/// The variable with more folders to look for libraries in, separated by colons.
pub const ENGINE_PATH: &str = "OXIDAG_ENGINE_PATH";

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
pub(super) fn check_complete(path: &Path) -> Result<(), LoadError> {
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

/// Holds the file against the hash in plugins.toml and, where there is one, plugins.lock.
pub(super) fn check_hash(path: &Path, config: &EngineConfig) -> Result<(), LoadError> {
    let pinned = config.sha256.as_ref().map(|sha256| (sha256, Path::new("plugins.toml")));
    let locked = match &config.lock {
        Some(Locked { file, sha256: None }) => {
            return Err(LoadError::NotLocked { path: path.to_owned(), lock: file.clone() });
        }
        Some(Locked { file, sha256: Some(sha256) }) => Some((sha256, file.as_path())),
        None => None,
    };
    if pinned.is_none() && locked.is_none() {
        return Ok(());
    }
    let found = sha256(path)?;
    match pinned.into_iter().chain(locked).find(|(wanted, _)| **wanted != found) {
        None => Ok(()),
        Some((wanted, by)) => {
            Err(LoadError::Hash { path: path.to_owned(), found, wanted: wanted.clone(), by: by.to_owned() })
        }
    }
}
