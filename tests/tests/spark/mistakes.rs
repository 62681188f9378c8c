//! What is wrong with a task or its environment, and what a dry run says of it.

use std::process::Command;

use oxidag_tests::cloud::Cloud;
use oxidag_tests::servers::python;
use serde_json::{Value, json};

use super::support::*;

/// The error of the one attempt at a task that has retries: nothing of this is tried again.
#[track_caller]
fn refused(cloud: &Cloud, params: Value) -> String {
    let mut task = task(cloud, ECHO, params);
    task["retries"] = 2.into();
    write(cloud, &task);
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended);
    assert_eq!((kind.as_str(), end_of(&ended)["attempt"].as_u64()), ("invalid", Some(1)), "{message}");
    std::fs::remove_dir_all(cloud.sandbox.home()).unwrap();
    message
}

#[test]
fn bad_parameters_are_refused_at_once() {
    let cloud = with_cluster("spark-bad", "", "");
    for (params, said) in [
        (json!({"backend": "yarn"}), "the parameter `backend` must be `dataproc`"),
        (json!({"cluster_name": 7}), "the parameter `cluster_name` must be text"),
        (json!({"region": "us/x"}), "`us/x` is the name of no region"),
        (json!({"spark.jars": ["a"]}), "`spark.jars` must be text"),
        (json!({"kind": "jar"}), "the parameter `kind` says otherwise"),
    ] {
        let message = refused(&cloud, params);
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(made(&cloud, "jobs").len(), 0);
}

#[test]
fn bad_parameters_of_a_batch_are_refused_at_once() {
    let cloud = cloud("spark-bad-batch", "backend = \"dataproc-serverless\"", "");
    for (params, said) in [
        (json!({"region": 7}), "the parameter `region` must be text"),
        (json!({"region": "us/x"}), "`us/x` is the name of no region"),
        (json!({"spark.jars": ["a"]}), "`spark.jars` must be text"),
        (json!({"main_class": "a.B"}), "the parameter `main_class` is for jars"),
    ] {
        let message = refused(&cloud, params);
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(made(&cloud, "batches").len(), 0);
}

#[test]
fn bad_credentials_make_no_batch() {
    let plugins = "[connections.GCP]\nservice-account = \"s3cret\"\n";
    let cloud = cloud("spark-batch-unauthorized", "backend = \"dataproc-serverless\"", plugins);
    fault(&cloud, "dataproc.batches.create", "unauthorized", 1);
    let message = refused(&cloud, json!({}));
    assert!(message.contains("(401); check the credentials"), "{message}");
    let message = refused(&cloud, json!({"**GCP_service-account": ""}));
    assert!(message.contains("`**GCP_service-account` does not hold a service account's key"), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
    assert_eq!(made(&cloud, "batches").len(), 0);
}

#[test]
fn a_cluster_that_is_not_there_is_named() {
    let cloud = cloud("spark-no-cluster", "", "");
    write(&cloud, &task(&cloud, ECHO, json!({})));
    let (kind, message) = error_of(&cloud.run().expect_status(1));
    assert_eq!(kind, "failed");
    assert!(message.starts_with("cannot submit the job oxidag-"), "{message}");
    assert!(message.contains("on the cluster c: Not found: Cluster"), "{message}");
}

#[test]
fn a_script_that_is_only_here_is_refused_with_both_ways_out() {
    let cloud = with_cluster("spark-inline", "", "");
    write(&cloud, &json!({"task_id": "t", "script": {"engine": "spark", "inline": "print(1)"}}));
    let (kind, message) = error_of(&cloud.run().expect_status(1));
    assert_eq!(kind, "invalid");
    assert!(message.contains("keep it in Cloud Storage") && message.contains("set `staging`"), "{message}");
}

#[test]
fn bad_credentials_are_said_without_what_they_hold() {
    let cloud = with_cluster("spark-unauthorized", "", "[connections.GCP]\nservice-account = \"s3cret\"\n");
    fault(&cloud, "dataproc.jobs.submit", "unauthorized", 1);
    let message = refused(&cloud, json!({}));
    assert!(message.contains("(401); check the credentials"), "{message}");

    let message = refused(&cloud, json!({"**GCP_service-account": ""}));
    assert!(message.contains("`**GCP_service-account` does not hold a service account's key"), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
    assert_eq!(made(&cloud, "jobs").len(), 0);
}

#[test]
fn a_key_that_the_service_does_not_know_is_refused() {
    let cloud =
        with_cluster("spark-foreign", "", "[connections.GCP]\nservice-account = { file = \"key.json\" }\n");
    let mut key: Value = serde_json::from_slice(&std::fs::read(cloud.google.key_file()).unwrap()).unwrap();
    key["private_key"] = foreign_key().into();
    cloud.sandbox.write("key.json", &key.to_string());
    let message = refused(&cloud, json!({"**GCP_service-account": ""}));
    assert!(message.contains("(401); check the credentials"), "{message}");
    assert_eq!(made(&cloud, "jobs").len(), 0);
}

/// A private key of nobody's.
fn foreign_key() -> String {
    let program = "from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key\n\
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat\n\
        key = generate_private_key(65537, 2048)\n\
        print(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())\n";
    let made = Command::new(python()).args(["-c", program]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap()
}

#[test]
fn a_dry_run_knows_what_cannot_work_and_warns_of_what_may() {
    let cloud = cloud("spark-dry", "", "");
    let validate = |params: Value| {
        write(&cloud, &task(&cloud, ECHO, params));
        cloud.oxidag(&["run", "dag.json", "--dry-run"])
    };
    let warned = validate(json!({})).expect_status(0);
    let said = warned.stdout + &warned.stderr;
    assert!(said.contains("there is no cluster c in us-central1 of the project spark-dry"), "{said}");
    make_cluster(&cloud);
    let fine = validate(json!({})).expect_status(0);
    assert!(!(fine.stdout + &fine.stderr).contains("no cluster"));
    let wrong = validate(json!({"backend": "livy"})).expect_status(2);
    assert!((wrong.stdout + &wrong.stderr).contains("no server of Livy"));
    assert_eq!(made(&cloud, "jobs").len(), 0);
}
