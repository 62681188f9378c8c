//! The scheduler is killed while a job is at BigQuery: the next one finds it, and there never is a second.

use serde_json::json;

use super::{bq, cloud, end_of, error_of, jobs, submissions};

const RESUME: [&str; 4] = ["resume", "r", "--format", "json"];

#[test]
fn a_job_that_runs_is_taken_over() {
    let tasks = [
        bq("one", &[], "create table d.t as select 1 as n", &json!({})),
        bq("two", &["one"], "select * from d.t", &json!({})),
    ];
    let cloud = cloud("bq-killed", &tasks);
    cloud.google.settings("bq-killed", json!({"hold": true}));
    let run = cloud.start();
    let (id, _) = cloud.until_job("RUNNING");
    run.kill();
    cloud.google.settings("bq-killed", json!({"hold": false}));
    let ended = cloud.oxidag(&RESUME).expect_status(0);
    let one = end_of(&ended, "one");
    assert_eq!((&one["attempt"], &one["metrics"]["job_id"]), (&json!(1), &json!(id)));
    assert_eq!(end_of(&ended, "two")["result"], json!([{"n": 1}]));
    assert_eq!(jobs(&cloud).len(), 2);
}

#[test]
fn a_job_that_ended_meanwhile_is_taken_over_as_it_ended() {
    for (project, sql, status) in
        [("bq-killed-done", "select 7 as n", 0), ("bq-killed-failed", "select 1 / 0", 1)]
    {
        let cloud = cloud(project, &[bq("one", &[], sql, &json!({}))]);
        cloud.google.settings(project, json!({"hold": true}));
        let run = cloud.start();
        cloud.until_job("RUNNING");
        run.kill();
        cloud.google.settings(project, json!({"hold": false}));
        cloud.until_job("DONE");
        let ended = cloud.oxidag(&RESUME).expect_status(status);
        if status == 0 {
            assert_eq!(end_of(&ended, "one")["result"], json!([{"n": 7}]));
        } else {
            assert!(error_of(&ended, "one").1.contains("(invalidQuery)"));
        }
        assert_eq!(jobs(&cloud).len(), 1);
    }
}

#[test]
fn a_job_whose_run_was_being_stopped_when_its_scheduler_died_is_stopped_by_the_next_one() {
    let cloud = cloud("bq-killed-stopping", &[bq("one", &[], "select 1", &json!({}))]);
    cloud.google.settings("bq-killed-stopping", json!({"hold": true}));
    // So that the first scheduler does not come to the job's end.
    let fault = json!({"method": "bigquery.jobs.cancel", "fault": "503", "times": 12});
    cloud.google.fault("bq-killed-stopping", fault);
    let run = cloud.start();
    cloud.until_job("RUNNING");
    run.signal("INT");
    cloud.until("a call to cancel it", |ledger| {
        let calls = ledger["requests"].as_array().into_iter().flatten();
        calls.filter(|call| call["method"] == "bigquery.jobs.cancel").count() > 0
    });
    run.kill();
    let ended = cloud.oxidag(&RESUME).expect_status(130);
    let end = end_of(&ended, "one");
    assert!(end["error"]["message"].as_str().unwrap().ends_with("was cancelled"), "{end}");
    let jobs = jobs(&cloud);
    assert_eq!((jobs.len(), &jobs[0]["error"]["reason"]), (1, &json!("stopped")));
    assert_eq!(submissions(&cloud), 1);
}

#[test]
fn a_job_that_nobody_may_look_after_any_more_is_told_with_its_place() {
    let cloud = cloud("bq-killed-locked-out", &[bq("one", &[], "select 1", &json!({}))]);
    cloud.google.settings("bq-killed-locked-out", json!({"hold": true}));
    let run = cloud.start();
    let (id, _) = cloud.until_job("RUNNING");
    run.kill();
    // To cancel is asked again for a while.
    for (method, times) in [("insert", 1), ("cancel", 1000)] {
        let method = format!("bigquery.jobs.{method}");
        let fault = json!({"method": method, "fault": "403", "reason": "accessDenied", "times": times});
        cloud.google.fault("bq-killed-locked-out", fault);
    }
    let (kind, message) = error_of(&cloud.oxidag(&RESUME).expect_status(1), "one");
    assert_eq!(kind, "invalid", "{message}");
    assert!(message.contains(&format!(".{id} may still run and be billed")), "{message}");
}

#[test]
fn a_job_is_found_where_it_is_whatever_the_config_says_by_now() {
    let cloud = cloud("bq-moved", &[bq("one", &[], "select 1 as n", &json!({}))]);
    cloud.google.settings("bq-moved", json!({"hold": true}));
    let run = cloud.start();
    cloud.until_job("RUNNING");
    run.kill();
    cloud.google.settings("bq-moved", json!({"hold": false}));
    let plugins = std::fs::read_to_string(cloud.sandbox.path().join("plugins.toml")).unwrap();
    let elsewhere = plugins.replace("\"bq-moved\"", "\"bq-elsewhere\"\nlocation = \"EU\"");
    assert_ne!(elsewhere, plugins);
    cloud.sandbox.write("plugins.toml", &elsewhere);
    let ended = cloud.oxidag(&RESUME).expect_status(0);
    let metrics = &end_of(&ended, "one")["metrics"];
    assert_eq!((&metrics["project"], &metrics["location"]), (&json!("bq-moved"), &json!("US")));
    assert_eq!(jobs(&cloud).len(), 1);
    assert_eq!(cloud.google.ledger("bq-elsewhere")["requests"], json!([]));
}

#[test]
fn a_job_that_was_not_submitted_is_submitted_by_the_next_scheduler() {
    let cloud = cloud("bq-killed-before", &[bq("one", &[], "select 1 as n", &json!({}))]);
    // However many of them the first process meets, neither has made a job.
    let fault = json!({"method": "bigquery.jobs.insert", "fault": "reset", "times": 3});
    cloud.google.fault("bq-killed-before", fault);
    let run = cloud.start();
    cloud.until("a submission", |ledger| !ledger["requests"].as_array().unwrap().is_empty());
    run.kill();
    let ended = cloud.oxidag(&RESUME).expect_status(0);
    assert_eq!(end_of(&ended, "one")["attempt"], 1);
    assert_eq!(jobs(&cloud).len(), 1);
    assert!(submissions(&cloud) > 3);
}
