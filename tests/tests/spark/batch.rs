//! Serverless batches: they need no cluster.

use oxidag_tests::cloud::Cloud;
use serde_json::json;

use super::support::*;

fn serverless(project: &str) -> Cloud {
    cloud(project, "backend = \"dataproc-serverless\"", "")
}

#[test]
fn a_batch_runs_and_its_output_is_logged() {
    let cloud = serverless("spark-batch");
    write(&cloud, &task(&cloud, ECHO, json!({"spark.jars": "", "spark.x": "1", "year": 2022})));
    let ended = cloud.run().expect_status(0);
    assert!(lines(&ended, "stdout")[0].contains(r#""year": 2022"#), "{}", ended.stdout);
    let end = end_of(&ended);
    assert_eq!(end["metrics"]["backend"], "dataproc-serverless");
    assert_eq!(end["metrics"]["state"], "SUCCEEDED");
    let batches = made(&cloud, "batches");
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0]["labels"], json!({"oxidag-dag": "d", "oxidag-task": "t", "oxidag-run": "r"}));
    cloud.assert_no_secret(&[&ended.stdout, &ended.stderr]);
}

#[test]
fn a_batch_that_fails_says_why() {
    let cloud = serverless("spark-batch-fails");
    write(&cloud, &task(&cloud, FAILS, json!({})));
    let (kind, message) = error_of(&cloud.run().expect_status(1));
    assert_eq!(kind, "failed");
    assert!(
        message.starts_with("the batch oxidag-") && message.ends_with("ValueError: no such column"),
        "{message}"
    );
}

#[test]
fn faults_and_a_lost_reply_make_no_second_batch() {
    let cloud = serverless("spark-batch-faults");
    for (method, kind) in [("create", "503"), ("create", "lost_reply"), ("get", "429"), ("get", "reset")] {
        fault(&cloud, &format!("dataproc.batches.{method}"), kind, 1);
    }
    write(&cloud, &task(&cloud, ECHO, json!({})));
    let ended = cloud.run().expect_status(0);
    assert_eq!(end_of(&ended)["attempt"], 1);
    assert_eq!(made(&cloud, "batches").len(), 1);
    assert_eq!(cloud.google.ledger(&cloud.project)["faults_left"], 0);
}

#[test]
fn cancelling_the_run_or_its_deadline_cancels_the_batch() {
    let cloud = serverless("spark-batch-cancel");
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    assert_eq!(error_of(&run.end()).0, "cancelled");
    assert_eq!(made(&cloud, "batches")[0]["state"], "CANCELLED");

    let cloud = serverless("spark-batch-deadline");
    hold(&cloud, true);
    let mut task = task(&cloud, ECHO, json!({}));
    task["timeout"] = "5s".into();
    write(&cloud, &task);
    cloud.run().expect_status(1);
    assert_eq!(made(&cloud, "batches")[0]["state"], "CANCELLED");
}
