//! The files that are measured.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// `noop` tasks without dependencies.
pub(super) fn independent(tasks: u32) -> String {
    dag("independent", (0..tasks).map(|i| noop(i, &[])))
}

/// `noop` tasks, each of which waits for the one before.
pub(super) fn chain(tasks: u32) -> String {
    let task = |i: u32| match i.checked_sub(1) {
        Some(previous) => noop(i, &[format!("t{previous}")]),
        None => noop(i, &[]),
    };
    dag("chain", (0..tasks).map(task))
}

/// `shell` tasks, each of which starts `/bin/true`.
pub(super) fn processes(tasks: u32) -> String {
    let task =
        |i: u32| json!({"task_id": format!("t{i}"), "script": {"engine": "shell", "inline": "/bin/true"}});
    dag("processes", (0..tasks).map(task))
}

/// The same processes for make.
pub(super) fn makefile(tasks: u32) -> String {
    let names: Vec<String> = (0..tasks).map(|i| format!("t{i}")).collect();
    let names = names.join(" ");
    let mut text = format!("all: {names}\n.PHONY: all {names}\n");
    for i in 0..tasks {
        // Writing to a String cannot fail.
        let _ = write!(text, "t{i}:\n\t/bin/true\n");
    }
    text
}

fn noop(i: u32, dependencies: &[String]) -> Value {
    json!({
        "task_id": format!("t{i}"),
        "script": {"engine": "noop", "inline": "nothing"},
        "dependencies": dependencies,
    })
}

fn dag(name: &str, tasks: impl Iterator<Item = Value>) -> String {
    // As text at once: the system counts this process's own peak as that of the processes it starts.
    let tasks: Vec<String> = tasks.map(|task| task.to_string()).collect();
    format!("{{\"dag_id\":{},\"tasks\":[{}]}}", json!(name), tasks.join(","))
}
