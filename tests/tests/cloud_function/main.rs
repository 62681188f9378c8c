//! The engine `cloud-function` on the fake of Google, which serves functions by Google's `functions-framework`, and on
//! functions served without it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod calling;
mod credentials;
mod deploying;
mod faults;
mod fixture;
mod stopping;
mod surviving;

use std::fs;

use oxidag_tests::Ended;
use oxidag_tests::running::Running;
use serde_json::{Value, json};

use fixture::Fixture;

/// What a call of a function is called in the fake's ledger.
const CALL: &str = "functions.call";
const CREATE: &str = "cloudfunctions.projects.locations.functions.create";
const PATCH: &str = "cloudfunctions.projects.locations.functions.patch";
const GET: &str = "cloudfunctions.projects.locations.functions.get";

/// A function that keeps account of its calls, and does as it is told. Its braces are no placeholders.
const SOURCE: &str = r#"
import json
import os

import functions_framework


@functions_framework.http
def work(request):
    params = request.get_json()
    names = ("Idempotency-Key", "X-Oxidag-Dag", "X-Oxidag-Run", "X-Oxidag-Task", "X-Oxidag-Attempt")
    call = {"params": params, **{name: request.headers.get(name) for name in names}}
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(json.dumps(call) + "\n")
    if "crash" in params:
        raise ValueError(params["crash"])
    if "status" in params:
        return params.get("says", ""), params["status"]
    if "text" in params:
        return params["text"] * params.get("times", 1)
    return {"version": 1, "day": params.get("day")}
"#;

/// A sandbox with the function's source, and a project of this name.
fn cloud(project: &str) -> Fixture {
    let cloud = Fixture::new(project);
    cloud.sandbox().write("functions/demo/work.py", SOURCE);
    cloud
}

/// How the function is deployed.
fn deploy(cloud: &Fixture) -> Value {
    json!({"runtime": "python312", "environment": {"CALLS": cloud.sandbox().path().join("calls")}})
}

/// The task `f`, which deploys the function and calls it with these parameters, with more keys.
fn task(cloud: &Fixture, params: &Value, more: &Value) -> Value {
    let mut task =
        json!({"task_id": "f", "script": "local.functions.demo.cloud-function.work", "params": params});
    task["params"].as_object_mut().unwrap().entry("deploy").or_insert_with(|| deploy(cloud));
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

/// A task that calls what its script says.
fn plain(script: &str, params: &Value, more: &Value) -> Value {
    let script = json!({"engine": "cloud-function", "inline": script});
    let mut task = json!({"task_id": "f", "script": script, "params": params});
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

/// Deploys the function, by a run of its own before the test's.
#[track_caller]
fn deployed(cloud: &Fixture) {
    cloud.dag(&[task(cloud, &json!({}), &json!({}))]);
    cloud.oxidag(&["run", "dag.json", "--run-id", "before"]).expect_status(0);
    fs::remove_file(cloud.sandbox().path().join("calls")).unwrap();
}

/// The calls that the function has had.
fn calls(cloud: &Fixture) -> Vec<Value> {
    let calls = fs::read_to_string(cloud.sandbox().path().join("calls")).unwrap_or_default();
    calls.lines().map(|call| serde_json::from_str(call).unwrap()).collect()
}

/// The keys of its calls.
fn keys(cloud: &Fixture) -> Vec<String> {
    calls(cloud).iter().map(|call| call["Idempotency-Key"].as_str().unwrap().to_owned()).collect()
}

/// How the task's last attempt ended, as its event tells.
#[track_caller]
fn end(ended: &Ended, state: &str) -> Value {
    let events = ended.json_lines();
    let mut of_task = events.iter().filter(|event| event["event"] == "task_state" && event["task_id"] == "f");
    let last = of_task.next_back().unwrap_or_else(|| panic!("no end: {ended:?}"));
    assert_eq!(last["state"], state, "{last:#}\n{}", ended.stderr);
    last.clone()
}

/// The message of the task's last error.
#[track_caller]
fn message(cloud: &Fixture) -> String {
    let task = cloud.task("f");
    task["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {task:#}")).to_owned()
}

fn attempts(cloud: &Fixture) -> usize {
    cloud.task("f")["attempts"].as_array().unwrap().len()
}

/// The function as the ledger has it.
fn function(cloud: &Fixture) -> Value {
    cloud.ledger()["functions"]["work"].clone()
}

/// Starts a run whose call is held back after the function has done its work.
#[track_caller]
fn held_call(cloud: &Fixture, more: &Value) -> Running {
    held_call_with(cloud, &json!({"day": "today"}), more)
}

/// The same, with these parameters.
#[track_caller]
fn held_call_with(cloud: &Fixture, params: &Value, more: &Value) -> Running {
    deployed(cloud);
    cloud.hold("jobs");
    cloud.dag(&[task(cloud, params, more)]);
    let run = cloud.start();
    cloud.until("a call", |_| calls(cloud).len() == 1);
    run
}
