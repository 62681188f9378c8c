//! The example `dags/branch.yaml`: which way it goes, and that nothing of it is left.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use oxidag_tests::{Sandbox, root};
use serde_json::{Value, json};

/// Runs it with one more parameter; gives the states of its tasks.
fn branch(sandbox: &Sandbox, parameter: &str, status: i32) -> Value {
    let dag = root().join("dags/branch.yaml");
    let folder = format!("folder={}", sandbox.path().join("work").display());
    let parameters = ["-p", &folder, "-p", parameter, "--run-id", "r", "--format", "quiet"];
    let ended = sandbox.oxidag(&[&["run", dag.to_str().unwrap()], &parameters[..]].concat());
    let _ = ended.expect_status(status);
    let shown = sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json();
    let tasks = shown["tasks"].as_array().unwrap().iter();
    tasks.map(|task| (task["task_id"].as_str().unwrap().to_owned(), task["state"].clone())).collect()
}

/// The folder that the run had made for itself is gone.
#[track_caller]
fn is_clean(sandbox: &Sandbox) {
    let left = fs::read_dir(sandbox.path().join("work")).unwrap().count();
    assert_eq!(left, 0, "a run's folder is left");
}

#[test]
fn each_branch_of_the_example_comes_to_the_same_report() {
    for (most, taken, skipped) in
        [(10_000, "sort_in_parts", "sort_whole"), (100_000, "sort_whole", "sort_in_parts")]
    {
        let sandbox = Sandbox::new();
        let states = branch(&sandbox, &format!("most={most}"), 0);
        assert_eq!(
            states,
            json!({
                "count_rows": "success", "make_folder": "success", taken: "success", skipped: "skipped",
                "report": "success", "remove_folder": "success",
            })
        );
        let report = sandbox.oxidag(&["runs", "logs", "r", "report"]).expect_status(0).stdout;
        assert!(report.lines().next().unwrap().ends_with(" 630 ATL"), "{report}");
        is_clean(&sandbox);
    }
}

#[test]
fn the_example_cleans_up_after_a_failure_too() {
    let sandbox = Sandbox::new();
    let states = branch(&sandbox, "csv=nowhere.csv", 1);
    assert_eq!(
        states,
        json!({
            "count_rows": "failed", "make_folder": "success", "sort_whole": "upstream_failed",
            "sort_in_parts": "upstream_failed", "report": "upstream_failed", "remove_folder": "success",
        })
    );
    is_clean(&sandbox);
}
