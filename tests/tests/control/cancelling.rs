//! Runs and tasks that are cancelled: by signals, and from another process.

use serde_json::json;

use super::{
    attempts, endless, find, gate, idle, noop, oxidag, r, sandbox, start, states, with_ledger, write_dag,
    wrote,
};

/// Cancels a run whose only task that is under way is deferred.
#[track_caller]
fn cancels_remote_work(cancel: impl Fn(&oxidag_tests::Sandbox, &oxidag_tests::running::Running)) {
    let (sandbox, ledger) = with_ledger();
    let tasks = [endless("a", &[], &json!({"retries": 3, "retry_delay": 0})), idle("b", &["a"], &json!({}))];
    write_dag(&sandbox, &tasks, &json!({}));
    let mut run = start(&sandbox, &[]);
    run.until_task("a", "deferred");
    while !wrote(&ledger, "a").contains(&"stored".to_owned()) {
        std::thread::yield_now();
    }
    cancel(&sandbox, &run);
    run.end().expect_status(130);
    let run = r(&sandbox);
    assert_eq!(run["state"], "cancelled");
    assert_eq!(states(&run), json!({"a": "cancelled", "b": "cancelled"}));
    assert_eq!(attempts(&run, "a").len(), 1);
    assert_eq!(wrote(&ledger, "a"), ["submitted", "stored", "cancelled"]);
}

#[test]
fn ctrl_c_cancels_a_job_where_it_is() {
    cancels_remote_work(|_, run| run.signal("INT"));
}

#[test]
fn sigterm_cancels_a_job_where_it_is() {
    cancels_remote_work(|_, run| run.signal("TERM"));
}

#[test]
fn a_run_that_is_cancelled_from_another_process_cancels_its_jobs_where_they_are() {
    cancels_remote_work(|sandbox, _| {
        let said = oxidag(sandbox, &["runs", "cancel", "r"], 0).stdout;
        assert_eq!(said, "run r is cancelled\n");
    });
}

#[test]
fn a_cancelled_task_stops_only_its_descendants() {
    let (sandbox, ledger) = with_ledger();
    let tasks = [
        endless("a", &[], &json!({"retries": 3, "retry_delay": 0})),
        idle("after_a", &["a"], &json!({})),
        idle("whatever_a_does", &["a"], &json!({"trigger_rule": "all_done"})),
        gate("b", &[]),
        idle("after_b", &["b"], &json!({})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    let mut run = start(&sandbox, &[]);
    run.until_task("a", "deferred");
    let said = oxidag(&sandbox, &["runs", "cancel", "r", "a"], 0).stdout;
    assert_eq!(said, "task a is cancelled\n");
    run.until_task("whatever_a_does", "success");
    sandbox.write("go", "");
    run.end().expect_status(1);
    let run = r(&sandbox);
    let expected = json!({
        "a": "cancelled", "after_a": "upstream_failed", "whatever_a_does": "success",
        "b": "success", "after_b": "success",
    });
    assert_eq!(states(&run), expected);
    assert_eq!(run["state"], "failed");
    assert_eq!(attempts(&run, "a").len(), 1);
    assert_eq!(wrote(&ledger, "a").last().unwrap(), "cancelled");
}

#[test]
fn tasks_that_have_not_begun_or_wait_for_their_retry_can_be_cancelled() {
    let sandbox = sandbox();
    let tasks = [
        gate("gate", &[]),
        idle("later", &["gate"], &json!({})),
        idle("after_later", &["later"], &json!({})),
        noop("tried", &[], &json!({"fail": true}), &json!({"retries": 1, "retry_delay": 3600})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    let mut run = start(&sandbox, &[]);
    run.until_task("tried", "up_for_retry");
    let said = oxidag(&sandbox, &["runs", "cancel", "r", "later", "tried"], 0).stdout;
    assert_eq!(said, "task later is cancelled\ntask tried is cancelled\n");
    sandbox.write("go", "");
    run.end().expect_status(1);
    let run = r(&sandbox);
    let expected = json!({
        "gate": "success", "later": "cancelled", "after_later": "upstream_failed", "tried": "cancelled",
    });
    assert_eq!(states(&run), expected);
    assert!(attempts(&run, "later").is_empty());
}

#[test]
fn what_cannot_be_cancelled_is_said_and_harms_nothing() {
    let sandbox = sandbox();
    write_dag(&sandbox, &[idle("quick", &[], &json!({})), gate("gate", &["quick"])], &json!({}));
    let mut run = start(&sandbox, &[]);
    run.until_task("gate", "running");
    let said = oxidag(&sandbox, &["runs", "cancel", "r", "quick"], 1).stdout;
    assert_eq!(said, "task quick is success\n");
    let said = oxidag(&sandbox, &["runs", "cancel", "r", "gat"], 2);
    assert!(said.stdout.is_empty() && said.stderr.contains("did you mean `gate`?"), "{said:?}");
    let said = oxidag(&sandbox, &["runs", "cancel", "nobody"], 2);
    assert!(said.stdout.is_empty() && said.stderr.contains("nobody"), "{said:?}");
    sandbox.write("go", "");
    run.end().expect_status(0);
    let said = oxidag(&sandbox, &["runs", "cancel", "r"], 1);
    assert!(said.stderr.contains("not running: it is success"), "{said:?}");
    let run = r(&sandbox);
    assert_eq!(states(&run), json!({"quick": "success", "gate": "success"}));
    assert_eq!(find(&run, "gate")["error"], json!(null));
}
