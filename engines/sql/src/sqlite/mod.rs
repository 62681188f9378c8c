//! Runs a script on SQLite, which is linked into this library.
//!
//! Several tasks may write to one file at once: they wait for each other, up to `busy_timeout`. The scheduler's
//! own state is in SQLite too; a task must never be pointed at that file, as locks are per process.

mod errors;
mod open;

use std::path::Path;
use std::time::Instant;

use oxidag_plugin_api::{Error, Finding, Level, Outcome, Result, Severity};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::{Number, Value};

use crate::job::{Done, Job, Tally};
use crate::script::{Script, Statement};

/// Runs the script; `path` is the database's file, or none for one in memory.
pub(crate) fn run(path: Option<&Path>, job: &Job<'_>) -> Result<Outcome> {
    let connection = open::open(path, job)?;
    // Dropping the connection on the way rolls back whatever is not committed.
    let result = execute(&connection, job);
    if job.cancel.requested() { result.map_err(|_| crate::reporter::cancelled()) } else { result }
}

fn execute(connection: &Connection, job: &Job<'_>) -> Result<Outcome> {
    let mut tally = Tally::default();
    let mut statements = job.script.statements.iter().peekable();
    let around = |sql: &str| {
        job.cancel.check()?;
        connection.execute_batch(sql).map_err(|error| errors::around(&error, sql, job))
    };
    if job.in_transaction() {
        while let Some(setting) = statements.next_if(|statement| sets_connection(statement)) {
            run_statement(connection, setting, job, &mut tally)?;
        }
        around(if only_reads(connection, statements.clone()) { "begin" } else { "begin immediate" })?;
    }
    for statement in statements {
        run_statement(connection, statement, job, &mut tally)?;
    }
    let outcome = tally.outcome(job)?;
    if job.in_transaction() {
        around("commit")?;
    }
    Ok(outcome)
}

/// Statements that a script begins with and that SQLite ignores or refuses inside a transaction.
fn sets_connection(statement: &Statement<'_>) -> bool {
    matches!(statement.verb().as_str(), "PRAGMA" | "ATTACH" | "DETACH")
}

/// Whether none of these statements writes, as far as can be said before they run: they then need no write lock. Some settings
/// take effect when they are merely prepared, so a script with any of them further down is not looked at.
fn only_reads<'a>(
    connection: &Connection,
    mut statements: impl Iterator<Item = &'a Statement<'a>> + Clone,
) -> bool {
    let prepares = |statement: &Statement<'_>| {
        connection.prepare(statement.sql).is_ok_and(|prepared| prepared.readonly())
    };
    !statements.clone().any(sets_connection) && statements.all(prepares)
}

fn run_statement(
    connection: &Connection,
    statement: &Statement<'_>,
    job: &Job<'_>,
    tally: &mut Tally,
) -> Result<()> {
    job.cancel.check()?;
    let failed = |error| errors::in_statement(&error, job, statement);
    let started = Instant::now();
    let changes = connection.total_changes();
    let mut prepared = connection.prepare(statement.sql).map_err(failed)?;
    if let Some(message) = unbound(&prepared) {
        return Err(Error::invalid(format!("{}: {message}", job.script.locate(statement, None))));
    }
    let mut rows = (prepared.column_count() > 0).then(|| job.rows_of(statement));
    if let Some(rows) = &mut rows {
        rows.set_columns(prepared.column_names());
    }
    let mut found = prepared.raw_query();
    while let Some(row) = found.next().map_err(failed)? {
        if let Some(rows) = &mut rows {
            rows.push(|column| value(row, column).map_err(failed))?;
        }
    }
    drop(found);
    // `changes` keeps the figure of an earlier statement unless this one changed rows.
    let affected = if connection.total_changes() == changes { 0 } else { connection.changes() };
    tally.add(job, statement, Done { rows, affected, time: started.elapsed() });
    Ok(())
}

/// SQLite takes an unbound parameter as null, which is never what was meant.
fn unbound(prepared: &rusqlite::Statement<'_>) -> Option<String> {
    (prepared.parameter_count() > 0).then(|| {
        let name = prepared.parameter_name(1).unwrap_or("?");
        format!("the bind parameter `{name}` gets no value; write a task's parameter as `{{name}}`")
    })
}

/// As JSON; a blob as PostgreSQL prints its `bytea`.
fn value(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => {
            Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
        }
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => {
            bytes.iter().fold(r"\x".to_owned(), |text, byte| text + &format!("{byte:02x}")).into()
        }
    })
}

/// Compiles each statement in an empty database: that shows wrong syntax, and no more than that, as the
/// tables may be made by the script itself or by other tasks.
pub(crate) fn validate(script: &Script<'_>) -> Result<Vec<Finding>> {
    let connection = Connection::open_in_memory().map_err(|error| Error::transient(error.to_string()))?;
    let mut findings = Vec::new();
    for statement in &script.statements {
        let (message, offset) = match connection.prepare(statement.sql) {
            Ok(prepared) => (unbound(&prepared), None),
            Err(error) => errors::syntax(&error).unzip(),
        };
        findings.extend(message.map(|message| crate::finding(Severity::Error, message, statement, offset)));
    }
    Ok(findings)
}

/// A line for what the task's author may want to know and nobody else.
fn debug(job: &Job<'_>, text: &str) {
    job.reporter.log(Level::Debug, text);
}

#[cfg(test)]
mod tests;
