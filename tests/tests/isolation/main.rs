//! Engines in processes of their own: what they do to themselves costs the attempts in them, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crashes;
mod lifetimes;
mod limits;
mod work;

use std::fs;
use std::time::{Duration, Instant};

use oxidag_tests::running::{Running, in_time};
use oxidag_tests::{Ended, Sandbox, engine};
use serde_json::{Value, json};

/// So long nothing takes that a test waits for, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A task with an inline script, parameters, and more keys.
fn task(engine: &str, script: &str, id: &str, upstream: &[&str], params: &Value, more: &Value) -> Value {
    let mut task = json!({
        "task_id": id, "script": {"engine": engine, "inline": script}, "params": params, "dependencies": upstream,
    });
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

/// A task of `rogue` that does this in its first attempt, and has another one.
fn rogue(deed: &str, id: &str, upstream: &[&str]) -> Value {
    task("rogue", deed, id, upstream, &json!({}), &json!({"retries": 1, "retry_delay": 0}))
}

/// Writes `dag.json`, a DAG of these tasks.
fn write_dag(sandbox: &Sandbox, tasks: &[Value]) {
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
}

/// A sandbox where these engines are isolated, with more in the section of the last one; `shell` is not unless it is named.
fn isolated(engines: &[&str], more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let section =
        |name: &&str| format!("[engines.{name}]\npath = {:?}\nisolation = 'process'\n", engine(name));
    let mut plugins: String = engines.iter().map(section).collect();
    plugins += more;
    if !engines.contains(&"shell") {
        plugins += &format!("\n[engines.shell]\npath = {:?}\n", engine("shell"));
    }
    sandbox.write("plugins.toml", &plugins);
    sandbox
}

const RUN: [&str; 6] = ["run", "dag.json", "--run-id", "r", "--format", "json"];

/// Runs `dag.json` to its end as `r`.
#[track_caller]
fn run(sandbox: &Sandbox) -> Ended {
    in_time(sandbox.command(&RUN))
}

/// Starts to run `dag.json` as `r`.
fn start(sandbox: &Sandbox) -> Running {
    Running::start(sandbox.command(&RUN))
}

/// The run that [`run`] and [`start`] begin.
#[track_caller]
fn r(sandbox: &Sandbox) -> Value {
    in_time(sandbox.command(&["runs", "show", "r", "--json"])).expect_status(0).json()
}

#[track_caller]
fn find<'a>(run: &'a Value, task: &str) -> &'a Value {
    let tasks = run["tasks"].as_array().unwrap();
    tasks.iter().find(|known| known["task_id"] == task).unwrap_or_else(|| panic!("no {task}: {run:#}"))
}

/// How each attempt of a task ended.
#[track_caller]
fn ends(run: &Value, task: &str) -> Vec<String> {
    let attempts = find(run, task)["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["state"].as_str().unwrap().to_owned()).collect()
}

/// Why a task's first attempt failed.
#[track_caller]
fn first_error(run: &Value, task: &str) -> (String, String) {
    let error = &find(run, task)["attempts"][0]["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_else(|| panic!("no error: {run:#}")).to_owned();
    (text("kind"), text("message"))
}

#[track_caller]
fn log(sandbox: &Sandbox, task: &str) -> String {
    in_time(sandbox.command(&["runs", "logs", "r", task])).expect_status(0).stdout
}

/// The processes of isolated engines that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|&pid: &u32| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let stat = read("stat");
        // The name in brackets may hold anything.
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        rest.split(' ').nth(1) == Some(&parent.to_string()) && read("cmdline").contains("\0engine-host\0")
    })
    .collect()
}

/// Whether a process is there and no zombie.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
