//! What surrounds a run and its store is broken: the disk is full, the database is locked, files are cut or overwritten,
//! the clock is set back. Nothing crashes or hangs, nothing is lost that is still there, and what is wrong is said.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clock;
mod disk;
mod files;
mod locked;

use std::collections::BTreeMap;

use oxidag_tests::running::in_time;
use oxidag_tests::{Ended, Sandbox};
use serde_json::{Value, json};

/// Runs the program, which must neither hang nor crash, and must say why it does not do what it is asked for.
#[track_caller]
fn sound(sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    let ended = in_time(sandbox.command(arguments));
    let crashed = ended.status.is_none_or(|status| ![0, 1, 2].contains(&status));
    let silent = ended.status != Some(0) && ended.stderr.is_empty() && ended.stdout.is_empty();
    assert!(!crashed && !silent && !ended.stderr.contains("panicked"), "{arguments:?}: {ended:#?}");
    ended
}

/// An entry of a DAG file: a task of `noop`.
fn noop(id: &str, upstream: &[&str], params: &Value) -> Value {
    json!({"task_id": id, "script": {"engine": "noop", "inline": ""}, "params": params, "dependencies": upstream})
}

/// An entry of a DAG file: a task that ends once the file `go` is there, or all of the sandbox is gone.
fn gate(upstream: &[&str]) -> Value {
    waits("gate", "go", upstream)
}

/// The same of any name, for any file.
fn waits(id: &str, file: &str, upstream: &[&str]) -> Value {
    let script =
        format!("#!/bin/sh\nwhile [ ! -e {file} ] && [ -e plugins.toml ]; do sleep 0.01; done\necho open\n");
    json!({"task_id": id, "script": {"engine": "shell", "inline": script}, "dependencies": upstream})
}

fn dag(tasks: &[Value]) -> String {
    json!({"dag_id": "d", "tasks": tasks}).to_string()
}

fn shown(sandbox: &Sandbox, run: &str) -> Value {
    sound(sandbox, &["runs", "show", run, "--json"]).expect_status(0).json()
}

/// The state of each task.
fn states(run: &Value) -> BTreeMap<&str, &str> {
    let tasks = run["tasks"].as_array().unwrap();
    tasks.iter().map(|task| (task["task_id"].as_str().unwrap(), task["state"].as_str().unwrap())).collect()
}

#[track_caller]
fn all_succeeded(run: &Value) {
    assert_eq!(run["state"], "success");
    assert!(states(run).values().all(|state| *state == "success"), "{:?}", states(run));
}
