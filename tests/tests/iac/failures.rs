//! Scripts, parameters, credentials and a service that fail.

use oxidag_tests::running::in_time;
use serde_json::json;

use super::{CONFIG, cloud, cluster, error_of, make, there};

#[test]
fn a_cluster_that_cannot_be_made_fails_with_what_dataproc_says() {
    let cloud = cloud("iac-fails", &[make()]);
    cloud.google.fault(
        "iac-fails",
        json!({"method": "dataproc.clusters.create", "fault": "operation_error", "message": "disks are out"}),
    );
    let ended = cloud.run().expect_status(1);
    let (_, message) = error_of(&ended, "make");
    assert!(message.contains("went into ERROR: disks are out"), "{message}");
    assert!(message.contains("https://console.cloud.google.com/dataproc/clusters/c"), "{message}");
}

#[test]
fn what_dataproc_refuses_is_invalid_and_told_in_its_words() {
    let one = CONFIG.replace("num_instances: 2", "num_instances: 1");
    let cloud = cloud("iac-refused", &[cluster("make", &[], "create", &one)]);
    let (kind, message) = error_of(&cloud.run().expect_status(1), "make");
    assert_eq!(kind, "invalid");
    assert!(
        message.contains("cannot create cluster c") && message.contains("two workers at least"),
        "{message}"
    );
}

#[test]
fn a_script_with_mistakes_is_refused_with_their_places_before_anything_is_asked() {
    let wrong = CONFIG.replace("num_instances: 2", "num_instanses: 2");
    let cloud = cloud("iac-mistakes", &[cluster("make", &[], "create", &wrong)]);
    let (kind, message) = error_of(&cloud.run().expect_status(1), "make");
    assert_eq!(kind, "invalid");
    assert!(message.contains("line 10, column 5: unknown key `num_instanses`"), "{message}");
    assert!(message.contains("did you mean `num_instances`?"), "{message}");
    assert_eq!(cloud.google.ledger("iac-mistakes")["requests"], json!([]));
}

#[test]
fn pydags_python_is_refused_with_how_to_write_it_anew() {
    let script = "from google.cloud import storage\nclass dataproc_create_cluster:\n    pass\n";
    let task = json!({"task_id": "make", "script": {"engine": "iac", "inline": script}});
    let cloud = cloud("iac-python", &[task]);
    let (kind, message) = error_of(&cloud.run().expect_status(1), "make");
    assert_eq!(kind, "invalid");
    assert!(message.contains("pyDag") && message.contains("resource: dataproc_cluster"), "{message}");
}

#[test]
fn a_region_that_nobody_names_is_asked_for() {
    let script = "resource: dataproc_cluster\naction: create\nname: c\n";
    let task = json!({"task_id": "make", "script": {"engine": "iac", "inline": script}});
    let cloud = cloud("iac-nowhere", &[task]);
    let (kind, message) = error_of(&cloud.run().expect_status(1), "make");
    assert_eq!(kind, "invalid");
    assert!(message.starts_with("no region: set `region`"), "{message}");
}

#[test]
fn credentials_that_dataproc_does_not_take_are_invalid() {
    let cloud = cloud("iac-unknown", &[make()]);
    cloud.google.fault(
        "iac-unknown",
        json!({"method": "dataproc.clusters.get", "fault": "unauthorized", "times": 50}),
    );
    let (kind, message) = error_of(&cloud.run().expect_status(1), "make");
    assert_eq!(kind, "invalid");
    assert!(message.contains("check the credentials"), "{message}");
    let mut command = cloud.sandbox.command(&["run", "dag.json", "--run-id", "r2", "--format", "json"]);
    command.env("GOOGLE_APPLICATION_CREDENTIALS", cloud.sandbox.path().join("nothing.json"));
    let ended = in_time(command).expect_status(1);
    let (kind, message) = error_of(&ended, "make");
    assert_eq!(kind, "invalid");
    assert!(message.contains("the credentials cannot be used"), "{message}");
}

#[test]
fn a_service_that_is_at_fault_is_asked_again() {
    let cloud = cloud("iac-faults", &[make(), cluster("drop", &["make"], "delete", "")]);
    for (method, fault) in [
        ("clusters.get", "503"),
        ("clusters.create", "429"),
        ("clusters.create", "503"),
        ("clusters.create", "reset"),
        ("operations.get", "500"),
        ("clusters.delete", "reset"),
    ] {
        cloud.google.fault("iac-faults", json!({"method": format!("dataproc.{method}"), "fault": fault}));
    }
    cloud.run().expect_status(0);
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["made"]), (&json!("DELETED"), &json!(1)));
    assert_eq!(cloud.google.ledger("iac-faults")["faults_left"], 0);
}

