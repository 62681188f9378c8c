//! The `sql` engine: runs SQL scripts on SQLite, which is built in, or on PostgreSQL.
//!
//! The database is named by a URL: the task's parameter `url`, else its one connection whose name ends in
//! `url` (`**PG_url`), else `url` in the engine's config.
//!
//! - `sqlite:FILE`, relative to the folder of the DAG file; the file and its folder are made if they are not
//!   there. `sqlite::memory:` is a database of the task's own. Foreign keys are enforced, and the write-ahead log
//!   is on, so that several tasks may use one file; writers wait for each other up to `busy_timeout`.
//! - `postgres://user:password@host:port/database?option=…` with libpq's options, among them `sslmode` (from
//!   `disable` to `verify-full`), `sslrootcert`, `connect_timeout` and `options=-c statement_timeout=5s`.
//!
//! A script may have many statements. It runs in one transaction, so that a failed attempt leaves nothing,
//! unless it begins transactions itself or `transaction: false` (config or parameter) says otherwise.
//! A script that is one statement leaves its rows as the task's result, a list of objects, if they fit;
//! with `result: rows` the last statement's rows must be there and fit; `result: none` leaves none.

mod config;
mod job;
mod lexer;
mod postgres;
mod reporter;
mod script;
mod sqlite;
#[cfg(test)]
mod testing;

use std::path::Path;
use std::sync::Arc;

use oxidag_database::Database;
use oxidag_plugin_api::{
    Engine, Error, ErrorKind, Finding, Host, Level, Outcome, Result, Severity, Task, export_engine,
};

use crate::config::{Config, Request};
use crate::job::Job;
use crate::lexer::Dialect;
use crate::reporter::Reporter;
use crate::script::{Script, Statement};

struct Sql {
    config: Config,
}

impl Engine for Sql {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".sql";

    fn create(config: Config) -> Result<Self> {
        if let Some(url) = &config.url {
            // Only whether it is a URL at all: its paths are relative to each task's folder.
            Database::parse(url, Path::new(""))?;
        }
        Ok(Self { config })
    }

    fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        match with_job(&self.config, task, Arc::new(Silent), check) {
            Err(error) if error.kind == ErrorKind::Invalid => {
                Ok(vec![unplaced(Severity::Error, error.message)])
            }
            checked => checked,
        }
    }

    fn run(&self, task: Task, host: &Host) -> Result<Outcome> {
        run(&self.config, &task, Arc::new(host.clone()))
    }
}

export_engine!(Sql, name = "sql");

/// Runs a task's script.
fn run(config: &Config, task: &Task, reporter: Arc<dyn Reporter>) -> Result<Outcome> {
    with_job(config, task, reporter, |database, job| {
        job.check()?;
        if job.script.statements.is_empty() {
            job.reporter.log(Level::Warn, "the script has no statements");
        }
        match database {
            Database::File(path) => sqlite::run(Some(path), job),
            Database::Memory => sqlite::run(None, job),
            Database::Postgres(server) => postgres::run(server, job),
        }
    })
}

/// Looks at a task's script without running it.
fn check(database: &Database, job: &Job<'_>) -> Result<Vec<Finding>> {
    job.check()?;
    if job.script.statements.is_empty() {
        return Ok(vec![unplaced(Severity::Warning, "the script has no statements".to_owned())]);
    }
    match database {
        Database::File(_) | Database::Memory => sqlite::validate(job.script),
        Database::Postgres(server) => match postgres::validate(server, job) {
            // That the server is away now does not make the script wrong.
            Err(error) if error.kind == ErrorKind::Transient => Ok(vec![unplaced(
                Severity::Warning,
                format!("the script was not checked: {}", error.message),
            )]),
            checked => checked,
        },
    }
}

fn with_job<T>(
    config: &Config,
    task: &Task,
    reporter: Arc<dyn Reporter>,
    work: impl FnOnce(&Database, &Job<'_>) -> Result<T>,
) -> Result<T> {
    let request = Request::new(config, task)?;
    let database = Database::parse(&request.url, &task.working_dir)?;
    let dialect = match database {
        Database::Postgres(_) => Dialect::Postgres,
        Database::File(_) | Database::Memory => Dialect::Sqlite,
    };
    if task.script.text.contains('\0') {
        return Err(Error::invalid("the script has a null character in it, which no statement may have"));
    }
    let script = Script::new(&task.script.text, &task.script.name, dialect);
    work(&database, &Job::new(&script, &request, reporter))
}

/// A finding about a statement, at a place in it.
fn finding(severity: Severity, message: String, statement: &Statement<'_>, offset: Option<usize>) -> Finding {
    let (line, column) = statement.place(offset);
    Finding { severity, message, line: u32::try_from(line).ok(), column: u32::try_from(column).ok() }
}

fn unplaced(severity: Severity, message: String) -> Finding {
    Finding { severity, message, line: None, column: None }
}

/// Nobody listens to a dry run.
struct Silent;

impl Reporter for Silent {
    fn log(&self, _: Level, _: &str) {}

    fn on_cancel(&self, _: Box<dyn FnOnce() + Send>) {}
}
