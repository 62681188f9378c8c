//! A library as a file: where it is, whether it is the one that is meant, and whether all of it is there.
//! Nothing of it is run here.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
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
    let hash = || digest(&File::open(path)?);
    hash().map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

fn digest(mut file: &File) -> io::Result<String> {
    const AT_ONCE: usize = 64 * 1024;
    let (mut hasher, mut bytes) = (Sha256::new(), vec![0; AT_ONCE]);
    file.seek(SeekFrom::Start(0))?;
    loop {
        match file.read(&mut bytes)? {
            0 => break,
            length => hasher.update(&bytes[..length]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Opens a library's file, to be read. A pipe would have to be waited for, and a device read for ever.
pub(super) fn open(path: &Path) -> Result<File, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(LoadError::NotALibrary { path: path.to_owned() });
    }
    File::open(path).map_err(failed)
}

/// The file at the path has to be the one that was opened and looked at: the system opens it by its path once more.
///
/// Not by `/proc/self/fd`: a library that looks for others beside itself (`$ORIGIN`) would not find them.
pub(super) fn check_unchanged(path: &Path, file: &File) -> Result<(), LoadError> {
    use std::os::unix::fs::MetadataExt as _;

    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let (opened, there) = (file.metadata().map_err(failed)?, path.metadata().map_err(failed)?);
    let identity = |of: &std::fs::Metadata| (of.dev(), of.ino(), of.len(), of.mtime(), of.mtime_nsec());
    match identity(&opened) == identity(&there) {
        true => Ok(()),
        false => Err(LoadError::Changed { path: path.to_owned() }),
    }
}

/// The system's loader dies of a library that was cut off, of a copy that stopped half-way: what its ELF header
/// (System V ABI, "Object Files") promises has to be in the file. Other files are left to the system to refuse.
pub(super) fn check_complete(path: &Path, mut file: &File) -> Result<(), LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
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
pub(super) fn check_hash(path: &Path, file: &File, config: &EngineConfig) -> Result<(), LoadError> {
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
    let found = digest(file).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    match pinned.into_iter().chain(locked).find(|(wanted, _)| **wanted != found) {
        None => Ok(()),
        Some((wanted, by)) => {
            Err(LoadError::Hash { path: path.to_owned(), found, wanted: wanted.clone(), by: by.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn another_file_in_the_place_of_the_one_that_was_looked_at_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("library.so");
        fs::write(&path, "one").unwrap();
        let file = open(&path).unwrap();
        let before = digest(&file).unwrap();
        assert!(check_unchanged(&path, &file).is_ok());
        let other = folder.path().join("other.so");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(digest(&file).unwrap(), before, "what was opened stays what it is");
        assert_ne!(sha256(&path).unwrap(), before);
        let error = check_unchanged(&path, &file).unwrap_err().to_string();
        assert!(error.contains("another file took its place"), "{error}");
    }
}
