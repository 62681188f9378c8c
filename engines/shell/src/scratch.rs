//! The engine's private files: scripts that stand in no file, and the results that scripts leave.
//!
//! All are in one directory that only this user may enter, made when the first attempt needs a name in it and
//! removed with the engine. An attempt's own files go when the attempt ends.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use oxidag_plugin_api::{Error, Outcome, Result};
use serde_json::Value;
use tempfile::TempDir;

/// Where the attempts' private files are.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    dir: Mutex<Option<Arc<Private>>>,
    next: AtomicU64,
}

/// A directory that only this user may enter, and the lock on it that says that its owner lives. It is on the directory
/// itself: a file in it could be taken away by a cleaner of temporary files.
#[derive(Debug)]
struct Private {
    dir: TempDir,
    _lock: fs::File,
}

impl Scratch {
    /// Names for one attempt's files. None of them exists yet.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made.
    pub(crate) fn files(&self) -> Result<Files> {
        let dir = self.dir().map_err(|e| {
            let parent = std::env::temp_dir();
            Error::transient(format!("cannot make a private directory in {}: {e}", parent.display()))
        })?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let result = dir.dir.path().join(format!("{number}.result"));
        Ok(Files { dir, number, result, no_result: false, script: None })
    }

    /// The directory; made anew when a cleaner of temporary files took it away from a long-lived scheduler.
    fn dir(&self) -> io::Result<Arc<Private>> {
        let mut dir = self.dir.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = dir.as_ref()
            && dir.dir.path().is_dir()
        {
            return Ok(Arc::clone(dir));
        }
        let private = Permissions::from_mode(0o700);
        sweep(&std::env::temp_dir(), SystemTime::now());
        let made = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir()?;
        let lock = fs::File::open(made.path())?;
        lock.try_lock()?;
        Ok(Arc::clone(dir.insert(Arc::new(Private { dir: made, _lock: lock }))))
    }
}

/// Directories begin with this.
const PREFIX: &str = "oxidag-shell-";

/// A directory that is older has been locked, if its owner lives.
const SETTLED: Duration = Duration::from_secs(60);

/// Removes the directories of schedulers that were killed: scripts with their secrets filled in are in them.
fn sweep(temporary: &Path, now: SystemTime) {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    let is_ours = |entry: &fs::DirEntry| {
        let is_dir = entry.file_type().is_ok_and(|of| of.is_dir());
        is_dir && entry.file_name().to_string_lossy().starts_with(PREFIX)
    };
    let ours = entries.filter(is_ours);
    for path in ours.map(|entry| entry.path()) {
        let Ok(dir) = fs::File::open(&path) else { continue };
        // One that was made this moment may not be locked yet.
        let made = dir.metadata().and_then(|of| of.modified()).ok();
        let is_old = made.and_then(|made| now.duration_since(made).ok()).is_some_and(|age| age >= SETTLED);
        if is_old && dir.try_lock().is_ok() {
            // Another process may be removing it at the same time.
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// One attempt's private files; removed when dropped.
#[derive(Debug)]
pub(crate) struct Files {
    dir: Arc<Private>,
    number: u64,
    result: PathBuf,
    /// The script was seen to have left no result.
    no_result: bool,
    script: Option<PathBuf>,
}

impl Files {
    /// The file that a script may write its result to.
    pub(crate) fn result(&self) -> &Path {
        &self.result
    }

    /// Writes a script to a file that nobody else may read; its name ends in the script's.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write_script(&mut self, name: &str, text: &str) -> Result<&Path> {
        let path = self.dir.dir.path().join(format!("{}-{}", self.number, file_name(name)));
        let path: &Path = self.script.insert(path);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => Ok(path),
            Err(e) => Err(Error::transient(format!("cannot write the script to {}: {e}", path.display()))),
        }
    }

    /// The result that the script left, if it did.
    ///
    /// # Errors
    ///
    /// When it is no JSON, or too large.
    pub(crate) fn take_result(&mut self) -> Result<Option<Value>> {
        let found = match fs::metadata(&self.result) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.no_result = true;
                return Ok(None);
            }
            found => found.map_err(|e| unreadable(&e))?,
        };
        // Opening a named pipe would block.
        if !found.is_file() {
            return Err(Error::failed("what the script left at $OXIDAG_RESULT is not a regular file"));
        }
        if found.len() > Outcome::MAX_RESULT as u64 {
            return Err(too_large(found.len()));
        }
        let bytes = fs::read(&self.result).map_err(|e| unreadable(&e))?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|e| Error::failed(format!("what the script left in $OXIDAG_RESULT is not JSON: {e}")))?;
        // Numbers can grow when they are written again.
        match value.to_string().len() {
            size if size > Outcome::MAX_RESULT => Err(too_large(size as u64)),
            _ => Ok(Some(value)),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let result = (!self.no_result).then_some(&self.result);
        for path in [result, self.script.as_ref()].into_iter().flatten() {
            // What cannot be removed now goes with the directory.
            let _ = fs::remove_file(path);
        }
    }
}

