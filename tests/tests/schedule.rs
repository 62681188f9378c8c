//! `oxidag schedule`: runs start when the DAG says so, once each, and whatever was interrupted goes on first.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use oxidag_tests::Sandbox;
use oxidag_tests::running::{Running, in_time};
use serde_json::{Value, json};

/// A DAG of one task, which waits for the file `go` if it is a gate.
fn dag(sandbox: &Sandbox, schedule: &Value, inline: &str) {
    let task = json!({"task_id": "t", "script": {"engine": "shell", "inline": inline}});
    let mut dag = json!({"dag_id": "d", "tasks": [task]});
    dag.as_object_mut().unwrap().extend(schedule.as_object().unwrap().clone());
    sandbox.write("d.json", &dag.to_string());
}

fn schedule(sandbox: &Sandbox) -> Running {
    Running::start(sandbox.command(&["schedule", "d.json", "--format", "json"]))
}

/// Started by a program that leaves signals to it in a certain way.
fn schedule_by(sandbox: &Sandbox, starter: &[&str]) -> Running {
    Running::start(sandbox.command_below(starter, &["schedule", "d.json", "--format", "json"]))
}

fn states(sandbox: &Sandbox) -> Vec<Value> {
    let listed = sandbox.oxidag(&["runs", "list", "--json"]).expect_status(0).json();
    listed.as_array().unwrap().iter().map(|run| run["state"].clone()).collect()
}

#[test]
fn a_dag_for_once_runs_once_and_its_schedule_is_over() {
    let sandbox = Sandbox::new();
    dag(&sandbox, &json!({"schedule_interval": "@once"}), "true");
    for _ in 0..2 {
        let command = sandbox.command(&["schedule", "d.json"]);
        let _ = in_time(command).expect_status(0);
        assert_eq!(states(&sandbox), ["success"]);
    }
}

#[test]
fn a_start_in_the_past_is_made_up_for_by_one_run() {
    let sandbox = Sandbox::new();
    let past = json!({"schedule_interval": "@yearly", "start_date": "2020-06-01"});
    dag(&sandbox, &past, "true");
    let mut schedule = schedule(&sandbox);
    schedule.until(|event| event["event"] == "run_state" && event["state"] == "success");
    schedule.signal("TERM");
    assert_eq!(schedule.end().status, Some(0));
    assert_eq!(states(&sandbox), ["success"]);
}

#[test]
fn a_continuous_dag_begins_again_when_it_has_ended_and_stops_when_asked() {
    let sandbox = Sandbox::new();
    dag(
        &sandbox,
        &json!({"schedule_interval": "@continuous"}),
        "test ! -e second || sleep 600; touch second",
    );
    let mut schedule = schedule(&sandbox);
    schedule.until(|event| event["event"] == "run_state" && event["state"] == "success");
    schedule.until_task("t", "running");
    schedule.signal("TERM");
    assert_eq!(schedule.end().status, Some(130));
    assert_eq!(states(&sandbox), ["cancelled", "success"]);
}