#[test]
fn a_reply_that_is_lost_makes_no_second_cluster() {
    let cloud = cloud("iac-lost", &[make(), cluster("drop", &["make"], "delete", "")]);
    for method in ["dataproc.clusters.create", "dataproc.clusters.delete"] {
        cloud.google.fault("iac-lost", json!({"method": method, "fault": "lost_reply"}));
    }
    cloud.run().expect_status(0);
    assert_eq!((&there(&cloud)["made"], &there(&cloud)["refused"]), (&json!(1), &json!(0)));
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.create"), 2);
    assert_eq!(there(&cloud)["state"], "DELETED");
}

#[test]
fn refusals_that_pass_cost_no_cluster() {
    let cloud = cloud("iac-refusals", &[make()]);
    for (method, fault) in [
        ("operations.get", "403"),
        ("operations.get", "unauthorized"),
        ("clusters.create", "503"),
        ("operations.get", "403"),
    ] {
        cloud.google.fault("iac-refusals", json!({"method": format!("dataproc.{method}"), "fault": fault}));
    }
    let ended = cloud.run().expect_status(0);
    assert_eq!(cloud.google.ledger("iac-refusals")["faults_left"], 0);
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["made"]), (&json!("RUNNING"), &json!(1)));
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.delete"), 0);
    assert!(ended.stdout.contains("the account may not do this; trying again"), "{}", ended.stdout);
}

#[test]
fn an_attempt_that_asks_in_vain_ends_what_it_has_begun() {
    let cloud = cloud("iac-blind", &[make()]);
    cloud.google.settings("iac-blind", json!({"hold": "operations"}));
    let wrong = json!({"method": "dataproc.operations.get", "fault": "400", "times": 1000});
    cloud.google.fault("iac-blind", wrong);
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended, "make");
    assert_eq!(kind, "invalid");
    assert!(message.contains("told to fail with 400"), "{message}");
    assert!(message.contains("which was being made, is being deleted"), "{message}");
    assert_eq!(there(&cloud)["state"], "DELETING");
}

#[test]
fn no_secret_leaves_the_scheduler() {
    let mut task = make();
    task["params"] = json!({"**GCP_service-account": ""});
    let cloud = cloud("iac-secrets", &[task]);
    let key = cloud.google.key_file();
    cloud.add_plugins(&format!("[connections.GCP]\nservice-account = {{ file = {key:?} }}"));
    // The connection alone, without Application Default Credentials.
    let run = ["run", "dag.json", "--run-id", "r", "--format", "json"];
    let mut command = cloud.sandbox.command(&run);
    command.env("GOOGLE_APPLICATION_CREDENTIALS", cloud.sandbox.path().join("nothing.json"));
    cloud.google.settings("iac-secrets", json!({"hold": "operations"}));
    let mut running = oxidag_tests::running::Running::start(command);
    cloud.until("a cluster", |ledger| ledger["clusters"]["c"]["state"] == "CREATING");
    cloud.assert_no_secret(&[]);
    cloud.google.settings("iac-secrets", json!({"hold": false}));
    let ended = running.end().expect_status(0);
    cloud.assert_no_secret(&[&ended.stdout, &ended.stderr]);
    let told = cloud.google.ledger("iac-secrets").to_string();
    cloud.assert_no_secret(&[&told]);
}

#[test]
fn a_secret_in_a_clusters_config_is_refused() {
    let more = "config:\n  gce_cluster_config:\n    metadata:\n      password: {DB_password}\n";
    let mut task = cluster("make", &[], "create", more);
    task["params"] = json!({"**DB_password": ""});
    let cloud = cloud("iac-metadata", &[task]);
    cloud.add_plugins("[connections.DB]\npassword = \"s3cret-pass\"");
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended, "make");
    assert_eq!(kind, "invalid");
    assert!(message.contains("`**DB_password`"), "{message}");
    assert_eq!(cloud.google.ledger("iac-metadata")["requests"], json!([]));
    assert!(!ended.stdout.contains("s3cret-pass"));
}

#[test]
fn validate_tells_mistakes_with_their_places() {
    let cloud = cloud("iac-validate", &[cluster("make", &[], "crate", "")]);
    let report = cloud.oxidag(&["run", "dag.json", "--dry-run", "--json"]).expect_status(2).json();
    let finding = &report[0]["tasks"][0]["findings"][0];
    assert_eq!(finding["message"], "there is no `action: crate`; did you mean `create`?", "{report:#}");
    assert_eq!((&finding["line"], &finding["column"]), (&json!(2), &json!(9)), "{report:#}");
    assert_eq!(cloud.google.ledger("iac-validate")["requests"], json!([]));
}
