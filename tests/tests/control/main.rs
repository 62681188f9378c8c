//! What decides about a run besides its DAG's edges: retries, deadlines, cancellation, trigger rules, teardowns, limits,
//! other DAGs of the same process, the part that was asked for, an earlier process, and who is told how it went.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cancelling;
mod clock;
mod deadlines;
mod limits;
mod notices;
mod parts;
mod resuming;
mod retries;
mod rules;
mod teardowns;
mod together;

use std::time::Duration;

use oxidag_tests::ledger::Ledger;
use oxidag_tests::running::{Running, in_time};
use oxidag_tests::{Ended, Sandbox, engine};
use serde_json::{Map, Value, json};

/// An entry of a DAG file: a task with an inline script, parameters, and more keys.
fn task(engine: &str, script: &str, id: &str, upstream: &[&str], params: &Value, more: &Value) -> Value {
    let mut task = json!({
        "task_id": id, "script": {"engine": engine, "inline": script}, "params": params, "dependencies": upstream,
    });
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

/// A task of `noop` that does nothing, with more keys.
fn idle(id: &str, upstream: &[&str], more: &Value) -> Value {
    noop(id, upstream, &json!({}), more)
}

/// A task of `noop`.
fn noop(id: &str, upstream: &[&str], params: &Value, more: &Value) -> Value {
    task("noop", "", id, upstream, params, more)
}

/// A task of `shell`.
fn shell(id: &str, upstream: &[&str], script: &str) -> Value {
    task("shell", &format!("#!/bin/sh\n{script}\n"), id, upstream, &json!({}), &json!({}))
}

/// A task whose job is somewhere else.
fn remote(id: &str, upstream: &[&str], params: &Value, more: &Value) -> Value {
    task("ledger", "", id, upstream, params, more)
}

/// A task whose job is somewhere else, and does not end before its test.
fn endless(id: &str, upstream: &[&str], more: &Value) -> Value {
    remote(id, upstream, &json!({"duration_ms": 600_000}), more)
}

/// A task that ends once the file `go` is there, or all of the sandbox is gone.
fn gate(id: &str, upstream: &[&str]) -> Value {
    shell(id, upstream, "while [ ! -e go ] && [ -e plugins.toml ]; do sleep 0.01; done")
}

/// A task that does not stop when it is asked to, until the file `until` is there.
fn deaf(sandbox: &Sandbox, id: &str, upstream: &[&str], more: &Value) -> Value {
    let params = json!({"until": sandbox.path().join("until")});
    task("rogue", "ignore cancellation", id, upstream, &params, more)
}

/// Writes `dag.json`, a DAG of these tasks with more keys.
fn write_dag(sandbox: &Sandbox, tasks: &[Value], more: &Value) {
    write_dag_to(sandbox, "dag.json", "d", tasks, more);
}

fn write_dag_to(sandbox: &Sandbox, file: &str, dag_id: &str, tasks: &[Value], more: &Value) {
    let mut dag = json!({"dag_id": dag_id, "tasks": tasks});
    dag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sandbox.write(file, &dag.to_string());
}

/// Writes `plugins.toml`: the engines that do as a test tells them, and what else it wants.
fn write_plugins(sandbox: &Sandbox, more: &str) {
    let engines = ["noop", "shell", "rogue"];
    let engines: String =
        engines.iter().map(|name| format!("[engines.{name}]\npath = {:?}\n", engine(name))).collect();
    sandbox.write("plugins.toml", &format!("{engines}{more}"));
}

/// A sandbox with [`write_plugins`].
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    write_plugins(&sandbox, "");
    sandbox
}

/// A sandbox with a service for the tasks of [`remote`].
fn with_ledger() -> (Sandbox, Ledger) {
    let sandbox = Sandbox::new();
    let ledger = Ledger::start(sandbox.path().join("ledger"));
    let config = format!(
        "[engines.ledger]\npath = {:?}\nconfig = {{address = '{}'}}\n",
        engine("ledger"),
        ledger.address()
    );
    write_plugins(&sandbox, &config);
    (sandbox, ledger)
}

