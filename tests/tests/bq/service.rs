//! Faults of the service: refusals, broken connections, lost answers, jobs that BigQuery itself fails.

use serde_json::{Value, json};

use super::{bq, cloud, end_of, error_of, jobs, submissions};

/// Runs a task while calls of a method meet faults; it succeeds with one job. Says how often the method was called.
#[track_caller]
fn outlasts(project: &str, method: &str, faults: &[Value]) -> usize {
    let cloud = cloud(project, &[bq("one", &[], "select 1 as n", &json!({}))]);
    for fault in faults {
        let mut fault = fault.clone();
        fault["method"] = method.into();
        cloud.google.fault(project, fault);
    }
    let ended = cloud.run().expect_status(0);
    let end = end_of(&ended, "one");
    assert_eq!((&end["attempt"], &end["result"]), (&json!(1), &json!([{"n": 1}])));
    assert_eq!(jobs(&cloud).len(), 1);
    assert_eq!(cloud.google.ledger(project)["faults_left"], 0);
    cloud.calls(method)
}

#[test]
fn a_submission_that_is_refused_for_now_is_made_again() {
    let faults = [
        json!({"fault": "429"}),
        json!({"fault": "503"}),
        json!({"fault": "500"}),
        json!({"fault": "403", "reason": "rateLimitExceeded"}),
    ];
    assert_eq!(outlasts("bq-refused", "bigquery.jobs.insert", &faults), 5);
}

#[test]
fn a_submission_whose_connection_breaks_is_made_again() {
    assert_eq!(outlasts("bq-reset", "bigquery.jobs.insert", &[json!({"fault": "reset", "times": 2})]), 3);
}

#[test]
fn a_submission_whose_answer_is_lost_makes_one_job() {
    assert_eq!(outlasts("bq-lost", "bigquery.jobs.insert", &[json!({"fault": "lost_reply"})]), 2);
}

#[test]
fn looks_at_a_job_that_fail_do_not_end_its_task() {
    let faults = [
        json!({"fault": "503"}),
        json!({"fault": "429"}),
        json!({"fault": "reset"}),
        json!({"fault": "unauthorized"}),
        json!({"fault": "lost_reply"}),
    ];
    assert!(outlasts("bq-looks", "bigquery.jobs.get", &faults) > 5);
}

#[test]
fn rows_that_cannot_be_read_at_first_are_read_later() {
    let faults = [json!({"fault": "503"}), json!({"fault": "reset"})];
    assert_eq!(outlasts("bq-rows", "bigquery.jobs.getQueryResults", &faults), 3);
}

#[test]
fn a_lost_answer_of_a_job_far_away_is_found_there() {
    let make = "create schema europe options (location = 'europe-west1')";
    let tasks = [
        bq("make", &[], make, &json!({"location": "europe-west1"})),
        // Without a location: BigQuery finds the place by the default dataset.
        bq("look", &["make"], "select 1 as n", &json!({"dataset": "europe"})),
    ];
    let cloud = cloud("bq-far", &tasks);
    // The second submission, and its repetition, find out where the job is from the refusal alone.
    cloud.google.settings("bq-far", json!({"hold": true}));
    let mut run = cloud.start();
    cloud.until_job("RUNNING");
    cloud.google.fault("bq-far", json!({"method": "bigquery.jobs.insert", "fault": "lost_reply"}));
    cloud.google.settings("bq-far", json!({"hold": false}));
    let ended = run.end().expect_status(0);
    assert_eq!(end_of(&ended, "look")["metrics"]["location"], "europe-west1");
    assert_eq!((jobs(&cloud).len(), submissions(&cloud)), (2, 3));
}

#[test]
fn a_job_that_bigquery_fails_is_followed_by_another_one() {
    let cloud = cloud("bq-backend", &[bq("one", &[], "select 1 as n", &json!({}))]);
    let fault = json!({"method": "bigquery.jobs.insert", "fault": "job_error", "reason": "backendError"});
    cloud.google.fault("bq-backend", fault);
    let ended = cloud.run().expect_status(0);
    assert_eq!(end_of(&ended, "one")["state"], "success");
    assert_eq!(jobs(&cloud).len(), 2);
}

#[test]
fn a_job_that_somebody_else_stopped_is_a_failure() {
    let cloud = cloud("bq-stopped", &[bq("one", &[], "select 1 as n", &json!({}))]);
    let fault = json!({"method": "bigquery.jobs.insert", "fault": "job_error", "reason": "stopped", "message": "by hand"});
    cloud.google.fault("bq-stopped", fault);
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended, "one");
    assert_eq!(kind, "failed");
    assert!(message.starts_with("by hand (stopped)"), "{message}");
}
