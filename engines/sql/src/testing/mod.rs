//! What the tests share: tasks, a host that records, and a PostgreSQL server.

pub(crate) mod server;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use oxidag_plugin_api::{Error, Level, Outcome, Task};
use serde_json::{Value, json};

use crate::config::Config;
use crate::reporter::Reporter;

/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A task with this script and these parameters.
pub(crate) fn task(sql: &str, params: Value) -> Task {
    serde_json::from_value(json!({
        "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "k",
        "script": {"text": sql, "name": "inline"}, "params": params, "working_dir": "/nowhere",
    }))
    .unwrap()
}

/// Runs a script as the host would; `params` name the database.
pub(crate) fn run(folder: &Path, sql: &str, params: Value) -> Result<Outcome, Error> {
    run_with(&Arc::default(), folder, sql, params)
}

/// As [`run`], with a host of one's own.
pub(crate) fn run_with(
    recorder: &Arc<Recorder>,
    folder: &Path,
    sql: &str,
    params: Value,
) -> Result<Outcome, Error> {
    let mut task = task(sql, params);
    folder.clone_into(&mut task.working_dir);
    // Short, so that a test that waits in vain fails soon.
    let config: Config = serde_json::from_value(json!({"busy_timeout": "20s"})).unwrap();
    crate::run(&config, &task, recorder.clone())
}

/// Takes the host's place.
#[derive(Default)]
pub(crate) struct Recorder {
    state: Mutex<State>,
    logged: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<(Level, String)>,
    callbacks: Vec<Box<dyn FnOnce() + Send>>,
    cancelled: bool,
}

impl Recorder {
    /// The log, a line for each entry, without times.
    pub(crate) fn log(&self) -> String {
        self.state.lock().unwrap().lines.iter().fold(String::new(), |mut text, (level, line)| {
            let timed = line.ends_with(" ms") || line.ends_with(" s");
            let line = if timed { line.rsplit_once(", ").unwrap().0 } else { line };
            writeln!(text, "{level:?} {line}").unwrap();
            text
        })
    }

    /// Waits until a line with this in it was logged.
    pub(crate) fn wait_for(&self, part: &str) {
        let state = self.state.lock().unwrap();
        let waiting = |state: &mut State| !state.lines.iter().any(|(_, line)| line.contains(part));
        let (state, waited) = self.logged.wait_timeout_while(state, PATIENCE, waiting).unwrap();
        drop(state);
        assert!(!waited.timed_out(), "nobody logged {part:?}, but:\n{}", self.log());
    }

    /// Asks the task to stop.
    pub(crate) fn cancel(&self) {
        let mut state = self.state.lock().unwrap();
        state.cancelled = true;
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        callbacks.into_iter().for_each(|callback| callback());
    }
}

impl Reporter for Recorder {
    fn log(&self, level: Level, text: &str) {
        self.state.lock().unwrap().lines.push((level, text.to_owned()));
        self.logged.notify_all();
    }

    fn on_cancel(&self, callback: Box<dyn FnOnce() + Send>) {
        let mut state = self.state.lock().unwrap();
        if state.cancelled {
            drop(state);
            callback();
        } else {
            state.callbacks.push(callback);
        }
    }
}
