//! Very many remote jobs in flight at once, watched by two workers: what an engine of Google's must do in little memory.

use std::cell::Cell;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::running::Running;

/// So many tasks a DAG of these tests has.
pub const TASKS: usize = 10_000;

/// What the scheduler may have in memory at its peak, its engine in it: 150 MB.
const MEMORY: u64 = 150_000_000;

/// Runs `dag.json`, whose [`TASKS`] tasks are remote jobs, on two workers until all are in flight at once.
///
/// # Panics
///
/// When one does not get there, or it takes too much memory.
#[must_use]
#[track_caller]
pub fn in_flight(cloud: &Cloud) -> Running {
    cloud.google.settings(&cloud.project, json!({"hold": true}));
    let arguments = ["run", "dag.json", "--run-id", "r", "--workers", "2", "--format", "json"];
    let mut run = Running::start(cloud.command(&arguments));

    let submitted = Cell::new(0);
    run.until(|event| {
        let line = event["line"].as_str().unwrap_or_default();
        submitted.set(submitted.get() + usize::from(line.starts_with("submitted ")));
        submitted.get() == TASKS
    });
    let ledger = cloud.until("all jobs at once", |ledger| running(ledger) == TASKS);
    assert_eq!(ledger["problems"], json!([]));
    let jobs = ledger["jobs"].as_object().into_iter().flatten();
    assert_eq!(jobs.filter(|(_, job)| job["made"] == 1).count(), TASKS);
    assert_little(peak_memory(run.pid()));
    run
}

/// Lets them end: a burst of its own.
///
/// # Panics
///
/// When a task fails, or it takes too much memory.
#[track_caller]
pub fn end(cloud: &Cloud, mut run: Running) {
    cloud.google.settings(&cloud.project, json!({"hold": false}));
    let pid = run.pid();
    let (ended, peak) = (Cell::new(0), Cell::new(0));
    run.until(|event| {
        if event["event"] == "task_state" && event["state"] == "success" {
            ended.set(ended.get() + 1);
            if ended.get() % 500 == 0 && ended.get() < TASKS {
                peak.set(peak_memory(pid));
            }
        }
        ended.get() == TASKS
    });
    let _ = run.end().expect_status(0);
    assert_little(peak.get());
}

#[track_caller]
fn assert_little(peak: u64) {
    assert!(peak < MEMORY, "{peak} bytes of memory at the peak");
}

/// How many jobs run.
fn running(ledger: &Value) -> usize {
    ledger["jobs"].as_object().into_iter().flatten().filter(|(_, job)| job["state"] == "RUNNING").count()
}

/// The most memory that a process has had, in bytes.
#[track_caller]
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.unwrap_or_else(|e| panic!("cannot look at process {pid}: {e}"));
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    peak.unwrap_or_else(|| panic!("process {pid} has no memory: {status}")) * 1024
}
