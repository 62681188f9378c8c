//! DAGs that grow while they run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod appending;
mod dags;
mod mapping;
mod rules;

use oxidag_tests::Sandbox;
use serde_json::Value;

/// Runs a DAG to its end, as the run `r`.
#[track_caller]
fn run(sandbox: &Sandbox, dag: &str, status: i32) -> Value {
    sandbox.write("dag.yaml", dag);
    let _ = sandbox.oxidag(&["run", "dag.yaml", "--run-id", "r", "--format", "quiet"]).expect_status(status);
    shown(sandbox)
}

fn shown(sandbox: &Sandbox) -> Value {
    sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json()
}

/// `name state` of each task.
fn states(run: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let tasks = run["tasks"].as_array().unwrap().iter();
    tasks.map(|task| format!("{} {}", word(&task["task_id"]), word(&task["state"]))).collect()
}

fn log(sandbox: &Sandbox, task: &str) -> String {
    sandbox.oxidag(&["runs", "logs", "r", task]).expect_status(0).stdout
}
