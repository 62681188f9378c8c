//! Tests with real processes; a recorder stands in for the host.

mod resuming;
mod running;
mod stopping;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, ErrorKind, Level, Outcome, Result, Script, Task};
use serde_json::{Map, Value};

use crate::config::Config;
use crate::scratch::Scratch;
use crate::sink::Sink;
use crate::spawn::{Child, Pipes, Program};
use crate::variables::Environment;

/// How long a test waits for what must happen before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task with this inline script.
pub(crate) fn task(text: &str) -> Task {
    Task {
        dag_id: "flights".to_owned(),
        run_id: "run 1".to_owned(),
        task_id: "load".to_owned(),
        attempt: 2,
        idempotency_key: "key".to_owned(),
        script: Script { text: text.to_owned(), name: "inline".to_owned(), path: None, uri: None },
        params: Map::new(),
        connections: Vec::new(),
        working_dir: std::env::temp_dir(),
        checkpoint: None,
        resumed: false,
    }
}

/// Starts a program by itself.
pub(crate) fn start(folder: &str, words: &[&str]) -> io::Result<(Child, Pipes)> {
    let (task, configured) = (task(""), BTreeMap::new());
    let environment = Environment::of(&task, &configured, Path::new("/r")).unwrap();
    let arguments: Vec<_> = words[1..].iter().map(OsStr::new).collect();
    let folder = Path::new(folder);
    Program { name: words[0], arguments: &arguments, environment: &environment, folder }.start()
}

/// A host that keeps the log and can cancel.
#[derive(Default)]
struct Recorder {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    log: Vec<(Level, String)>,
    cancelled: bool,
    checkpoints: Vec<Value>,
    refuses_checkpoints: bool,
    callbacks: Vec<Box<dyn FnOnce() + Send>>,
}

impl Sink for Recorder {
    fn log(&self, level: Level, text: &str) {
        let mut state = self.state.lock().unwrap();
        state.log.extend(text.lines().map(|line| (level, line.to_owned())));
        self.changed.notify_all();
    }

    fn cancelled(&self) -> bool {
        self.state.lock().unwrap().cancelled
    }

    fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) {
        self.state.lock().unwrap().callbacks.push(Box::new(callback));
    }

    fn checkpoint(&self, checkpoint: &Value) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.refuses_checkpoints {
            return Err(Error::transient("the run has ended"));
        }
        state.checkpoints.push(checkpoint.clone());
        self.changed.notify_all();
        Ok(())
    }
}

impl Recorder {
    fn cancel(&self) {
        let mut state = self.state.lock().unwrap();
        state.cancelled = true;
        for callback in std::mem::take(&mut state.callbacks) {
            callback();
        }
    }

    /// The lines of this level.
    fn lines(&self, level: Level) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.log.iter().filter(|line| line.0 == level).map(|line| line.1.clone()).collect()
    }

    fn stdout(&self) -> Vec<String> {
        self.lines(Level::Stdout)
    }

    /// Waits for a line of output that starts so, and gives the rest of it.
    fn wait_for(&self, start: &str) -> String {
        let rest = |state: &State| {
            let mut lines = state.log.iter().filter(|line| line.0 == Level::Stdout);
            lines.find_map(|line| line.1.strip_prefix(start).map(|rest| rest.trim().to_owned()))
        };
        let state = self.state.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| rest(state).is_none());
        let (state, _) = waited.unwrap();
        rest(&state).unwrap_or_else(|| panic!("no line starts with {start:?}: {:?}", state.log))
    }
}

fn run_with(config: &Config, task: &Task, host: &Recorder) -> Result<Outcome> {
    crate::attempt::run(config, &Scratch::default(), task, host)
}

fn run_task(task: &Task) -> (Result<Outcome>, Recorder) {
    let host = Recorder::default();
    (run_with(&Config::default(), task, &host), host)
}

fn run(text: &str) -> (Result<Outcome>, Recorder) {
    run_task(&task(text))
}

/// The lines that a script which succeeds prints.
fn output(text: &str) -> Vec<String> {
    let (ended, host) = run(text);
    ended.unwrap_or_else(|error| panic!("{error}: {:?}", host.lines(Level::Stderr)));
    host.stdout()
}

fn error(text: &str) -> Error {
    run(text).0.unwrap_err()
}

/// Waits until a condition holds that nobody announces.
fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The process's state as one letter; none when there is no such process.
fn state(pid: &str) -> Option<char> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn has_ended(pid: &str) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}
