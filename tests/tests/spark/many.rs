//! Ten thousand jobs on a cluster at once, watched by two workers in little memory.

use oxidag_tests::many::{TASKS, in_flight};
use serde_json::{Value, json};

use super::support::*;

#[test]
fn ten_thousand_jobs_are_in_flight_on_two_workers_in_little_memory() {
    let cloud = with_cluster("spark-many", "", "");
    // Of which the fake needs no process of its own.
    cloud.google.storage().put(&cloud.project, "f/query.sql", "select ${n}");
    let script = json!({"location": "gcs", "bucket": cloud.project, "folder": "f", "engine": "spark", "name": "query.sql"});
    let tasks: Vec<Value> = (0..TASKS)
        .map(|n| json!({"task_id": format!("t{n}"), "script": script, "params": {"n": n}}))
        .collect();
    cloud.sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
    // Their ends are not waited for: looking at 20,000 objects of output takes the fake minutes.
    in_flight(&cloud).kill();
}
