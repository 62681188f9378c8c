//! What SQLite's errors mean to the scheduler, and how they read.

use std::path::Path;

use oxidag_plugin_api::{Error, ErrorKind};
use rusqlite::ErrorCode;

use crate::job::{Job, NOT_UNDONE};
use crate::script::Statement;

/// An error while the database was opened: mostly a wrong path, a wrong file or missing rights.
pub(super) fn opening(error: &rusqlite::Error, path: &Path) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::NotADatabase | ErrorCode::PermissionDenied) => {
            ErrorKind::Invalid
        }
        _ => kind(error),
    };
    Error::new(kind, format!("the database {} cannot be opened: {}", path.display(), message(error)))
}

/// An error of a statement of the script.
pub(super) fn in_statement(error: &rusqlite::Error, job: &Job<'_>, statement: &Statement<'_>) -> Error {
    let place = job.script.locate(statement, offset(error));
    let text = format!("{place}: {}{}", message(error), hint(error, job));
    match kind(error) {
        // A statement that fails changes nothing, whatever it was.
        ErrorKind::Transient if !job.is_undone(statement, true) => Error::failed(text + NOT_UNDONE),
        kind => Error::new(kind, text),
    }
}

/// An error of a statement that the engine put around the script.
pub(super) fn around(error: &rusqlite::Error, sql: &str, job: &Job<'_>) -> Error {
    Error::new(kind(error), format!("{sql}: {}{}", message(error), hint(error, job)))
}

/// The error's message and place, if it says that the text is no SQL.
pub(super) fn syntax(error: &rusqlite::Error) -> Option<(String, usize)> {
    let message = message(error);
    let wrong = ["syntax error", "unrecognized token", "incomplete input"];
    wrong.iter().any(|part| message.contains(part)).then(|| (message, offset(error).unwrap_or(0)))
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn kind(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure,
        ) => ErrorKind::Transient,
        _ => ErrorKind::Failed,
    }
}

/// SQLite's own words: the library would add the whole statement.
fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } | rusqlite::Error::SqliteFailure(_, Some(msg)) => {
            msg.clone()
        }
        other => other.to_string(),
    }
}

/// Where in the statement, in bytes.
fn offset(error: &rusqlite::Error) -> Option<usize> {
    match error {
        rusqlite::Error::SqlInputError { offset, .. } => usize::try_from(*offset).ok(),
        _ => None,
    }
}

/// What to do about it, where that can be said.
fn hint(error: &rusqlite::Error, job: &Job<'_>) -> String {
    let message = message(error);
    if is_busy(error) {
        let waited = humantime::format_duration(job.request.busy_timeout);
        return format!(" (others were writing for longer than `busy_timeout`, {waited})");
    }
    let inside = ["within a transaction", "within transaction", "inside a transaction"];
    if job.in_transaction() && inside.iter().any(|part| message.contains(part)) {
        return "; set `transaction: false` for this task, or begin and end transactions in the script"
            .to_owned();
    }
    String::new()
}
