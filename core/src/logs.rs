//! Task logs: one file for each attempt that has something to say, and one for the run.
//!
//! A log file is opened with its first line, so a task that says nothing costs no file. Every write reaches
//! the operating system at once: what was logged survives the process.

mod upload;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::event::Timestamp;
use crate::secrets::Masker;

pub use upload::{LogTarget, MissedLogs, RunUploads, Uploader};

/// Where the logs of one run are.
#[derive(Debug, Clone)]
pub struct RunLogs {
    folder: PathBuf,
    run_id: String,
}

impl RunLogs {
    /// The logs of a run below `home`: `logs/<dag_id>/<task_id>/<run_id>.<attempt>.log`, and
    /// `logs/<dag_id>/<run_id>.log` for the run itself.
    #[must_use]
    pub fn new(home: &Path, dag_id: &str, run_id: &str) -> Self {
        Self { folder: home.join("logs").join(dag_id), run_id: run_id.to_owned() }
    }

    /// The log of an attempt; it exists once something was logged.
    #[must_use]
    pub fn attempt(&self, task_id: &str, attempt: u32) -> PathBuf {
        self.folder.join(task_id).join(format!("{}.{attempt}.log", self.run_id))
    }

    /// The log of the run.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.run_id))
    }

    /// The logs that attempts of a task have.
    fn attempts(&self, task_id: &str) -> Vec<PathBuf> {
        let is_attempt = |name: &str| {
            let attempt = name.strip_prefix(&*self.run_id).and_then(|rest| rest.strip_prefix('.'));
            let attempt = attempt.and_then(|rest| rest.strip_suffix(".log"));
            attempt.is_some_and(|attempt| attempt.parse::<u32>().is_ok())
        };
        // Without the folder there are none; what else is wrong with it shows when one is read.
        let files = fs::read_dir(self.folder.join(task_id)).into_iter().flatten().flatten();
        files
            .filter(|file| file.file_name().to_str().is_some_and(is_attempt))
            .map(|file| file.path())
            .collect()
    }

    /// The name in a bucket of one of these logs: its path below `logs/`.
    fn name(&self, log: &Path, gzip: bool) -> String {
        let root = self.folder.parent().unwrap_or(&self.folder);
        let parts = log.strip_prefix(root).unwrap_or(log).iter().map(|part| part.to_string_lossy());
        parts.collect::<Vec<_>>().join("/") + if gzip { ".gz" } else { "" }
    }
}

/// A log file that is opened when it is first written to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    keep_closed: bool,
    buffer: String,
}

impl LogFile {
    /// The log at this path; lines are added to what an earlier process wrote.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, keep_closed: false, buffer: String::new() }
    }

    /// From now on the file is open only while it is written to.
    pub fn keep_closed(&mut self) {
        self.keep_closed = true;
        self.file = None;
    }

    /// Writes each line of `text` with its time and level, secrets masked, in one call to the system.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made, or the file not be written.
    pub fn write(&mut self, now: Timestamp, level: &str, text: &str, masker: &Masker) -> io::Result<()> {
        self.buffer.clear();
        let time = rfc3339(now);
        // Masked as a whole first: a secret may be longer than a line.
        for line in masker.mask(text).lines() {
            // Writing to a string does not fail.
            let _ = writeln!(self.buffer, "{time} {level:<6} {line}");
        }
        self.flush().map_err(|e| {
            io::Error::new(e.kind(), format!("cannot write the log {}: {e}", self.path.display()))
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        file.write_all(self.buffer.as_bytes())?;
        self.file = Some(file).filter(|_| !self.keep_closed);
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    // The folder first: mostly it is not there, and to look for a file in it costs a good part of making it.
    match path.parent().map_or(Ok(()), fs::create_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::options().append(true).create(true).open(path)
}

/// A time as RFC 3339 in UTC, with microseconds.
#[must_use]
pub fn rfc3339(time: Timestamp) -> humantime::Rfc3339Timestamp {
    let micros = Duration::from_micros(u64::try_from(time.0).unwrap_or(0));
    humantime::format_rfc3339_micros(UNIX_EPOCH + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_time_and_level_and_no_secret() {
        let home = tempfile::tempdir().unwrap();
        let path = RunLogs::new(home.path(), "dag", "run").attempt("task", 2);
        let mut log = LogFile::new(path.clone());
        assert!(!path.exists(), "opened with the first line only");
        log.write(Timestamp(1_000_001), "stdout", "one\ntwo s3cret\n", &Masker::new(["s3cret"])).unwrap();
        drop(log);
        LogFile::new(path.clone()).write(Timestamp(2_000_000), "info", "three", &Masker::default()).unwrap();
        insta::assert_snapshot!(fs::read_to_string(path).unwrap(), @r"
        1970-01-01T00:00:01.000001Z stdout one
        1970-01-01T00:00:01.000001Z stdout two ***
        1970-01-01T00:00:02.000000Z info   three
        ");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_folder_that_cannot_be_made_is_said_to_be_why() {
        // As on a full disk, where the log that is looked for in it would not be found.
        let error = open(Path::new("/sys/none/run.1.log")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    }

    #[test]
    fn the_attempts_of_a_run_are_found_and_named() {
        let home = tempfile::tempdir().unwrap();
        let logs = RunLogs::new(home.path(), "dag", "run");
        assert!(logs.attempts("task").is_empty());
        for log in [logs.attempt("task", 1), logs.attempt("task", 12)] {
            LogFile::new(log).write(Timestamp(0), "info", "x", &Masker::default()).unwrap();
        }
        let folder = home.path().join("logs/dag/task");
        for other in ["run.1.1.log", "run-2.1.log", "run.1.log.gz", "run.log"] {
            fs::write(folder.join(other), "").unwrap();
        }
        let mut names: Vec<_> = logs.attempts("task").iter().map(|log| logs.name(log, true)).collect();
        names.sort();
        assert_eq!(names, ["dag/task/run.1.log.gz", "dag/task/run.12.log.gz"]);
        assert_eq!(logs.name(&logs.run(), false), "dag/run.log");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file/below.log");
        fs::write(home.path().join("file"), "").unwrap();
        let error = LogFile::new(path).write(Timestamp(0), "info", "x", &Masker::default()).unwrap_err();
        assert!(error.to_string().contains("below.log"), "{error}");
    }
}
