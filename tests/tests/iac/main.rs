//! The engine `iac` against the fake of Dataproc: what becomes of clusters, what goes wrong, and what happens when a
//! task or its scheduler ends before its cluster is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod changes;
mod crashes;
mod creation;
mod deletion;
mod endings;
mod failures;

use oxidag_tests::Ended;
use oxidag_tests::cloud::Cloud;
use serde_json::{Value, json};

/// What the scripts ask for, unless a test says otherwise.
const CONFIG: &str = "config:
  master_config:
    num_instances: 1
    machine_type_uri: custom-1-4096
  worker_config:
    num_instances: 2
    machine_type_uri: custom-1-4096
  software_config:
    image_version: 1.5-debian10
";

/// A task about the cluster `c`: an action, and more lines of its script.
fn cluster(id: &str, upstream: &[&str], action: &str, more: &str) -> Value {
    let script =
        format!("resource: dataproc_cluster\naction: {action}\nregion: us-central1\nname: c\n{more}");
    json!({"task_id": id, "script": {"engine": "iac", "inline": script}, "dependencies": upstream})
}

/// The task `make` that makes it.
fn make() -> Value {
    cluster("make", &[], "create", CONFIG)
}

/// A sandbox with a project of this name, and `dag.json` with these tasks.
fn cloud(project: &str, tasks: &[Value]) -> Cloud {
    let cloud = Cloud::new("iac", project, "");
    write_dag(&cloud, tasks);
    cloud
}

fn write_dag(cloud: &Cloud, tasks: &[Value]) {
    cloud.sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
}

/// Runs tasks as another DAG, and a run of their own.
fn run_other(cloud: &Cloud, run: &str, tasks: &[Value]) -> Ended {
    cloud.sandbox.write("other.json", &json!({"dag_id": "other", "tasks": tasks}).to_string());
    cloud.oxidag(&["run", "other.json", "--run-id", run, "--format", "json"])
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

/// The cluster `c` as the fake has it; its own mistakes are none.
#[track_caller]
fn there(cloud: &Cloud) -> Value {
    let ledger = cloud.google.ledger(&cloud.project);
    assert_eq!(ledger["problems"], json!([]));
    ledger["clusters"]["c"].clone()
}

/// The log of a task's first attempt.
fn log_of(cloud: &Cloud, dag: &str, run: &str, task: &str) -> String {
    let path = cloud.sandbox.home().join(format!("logs/{dag}/{task}/{run}.1.log"));
    std::fs::read_to_string(path).unwrap()
}
