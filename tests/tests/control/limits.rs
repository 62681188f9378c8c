//! What is under way at once: never more than a limit allows, and no less where there is work for it.

use oxidag_tests::engine;
use serde_json::{Value, json};

use super::{
    attempts_of, find, idle, in_turn, most_at_once, noop, oxidag, r, run, sandbox, tasks, time, write_dag,
    write_plugins,
};

/// Tasks with ids that begin so; each takes a moment, and no worker.
fn many(prefix: &str, count: usize, more: &Value) -> Vec<Value> {
    let params = json!({"delay_ms": 50, "async": true});
    (0..count).map(|i| noop(&format!("{prefix}{i}"), &[], &params, more)).collect()
}

#[test]
fn a_pool_of_the_dag_limits_its_tasks_and_no_others() {
    let sandbox = sandbox();
    let all = [many("in", 7, &json!({"pool": "p"})), many("out", 5, &json!({}))].concat();
    write_dag(&sandbox, &all, &json!({"pools": {"p": 3}}));
    run(&sandbox, &[]).expect_status(0);
    let run = r(&sandbox);
    assert_eq!(most_at_once(attempts_of(&run, "in")), 3);
    assert_eq!(most_at_once(attempts_of(&run, "out")), 5);
}

#[test]
fn a_pool_of_the_environment_is_as_large_as_that_says() {
    let sandbox = sandbox();
    write_plugins(&sandbox, "[pools]\np = 2\nother = 4\n");
    let all = [many("in", 5, &json!({"pool": "p"})), many("other", 6, &json!({"pool": "other"}))].concat();
    write_dag(&sandbox, &all, &json!({"pools": {"p": 5}}));
    run(&sandbox, &[]).expect_status(0);
    let run = r(&sandbox);
    assert_eq!(most_at_once(attempts_of(&run, "in")), 2);
    assert_eq!(most_at_once(attempts_of(&run, "other")), 4);
}

#[test]
fn a_pool_that_is_not_there_is_refused() {
    let sandbox = sandbox();
    write_dag(&sandbox, &[idle("a", &[], &json!({"pool": "warehose"}))], &json!({"pools": {"warehouse": 1}}));
    let said = oxidag(&sandbox, &["run", "dag.json"], 2);
    assert!(said.stdout.is_empty() && said.stderr.contains("`warehouse`"), "{}", said.stderr);
}

#[test]
fn processors_count_blocking_and_deferred_tasks_alike() {
    let sandbox = sandbox();
    let blocking = (0..4).map(|i| noop(&format!("b{i}"), &[], &json!({"delay_ms": 50}), &json!({})));
    let all = [many("d", 4, &json!({})), blocking.collect()].concat();
    write_dag(&sandbox, &all, &json!({"processors": 3}));
    run(&sandbox, &["--workers", "8"]).expect_status(0);
    assert_eq!(most_at_once(attempts_of(&r(&sandbox), "")), 3);
}

#[test]
fn an_engine_has_at_most_as_many_tasks_as_the_environment_allows() {
    let sandbox = sandbox();
    write_plugins(&sandbox, &format!("[engines.few]\npath = {:?}\nmax_concurrent = 2\n", engine("noop")));
    let few = many("few", 5, &json!({"script": {"engine": "few", "inline": ""}}));
    write_dag(&sandbox, &[few, many("many", 5, &json!({}))].concat(), &json!({}));
    run(&sandbox, &[]).expect_status(0);
    let run = r(&sandbox);
    assert_eq!(most_at_once(attempts_of(&run, "few")), 2);
    assert_eq!(most_at_once(attempts_of(&run, "many")), 5);
}

#[test]
fn workers_limit_what_blocks_and_not_what_is_deferred() {
    let sandbox = sandbox();
    let blocking = (0..5).map(|i| noop(&format!("b{i}"), &[], &json!({"delay_ms": 50}), &json!({})));
    write_dag(&sandbox, &[blocking.collect(), many("d", 5, &json!({}))].concat(), &json!({}));
    run(&sandbox, &["--workers", "2"]).expect_status(0);
    let run = r(&sandbox);
    assert_eq!(most_at_once(attempts_of(&run, "b")), 2);
    assert_eq!(most_at_once(attempts_of(&run, "d")), 5);
}

#[test]
fn the_greater_priority_starts_first() {
    let sandbox = sandbox();
    let all: Vec<Value> = [3, -1, 7, 0, 5]
        .map(|priority| idle(&format!("p{priority}"), &[], &json!({"priority": priority})))
        .to_vec();
    write_dag(&sandbox, &all, &json!({}));
    run(&sandbox, &["--workers", "1"]).expect_status(0);
    let run = r(&sandbox);
    let mut order: Vec<&Value> = tasks(&run).iter().collect();
    order.sort_by_key(|task| time(task, "started_at"));
    let order: Vec<&str> = order.iter().map(|task| task["task_id"].as_str().unwrap()).collect();
    assert_eq!(order, ["p7", "p5", "p3", "p0", "p-1"]);
}

#[test]
fn who_waits_for_a_slot_keeps_nobody_else_waiting() {
    let sandbox = sandbox();
    let slow = json!({"delay_ms": 300});
    let all = [
        noop("first", &[], &slow, &json!({"pool": "p", "priority": 9})),
        noop("second", &[], &slow, &json!({"pool": "p", "priority": 8})),
        idle("other", &[], &json!({})),
    ];
    write_dag(&sandbox, &all, &json!({"pools": {"p": 1}}));
    run(&sandbox, &["--workers", "2"]).expect_status(0);
    let run = r(&sandbox);
    in_turn(&run, "first", "second");
    assert!(time(find(&run, "other"), "started_at") < time(find(&run, "second"), "started_at"), "{run:#}");
}
