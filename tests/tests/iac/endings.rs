//! Tasks that are cancelled, or run out of time, while their cluster is being worked on.

use serde_json::{Value, json};

use super::{cloud, cluster, end_of, make, run_other, there};

#[track_caller]
fn told(ended: &oxidag_tests::Ended, task: &str) -> String {
    let end: Value = end_of(ended, task);
    end["error"]["message"].as_str().unwrap_or_else(|| panic!("{end:#}")).to_owned()
}

#[test]
fn a_cluster_that_is_being_made_is_deleted_when_its_task_is_cancelled() {
    let cloud = cloud("iac-cancel", &[make()]);
    cloud.google.settings("iac-cancel", json!({"hold": "operations"}));
    let mut run = cloud.start();
    cloud.until("a cluster", |ledger| ledger["clusters"]["c"]["state"] == "CREATING");
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    cloud.until("its deletion", |ledger| ledger["clusters"]["c"]["state"] == "DELETING");
    let ended = run.end().expect_status(130);
    assert!(told(&ended, "make").contains("which was being made, is being deleted"), "{}", ended.stdout);
    cloud.google.settings("iac-cancel", json!({"hold": false}));
    cloud.until("its end", |ledger| ledger["clusters"]["c"]["state"] == "DELETED");
    assert_eq!(there(&cloud)["made"], 1);
}

#[test]
fn one_that_takes_the_place_of_another_is_deleted_as_that_one_was() {
    let cloud = cloud("iac-cancel-anew", &[make()]);
    let broken = json!({"method": "dataproc.clusters.create", "fault": "operation_error"});
    cloud.google.fault("iac-cancel-anew", broken);
    run_other(&cloud, "before", &[make()]).expect_status(1);
    assert_eq!(there(&cloud)["state"], "ERROR");
    // It cannot be made before there is time to stop it.
    cloud.google.settings("iac-cancel-anew", json!({"operation_seconds": 3}));
    let mut run = cloud.start();
    cloud.until("another cluster", |ledger| {
        let there = &ledger["clusters"]["c"];
        there["made"] == 2 && there["state"] == "CREATING"
    });
    cloud.google.settings("iac-cancel-anew", json!({"hold": "operations"}));
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    let ended = run.end().expect_status(130);
    assert!(told(&ended, "make").contains("which was being made, is being deleted"), "{}", ended.stdout);
    assert_eq!(there(&cloud)["state"], "DELETING");
}

#[test]
fn a_cluster_that_another_is_making_is_left_alone_when_the_task_that_waits_is_cancelled() {
    let cloud = cloud("iac-bystander", &[make()]);
    cloud.google.settings("iac-bystander", json!({"hold": "operations"}));
    cloud.sandbox.write("other.json", &json!({"dag_id": "other", "tasks": [make()]}).to_string());
    let other = ["run", "other.json", "--run-id", "before", "--format", "json"];
    let mut other = oxidag_tests::running::Running::start(cloud.command(&other));
    cloud.until("a cluster", |ledger| ledger["clusters"]["c"]["state"] == "CREATING");
    let mut run = cloud.start();
    run.until(|event| event.to_string().contains("is CREATING"));
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    run.end().expect_status(130);
    assert_eq!(there(&cloud)["state"], "CREATING");
    cloud.google.settings("iac-bystander", json!({"hold": false}));
    other.end().expect_status(0);
}

#[test]
fn a_deadline_ends_what_is_being_made() {
    let mut task = make();
    task["timeout"] = "5s".into();
    let cloud = cloud("iac-deadline", &[task]);
    cloud.google.settings("iac-deadline", json!({"hold": "operations"}));
    let mut run = cloud.start();
    cloud.until("its deletion", |ledger| ledger["clusters"]["c"]["state"] == "DELETING");
    let ended = run.end().expect_status(1);
    assert!(ended.stdout.contains("which was being made, is being deleted"), "{}", ended.stdout);
}

#[test]
fn what_cannot_be_ended_is_told_with_where_to_look() {
    let cloud = cloud("iac-goes-on", &[cluster("start", &[], "start", "")]);
    run_other(&cloud, "before", &[make(), cluster("stop", &["make"], "stop", "")]).expect_status(0);
    cloud.google.settings("iac-goes-on", json!({"hold": "operations"}));
    let refused = json!({"method": "dataproc.operations.cancel", "fault": "403", "times": 9});
    cloud.google.fault("iac-goes-on", refused);
    let mut run = cloud.start();
    cloud.until("its start", |ledger| ledger["clusters"]["c"]["state"] == "STARTING");
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    let ended = run.end().expect_status(130);
    let message = told(&ended, "start");
    assert!(message.contains("may still run and be billed"), "{message}");
    assert!(message.contains("https://console.cloud.google.com/dataproc/clusters/c"), "{message}");
    assert!(message.contains("cannot be cancelled"), "{message}");
}

#[test]
fn an_operation_on_a_cluster_that_was_there_is_cancelled() {
    let cloud = cloud("iac-cancelled", &[cluster("start", &[], "start", "")]);
    run_other(&cloud, "before", &[make(), cluster("stop", &["make"], "stop", "")]).expect_status(0);
    cloud.google.settings("iac-cancelled", json!({"hold": "operations"}));
    let mut run = cloud.start();
    cloud.until("its start", |ledger| ledger["clusters"]["c"]["state"] == "STARTING");
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    let message = told(&run.end().expect_status(130), "start");
    assert!(message.contains("(start) has ended, cluster c in us-central1"), "{message}");
    assert_eq!(cloud.calls("dataproc.projects.regions.operations.cancel"), 1);
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.delete"), 0, "this attempt had not made it");
}

#[test]
fn a_cluster_that_is_there_before_its_cancellation_arrives_is_a_success() {
    let cloud = cloud("iac-too-late", &[make()]);
    cloud.google.settings("iac-too-late", json!({"hold": "operations"}));
    // No look at the operation succeeds, so that the end of it is not seen.
    let blind = json!({"method": "dataproc.operations.get", "fault": "500", "times": 4});
    let mut run = cloud.start();
    cloud.until("a cluster", |ledger| ledger["clusters"]["c"]["state"] == "CREATING");
    cloud.google.fault("iac-too-late", blind);
    cloud.google.settings("iac-too-late", json!({"hold": false}));
    cloud.until("its end", |ledger| ledger["clusters"]["c"]["state"] == "RUNNING");
    // It says whether the run was stopped by it.
    assert_eq!(cloud.oxidag(&["runs", "cancel", "r"]).status, Some(1));
    let ended = run.end();
    assert_eq!(end_of(&ended, "make")["state"], "success", "{}", ended.stdout);
    assert_eq!(there(&cloud)["state"], "RUNNING");
}
