//! Schedulers that are killed while a cluster is being worked on, and runs that are resumed.

use serde_json::json;

use super::{cloud, cluster, end_of, make, run_other, there};

#[test]
fn a_scheduler_that_is_killed_makes_no_second_cluster() {
    let cloud = cloud("iac-killed", &[make()]);
    cloud.google.settings("iac-killed", json!({"hold": "operations"}));
    let mut run = cloud.start();
    run.until(|event| event.to_string().contains("asked to create"));
    run.kill();
    cloud.google.settings("iac-killed", json!({"hold": false}));
    let ended = cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(0);
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["made"]), (&json!("RUNNING"), &json!(1)));
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.create"), 1);
    assert_eq!(end_of(&ended, "make")["attempt"], 1);
    cloud.assert_no_secret(&[&ended.stdout, &ended.stderr]);
}

#[test]
fn a_resumed_run_that_is_refused_at_first_leaves_its_cluster_alone() {
    let cloud = cloud("iac-killed-refused", &[make()]);
    cloud.google.settings("iac-killed-refused", json!({"hold": "operations"}));
    let mut run = cloud.start();
    run.until(|event| event.to_string().contains("waits for operation"));
    run.kill();
    for fault in ["403", "unauthorized"] {
        cloud
            .google
            .fault("iac-killed-refused", json!({"method": "dataproc.operations.get", "fault": fault}));
    }
    cloud.google.settings("iac-killed-refused", json!({"hold": false}));
    cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(0);
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["made"]), (&json!("RUNNING"), &json!(1)));
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.delete"), 0);
}

#[test]
fn what_was_begun_before_a_crash_is_told_where_nobody_can_look_after_it() {
    let cloud = cloud("iac-killed-locked-out", &[make()]);
    cloud.google.settings("iac-killed-locked-out", json!({"hold": "operations"}));
    let mut run = cloud.start();
    run.until(|event| event.to_string().contains("asked to create"));
    run.until(|event| event.to_string().contains("waits for operation"));
    run.kill();
    let mut command = cloud.sandbox.command(&["resume", "r", "--format", "json"]);
    command.env("GOOGLE_APPLICATION_CREDENTIALS", cloud.sandbox.path().join("nothing.json"));
    let ended = oxidag_tests::running::in_time(command).expect_status(1);
    let (_, message) = super::error_of(&ended, "make");
    assert!(message.contains("the credentials cannot be used"), "{message}");
    assert!(message.contains("(create) on cluster c in us-central1"), "{message}");
    assert!(
        message.contains("may go on and be billed: see to it at https://console.cloud.google.com"),
        "{message}"
    );
}

#[test]
fn one_that_is_killed_before_it_had_an_answer_takes_the_cluster_for_its_own() {
    let cloud = cloud("iac-unanswered", &[make()]);
    cloud.google.settings("iac-unanswered", json!({"hold": "operations"}));
    // The answer is lost, and so is each one after it: nothing of the operation is ever stored.
    for fault in ["lost_reply", "reset", "reset", "reset", "reset", "reset", "reset"] {
        cloud.google.fault("iac-unanswered", json!({"method": "dataproc.clusters.create", "fault": fault}));
    }
    let run = cloud.start();
    cloud.until("a cluster", |ledger| ledger["clusters"]["c"]["state"] == "CREATING");
    run.kill();
    let mut resumed =
        oxidag_tests::running::Running::start(cloud.command(&["resume", "r", "--format", "json"]));
    resumed.until(|event| event.to_string().contains("is CREATING"));
    // Made by this attempt, and so ended with it.
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    cloud.until("its deletion", |ledger| ledger["clusters"]["c"]["state"] == "DELETING");
    resumed.end().expect_status(130);
    assert_eq!(there(&cloud)["made"], 1);
}

#[test]
fn one_that_is_killed_while_a_cluster_is_deleted_knows_that_it_did_that() {
    let cloud = cloud("iac-killed-deleting", &[cluster("drop", &[], "delete", "")]);
    run_other(&cloud, "before", &[make()]).expect_status(0);
    cloud.google.settings("iac-killed-deleting", json!({"hold": "operations"}));
    let run = cloud.start();
    cloud.until("its deletion", |ledger| ledger["clusters"]["c"]["state"] == "DELETING");
    run.kill();
    cloud.google.settings("iac-killed-deleting", json!({"hold": false}));
    cloud.until("its end", |ledger| ledger["clusters"]["c"]["state"] == "DELETED");
    // Another DAG had made it: that it is gone is well only since this attempt has deleted it.
    let ended = cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(0);
    assert_eq!(end_of(&ended, "drop")["state"], "success");
}
