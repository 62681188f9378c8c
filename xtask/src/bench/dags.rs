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

/// A task that is run so many times, a perfect square.
pub(super) fn mapped(instances: u32) -> String {
    let side: Vec<u32> = (0..instances.isqrt()).collect();
    growing(json!({
        "task_id": "m",
        "script": {"engine": "noop", "inline": "nothing"},
        "for_each": {"cross": {"a": side, "b": side}},
    }))
}

/// `noop` tasks, each of which adds others through its engine: so many altogether, a multiple of 100.
pub(super) fn appended(tasks: u32) -> String {
    let added: Vec<Value> = (1..100)
        .map(|i| {
            let script = json!({"engine": "noop", "inline": "nothing"});
            json!({"task_id": format!("t{{item}}_{i}"), "script": script})
        })
        .collect();
    growing(json!({
        "task_id": "m",
        "script": {"engine": "noop", "inline": "nothing"},
        "for_each": (0..tasks / 100).collect::<Vec<_>>(),
        "params": {"append": {"tasks": added}},
    }))
}

fn growing(task: Value) -> String {
    json!({"dag_id": "growing", "max_tasks": 2_000_000, "tasks": [task]}).to_string()
}

/// `noop` tasks without dependencies, the last of which starts after all others, and rules that wait for what that one does
/// and never come to anything: of each sort of rule as many.
pub(super) fn waiting(tasks: u32, rules: u32) -> String {
    let mut last = noop(tasks, &[]);
    last["priority"] = json!(-1);
    last["adds"] = json!(["late"]);
    let name = last["task_id"].clone();
    let rule = |i: u32| {
        let task =
            json!({"task_id": format!("r{i}"), "type": "late", "script": {"engine": "noop", "inline": ""}});
        let add = json!({"tasks": [task]});
        match i % 4 {
            0 => json!({"when": format!("tasks[{name}].state == \"failed\""), "add": add}),
            1 => json!({"when": format!("types.late.count > {i}"), "add": add}),
            2 => json!({"when": "closed(\"late\")", "add": add}),
            _ => json!({"each": {"type": "late"}, "when": "task.state == \"success\"", "add": add}),
        }
    };
    let tasks: Vec<String> =
        (0..tasks).map(|i| noop(i, &[])).chain([last]).map(|task| task.to_string()).collect();
    let rules: Vec<String> = (0..rules).map(|i| rule(i).to_string()).collect();
    format!("{{\"dag_id\":\"waiting\",\"tasks\":[{}],\"rules\":[{}]}}", tasks.join(","), rules.join(","))
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
