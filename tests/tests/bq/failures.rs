//! What is wrong with a script, its parameters or its credentials.

use std::process::Command;

use oxidag_tests::cloud::Cloud;
use oxidag_tests::servers;
use serde_json::json;

use super::{bq, cloud, end_of, error_of, jobs, submissions, write_dag};

#[test]
fn a_script_that_fails_fails_its_task_and_what_follows_it() {
    let tasks = [bq("bad", &[], "select\n  1 / 0", &json!({})), bq("next", &["bad"], "select 1", &json!({}))];
    let cloud = cloud("bq-fails", &tasks);
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended, "bad");
    let (id, _) = cloud.until_job("DONE");
    assert_eq!(kind, "failed", "{message}");
    assert!(
        message.contains("(invalidQuery)") && message.contains(&format!("bq-fails:US.{id}")),
        "{message}"
    );
    assert!(
        message.contains("https://console.cloud.google.com/bigquery?project=bq-fails&j=bq:US:"),
        "{message}"
    );
    assert_eq!(end_of(&ended, "bad")["metrics"]["job_id"], id);
    assert_eq!(end_of(&ended, "next")["state"], "upstream_failed");
}

#[test]
fn a_script_that_nobody_understands_is_not_tried_again() {
    let mut bad = bq("bad", &[], "select 1;\nselect frm d.t", &json!({}));
    bad["retries"] = json!(3);
    let cloud = cloud("bq-syntax", &[bad]);
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended, "bad");
    assert_eq!(kind, "invalid", "{message}");
    assert!(message.contains("[2:"), "{message}");
    assert_eq!(jobs(&cloud).len(), 1);
}

#[test]
fn a_script_that_fails_is_tried_again_as_a_new_job() {
    let mut bad = bq("bad", &[], "select * from d.missing", &json!({}));
    bad["retries"] = json!(1);
    bad["retry_delay"] = json!(0);
    let cloud = cloud("bq-retried", &[bad]);
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended, "bad");
    assert_eq!(kind, "failed");
    assert!(message.contains("Not found: Table bq-retried:d.missing"), "{message}");
    assert_eq!(jobs(&cloud).len(), 2);
}

#[test]
fn the_statement_of_a_script_that_failed_is_named() {
    let script = "create table d.t (n int64);\n\nbegin\n  insert into d.t values (1);\n\n  insert into d.t select 1 / 0;\nend;";
    let cloud = cloud("bq-statement", &[bq("bad", &[], script, &json!({}))]);
    let ended = cloud.run().expect_status(1);
    let (_, message) = error_of(&ended, "bad");
    assert!(message.contains("at [6:3]"), "{message}");
}

#[test]
fn wrong_parameters_never_reach_bigquery() {
    let tasks = [
        bq("missing", &[], "select @day", &json!({})),
        bq("untyped", &[], "select @day", &json!({"day": null})),
        bq("priority", &[], "select 1", &json!({"priority": "soon"})),
        bq("limit", &[], "select 1", &json!({"maximum_bytes_billed": -1})),
        bq("dataset", &[], "select 1", &json!({"dataset": 7})),
        bq("empty", &[], "\n", &json!({})),
    ];
    let cloud = cloud("bq-bad-params", &tasks);
    let ended = cloud.run().expect_status(1);
    for (task, named) in [
        ("missing", "`@day`"),
        ("untyped", "`@day`"),
        ("priority", "`priority`"),
        ("limit", "`maximum_bytes_billed`"),
        ("dataset", "`dataset`"),
        ("empty", "is empty"),
    ] {
        let (kind, message) = error_of(&ended, task);
        assert_eq!(kind, "invalid", "{task}");
        assert!(message.contains(named), "{task}: {message}");
    }
    assert_eq!(submissions(&cloud), 0);
}

#[test]
fn an_unknown_key_of_the_config_is_refused_before_anything_runs() {
    let cloud = Cloud::new("bq", "bq-config", "locaton = \"US\"");
    write_dag(&cloud, &[bq("one", &[], "select 1", &json!({}))]);
    let ended = cloud.run().expect_status(2);
    assert!(ended.stderr.contains("locaton"), "{}", ended.stderr);
    assert_eq!(submissions(&cloud), 0);
}

#[test]
fn a_key_that_bigquery_does_not_know_is_said_and_not_tried_again() {
    let mut one = bq("one", &[], "select 1", &json!({}));
    one["retries"] = json!(3);
    let cloud = cloud("bq-credentials", &[one]);
    // The right form, but not the key that belongs to the account.
    let key = std::fs::read_to_string(cloud.google.key_file()).unwrap();
    let mut key: serde_json::Value = serde_json::from_str(&key).unwrap();
    key["private_key"] = foreign_key().into();
    let file = cloud.sandbox.write("foreign.json", &key.to_string());
    let mut command = cloud.sandbox.command(&["run", "dag.json", "--format", "json"]);
    command.env("GOOGLE_APPLICATION_CREDENTIALS", file);
    let ended = oxidag_tests::running::in_time(command).expect_status(1);
    let (kind, message) = error_of(&ended, "one");
    assert_eq!(kind, "invalid");
    assert!(message.contains("401") && message.contains("check the credentials"), "{message}");
    assert_eq!((submissions(&cloud), jobs(&cloud).len()), (1, 0));
}

/// A private key that belongs to nobody.
fn foreign_key() -> String {
    let make = "from cryptography.hazmat.primitives.asymmetric import rsa\n\
                from cryptography.hazmat.primitives import serialization as form\n\
                key = rsa.generate_private_key(65537, 2048)\n\
                pem, plain = form.Encoding.PEM, form.NoEncryption()\n\
                print(key.private_bytes(pem, form.PrivateFormat.PKCS8, plain).decode())";
    let made = Command::new(servers::python()).args(["-c", make]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

#[test]
fn credentials_that_are_none_are_said_without_what_they_hold() {
    let mut one = bq("one", &[], "select 1", &json!({}));
    one["params"] = json!({"**GCP_service-account": ""});
    let cloud = cloud("bq-no-credentials", &[one]);
    cloud.add_plugins("[connections.GCP]\nservice-account = \"no key but s3cret\"");
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended, "one");
    assert_eq!(kind, "invalid");
    assert!(message.contains("`**GCP_service-account`"), "{message}");
    assert!(!ended.stdout.contains("s3cret") && !ended.stderr.contains("s3cret"));
    assert_eq!(submissions(&cloud), 0);
}
