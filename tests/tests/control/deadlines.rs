//! How long attempts and runs may take, also where nothing on this machine does anything, or an engine does not answer.

use oxidag_tests::running::{Running, in_time};
use serde_json::json;

use super::clock::fast;
use super::{
    attempts, deaf, endless, find, idle, in_turn, r, run, sandbox, states, with_ledger, write_dag, wrote,
};

#[test]
fn a_deferred_attempt_past_its_timeout_is_cancelled_where_its_job_is() {
    let (sandbox, ledger) = with_ledger();
    let more = json!({"timeout": 0.5, "retries": 1, "retry_delay": 0});
    write_dag(&sandbox, &[endless("a", &[], &more), idle("b", &["a"], &json!({}))], &json!({}));
    run(&sandbox, &[]).expect_status(1);
    let run = r(&sandbox);
    assert_eq!(states(&run), json!({"a": "failed", "b": "upstream_failed"}));
    let attempts = attempts(&run, "a");
    assert_eq!(attempts.len(), 2, "{run:#}");
    for attempt in attempts {
        assert!(attempt["deferred_at"].is_string(), "{attempt:#}");
        assert_eq!(attempt["error"]["kind"], "timed_out");
        assert!(attempt["error"]["message"].to_string().contains("timeout of 500ms"), "{attempt:#}");
    }
    // Each attempt had a job of its own, and none is left.
    assert_eq!(wrote(&ledger, "a"), ["submitted", "stored", "cancelled", "submitted", "stored", "cancelled"]);
}

#[test]
fn a_run_past_its_timeout_is_stopped_and_fails_after_its_teardowns() {
    let (sandbox, ledger) = with_ledger();
    let tasks = [
        idle("setup", &[], &json!({})),
        endless("work", &["setup"], &json!({"retries": 5, "retry_delay": 0})),
        idle("after", &["work"], &json!({})),
        idle("teardown", &["setup"], &json!({"teardown": true})),
    ];
    write_dag(&sandbox, &tasks, &json!({"timeout": 2}));
    let ended = run(&sandbox, &[]).expect_status(1);
    let last = ended.json_lines().pop().unwrap();
    assert_eq!((&last["event"], &last["state"]), (&json!("run_state"), &json!("failed")));
    let run = r(&sandbox);
    assert_eq!(run["state"], "failed");
    for error in [&last["error"], &run["error"]] {
        assert!(error["message"].to_string().contains("its timeout of 2s"), "{error}");
    }
    let expected = json!({
        "setup": "success", "work": "cancelled", "after": "cancelled", "teardown": "success",
    });
    assert_eq!(states(&run), expected);
    assert_eq!(attempts(&run, "work").len(), 1);
    in_turn(&run, "work", "teardown");
    assert_eq!(wrote(&ledger, "work"), ["submitted", "stored", "cancelled"]);
}

#[test]
fn an_engine_that_does_not_answer_is_abandoned_and_its_worker_replaced() {
    let sandbox = sandbox();
    let tasks = [
        deaf(&sandbox, "deaf", &[], &json!({"timeout": 1, "retries": 3, "priority": 1})),
        idle("other", &[], &json!({})),
        idle("after", &["deaf"], &json!({})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    in_time(fast(&sandbox, &["--workers", "1"])).expect_status(1);
    let run = r(&sandbox);
    assert_eq!(states(&run), json!({"deaf": "failed", "other": "success", "after": "upstream_failed"}));
    // The only worker was lost, and nobody knows whether a second attempt would meet the first.
    in_turn(&run, "deaf", "other");
    assert_eq!(attempts(&run, "deaf").len(), 1);
    let error = &find(&run, "deaf")["error"];
    assert_eq!(error["kind"], "abandoned");
    let message = error["message"].to_string();
    assert!(message.contains("timeout of 1s") && message.contains("may still be running"), "{message}");
}

#[test]
fn an_engine_that_does_not_let_itself_be_cancelled_is_abandoned() {
    let sandbox = sandbox();
    write_dag(
        &sandbox,
        &[deaf(&sandbox, "deaf", &[], &json!({})), idle("after", &["deaf"], &json!({}))],
        &json!({}),
    );
    let mut run = Running::start(fast(&sandbox, &[]));
    run.until(|event| event["line"] == "deaf");
    run.signal("INT");
    run.end().expect_status(130);
    let run = r(&sandbox);
    assert_eq!(run["state"], "cancelled");
    assert_eq!(states(&run), json!({"deaf": "cancelled", "after": "cancelled"}));
    assert_eq!(find(&run, "deaf")["error"]["kind"], "abandoned");
}
