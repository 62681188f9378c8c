//! `oxidag runs`: what is told of runs that have ended, and of none.

use oxidag_tests::{Ended, Sandbox};
use serde_json::json;

const DAG: &str = "dag_id: nightly
tasks:
- {task_id: load, script: {engine: noop, inline: ''}}
- {task_id: count, script: {engine: shell, inline: 'echo counting; exit 3'}, dependencies: [load], retries: 1, retry_delay: 0}
- {task_id: report, script: {engine: noop, inline: ''}, dependencies: [count]}
";

/// A sandbox in which `failed-1` failed and, after it, `good-1` of another DAG succeeded.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("dag.yaml", DAG);
    sandbox.write("good.yaml", "tasks: [{task_id: a, script: {engine: noop, inline: ''}}]");
    let run = |dag, id, status| {
        drop(sandbox.oxidag(&["run", dag, "--run-id", id, "--format", "quiet"]).expect_status(status));
    };
    run("dag.yaml", "failed-1", 1);
    run("good.yaml", "good-1", 0);
    sandbox
}

fn runs(sandbox: &Sandbox, arguments: &[&str], status: i32) -> Ended {
    sandbox.oxidag(&[&["runs"], arguments].concat()).expect_status(status)
}

#[test]
fn runs_are_listed_newest_first_and_can_be_filtered() {
    let sandbox = sandbox();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let list = runs(&sandbox, &[&["list", "--json"], arguments].concat(), 0).json();
        let id = |run: &serde_json::Value| run["run_id"].as_str().unwrap_or_default().to_owned();
        list.as_array().into_iter().flatten().map(id).collect()
    };
    assert_eq!(ids(&[]), ["good-1", "failed-1"]);
    assert_eq!(ids(&["--limit", "1"]), ["good-1"]);
    assert_eq!(ids(&["--dag", "nightly"]), ["failed-1"]);
    assert_eq!(ids(&["--state", "success"]), ["good-1"]);
    assert_eq!(ids(&["--state", "running"]), [""; 0]);
    let table = runs(&sandbox, &["list"], 0).stdout;
    assert!(table.starts_with("RUN       DAG      STATE    STARTED (UTC)"), "{table}");
}

#[test]
fn a_run_is_shown_as_a_table_and_as_a_public_shape() {
    let sandbox = sandbox();
    let run = runs(&sandbox, &["show", "failed-1", "--json"], 0).json();
    for key in ["run_id", "dag_id", "state", "started_at", "finished_at", "tasks"] {
        assert!(!run[key].is_null(), "{key}: {run}");
    }
    let count = &run["tasks"][1];
    assert_eq!((&count["task_id"], &count["state"]), (&json!("count"), &json!("failed")));
    let attempts: Vec<_> =
        count["attempts"].as_array().into_iter().flatten().map(|a| (&a["attempt"], &a["state"])).collect();
    assert_eq!(attempts, [(&json!(1), &json!("failed")), (&json!(2), &json!("failed"))]);
    let shown = runs(&sandbox, &["show", "fail"], 0).stdout;
    for part in [
        "run       failed-1\n",
        "tasks     1 success, 1 failed, 1 upstream_failed\n",
        "\ncount        shell   failed ",
        "\n  attempt 2          failed ",
        "\ncount attempt 1 failed: ",
        "\ncount attempt 2 failed: ",
    ] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
}

#[test]
fn logs_are_printed_for_the_run_and_for_each_attempt() {
    let sandbox = sandbox();
    let run = runs(&sandbox, &["logs", "failed-1"], 0).stdout;
    assert!(run.contains("count attempt 2 failed"), "{run}");
    let last = runs(&sandbox, &["logs", "failed-1", "count"], 0).stdout;
    let first = runs(&sandbox, &["logs", "failed-1", "count", "--attempt", "1"], 0).stdout;
    assert!(last.contains("stdout counting") && first.contains("stdout counting") && first != last);
}

#[test]
fn a_log_that_is_not_there_is_said_plainly() {
    let sandbox = sandbox();
    let said = |arguments: &[&str], status| {
        let ended = runs(&sandbox, &[&["logs", "failed-1"], arguments].concat(), status);
        assert_eq!(ended.stdout, "");
        ended.stderr
    };
    assert_eq!(said(&["load"], 0), "task load left no log in attempt 1\n");
    assert_eq!(said(&["report"], 0), "task report was not started (state upstream_failed)\n");
    assert_eq!(
        said(&["count", "--attempt", "3"], 2),
        "error: task count has no attempt 3: it made 2 attempts\n"
    );
    let unknown = said(&["nowhere"], 2);
    assert_eq!(
        unknown,
        "error: run failed-1 has no task `nowhere`; `oxidag runs show failed-1` lists its tasks\n"
    );
}

#[test]
fn a_gantt_chart_is_drawn_in_the_terminal_and_as_svg() {
    let sandbox = sandbox();
    let text = runs(&sandbox, &["gantt", "latest"], 0).stdout;
    assert!(text.starts_with("good-1 of good: success, ") && text.contains('█'), "{text}");
    let svg = runs(&sandbox, &["gantt", "failed-1", "--svg", "-"], 0).stdout;
    assert!(svg.starts_with("<svg ") && svg.contains("count, attempt 2: running "), "{svg}");
    assert_eq!(runs(&sandbox, &["gantt", "failed-1", "--svg", "run.svg"], 0).stdout, "");
    assert_eq!(std::fs::read_to_string(sandbox.path().join("run.svg")).unwrap_or_default(), svg);
    let refused = runs(&sandbox, &["gantt", "failed-1", "--svg", "no/such/run.svg"], 2);
    assert!(refused.stderr.starts_with("error: cannot write no/such/run.svg"), "{}", refused.stderr);
}

#[test]
fn what_is_not_running_cannot_be_cancelled() {
    let ended = runs(&sandbox(), &["cancel", "good-1"], 1);
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.as_str()),
        ("", "run good-1 is not running: it is success\n")
    );
}

#[test]
fn where_nothing_ran_nothing_is_found_and_nothing_is_made() {
    let sandbox = Sandbox::new();
    assert_eq!(runs(&sandbox, &["list", "--json"], 0).json(), json!([]));
    for command in ["show", "logs", "gantt", "cancel"] {
        for (run, what) in [("latest", "there is no run yet"), ("r1", "there is no run `r1`")] {
            let ended = runs(&sandbox, &[command, run], 2);
            assert!(
                ended.stdout.is_empty() && ended.stderr.contains(what),
                "{command} {run}: {}",
                ended.stderr
            );
        }
    }
    assert!(!sandbox.home().exists());
}