/// What the service wrote of a task, in a word each.
fn wrote(ledger: &Ledger, task: &str) -> Vec<String> {
    let entries = ledger.book().entries();
    entries.into_iter().filter(|entry| entry.task == task).map(|entry| entry.what).collect()
}

const RUN: [&str; 6] = ["run", "dag.json", "--run-id", "r", "--format", "json"];

/// Runs `dag.json` to its end as `r`.
#[track_caller]
fn run(sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    in_time(sandbox.command(&[&RUN, arguments].concat()))
}

/// Starts to run `dag.json` as `r`.
fn start(sandbox: &Sandbox, arguments: &[&str]) -> Running {
    Running::start(sandbox.command(&[&RUN, arguments].concat()))
}

#[track_caller]
fn oxidag(sandbox: &Sandbox, arguments: &[&str], status: i32) -> Ended {
    in_time(sandbox.command(arguments)).expect_status(status)
}

#[track_caller]
fn shown(sandbox: &Sandbox, run: &str) -> Value {
    oxidag(sandbox, &["runs", "show", run, "--json"], 0).json()
}

/// The run that [`run`] and [`start`] begin.
#[track_caller]
fn r(sandbox: &Sandbox) -> Value {
    shown(sandbox, "r")
}

fn tasks(run: &Value) -> &[Value] {
    run["tasks"].as_array().unwrap()
}

/// The state of each task.
fn states(run: &Value) -> Value {
    let state = |task: &Value| (task["task_id"].as_str().unwrap().to_owned(), task["state"].clone());
    tasks(run).iter().map(state).collect::<Map<_, _>>().into()
}

#[track_caller]
fn find<'a>(run: &'a Value, task: &str) -> &'a Value {
    tasks(run).iter().find(|known| known["task_id"] == task).unwrap_or_else(|| panic!("no {task}: {run:#}"))
}

#[track_caller]
fn attempts<'a>(run: &'a Value, task: &str) -> &'a [Value] {
    find(run, task)["attempts"].as_array().unwrap()
}

/// A time of a task or an attempt; as text, times compare as they are.
#[track_caller]
fn time<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_else(|| panic!("no {key}: {of:#}"))
}

/// The second of the tasks began no earlier than the first had ended.
#[track_caller]
fn in_turn(run: &Value, first: &str, second: &str) {
    let (end, start) = (time(find(run, first), "finished_at"), time(find(run, second), "started_at"));
    assert!(end <= start, "{second} began before {first} had ended: {run:#}");
}

/// How long it took from an attempt's end to the next one's start, for each but the last.
fn waits(run: &Value, task: &str) -> Vec<Duration> {
    let at = |of: &Value, key: &str| humantime::parse_rfc3339(time(of, key)).unwrap();
    let wait = |pair: &[Value]| at(&pair[1], "started_at").duration_since(at(&pair[0], "finished_at"));
    attempts(run, task).windows(2).map(|pair| wait(pair).unwrap()).collect()
}

/// How many of these attempts were under way at once, at most.
fn most_at_once<'a>(attempts: impl IntoIterator<Item = &'a Value>) -> i32 {
    let attempts = attempts.into_iter();
    let both = attempts.flat_map(|one| [(time(one, "started_at"), 1), (time(one, "finished_at"), -1)]);
    let mut changes: Vec<_> = both.collect();
    // What ends in the moment in which another begins has left its place to that.
    changes.sort_unstable();
    let mut now = 0;
    changes
        .iter()
        .map(|(_, change)| {
            now += change;
            now
        })
        .max()
        .unwrap_or_default()
}

/// All attempts of the tasks whose ids begin so.
fn attempts_of<'a>(run: &'a Value, prefix: &str) -> impl Iterator<Item = &'a Value> {
    let tasks = tasks(run).iter().filter(move |task| task["task_id"].as_str().unwrap().starts_with(prefix));
    tasks.flat_map(|task| task["attempts"].as_array().unwrap())
}