#[test]
fn a_dag_of_which_an_older_run_goes_on_waits_for_that() {
    let sandbox = Sandbox::new();
    let script = "[ $OXIDAG_RUN_ID = newer ] || until [ -e go ] || [ ! -e d.json ]; do sleep 0.01; done";
    dag(&sandbox, &json!({"schedule_interval": "@continuous"}), script);
    let run = |id: &str| sandbox.command(&["run", "d.json", "--run-id", id, "--format", "json"]);
    let mut older = Running::start(run("older"));
    older.until_task("t", "running");
    in_time(run("newer")).expect_status(0);
    let mut schedule = sandbox.command(&["schedule", "d.json"]).stderr(Stdio::piped()).spawn().unwrap();
    let first = BufReader::new(schedule.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    schedule.kill().unwrap();
    schedule.wait().unwrap();
    assert!(first.contains(&format!("waits: the process {} runs it", older.pid())), "{first}");
    sandbox.write("go", "");
    older.end().expect_status(0);
}

#[test]
fn a_terminal_that_is_closed_does_not_concern_a_schedule_below_nohup() {
    let sandbox = Sandbox::new();
    let script = "until [ -e go ] || [ ! -e d.json ]; do sleep 0.05; done
                  test ! -e second || sleep 600; touch second";
    dag(&sandbox, &json!({"schedule_interval": "@continuous"}), script);
    let mut schedule = schedule_by(&sandbox, &["nohup"]);
    schedule.until_task("t", "running");
    schedule.signal("HUP");
    sandbox.write("go", "");
    schedule.until(|event| event["event"] == "run_state" && event["state"] == "success");
    schedule.until_task("t", "running");
    schedule.signal("TERM");
    assert_eq!(schedule.end().status, Some(130));
}

#[test]
fn a_closed_terminal_that_tells_it_twice_lets_teardowns_run() {
    let sandbox = Sandbox::new();
    dag(&sandbox, &json!({"schedule_interval": "@once"}), "sleep 600");
    let text = std::fs::read_to_string(sandbox.path().join("d.json")).unwrap();
    let mut dag: Value = serde_json::from_str(&text).unwrap();
    let script =
        json!({"engine": "shell", "inline": "until [ -e go ] || [ ! -e d.json ]; do sleep 0.05; done"});
    let down = json!({"task_id": "down", "script": script, "dependencies": ["t"], "teardown": true});
    dag["tasks"].as_array_mut().unwrap().push(down);
    sandbox.write("d.json", &dag.to_string());
    // Whatever these tests themselves are below.
    let mut schedule = schedule_by(&sandbox, &["env", "--default-signal=HUP"]);
    schedule.until_task("t", "running");
    schedule.signal("HUP");
    schedule.until_task("down", "running");
    schedule.signal("HUP");
    sandbox.write("go", "");
    schedule.until_task("down", "success");
    assert_eq!(schedule.end().status, Some(130));
}

#[test]
fn a_run_that_was_interrupted_goes_on_before_anything_else() {
    let sandbox = Sandbox::new();
    dag(&sandbox, &json!({"schedule_interval": "@once"}), "test -e go || sleep 600");
    let mut run = Running::start(sandbox.command(&["run", "d.json", "--run-id", "r", "--format", "json"]));
    run.until_task("t", "running");
    run.kill();
    sandbox.write("go", "");
    let command = sandbox.command(&["schedule", "d.json"]);
    let _ = in_time(command).expect_status(0);
    let shown = sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json();
    assert_eq!(shown["state"], "success");
    assert_eq!(states(&sandbox).len(), 1, "it is over: no other run was due");
}

#[test]
fn parameters_reach_the_runs() {
    let sandbox = Sandbox::new();
    dag(&sandbox, &json!({"schedule_interval": "@once"}), "test {n} = 7");
    let _ = in_time(sandbox.command(&["schedule", "d.json", "-p", "n=7"])).expect_status(0);
    assert_eq!(states(&sandbox), ["success"]);
}

#[test]
fn a_schedule_that_is_taken_out_of_the_file_is_over() {
    let sandbox = Sandbox::new();
    // Says so before it sleeps: a script that begins later would find `go`.
    let script = "test -e go || (echo sleeps; sleep 600)";
    dag(&sandbox, &json!({"schedule_interval": "@continuous"}), script);
    let mut schedule = schedule(&sandbox);
    schedule.until(|event| event["event"] == "log" && event["line"] == "sleeps");
    dag(&sandbox, &json!({}), "true");
    schedule.signal("STOP");
    sandbox.write("go", "");
    let run = sandbox.oxidag(&["runs", "list", "--json"]).json()[0]["run_id"].clone();
    let _ = sandbox.oxidag(&["runs", "cancel", run.as_str().unwrap()]).expect_status(0);
    schedule.signal("CONT");
    assert_eq!(schedule.end().status, Some(130));
    assert_eq!(states(&sandbox), ["cancelled"]);
}

#[test]
fn what_can_never_run_is_refused_at_once() {
    let sandbox = Sandbox::new();
    dag(&sandbox, &json!({"schedule_interval": "@daily"}), "true");
    let refused = sandbox.oxidag(&["schedule", "d.json", "--env", "nope"]).expect_status(2);
    assert!(refused.stderr.contains("`nope` has no file"), "{}", refused.stderr);
    dag(&sandbox, &json!({"schedule_interval": "0 0 30 2 *"}), "true");
    let refused = sandbox.oxidag(&["schedule", "d.json"]).expect_status(2);
    assert!(refused.stderr.contains("names no time that will come"), "{}", refused.stderr);
}

#[test]
fn a_dag_without_a_schedule_is_refused() {
    let sandbox = Sandbox::new();
    dag(&sandbox, &json!({}), "true");
    let refused = sandbox.oxidag(&["schedule", "d.json"]).expect_status(2);
    assert!(refused.stderr.contains("give it a `schedule_interval`"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");
}
