//! What the store promises, each promise with the thing that would break it: a kill, a cut, a full disk, another process.

mod crash;
mod full;
mod older;
mod owners;
mod packed;
mod places;
mod pruning;
mod reading;
mod replay;
mod retelling;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use super::{NewRun, RunDetails, RunJournal, Store, StoreError};
use crate::cache::CacheCounts;
use crate::event::{AttemptEnd, Event, EventKind, TaskIdx, Timestamp};
use crate::state::{RunState, TaskState};

/// Tells a copy of this test program, started by a test, that it is the other process, and where the store is.
const CHILD: &str = "OXIDAG_TEST_STORE_CHILD";

pub(super) fn home() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

pub(super) fn begin(store: &Store, run_id: &str, tasks: u32) -> RunJournal {
    try_begin(store, run_id, "dag", 1_000_000, tasks).unwrap()
}

fn try_begin(
    store: &Store,
    run_id: &str,
    dag_id: &str,
    started_at: i64,
    tasks: u32,
) -> Result<RunJournal, StoreError> {
    let ids: Vec<String> = (0..tasks).map(|task| format!("t{task}")).collect();
    store.begin_run(NewRun {
        run_id,
        dag_id,
        started_at: Timestamp(started_at),
        environment: Some("prod"),
        plugins: Some("/etc/plugins.toml"),
        dag_path: "dags/dag.yaml",
        dag_source: "dag: text",
        params: &json!({"day": 1}),
        script_cache: Some(CacheCounts { hits: 2, misses: 1 }),
        tasks: &mut ids.iter().map(|id| (id.as_str(), "noop")),
    })
}

fn task(ts: i64, task: u32, attempt: u32, state: TaskState) -> Event {
    ended(ts, task, attempt, state, None)
}

fn ended(ts: i64, task: u32, attempt: u32, state: TaskState, end: Option<AttemptEnd>) -> Event {
    Event {
        ts: Timestamp(ts),
        kind: EventKind::TaskState { task: TaskIdx(task), attempt, state, end: end.map(Arc::new) },
    }
}

fn checkpoint(ts: i64, task: u32, attempt: u32, checkpoint: serde_json::Value) -> Event {
    Event {
        ts: Timestamp(ts),
        kind: EventKind::Checkpoint { task: TaskIdx(task), attempt, checkpoint: Arc::new(checkpoint) },
    }
}

fn run(ts: i64, state: RunState) -> Event {
    Event { ts: Timestamp(ts), kind: EventKind::RunState { state, error: None } }
}

fn details(store: &Store, run_id: &str) -> RunDetails {
    store.run(run_id).unwrap().unwrap()
}

fn states(store: &Store, run_id: &str) -> Vec<TaskState> {
    let run = details(store, run_id);
    run.tasks.iter().map(|task| task.state).collect()
}

fn journal(home: &Path, run_id: &str) -> PathBuf {
    home.join("journal").join(format!("{run_id}.journal"))
}

/// A message with the folder's name taken out.
fn message(error: &StoreError, home: &Path) -> String {
    error.to_string().replace(home.to_str().unwrap(), "OXIDAG_HOME")
}

/// The arguments with which this program runs one test alone.
fn only(test: &str) -> [String; 4] {
    let test = format!("store::tests::{test}");
    [test, "--exact".into(), "--nocapture".into(), "-q".into()]
}

/// This program as another process, running one test.
fn child(test: &str, home: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(only(test)).env(CHILD, home);
    command
}

/// The store's folder where this process is a child.
fn as_child() -> Option<PathBuf> {
    env::var_os(CHILD).map(PathBuf::from)
}
