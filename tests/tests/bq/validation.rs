//! `run --dry-run`: what BigQuery says of scripts without running them.

use serde_json::{Value, json};

use super::{bq, cloud};

/// What a dry run finds about a task.
#[track_caller]
fn findings(report: &Value, task: &str) -> Vec<Value> {
    let tasks = report[0]["tasks"].as_array().unwrap();
    let task = tasks.iter().find(|found| found["task_id"] == task).unwrap();
    task["findings"].as_array().unwrap().clone()
}

#[test]
fn a_dry_run_finds_mistakes_and_estimates_bytes_and_makes_no_job() {
    let tasks = [
        bq("fine", &[], "select 1 as n", &json!({})),
        bq("bad", &[], "select 1,\n  frm (", &json!({})),
        bq("later", &[], "select * from d.made_by_another_task", &json!({})),
        bq("unbound", &[], "select @x", &json!({})),
    ];
    let cloud = cloud("bq-dry", &tasks);
    let report = cloud.oxidag(&["run", "dag.json", "--dry-run", "--json"]);
    assert_eq!(report.status, Some(2), "{}{}", report.stdout, report.stderr);
    let report = report.json();
    let fine = &findings(&report, "fine")[0];
    assert_eq!((&fine["severity"], &fine["message"]), (&json!("info"), &json!("would process 0 bytes")));
    let bad = &findings(&report, "bad")[0];
    assert_eq!((&bad["severity"], &bad["line"]), (&json!("error"), &json!(2)), "{bad:#}");
    assert!(bad["column"].is_u64(), "{bad:#}");
    let later = &findings(&report, "later")[0];
    assert_eq!(later["severity"], "warning", "{later:#}");
    let unbound = &findings(&report, "unbound")[0];
    assert_eq!(unbound["severity"], "error");
    assert!(unbound["message"].as_str().unwrap().contains("`@x`"), "{unbound:#}");
    assert_eq!(cloud.google.ledger("bq-dry")["jobs"], json!({}));
}

#[test]
fn a_script_can_be_looked_at_without_credentials() {
    let cloud =
        cloud("bq-dry-anonymous", &[bq("one", &[], "select 1", &json!({"**GCP_service-account": ""}))]);
    cloud.add_plugins("[connections.GCP]\nservice-account = \"no key\"");
    let report = cloud.oxidag(&["run", "dag.json", "--dry-run", "--json"]).expect_status(0).json();
    let found = &findings(&report, "one")[0];
    assert_eq!(found["severity"], "warning");
    assert!(found["message"].as_str().unwrap().starts_with("the script was not checked"), "{found:#}");
}
