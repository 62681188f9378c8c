//! The `duckdb` engine: a laptop's stand-in for `bq`.
//!
//! It runs scripts in BigQuery's SQL on DuckDB, through the `duckdb` program, each statement translated by
//! `polyglot-sql`. An environment for laptops lays it over the engine `bq`, and the same DAG runs without an account.
//!
//! - `attempt` is one attempt, from the task to its outcome; `lock` makes tasks on one file queue.
//! - `script` cuts a text into statements; `translate` makes one of BigQuery's into one of DuckDB's.
//! - `session` is what the program is told and what its output means; `program` is the child process, and
//!   `files` what it is given in files.

mod attempt;
mod config;
mod files;
mod lock;
mod program;
mod reporter;
mod rows;
mod script;
mod session;
#[cfg(test)]
mod tests;
mod translate;

use std::sync::Arc;

use oxidag_plugin_api::{AsyncEngine, Finding, Host, Outcome, Result, Severity, Task, export_async_engine};

use crate::config::{Config, Request};
use crate::script::Problem;

struct DuckDb {
    config: Config,
}

impl AsyncEngine for DuckDb {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".sql";

    fn create(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }

    async fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        validate(&self.config, task)
    }

    async fn run(&self, task: Task, host: Host) -> Result<Outcome> {
        attempt::run(&self.config, &task, Arc::new(host)).await
    }
}

export_async_engine!(DuckDb, name = "duckdb");

/// Looks at a task without running it, or anything else.
fn validate(config: &Config, task: &Task) -> Result<Vec<Finding>> {
    let unplaced = |severity, message| Finding { severity, message, line: None, column: None };
    let mut findings = Vec::new();
    if let Err(error) = Request::new(config, task) {
        findings.push(unplaced(Severity::Error, error.message));
    }
    if let Err(error) = program::find(&config.program) {
        findings.push(unplaced(Severity::Warning, error.message));
    }
    match attempt::read(config, task) {
        Err(problem) => findings.push(finding(problem)),
        Ok(script) if script.statements.is_empty() => {
            findings.push(unplaced(Severity::Warning, "the script has no statements".to_owned()));
        }
        Ok(script) => {
            let problems = attempt::statements(config, task, &script)?.into_iter().filter_map(Result::err);
            findings.extend(problems.map(finding));
        }
    }
    Ok(findings)
}

fn finding(problem: Problem) -> Finding {
    let (line, column) = problem.place;
    Finding {
        severity: Severity::Error,
        message: problem.message,
        line: u32::try_from(line).ok(),
        column: u32::try_from(column).ok(),
    }
}
