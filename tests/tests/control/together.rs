//! Several DAGs in one process: one set of workers, limits that they share, and an end of its own for each.

use std::collections::HashMap;

use oxidag_tests::running::{Running, in_time};
use oxidag_tests::{Ended, Sandbox, engine};
use serde_json::{Value, json};

use super::{
    attempts_of, endless, find, gate, idle, most_at_once, noop, oxidag, sandbox, shell, shown, states, task,
    time, with_ledger, write_dag_to, write_plugins, wrote,
};

const BOTH: [&str; 5] = ["run", "a.json", "b.json", "--format", "json"];

/// Writes `a.json` and `b.json`, the DAGs `a` and `b`.
fn write_both(sandbox: &Sandbox, a: &[Value], b: &[Value]) {
    write_dag_to(sandbox, "a.json", "a", a, &json!({}));
    write_dag_to(sandbox, "b.json", "b", b, &json!({}));
}

/// The id of each DAG's run.
fn ids(ended: &Ended) -> HashMap<String, String> {
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let lines = ended.json_lines();
    let runs = lines.iter().filter(|event| event["event"] == "run_state");
    runs.map(|event| (text(event, "dag_id"), text(event, "run_id"))).collect()
}

/// Runs both, and shows both.
#[track_caller]
fn run_both(sandbox: &Sandbox, arguments: &[&str], status: i32) -> [Value; 2] {
    let ended = in_time(sandbox.command(&[&BOTH, arguments].concat())).expect_status(status);
    let ids = ids(&ended);
    ["a", "b"].map(|dag| shown(sandbox, &ids[dag]))
}

#[test]
fn both_run_at_once_in_one_process_and_end_each_for_itself() {
    let sandbox = sandbox();
    // Each waits for the other to have begun.
    let meet = |me: &str, other: &str| {
        let script =
            format!("touch {me}.is_here; until [ -e {other}.is_here ]; do sleep 0.01; done; echo $PPID");
        [shell("meet", &[], &script), idle("after", &["meet"], &json!({}))]
    };
    write_both(&sandbox, &meet("a", "b"), &meet("b", "a"));
    let ended = in_time(sandbox.command(&[&BOTH as &[_], &["--workers", "2"]].concat())).expect_status(0);
    let ids = ids(&ended);
    assert_ne!(ids["a"], ids["b"]);
    let lines = ended.json_lines();
    let parent = |dag: &str| {
        let said = lines.iter().find(|event| event["level"] == "stdout" && event["run_id"] == ids[dag]);
        said.unwrap()["line"].clone()
    };
    assert_eq!(parent("a"), parent("b"), "two processes");
    for dag in ["a", "b"] {
        let of_run = lines.iter().filter(|event| event["run_id"] == ids[dag]);
        let states =
            of_run.filter(|event| event["event"] != "log").map(|event| event["state"].as_str().unwrap());
        let states: Vec<&str> = states.collect();
        assert_eq!((states[0], states[states.len() - 1]), ("running", "success"), "{states:?}");
        let run = shown(&sandbox, &ids[dag]);
        assert_eq!((&run["dag_id"], &run["state"]), (&json!(dag), &json!("success")));
    }
    assert!(lines.iter().all(|event| ids.values().any(|id| event["run_id"] == *id)));
}

#[test]
fn the_exit_status_is_that_of_the_worst_end() {
    let sandbox = sandbox();
    let bad = [noop("t", &[], &json!({"fail": true}), &json!({}))];
    let good = [idle("t", &[], &json!({}))];
    for (a, b) in [(&bad, &good), (&good, &bad)] {
        write_both(&sandbox, a, b);
        let runs = run_both(&sandbox, &[], 1);
        let states = runs.map(|run| run["state"].clone());
        assert!(states.contains(&json!("failed")) && states.contains(&json!("success")), "{states:?}");
    }
}

#[test]
fn ctrl_c_cancels_both_and_is_worse_than_a_failure() {
    let (sandbox, ledger) = with_ledger();
    write_dag_to(
        &sandbox,
        "bad.json",
        "bad",
        &[noop("t", &[], &json!({"fail": true}), &json!({}))],
        &json!({}),
    );
    write_both(&sandbox, &[endless("x", &[], &json!({}))], &[endless("y", &[], &json!({}))]);
    let mut run = Running::start(sandbox.command(&[&BOTH as &[_], &["bad.json"]].concat()));
    let mut waited_for = vec![("t", "failed"), ("x", "deferred"), ("y", "deferred")];
    while !waited_for.is_empty() {
        let event = run.until(|event| event["event"] == "task_state");
        waited_for.retain(|(task, state)| event["task_id"] != *task || event["state"] != *state);
    }
    run.signal("INT");
    let ended = run.end().expect_status(130);
    let state = |dag: &str| shown(&sandbox, &ids(&ended)[dag])["state"].clone();
    assert_eq!(["a", "b", "bad"].map(state), ["cancelled", "cancelled", "failed"]);
    for task in ["x", "y"] {
        assert_eq!(wrote(&ledger, task).last().unwrap(), "cancelled");
    }
}

