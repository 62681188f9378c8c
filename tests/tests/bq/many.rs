//! Ten thousand jobs in flight at once, watched by two workers in little memory.

use std::cell::Cell;

use serde_json::{Value, json};

use super::{bq, cloud};

const TASKS: usize = 10_000;

/// What the scheduler may have in memory at its peak, its engine in it: 150 MB.
const MEMORY: u64 = 150_000_000;

#[test]
fn ten_thousand_jobs_are_in_flight_on_two_workers_in_little_memory() {
    let tasks: Vec<Value> =
        (0..TASKS).map(|n| bq(&format!("t{n}"), &[], "select 1 as n", &json!({}))).collect();
    let cloud = cloud("bq-many", &tasks);
    cloud.google.settings("bq-many", json!({"hold": true}));
    let arguments = ["run", "dag.json", "--run-id", "r", "--workers", "2", "--format", "json"];
    let mut run = oxidag_tests::running::Running::start(cloud.command(&arguments));

    let submitted = Cell::new(0);
    run.until(|event| {
        let line = event["line"].as_str().unwrap_or_default();
        submitted.set(submitted.get() + usize::from(line.starts_with("submitted job")));
        submitted.get() == TASKS
    });
    let ledger = cloud.until("all jobs at once", |ledger| running(ledger) == TASKS);
    assert_eq!(ledger["problems"], json!([]));

    // The ends are a burst of their own.
    cloud.google.settings("bq-many", json!({"hold": false}));
    let pid = run.pid();
    let (ended, peak) = (Cell::new(0), Cell::new(peak_memory(pid)));
    run.until(|event| {
        if event["event"] == "task_state" && event["state"] == "success" {
            ended.set(ended.get() + 1);
            if ended.get() % 500 == 0 && ended.get() < TASKS {
                peak.set(peak_memory(pid));
            }
        }
        ended.get() == TASKS
    });
    run.end().expect_status(0);
    let jobs = cloud.google.ledger("bq-many")["jobs"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(jobs, TASKS);
    assert!(peak.get() < MEMORY, "{} bytes of memory at the peak", peak.get());
}

/// How many jobs run.
fn running(ledger: &Value) -> usize {
    ledger["jobs"].as_object().into_iter().flatten().filter(|(_, job)| job["state"] == "RUNNING").count()
}

/// The most memory that a process has had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
