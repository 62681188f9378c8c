//! What PostgreSQL's errors mean to the scheduler, and how they read. The password is in none of them.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;

use oxidag_database::Server;
use oxidag_plugin_api::{Error, ErrorKind};
use tokio_postgres::error::{DbError, ErrorPosition};

use crate::job::{Job, NOT_UNDONE, UNKNOWN};
use crate::script::Statement;

/// An error before the connection stood.
pub(super) fn connecting(error: &tokio_postgres::Error, server: &Server) -> Error {
    let kind = match error.as_db_error() {
        Some(db) => match db.code().code() {
            // The user, the password or the database is wrong.
            code if code.starts_with("28") || code.starts_with("3D") => ErrorKind::Invalid,
            code if is_transient(code) => ErrorKind::Transient,
            _ => ErrorKind::Failed,
        },
        None if is_network(error) => ErrorKind::Transient,
        None => ErrorKind::Invalid,
    };
    Error::new(kind, format!("no connection to {server}: {}", message(error)))
}

/// Something listens where the server should be, and does not go on.
pub(super) fn silent(server: &Server) -> Error {
    let patience = humantime::format_duration(server.patience());
    Error::transient(format!(
        "no connection to {server}: it did not answer within {patience} (`connect_timeout`)"
    ))
}

/// An error of a statement of the script that was only prepared.
pub(super) fn preparing(error: &tokio_postgres::Error, job: &Job<'_>, statement: &Statement<'_>) -> Error {
    failed(error, job, statement, true)
}

/// An error of a statement of the script that ran.
pub(super) fn in_statement(error: &tokio_postgres::Error, job: &Job<'_>, statement: &Statement<'_>) -> Error {
    failed(error, job, statement, error.as_db_error().is_some())
}

fn failed(error: &tokio_postgres::Error, job: &Job<'_>, statement: &Statement<'_>, refused: bool) -> Error {
    let place = job.script.locate(statement, offset(error, statement));
    let text = format!("{place}: {}{}", message(error), hint(error, job));
    match kind(error) {
        ErrorKind::Transient if !job.is_undone(statement, refused) => {
            Error::failed(text + if refused { NOT_UNDONE } else { UNKNOWN })
        }
        kind => Error::new(kind, text),
    }
}

/// An error of a statement that the engine put around the script.
pub(super) fn around(error: &tokio_postgres::Error, sql: &str, job: &Job<'_>) -> Error {
    Error::new(kind(error), format!("{sql}: {}{}", message(error), hint(error, job)))
}

/// An error of the last step. Without an answer nobody knows whether the changes are there, so this is
/// not tried again as if nothing had happened.
pub(super) fn at_commit(error: &tokio_postgres::Error, job: &Job<'_>) -> Error {
    if error.as_db_error().is_some() {
        return around(error, "commit", job);
    }
    unanswered(&message(error))
}

/// The server was asked to commit, and has not said what came of it.
pub(super) fn unanswered(why: &str) -> Error {
    Error::failed(format!("commit: {why}{UNKNOWN}"))
}

pub(super) fn is_syntax(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "42601")
}

/// Where in the statement, in bytes.
pub(super) fn offset(error: &tokio_postgres::Error, statement: &Statement<'_>) -> Option<usize> {
    match error.as_db_error()?.position()? {
        ErrorPosition::Original(position) => {
            let characters = usize::try_from(*position).ok()?.checked_sub(1)?;
            let mut offsets = statement.sql.char_indices().map(|(offset, _)| offset);
            Some(offsets.nth(characters).unwrap_or(statement.sql.len()))
        }
        // In a query that a function made, not in the script.
        ErrorPosition::Internal { .. } => None,
    }
}

fn kind(error: &tokio_postgres::Error) -> ErrorKind {
    let transient = match error.code() {
        Some(code) => is_transient(code.code()),
        None => is_network(error),
    };
    if transient { ErrorKind::Transient } else { ErrorKind::Failed }
}

/// Whether the same may go well later, by its SQLSTATE.
fn is_transient(code: &str) -> bool {
    matches!(
        code,
        // Serialization failure, deadlock, lock not available; the server stops, crashes or starts.
        "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" // Connection exceptions; too many connections, no memory, no disk.
    ) || code.starts_with("08")
        || code.starts_with("53")
}

/// Whether the connection is at fault, not what was said over it.
fn is_network(error: &tokio_postgres::Error) -> bool {
    if error.is_closed() {
        return true;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return !error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        }
        cause = error.source();
    }
    false
}

/// The server's words with SQLSTATE, detail, hint and innermost function, or the library's with their causes.
pub(super) fn message(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return server_message(db);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

fn server_message(error: &DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", error.message(), error.code().code());
    let context = error.where_().and_then(|context| context.lines().next());
    for (name, more) in [("detail", error.detail()), ("hint", error.hint()), ("in", context)] {
        if let Some(more) = more {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {name}: {more}");
        }
    }
    text
}

/// What to do about it, where the server cannot know.
fn hint(error: &tokio_postgres::Error, job: &Job<'_>) -> &'static str {
    let inside = error.code().is_some_and(|code| matches!(code.code(), "25001" | "2D000"));
    if inside && job.in_transaction() {
        "; set `transaction: false` for this task, or begin and end transactions in the script"
    } else {
        ""
    }
}
