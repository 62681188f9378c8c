//! Opens a SQLite database for a task, so that it waits for others and can be stopped at any time.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, Level, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{debug, errors};
use crate::job::Job;

/// How many of SQLite's instructions pass between two looks at whether the task is to stop.
const PROGRESS: i32 = 10_000;

/// Opens the database and makes it if it is not there, its folder too.
pub(super) fn open(path: Option<&Path>, job: &Job<'_>) -> Result<Connection> {
    let mut connection = match path {
        Some(path) => open_file(path)?,
        None => {
            Connection::open_in_memory().map_err(|error| errors::opening(&error, Path::new(":memory:")))?
        }
    };
    stoppable(&mut connection, job)
        .map_err(|error| errors::opening(&error, path.unwrap_or(Path::new(":memory:"))))?;
    if let Some(path) = path {
        use_wal(&connection, path, job)?;
    }
    Ok(connection)
}

fn open_file(path: &Path) -> Result<Connection> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::invalid(format!("the database's folder {} cannot be made: {error}", folder.display()))
        })?;
    }
    // Without SQLITE_OPEN_URI: a path is a path, whatever characters it has.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|error| errors::opening(&error, path))
}

/// Makes the connection wait for locks, and give up its waiting and its work when the task is to stop.
fn stoppable(connection: &mut Connection, job: &Job<'_>) -> rusqlite::Result<()> {
    let (cancel, timeout) = (job.cancel.clone(), job.request.busy_timeout);
    let reporter = Arc::clone(&job.reporter);
    let mut since = Instant::now();
    connection.busy_handler(Some(move |tries: i32| {
        if tries == 0 {
            since = Instant::now();
            reporter.log(Level::Debug, "the database is locked: waiting");
        }
        let wait = !cancel.requested() && since.elapsed() < timeout;
        if wait {
            thread::sleep(pause(tries));
        }
        wait
    }))?;
    // An interrupt alone would be lost if it came between two statements.
    let cancel = job.cancel.clone();
    connection.progress_handler(PROGRESS, Some(move || cancel.requested()))?;
    let interrupt = connection.get_interrupt_handle();
    job.cancel.watch(&*job.reporter, move || interrupt.interrupt());
    Ok(())
}

/// Short at first; long enough later not to keep the processor busy.
fn pause(tries: i32) -> Duration {
    Duration::from_millis(u64::try_from(tries).unwrap_or(0).clamp(1, 25))
}

/// Turns on the write-ahead log, with which readers and a writer do not hinder each other.
///
/// The switch needs the file for itself, and SQLite does not wait for that by its busy handler: two tasks that
/// make one database at the same time would fail. A database that cannot be switched is used as it is.
fn use_wal(connection: &Connection, path: &Path, job: &Job<'_>) -> Result<()> {
    let started = Instant::now();
    for tries in 0.. {
        job.cancel.check()?;
        let mode: rusqlite::Result<String> =
            connection.query_row("pragma journal_mode = wal", [], |row| row.get(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                debug(job, &format!("the database keeps its journal mode, {mode}"));
                return Ok(());
            }
            Err(error) if errors::is_busy(&error) && started.elapsed() < job.request.busy_timeout => {
                if tries == 0 {
                    debug(
                        job,
                        "the database is in use and cannot be switched to its write-ahead log: waiting",
                    );
                }
                thread::sleep(pause(tries));
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
                debug(job, "the database is read-only");
                return Ok(());
            }
            Err(error) => return Err(errors::opening(&error, path)),
        }
    }
    Ok(())
}
