//! When an attempt that failed is followed by another one, and what happens meanwhile.

use std::time::Duration;

use oxidag_tests::running::in_time;
use serde_json::{Value, json};

use super::clock::fast;
use super::{
    attempts, find, idle, in_turn, noop, r, remote, run, sandbox, shell, states, time, waits, with_ledger,
    write_dag,
};

/// There are as many waits, and each is at least so long.
#[track_caller]
fn at_least(waits: &[Duration], millis: &[u64]) {
    let long = waits.iter().zip(millis).all(|(wait, least)| *wait >= Duration::from_millis(*least));
    assert!(waits.len() == millis.len() && long, "{waits:?} instead of {millis:?} ms");
}

/// Why each attempt did not succeed.
fn kinds<'a>(run: &'a Value, task: &str) -> Vec<&'a str> {
    let kind = |attempt: &'a Value| attempt["error"]["kind"].as_str().unwrap_or("none");
    attempts(run, task).iter().map(kind).collect()
}

#[test]
fn waits_before_retries_stay_or_double_up_to_their_cap() {
    let sandbox = sandbox();
    let fails = json!({"fail": 5});
    let retries = |more: Value| {
        let mut retries = json!({"retries": 5, "retry_delay": 0.1});
        retries.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        retries
    };
    let fixed = noop("fixed", &[], &fails, &retries(json!({})));
    let doubling = noop("doubling", &[], &fails, &retries(json!({"retry_backoff": "exponential"})));
    let capped = json!({"retry_backoff": "exponential", "max_retry_delay": 0.15});
    let capped = noop("capped", &[], &fails, &retries(capped));
    write_dag(&sandbox, &[fixed, doubling, capped], &json!({}));
    run(&sandbox, &[]).expect_status(0);
    let run = r(&sandbox);
    at_least(&waits(&run, "fixed"), &[100; 5]);
    at_least(&waits(&run, "doubling"), &[100, 200, 400, 800, 1600]);
    at_least(&waits(&run, "capped"), &[100, 150, 150, 150, 150]);
    // All waits that do not grow, or not beyond their cap, are over before the last of the others begins.
    let last_wait = time(&attempts(&run, "doubling")[4], "finished_at");
    for task in ["fixed", "capped"] {
        assert!(time(find(&run, task), "finished_at") < last_wait, "{run:#}");
    }
}

#[test]
fn a_task_takes_the_retries_of_its_dag_unless_it_has_its_own() {
    let sandbox = sandbox();
    let fails = json!({"fail": true});
    let own = noop("own", &[], &fails, &json!({"retries": 0}));
    write_dag(
        &sandbox,
        &[noop("of_dag", &[], &fails, &json!({})), own],
        &json!({"retries": 2, "retry_delay": 0}),
    );
    run(&sandbox, &[]).expect_status(1);
    let run = r(&sandbox);
    assert_eq!(kinds(&run, "of_dag"), ["failed"; 3]);
    assert_eq!(kinds(&run, "own"), ["failed"]);
}

#[test]
fn what_a_service_is_to_blame_for_leaves_the_retries_as_they_are() {
    let (sandbox, _ledger) = with_ledger();
    let tasks = [
        remote("spared", &[], &json!({"unreachable": 2}), &json!({})),
        remote("both", &[], &json!({"unreachable": 1, "fail": 2}), &json!({"retries": 1, "retry_delay": 0})),
        remote("gone", &[], &json!({"unreachable": 100}), &json!({})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    in_time(fast(&sandbox, &[])).expect_status(1);
    let run = r(&sandbox);
    assert_eq!(states(&run), json!({"spared": "success", "both": "success", "gone": "failed"}));
    assert_eq!(kinds(&run, "spared"), ["transient", "transient", "none"]);
    at_least(&waits(&run, "spared"), &[1000, 2000]);
    assert_eq!(kinds(&run, "both"), ["transient", "failed", "none"]);
    // Five more tries, and none from a budget that the task does not have.
    assert_eq!(kinds(&run, "gone"), ["transient"; 6]);
    at_least(&waits(&run, "gone"), &[1000, 2000, 4000, 8000, 16_000]);
}

#[test]
fn what_is_invalid_is_not_tried_again() {
    let sandbox = sandbox();
    write_dag(&sandbox, &[noop("a", &[], &json!({"delay_ms": "soon"}), &json!({"retries": 3}))], &json!({}));
    run(&sandbox, &[]).expect_status(1);
    assert_eq!(kinds(&r(&sandbox), "a"), ["invalid"]);
}

#[test]
fn a_task_that_waits_for_its_retry_holds_no_worker_and_no_slot() {
    let sandbox = sandbox();
    let tried = json!({"retries": 1, "retry_delay": 1, "priority": 1, "pool": "p"});
    let tasks = [noop("tried", &[], &json!({"fail": 1}), &tried), idle("other", &[], &json!({"pool": "p"}))];
    write_dag(&sandbox, &tasks, &json!({"pools": {"p": 1}, "processors": 1}));
    run(&sandbox, &["--workers", "1"]).expect_status(0);
    let run = r(&sandbox);
    let [first, second] = attempts(&run, "tried") else { panic!("{run:#}") };
    let other = find(&run, "other");
    assert!(time(first, "finished_at") <= time(other, "started_at"), "{run:#}");
    assert!(time(other, "finished_at") <= time(second, "started_at"), "{run:#}");
}

#[test]
fn what_follows_waits_for_the_last_attempt() {
    let sandbox = sandbox();
    // Each attempt knows which it is.
    let tried = shell("tried", &[], "[ $OXIDAG_ATTEMPT = 3 ]");
    write_dag(
        &sandbox,
        &[tried, idle("after", &["tried"], &json!({}))],
        &json!({"retries": 2, "retry_delay": 0}),
    );
    run(&sandbox, &[]).expect_status(0);
    let run = r(&sandbox);
    assert_eq!(kinds(&run, "tried"), ["failed", "failed", "none"]);
    in_turn(&run, "tried", "after");
}
