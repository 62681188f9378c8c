//! Servers that do not take the logs: the run ends as it would without them, and it is told which logs are missing.

use std::net::TcpListener;

use oxidag_tests::running::{Running, in_time};
use oxidag_tests::servers::gcs::Gcs;
use serde_json::json;

use super::{gcs, local, s3, sandbox, task, write_dag, write_usual_dag};

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:9";

#[test]
fn a_server_that_is_away_is_told_at_the_end() {
    let sandbox = sandbox("gs://logs/a", &gcs(NOBODY));
    write_usual_dag(&sandbox);
    let ended = in_time(sandbox.command(&["run", "d.json", "--run-id", "r"])).expect_status(0);
    let told = ended.stderr.trim_end();
    assert!(told.starts_with("warning: 3 logs could not be uploaded to gs://logs/a "), "{told}");
    assert!(told.contains("are only in ") && told.contains(".oxidag/logs/d: "), "{told}");
    assert!(told.to_lowercase().contains("refused"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.ends_with("`oxidag runs upload r` uploads them"), "{told}");
    assert!(!local(&sandbox, "d/loud/r.2.log").is_empty());
    let shown = sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json();
    assert_eq!(shown["state"], "success");
}

#[test]
fn programs_are_told_in_json_after_the_runs_end() {
    let sandbox = sandbox("s3://logs", &s3(NOBODY));
    write_usual_dag(&sandbox);
    let command = sandbox.command(&["run", "d.json", "--run-id", "r", "--format", "json"]);
    let ended = in_time(command).expect_status(0);
    let lines = ended.json_lines();
    let [.., end, missed] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&end["event"], &end["state"]), (&json!("run_state"), &json!("success")));
    assert_eq!(missed["event"], "logs_not_uploaded");
    assert_eq!((&missed["run_id"], &missed["count"]), (&json!("r"), &json!(3)));
    assert_eq!(missed["folder"], "s3://logs/");
    assert!(missed["reasons"][0].as_str().is_some_and(|reason| !reason.is_empty()), "{missed}");
    assert!(!ended.stdout.contains("their-secret-key") && !ended.stderr.contains("their-secret-key"));
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_bucket_that_is_not_there_is_told() {
    let sandbox = sandbox("gs://logs-nowhere", &gcs(&Gcs::shared().url()));
    write_dag(&sandbox, &[task("t", "echo one; exit 1", &json!({}))]);
    let ended = in_time(sandbox.command(&["run", "d.json", "--run-id", "r"])).expect_status(1);
    assert!(ended.stderr.contains("2 logs could not be uploaded to gs://logs-nowhere/"), "{}", ended.stderr);
    assert!(ended.stderr.contains("does not exist"), "{}", ended.stderr);
}

#[test]
fn a_signal_ends_the_waiting_for_a_server_that_never_answers() {
    // Connections are made and nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let sandbox = sandbox("s3://logs", &s3(&url));
    write_dag(&sandbox, &[task("t", "echo one", &json!({}))]);
    let mut running =
        Running::start(sandbox.command(&["run", "d.json", "--run-id", "r", "--format", "json"]));
    running.until(|event| event["event"] == "run_state" && event["state"] == "success");
    running.signal("INT");
    let ended = running.end().expect_status(0);
    let lines = ended.json_lines();
    let missed = lines.last().unwrap();
    assert_eq!(missed["event"], "logs_not_uploaded", "{missed}");
    assert_eq!((&missed["count"], &missed["reasons"]), (&json!(2), &json!(["it was interrupted"])));
}
