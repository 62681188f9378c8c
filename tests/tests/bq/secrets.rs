//! The service account's key comes from a connection, and is nowhere else.

use serde_json::json;

use super::{bq, cloud, end_of, submissions};

const CONNECTION: &str = "**GCP_service-account";

#[test]
fn a_key_from_a_connection_is_used_and_shown_nowhere() {
    let tasks = [
        bq("one", &[], "select @n as n", &json!({"n": 1, CONNECTION: ""})),
        bq("bad", &["one"], "select 1 / 0", &json!({CONNECTION: ""})),
    ];
    let cloud = cloud("bq-secret", &tasks);
    let key = cloud.google.key_file();
    cloud.add_plugins(&format!("[connections.GCP]\nservice-account = {{ file = {key:?} }}"));
    cloud.google.settings("bq-secret", json!({"hold": true}));
    // No credentials but those of the connection.
    let without = |arguments: &[&str]| {
        let mut command = cloud.sandbox.command(arguments);
        command.env_remove("GOOGLE_APPLICATION_CREDENTIALS").env("HOME", cloud.sandbox.path());
        command
    };
    let mut run = oxidag_tests::running::Running::start(without(&[
        "run", "dag.json", "--run-id", "r", "--format", "json",
    ]));
    cloud.until_job("RUNNING");
    cloud.assert_no_secret(&[]);
    cloud.google.settings("bq-secret", json!({"hold": false}));
    let ended = run.end().expect_status(1);
    assert_eq!(end_of(&ended, "one")["result"], json!([{"n": 1}]));
    assert_eq!(end_of(&ended, "bad")["state"], "failed");
    let shown = oxidag_tests::running::in_time(without(&["runs", "show", "r", "--json"])).expect_status(0);
    let logs = oxidag_tests::running::in_time(without(&["runs", "logs", "r"])).expect_status(0);
    let printed =
        [&ended, &shown, &logs].map(|ended| [ended.stdout.as_str(), ended.stderr.as_str()]).concat();
    cloud.assert_no_secret(&printed);
    let ledger = cloud.google.ledger("bq-secret").to_string();
    cloud.assert_no_secret(&[&ledger]);
}

#[test]
fn a_connection_is_no_query_parameter() {
    let cloud = cloud("bq-secret-param", &[bq("one", &[], "select @PG_url", &json!({"**PG_url": ""}))]);
    cloud.add_plugins("[connections.PG]\nurl = \"postgres://u:s3cret@h/d\"");
    let ended = cloud.run().expect_status(1);
    let message = end_of(&ended, "one")["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`**PG_url` cannot be the query parameter"), "{message}");
    assert_eq!(submissions(&cloud), 0);
}
