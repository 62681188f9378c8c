//! What the tests share: tasks, a host that records, and the real program.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use oxidag_plugin_api::{Error, Level, Outcome, Task};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::config::Config;
use crate::reporter::Reporter;

mod running;
mod sql;

/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task with this script and these parameters.
pub(crate) fn task(sql: &str, params: Value) -> Task {
    serde_json::from_value(json!({
        "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "k",
        "script": {"text": sql, "name": "inline"}, "params": params, "working_dir": "/nowhere",
    }))
    .unwrap()
}

/// DuckDB's program: beside the test servers' programs, or on PATH.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let installed = target.join("python/bin/duckdb");
    if installed.is_file() {
        return installed;
    }
    crate::program::find("duckdb").unwrap_or_else(|_| {
        panic!("{} is not there, and none is on PATH; `cargo xtask test` installs it", installed.display())
    })
}

/// The engine's configuration, with the program that the tests have.
fn config(more: Value) -> Config {
    let mut config = json!({"program": program(), "lock_timeout": "60s"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

/// Runs a script as the host would, on the database `a.db` in this folder.
fn run(folder: &Path, sql: &str, params: Value) -> Result<Outcome, Error> {
    run_with(&Arc::default(), &config(json!({"database": "a.db"})), folder, sql, params)
}

fn run_with(
    recorder: &Arc<Recorder>,
    config: &Config,
    folder: &Path,
    sql: &str,
    params: Value,
) -> Result<Outcome, Error> {
    let mut task = task(sql, params);
    folder.clone_into(&mut task.working_dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(crate::attempt::run(config, &task, recorder.clone()))
}

/// The rows that a query leaves as its result.
#[track_caller]
fn rows(folder: &Path, sql: &str) -> Value {
    run(folder, sql, json!({})).unwrap_or_else(|error| panic!("{sql}: {error}")).result.unwrap()
}

/// Takes the host's place.
#[derive(Default)]
struct Recorder {
    lines: Mutex<Vec<(Level, String)>>,
    logged: Condvar,
    stop: Notify,
}

impl Recorder {
    fn log(&self) -> String {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|(level, line)| format!("{level:?} {line}\n")).collect()
    }

    /// Waits until a line with this in it was logged.
    fn wait_for(&self, part: &str) {
        let lines = self.lines.lock().unwrap();
        let waiting = |lines: &mut Vec<(Level, String)>| !lines.iter().any(|(_, line)| line.contains(part));
        let (lines, waited) = self.logged.wait_timeout_while(lines, PATIENCE, waiting).unwrap();
        drop(lines);
        assert!(!waited.timed_out(), "nobody logged {part:?}, but:\n{}", self.log());
    }

    /// Asks the task to stop.
    fn cancel(&self) {
        self.stop.notify_one();
    }
}

impl Reporter for Recorder {
    fn log(&self, level: Level, text: &str) {
        self.lines.lock().unwrap().push((level, text.to_owned()));
        self.logged.notify_all();
    }

    fn until_cancelled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.stop.notified().await;
            // For whoever asks next.
            self.stop.notify_one();
        })
    }
}
