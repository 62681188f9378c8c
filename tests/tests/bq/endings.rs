//! What becomes of a job when its task is stopped: by the user or by its deadline.

use oxidag_tests::cloud::Cloud;
use serde_json::{Value, json};

use super::{bq, cloud, end_of, jobs, submissions};

/// A run with one task, whose job runs and does not end.
fn held(project: &str, more: &Value) -> (Cloud, oxidag_tests::running::Running) {
    let mut one = bq("one", &[], "select 1", &json!({}));
    one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let cloud = cloud(project, &[one]);
    cloud.google.settings(project, json!({"hold": true}));
    let run = cloud.start();
    cloud.until_job("RUNNING");
    (cloud, run)
}

/// The project's one job, which was stopped.
#[track_caller]
fn assert_stopped(cloud: &Cloud) {
    let jobs = jobs(cloud);
    assert_eq!(jobs.len(), 1);
    assert_eq!((&jobs[0]["state"], &jobs[0]["error"]["reason"]), (&json!("DONE"), &json!("stopped")));
    assert_eq!(submissions(cloud), 1);
}

#[test]
fn a_run_that_is_cancelled_cancels_its_job_at_bigquery() {
    let (cloud, mut run) = held("bq-cancel", &json!({"retries": 3, "retry_delay": 0}));
    for fault in ["503", "unauthorized", "503"] {
        cloud.google.fault("bq-cancel", json!({"method": "bigquery.jobs.cancel", "fault": fault}));
    }
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    let ended = run.end().expect_status(130);
    assert_eq!(end_of(&ended, "one")["state"], "cancelled");
    let (id, _) = cloud.until_job("DONE");
    let message = end_of(&ended, "one")["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("job bq-cancel:US.{id} was cancelled")), "{message}");
    assert_stopped(&cloud);
}

#[test]
fn ctrl_c_cancels_the_job_too() {
    let (cloud, mut run) = held("bq-interrupt", &json!({}));
    run.signal("INT");
    run.end().expect_status(130);
    assert_stopped(&cloud);
}

#[test]
fn a_task_past_its_deadline_cancels_its_job() {
    let (cloud, mut run) = held("bq-deadline", &json!({"timeout": "5s"}));
    let ended = run.end().expect_status(1);
    let end = end_of(&ended, "one");
    assert_eq!(end["state"], "failed");
    assert!(end["error"]["message"].as_str().unwrap().contains("timeout of 5s"), "{end}");
    assert_stopped(&cloud);
}

#[test]
fn a_job_that_could_not_be_cancelled_is_said_with_its_place() {
    let (cloud, mut run) = held("bq-still", &json!({}));
    cloud
        .google
        .fault("bq-still", json!({"method": "bigquery.jobs.cancel", "fault": "unauthorized", "times": 1000}));
    run.signal("INT");
    let ended = run.end().expect_status(130);
    let (id, job) = cloud.until_job("RUNNING");
    assert_eq!(job["error"], json!(null));
    let message = end_of(&ended, "one")["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("job bq-still:US.{id} may still run and be billed")), "{message}");
    assert!(
        message.contains("cancel it at https://console.cloud.google.com/bigquery?project=bq-still"),
        "{message}"
    );
    let warned =
        |event: &Value| event["event"] == "log" && event["level"] == "warn" && event["line"] == *message;
    assert!(ended.json_lines().iter().any(warned), "{}", ended.stdout);
}