fn unreadable(error: &io::Error) -> Error {
    Error::failed(format!("cannot read what the script left in $OXIDAG_RESULT: {error}"))
}

fn too_large(size: u64) -> Error {
    Error::failed(format!(
        "the result in $OXIDAG_RESULT has {size} bytes, and at most {} are allowed: leave data in a file or \
         table, and its name as the result",
        Outcome::MAX_RESULT
    ))
}

/// A script's name as the end of a file's name.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let all: Vec<char> = name.chars().map(safe).collect();
    all[all.len().saturating_sub(100)..].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(content: &str) -> Result<Option<Value>> {
        let mut files = Scratch::default().files().unwrap();
        fs::write(files.result(), content).unwrap();
        files.take_result()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_may_read_a_script_and_it_goes_with_the_attempt() {
        let scratch = Scratch::default();
        let mut files = scratch.files().unwrap();
        let path = files.write_script("local.b.f.shell.load/../x", "echo").unwrap().to_owned();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert!(path.ends_with("0-local.b.f.shell.load_.._x"), "{}", path.display());
        drop(files);
        assert!(!path.exists());
        let dir = path.parent().unwrap().to_owned();
        assert!(dir.exists());
        drop(scratch);
        assert!(!dir.exists());
    }

    #[test]
    fn what_a_killed_scheduler_left_is_swept_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = |name: &str| {
            let path = temporary.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("0.result"), "").unwrap();
            path
        };
        let [dead, living, other] = ["oxidag-shell-dead", "oxidag-shell-living", "other"].map(dir);
        let lock = fs::File::open(&living).unwrap();
        lock.try_lock().unwrap();
        sweep(temporary.path(), SystemTime::now());
        assert!(dead.exists(), "may have been made this moment");
        sweep(temporary.path(), SystemTime::now() + SETTLED);
        assert!(!dead.exists());
        assert!(living.exists() && other.exists());
    }

    #[test]
    fn a_directory_that_was_cleaned_away_is_made_anew() {
        let scratch = Scratch::default();
        let first = scratch.files().unwrap();
        fs::remove_dir_all(first.dir.dir.path()).unwrap();
        scratch.files().unwrap().write_script("s", "").unwrap();
    }

    #[test]
    fn two_attempts_never_share_a_file() {
        let scratch = Scratch::default();
        assert_ne!(scratch.files().unwrap().result(), scratch.files().unwrap().result());
    }

    #[test]
    fn a_result_is_json_of_at_most_the_limit() {
        assert_eq!(Scratch::default().files().unwrap().take_result().unwrap(), None);
        assert_eq!(left("{\"a\": [1]}\n").unwrap(), Some(serde_json::json!({"a": [1]})));
        let most = format!("\"{}\"", "x".repeat(Outcome::MAX_RESULT - 2));
        assert!(left(&most).unwrap().is_some());
        insta::assert_snapshot!(left(&format!("{most} ")).unwrap_err(), @"the result in $OXIDAG_RESULT has 65537 bytes, and at most 65536 are allowed: leave data in a file or table, and its name as the result");
    }

    #[test]
    fn a_result_that_is_no_json_is_reported_with_its_place() {
        insta::assert_snapshot!(left("{\"rows\": 3,\n \"ok\": yes}").unwrap_err(), @"what the script left in $OXIDAG_RESULT is not JSON: expected value at line 2 column 8");
        insta::assert_snapshot!(left("").unwrap_err(), @"what the script left in $OXIDAG_RESULT is not JSON: EOF while parsing a value at line 1 column 0");
    }

    #[test]
    fn a_result_that_is_no_file_is_refused_rather_than_waited_for() {
        let mut files = Scratch::default().files().unwrap();
        fs::create_dir(files.result()).unwrap();
        assert!(files.take_result().unwrap_err().message.contains("not a regular file"));
    }
}