#[test]
fn a_pool_and_an_engine_are_shared_by_both() {
    let sandbox = sandbox();
    let few = format!("[engines.few]\npath = {:?}\nmax_concurrent = 3\n[pools]\np = 2\n", engine("shell"));
    write_plugins(&sandbox, &few);
    // They keep the book themselves: its lines are in the order in which all that happened.
    let script = |name: &str| format!("echo {name} >> book; sleep 0.05; echo end-of-{name} >> book");
    let tasks: Vec<Value> = (0..4)
        .flat_map(|i| {
            let pool = json!({"pool": "p"});
            let pooled = task("shell", &script("pooled"), &format!("pooled{i}"), &[], &json!({}), &pool);
            [pooled, task("few", &script("few"), &format!("few{i}"), &[], &json!({}), &json!({}))]
        })
        .collect();
    write_both(&sandbox, &tasks, &tasks);
    let [a, b] = run_both(&sandbox, &["--workers", "16"], 0);
    let book = std::fs::read_to_string(sandbox.path().join("book")).unwrap();
    for (name, limit) in [("pooled", 2), ("few", 3)] {
        let change = |line: &str| i32::from(line == name) - i32::from(line == format!("end-of-{name}"));
        let at_once = book.lines().scan(0, |now, line| {
            *now += change(line);
            Some(*now)
        });
        assert!(at_once.max() <= Some(limit), "{book}");
        // Nor are they fewer than there could be.
        assert!(most_at_once(attempts_of(&a, name).chain(attempts_of(&b, name))) >= limit);
    }
}

#[test]
fn lines_of_both_are_whole_and_in_order() {
    let sandbox = sandbox();
    // Long lines: the pipe is full most of the time, and both want to write.
    let chatty = [shell("t", &[], "seq -f %.0f-$(printf %01000d 0) 1 5000")];
    write_both(&sandbox, &chatty, &chatty);
    let ended = in_time(sandbox.command(&[&BOTH as &[_], &["--workers", "2"]].concat())).expect_status(0);
    let lines = ended.json_lines();
    for id in ids(&ended).values() {
        let said = lines.iter().filter(|event| event["level"] == "stdout" && event["run_id"] == **id);
        let said: Vec<&str> = said.map(|event| event["line"].as_str().unwrap()).collect();
        let expected: Vec<String> = (1..=5000).map(|n| format!("{n}-{:01000}", 0)).collect();
        assert!(said == expected, "lines are missing or in another order");
    }
}

#[test]
fn a_large_dag_does_not_keep_a_small_one_waiting() {
    let sandbox = sandbox();
    let slow = json!({"delay_ms": 50});
    let large: Vec<Value> =
        (0..20).map(|i| noop(&format!("t{i}"), &[], &slow, &json!({"priority": 9}))).collect();
    write_both(&sandbox, &large, &[idle("only", &[], &json!({}))]);
    let [a, b] = run_both(&sandbox, &["--workers", "2"], 0);
    assert!(time(find(&b, "only"), "started_at") < time(&a, "finished_at"), "{b:#}");
    let before =
        attempts_of(&a, "t").filter(|one| time(one, "finished_at") <= time(find(&b, "only"), "started_at"));
    assert!(before.count() < 10, "{b:#}");
    // The worker that the small one leaves is used by the large one.
    assert_eq!(most_at_once(attempts_of(&a, "t")), 2);
}

#[test]
fn a_task_of_one_is_cancelled_and_the_other_goes_on() {
    let (sandbox, ledger) = with_ledger();
    write_both(&sandbox, &[endless("t", &[], &json!({}))], &[gate("t", &[])]);
    let mut run = Running::start(sandbox.command(&BOTH));
    let a = run.until(|event| event["state"] == "deferred")["run_id"].as_str().unwrap().to_owned();
    oxidag(&sandbox, &["runs", "cancel", &a, "t"], 0);
    sandbox.write("go", "");
    let ended = run.end().expect_status(1);
    assert_eq!(states(&shown(&sandbox, &a)), json!({"t": "cancelled"}));
    assert_eq!(states(&shown(&sandbox, &ids(&ended)["b"])), json!({"t": "success"}));
    assert_eq!(wrote(&ledger, "t").last().unwrap(), "cancelled");
}

#[test]
fn what_is_for_one_dag_is_refused_for_two() {
    let sandbox = sandbox();
    write_both(&sandbox, &[idle("t", &[], &json!({}))], &[idle("t", &[], &json!({}))]);
    for arguments in [&["--only", "t"] as &[_], &["--from", "t"], &["--run-id", "r"], &["--resume"]] {
        let said = oxidag(&sandbox, &[&["run", "a.json", "b.json"], arguments].concat(), 2);
        assert!(said.stderr.contains("name one"), "{}", said.stderr);
    }
    // Nor does the first run when the second is wrong.
    sandbox.write("b.json", "{}");
    oxidag(&sandbox, &["run", "a.json", "b.json"], 2);
    assert_eq!(oxidag(&sandbox, &["runs", "list", "--json"], 0).json(), json!([]));
}
