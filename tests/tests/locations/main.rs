//! Scripts from buckets and databases, and the script cache, against real servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod caching;
mod proxy;
mod reading;
mod refused;

use std::fs;
use std::path::Path;

use oxidag_tests::running::in_time;
use oxidag_tests::{Ended, Sandbox};
use serde_json::{Value, json};

/// A folder whose `plugins.toml` ends with these sections. Statements run on a database in memory.
fn sandbox(sections: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    plugins(&sandbox, "plugins.toml", sections);
    sandbox
}

/// Writes the engines, and then these sections.
fn plugins(sandbox: &Sandbox, name: &str, sections: &str) {
    let engines = ["shell", "sql", "noop"]
        .map(|name| format!("[engines.{name}]\npath = {:?}\n", oxidag_tests::engine(name)));
    let config = "[engines.sql.config]\nurl = \"sqlite::memory:\"\n";
    sandbox.write(name, &format!("{}{config}{sections}", engines.concat()));
}

/// A DAG of scripts with these names and places.
fn write_dag(sandbox: &Sandbox, name: &str, scripts: &[(&str, Value)], keys: &Value) {
    let task = |(id, script): &(&str, Value)| json!({"task_id": id, "script": script});
    let mut dag = json!({"tasks": scripts.iter().map(task).collect::<Vec<_>>()});
    dag.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    sandbox.write(name, &serde_json::to_string_pretty(&dag).unwrap());
}

/// Runs the program, which must end like this, and soon.
#[track_caller]
fn oxidag(sandbox: &Sandbox, arguments: &[&str], status: i32) -> Ended {
    in_time(sandbox.command(arguments)).expect_status(status)
}

/// Runs `dag.json` as `run_id`, to a success; what was said meanwhile.
#[track_caller]
fn run(sandbox: &Sandbox, run_id: &str) -> String {
    let ended = oxidag(sandbox, &["run", "dag.json", "--run-id", run_id, "--format", "quiet"], 0);
    assert_eq!(ended.stdout, "");
    ended.stderr
}

#[track_caller]
fn shown(sandbox: &Sandbox, run_id: &str) -> Value {
    oxidag(sandbox, &["runs", "show", run_id, "--json"], 0).json()
}

/// The results of a run's tasks, by their ids.
fn results(run: &Value) -> Value {
    let tasks = run["tasks"].as_array().unwrap().iter();
    tasks.map(|task| (task["task_id"].as_str().unwrap().to_owned(), task["result"].clone())).collect()
}

/// What a script leaves that selects `'…' as it`.
fn selected(text: &str) -> Value {
    json!([{"it": text}])
}

fn select(text: &str) -> String {
    format!("select '{text}' as it")
}

/// Looks through all that oxidag has kept, for what must not be there.
#[track_caller]
fn holds_nowhere(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holds_nowhere(&path, secret);
        } else {
            let content = fs::read(&path).unwrap();
            let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}
