//! The engine `bq` against the fake of BigQuery: what scripts do and leave, what goes wrong, and what becomes of a job
//! when its task or its scheduler ends before it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod crashes;
mod endings;
mod failures;
mod many;
mod scripts;
mod secrets;
mod service;
mod swapped;
mod validation;

use oxidag_tests::Ended;
use oxidag_tests::cloud::Cloud;
use serde_json::{Value, json};

/// An entry of a DAG file: a task with an inline script and parameters.
fn bq(id: &str, upstream: &[&str], sql: &str, params: &Value) -> Value {
    json!({"task_id": id, "script": {"engine": "bq", "inline": sql}, "params": params, "dependencies": upstream})
}

/// A sandbox with a project of this name, the dataset `d` in it, and `dag.json` with these tasks.
fn cloud(project: &str, tasks: &[Value]) -> Cloud {
    let cloud = Cloud::new("bq", project, "");
    cloud.google.make_dataset(project, "d");
    write_dag(&cloud, tasks);
    cloud
}

fn write_dag(cloud: &Cloud, tasks: &[Value]) {
    cloud.sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
}

/// The last event about a task's state.
#[track_caller]
fn end_of(ended: &Ended, task: &str) -> Value {
    let of_task = |event: &Value| event["event"] == "task_state" && event["task_id"] == task;
    ended.json_lines().into_iter().rfind(of_task).unwrap()
}

/// The error of a task that failed.
#[track_caller]
fn error_of(ended: &Ended, task: &str) -> (String, String) {
    let end = end_of(ended, task);
    assert_eq!(end["state"], "failed", "{end:#}");
    let text = |key: &str| end["error"][key].as_str().unwrap().to_owned();
    (text("kind"), text("message"))
}

/// How often BigQuery was asked to make a job.
#[track_caller]
fn submissions(cloud: &Cloud) -> usize {
    cloud.calls("bigquery.jobs.insert")
}

/// The jobs that BigQuery has for the project's tasks, apart from those of statements.
#[track_caller]
fn jobs(cloud: &Cloud) -> Vec<Value> {
    let ledger = cloud.google.ledger(&cloud.project);
    assert_eq!(ledger["problems"], json!([]));
    ledger["jobs"].as_object().unwrap().values().filter(|job| job["parent"].is_null()).cloned().collect()
}
