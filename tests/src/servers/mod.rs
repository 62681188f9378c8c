//! The servers that tests need, each started on a free port and ended with the test process.
//!
//! Tests share them: what a test keeps there is in buckets, tables or projects named after it. Nothing is
//! skipped without a server: a test that needs one fails, and says how it is installed.

pub mod functions;
pub mod gcs;
pub mod google;
mod http;
mod kept;
pub mod livy;
pub mod postgres;
pub mod redis;
pub mod s3;

use std::path::PathBuf;

/// What a test says when a program is missing.
const INSTALL: &str = "`cargo xtask test` installs it";

/// The Python that has the test servers: `python/bin/python` in cargo's target directory.
///
/// # Panics
///
/// When it has not been made.
#[must_use]
pub fn python() -> PathBuf {
    python_program("python")
}

/// A program that came with the test servers' packages.
fn python_program(name: &str) -> PathBuf {
    let target = crate::built();
    let target = target.parent().unwrap_or_else(|| panic!("{} is in no folder", target.display()));
    let path = target.join("python/bin").join(name);
    assert!(path.is_file(), "{} is not there; {INSTALL}", path.display());
    path
}

/// A program of the system.
fn on_path(name: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not on PATH; {INSTALL}"))
}
