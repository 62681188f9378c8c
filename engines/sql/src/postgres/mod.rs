//! Runs a script on PostgreSQL, over one connection that the task has for itself.
//!
//! The work is asynchronous inside, so that a stop is heeded while the server is slow or silent; each
//! task drives it on the host's worker that it runs on. Statements go one by one and as plain text
//! (the simple query protocol), as psql sends them.

mod errors;
mod session;
mod values;

use std::future::Future;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use oxidag_database::Server;
use oxidag_plugin_api::{Error, ErrorKind, Finding, Outcome, Result, Severity};
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::job::{Done, Job, Rows, Tally};
use crate::script::Statement;

/// How long a failed attempt waits for its changes to be rolled back.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the script.
pub(crate) fn run(server: &Server, job: &Job<'_>) -> Result<Outcome> {
    if let Some(copy) = job.script.statements.iter().find(|statement| statement.copies_through_the_client()) {
        return Err(Error::invalid(format!(
            "{}: `copy` from stdin or to stdout has nothing to read or write here: name a file of the \
             server, or use `insert`",
            job.script.locate(copy, None)
        )));
    }
    let result = block_on(session::with_client(server, job, |client| work(client, job)))?;
    match result {
        // A stop may come when the last step is on its way.
        Err(error) if job.committing.get() => Err(match error.kind {
            ErrorKind::Cancelled => {
                errors::unanswered("the server did not answer before the task was stopped")
            }
            _ => error,
        }),
        Err(_) if job.cancel.requested() => Err(crate::reporter::cancelled()),
        result => result,
    }
}

/// Prepares each statement without running it.
pub(crate) fn validate(server: &Server, job: &Job<'_>) -> Result<Vec<Finding>> {
    block_on(session::with_client(server, job, |client| async move {
        let mut findings = Vec::new();
        for statement in &job.script.statements {
            if let Err(error) = client.prepare(statement.sql).await {
                // Nothing has run: it is as if there were no connection.
                if error.is_closed() {
                    return Err(errors::connecting(&error, server));
                }
                let severity = if errors::is_syntax(&error) { Severity::Error } else { Severity::Info };
                let offset = errors::offset(&error, statement);
                findings.push(crate::finding(severity, errors::message(&error), statement, offset));
            }
        }
        Ok(findings)
    }))?
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::transient(format!("no connection can be made: {error}")))?;
    let result = runtime.block_on(future);
    // A name that is still being looked up must not hold the task.
    runtime.shutdown_background();
    Ok(result)
}

async fn work(client: Client, job: &Job<'_>) -> Result<Outcome> {
    let result = execute(&client, job).await;
    if result.is_err() && job.in_transaction() {
        // So that its locks are gone when the next attempt begins; a lost connection rolls back by itself.
        let _ = timeout(ROLLBACK_TIMEOUT, client.batch_execute("rollback")).await;
    }
    result
}

async fn execute(client: &Client, job: &Job<'_>) -> Result<Outcome> {
    let mut tally = Tally::default();
    if job.in_transaction() {
        client.batch_execute("begin").await.map_err(|error| errors::around(&error, "begin", job))?;
    }
    for statement in &job.script.statements {
        job.cancel.check()?;
        let done = run_statement(client, statement, job).await?;
        tally.add(job, statement, done);
    }
    let outcome = tally.outcome(job)?;
    if job.in_transaction() {
        job.cancel.check()?;
        job.committing.set(true);
        let committed = client.batch_execute("commit").await;
        let is_answered = committed.as_ref().err().is_none_or(|error| error.as_db_error().is_some());
        job.committing.set(!is_answered);
        committed.map_err(|error| errors::at_commit(&error, job))?;
    }
    Ok(outcome)
}

async fn run_statement(client: &Client, statement: &Statement<'_>, job: &Job<'_>) -> Result<Done> {
    let failed = |error| errors::in_statement(&error, job, statement);
    let started = Instant::now();
    let mut rows = job.rows_of(statement);
    // Plain text comes without types; they are asked for first where the rows become JSON.
    let types: Vec<_> = if rows.wanted() {
        let prepared = client.prepare(statement.sql).await;
        let prepared = prepared.map_err(|error| errors::preparing(&error, job, statement))?;
        prepared.columns().iter().map(|column| column.type_().clone()).collect()
    } else {
        Vec::new()
    };
    let mut messages = std::pin::pin!(client.simple_query_raw(statement.sql).await.map_err(failed)?);
    let (mut returns, mut count) = (false, 0);
    while let Some(message) = messages.try_next().await.map_err(failed)? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                returns = true;
                rows.set_columns(columns.iter().map(tokio_postgres::SimpleColumn::name));
            }
            SimpleQueryMessage::Row(row) => {
                rows.push(|column| {
                    Ok(values::json(types.get(column), row.try_get(column).map_err(failed)?))
                })?;
            }
            SimpleQueryMessage::CommandComplete(rows) => count += rows,
            _ => {}
        }
    }
    Ok(done(statement, returns.then_some(rows), count, started.elapsed()))
}

/// The server counts rows for every kind of statement; those of a mere query are not affected by it.
fn done(statement: &Statement<'_>, rows: Option<Rows>, count: u64, time: Duration) -> Done {
    let changes = matches!(statement.verb().as_str(), "INSERT" | "UPDATE" | "DELETE" | "MERGE");
    let affected = if rows.is_none() || changes { count } else { 0 };
    Done { rows, affected, time }
}

#[cfg(test)]
mod tests;
