//! What one call of the program has in files, in a folder that only this user can look into.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use oxidag_plugin_api::{Error, Result};
use tempfile::TempDir;
use tokio::net::unix::pipe;

/// The folder with the script and the named pipe for the results; it is removed when this is dropped.
pub(crate) struct Files(TempDir);

impl Files {
    /// # Errors
    ///
    /// When there is no place for them in this folder.
    pub(crate) fn new(base: &Path, script: &str) -> Result<Self> {
        make(base, script).map(Self).map_err(|error| unusable(base, &error))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The end of the pipe to read from, and one that keeps it from ending before the program has opened it.
    ///
    /// # Errors
    ///
    /// When the system cannot open it.
    pub(crate) fn pipe(&self) -> Result<(pipe::Receiver, pipe::Sender)> {
        let name = self.folder().join(RESULTS);
        let open = || {
            let receiver = pipe::OpenOptions::new().open_receiver(&name)?;
            Ok((receiver, pipe::OpenOptions::new().open_sender(&name)?))
        };
        open().map_err(|error| unusable(self.folder(), &error))
    }
}

/// The name of the pipe.
const RESULTS: &str = "results";

fn make(base: &Path, script: &str) -> std::io::Result<TempDir> {
    let this_user = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("oxidag-duckdb-").permissions(this_user).tempdir_in(base)?;
    let results = folder.path().join(RESULTS);
    let name = results.to_str().ok_or(std::io::ErrorKind::InvalidFilename)?;
    let name = name.replace('\\', r"\\").replace('"', r#"\""#);
    std::fs::write(folder.path().join("script"), format!(".output \"{name}\"\n{script}"))?;
    mkfifo(&results, Mode::S_IRUSR | Mode::S_IWUSR)?;
    Ok(folder)
}

fn unusable(folder: &Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{
        InvalidFilename, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem,
    };
    let message = format!(
        "cannot make files for DuckDB in {}, the folder for temporary files: {error}; make room there, or set TMPDIR to \
         another one",
        folder.display()
    );
    match error.kind() {
        InvalidFilename | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem => {
            Error::invalid(message)
        }
        _ => Error::transient(message),
    }
}

#[cfg(test)]
mod tests {
    use oxidag_plugin_api::ErrorKind;

    use super::*;

    #[test]
    fn they_are_this_users_alone_and_go_also_when_no_program_has_taken_them() {
        let base = tempfile::tempdir().unwrap();
        let files = Files::new(base.path(), "select 's3cret'").unwrap();
        let folder = files.folder().to_owned();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o077, 0);
        assert!(std::fs::read_to_string(folder.join("script")).unwrap().contains("s3cret"));
        drop(files);
        assert_eq!(base.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_folder_for_temporary_files_that_is_not_there_is_named() {
        let error = Files::new(Path::new("/nowhere"), "").map(|_| ()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        let told = "cannot make files for DuckDB in /nowhere, the folder for temporary files: ";
        assert!(error.message.starts_with(told) && error.message.contains("TMPDIR"), "{error}");
    }
}
