//! Teardowns.

use super::*;

/// A cluster, two tasks on it, and its teardown, which depends on the cluster alone.
fn cluster() -> Env {
    let tasks: [(&str, &[&str]); 4] =
        [("create", &[]), ("load", &["create"]), ("report", &["load"]), ("delete", &["create"])];
    Env::new(&tasks, limits(2), |name, info| {
        info.teardown = name == "delete";
        info.fails_run = name != "delete";
    })
}

#[test]
fn a_teardown_waits_for_all_that_use_its_setup() {
    let mut env = cluster();
    env.start();
    assert_eq!(env.succeeds("create"), "create1 success, start load1");
    assert_eq!(env.succeeds("load"), "load1 success, start report1");
    assert_eq!(env.succeeds("report"), "report1 success, start delete1");
    assert_eq!(env.fails("delete"), "delete1 failed, run success");
}

#[test]
fn a_teardown_runs_after_a_failure_and_after_a_cancellation() {
    let mut env = cluster();
    env.start();
    env.succeeds("create");
    assert_eq!(env.fails("load"), "load1 failed, report0 upstream_failed, start delete1");
    assert_eq!(env.succeeds("delete"), "delete1 success, run failed");
    let mut env = cluster();
    env.start();
    env.succeeds("create");
    assert_eq!(env.step(&[Input::Cancel]), "stopping: Cancelled, stop load1 Cancelled, report0 cancelled");
    assert_eq!(env.ends("load", Some(FailureKind::Cancelled)), "load1 cancelled, start delete1");
    assert_eq!(env.step(&[Input::Cancel]), "", "the first of two says it all");
    assert_eq!(env.succeeds("delete"), "delete1 success, run cancelled");
}

#[test]
fn without_its_setup_there_is_nothing_to_tear_down() {
    let mut env = cluster();
    env.start();
    assert_eq!(
        env.step(&[Input::Cancel]),
        "stopping: Cancelled, stop create1 Cancelled, load0 cancelled, report0 cancelled"
    );
    assert_eq!(
        env.ends("create", Some(FailureKind::Cancelled)),
        "create1 cancelled, start delete1",
        "it may have been made"
    );
    let mut env = cluster();
    let left_out = ["create", "load", "report"];
    let alone = "create0 skipped, load0 skipped, report0 skipped, start delete1";
    assert_eq!(env.start_without(&left_out), alone, "it was asked for alone");
}

#[test]
fn what_was_set_up_within_is_torn_down_first() {
    let tasks: [(&str, &[&str]); 4] = [
        ("cluster", &[]),
        ("delete_cluster", &["cluster"]),
        ("table", &["cluster"]),
        ("drop_table", &["table"]),
    ];
    let teardowns = |name: &str, info: &mut TaskInfo| info.teardown = name.starts_with('d');
    let mut env = Env::new(&tasks, limits(2), teardowns);
    env.start();
    env.succeeds("cluster");
    assert_eq!(env.succeeds("table"), "table1 success, start drop_table1");
    assert_eq!(env.succeeds("drop_table"), "drop_table1 success, start delete_cluster1");
}

#[test]
fn a_kill_waits_for_nothing_not_even_for_teardowns() {
    let mut env = cluster();
    env.start();
    env.succeeds("create");
    assert_eq!(
        env.step(&[Input::Kill]),
        "stop load1 Cancelled, report0 cancelled, delete0 cancelled, abandon load1, load1 cancelled, run cancelled"
    );
}
