//! Another program has locked the database.

use std::fs;

use oxidag_tests::running::Running;
use oxidag_tests::{Ended, Sandbox};
use rusqlite::Connection;
use serde_json::json;

use super::{all_succeeded, dag, gate, noop, shown};

/// Holds the database for itself until it is dropped.
struct Lock(Connection);

impl Lock {
    fn take(sandbox: &Sandbox) -> Self {
        let db = Connection::open(sandbox.home().join("oxidag.db")).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        db.execute_batch("BEGIN EXCLUSIVE").unwrap();
        Self(db)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// With a DAG that stops at a gate, and a database.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let after: Vec<_> = (0..20).map(|i| noop(&format!("t{i}"), &["gate"], &json!({}))).collect();
    let last: Vec<String> = (0..20).map(|i| format!("t{i}")).collect();
    let last: Vec<&str> = last.iter().map(String::as_str).collect();
    let tasks = [
        vec![noop("first", &[], &json!({})), gate(&["first"])],
        after,
        vec![noop("last", &last, &json!({}))],
    ];
    sandbox.write("dag.json", &dag(&tasks.concat()));
    sandbox.write("small.json", &dag(&[noop("a", &[], &json!({}))]));
    sandbox.oxidag(&["run", "small.json", "--run-id", "before", "--format", "quiet"]).expect_status(0);
    sandbox
}

fn start(sandbox: &Sandbox, file: &str) -> Running {
    Running::start(sandbox.command(&["run", file, "--run-id", "r", "--format", "json"]))
}

/// The run has ended well, and nothing is missing from the database.
fn complete(sandbox: &Sandbox, ended: Ended) {
    ended.expect_status(0);
    all_succeeded(&shown(sandbox, "r"));
    let left = fs::read_dir(sandbox.home().join("journal")).unwrap().count();
    assert_eq!(left, 0, "a journal is left");
}

#[test]
fn a_run_that_begins_waits_for_the_lock() {
    let sandbox = sandbox();
    let lock = Lock::take(&sandbox);
    let mut run = start(&sandbox, "small.json");
    // It is made just before the run is written to the database.
    while !sandbox.home().join("journal/r.journal").exists() {
        std::thread::yield_now();
    }
    drop(lock);
    complete(&sandbox, run.end());
}

#[test]
fn a_run_on_its_way_goes_on_and_waits_at_its_end() {
    let sandbox = sandbox();
    let mut run = start(&sandbox, "dag.json");
    run.until_task("gate", "running");
    let lock = Lock::take(&sandbox);
    sandbox.write("go", "");
    // All of this while the database takes nothing.
    run.until_task("last", "success");
    sandbox.oxidag(&["runs", "list"]).expect_status(0);
    drop(lock);
    complete(&sandbox, run.end());
}

#[test]
fn a_run_that_waits_in_vain_at_its_end_says_so_and_loses_nothing() {
    let sandbox = sandbox();
    let mut run = start(&sandbox, "dag.json");
    run.until_task("gate", "running");
    let lock = Lock::take(&sandbox);
    sandbox.write("go", "");
    let ended = run.end();
    assert!(ended.stderr.contains("oxidag.db locked"), "{ended:#?}");
    // What it told is what is shown once the database is free.
    assert_eq!(ended.json_lines().pop().unwrap()["state"], "success");
    assert_eq!(ended.status, Some(0));
    drop(lock);
    all_succeeded(&shown(&sandbox, "r"));
}

#[test]
fn a_run_that_waits_in_vain_at_its_beginning_says_so_and_can_be_begun_later() {
    let sandbox = sandbox();
    let lock = Lock::take(&sandbox);
    let ended = start(&sandbox, "small.json").end().expect_status(2);
    assert!(ended.stdout.is_empty() && ended.stderr.contains("oxidag.db locked"), "{ended:#?}");
    drop(lock);
    complete(&sandbox, start(&sandbox, "small.json").end());
}
