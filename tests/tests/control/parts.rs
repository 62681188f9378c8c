//! `run --only`, `--from` and `--failed`: what runs, what is left out, and what that has left before.

use std::fs::File;

use oxidag_tests::Sandbox;
use serde_json::{Value, json};

use super::{attempts, find, idle, in_turn, noop, oxidag, r, run, sandbox, shell, shown, states, write_dag};

/// `a ─▶ b ─▶ c`, and `x` beside them.
fn chain() -> Sandbox {
    let sandbox = sandbox();
    let tasks = [
        idle("a", &[], &json!({})),
        idle("b", &["a"], &json!({})),
        idle("c", &["b"], &json!({})),
        idle("x", &[], &json!({})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    sandbox
}

#[track_caller]
fn runs_only(arguments: &[&str], said: &str, expected: &Value) {
    let sandbox = chain();
    let ended = run(&sandbox, arguments).expect_status(0);
    assert_eq!(ended.stderr, said);
    let run = r(&sandbox);
    assert_eq!(states(&run), *expected);
    for task in ["a", "b", "c", "x"] {
        let skipped = expected[task] == "skipped";
        assert_eq!(attempts(&run, task).is_empty(), skipped);
        assert_eq!(find(&run, task)["error"]["kind"] == "left_out", skipped);
    }
}

#[test]
fn only_the_named_tasks_run() {
    let b = json!({"a": "skipped", "b": "success", "c": "skipped", "x": "skipped"});
    runs_only(&["--only", "b"], "left out: 3 tasks: a, c, x\n", &b);
    let two = json!({"a": "skipped", "b": "skipped", "c": "success", "x": "success"});
    runs_only(&["--only", "c", "--only", "x"], "left out: 2 tasks: a, b\n", &two);
}

#[test]
fn a_run_from_a_task_does_what_follows() {
    let b = json!({"a": "skipped", "b": "success", "c": "success", "x": "skipped"});
    runs_only(&["--from", "b"], "left out: 2 tasks: a, x\n", &b);
    let both = json!({"a": "skipped", "b": "skipped", "c": "success", "x": "success"});
    runs_only(&["--from", "c", "--only", "x"], "left out: 2 tasks: a, b\n", &both);
}

#[test]
fn what_is_left_out_is_said_before_anything_runs() {
    let sandbox = chain();
    let said = File::create(sandbox.path().join("said")).unwrap();
    let mut command = sandbox.command(&["run", "dag.json", "--only", "b"]);
    let status = command.stdout(said.try_clone().unwrap()).stderr(said).status().unwrap();
    assert!(status.success());
    let said = std::fs::read_to_string(sandbox.path().join("said")).unwrap();
    assert_eq!(said.lines().next(), Some("left out: 3 tasks: a, c, x"), "{said}");
}

/// A run in which `load` fails as long as the file `fixed` is not there.
fn repeatable() -> Sandbox {
    let sandbox = sandbox();
    let tasks = [
        noop("count", &[], &json!({"result": {"rows": 7}}), &json!({})),
        shell("load", &["count"], "[ -e fixed ]"),
        idle("many", &["load"], &json!({"when": "tasks.count.result.rows > params.most"})),
        idle("few", &["load"], &json!({"when": "tasks.count.result.rows <= params.most"})),
        idle("beside", &["count"], &json!({"when": "tasks.count.state == 'failed'"})),
    ];
    write_dag(&sandbox, &tasks, &json!({"params": {"most": 100}}));
    run(&sandbox, &["-p", "most=5"]).expect_status(1);
    let expected = json!({
        "count": "success", "load": "failed", "many": "upstream_failed", "few": "upstream_failed", "beside": "skipped",
    });
    assert_eq!(states(&r(&sandbox)), expected);
    sandbox
}

#[test]
fn what_failed_and_what_follows_runs_again_with_what_the_earlier_run_left() {
    let sandbox = repeatable();
    sandbox.write("fixed", "");
    // The file and the parameters are those of that run.
    let ended = oxidag(&sandbox, &["run", "--failed", "r", "--run-id", "again"], 0);
    assert_eq!(ended.stderr, "left out: 2 tasks: count, beside\n");
    let expected = json!({"count": "skipped", "load": "success", "many": "success", "few": "skipped", "beside": "skipped"});
    let again = shown(&sandbox, "again");
    assert_eq!(states(&again), expected);
    assert!(attempts(&again, "count").is_empty());
    assert_eq!(find(&again, "count")["result"], json!({"rows": 7}));
    // The earlier one stays what it was.
    assert_eq!(r(&sandbox)["state"], "failed");
}

#[test]
fn a_repetition_that_fails_can_be_repeated() {
    let sandbox = repeatable();
    oxidag(&sandbox, &["run", "--failed", "r", "--run-id", "r2"], 1);
    sandbox.write("fixed", "");
    oxidag(&sandbox, &["run", "--failed", "r2", "--run-id", "r3"], 0);
    let run = shown(&sandbox, "r3");
    assert_eq!(
        (&find(&run, "count")["state"], &find(&run, "many")["state"]),
        (&json!("skipped"), &json!("success"))
    );
}

#[test]
fn a_part_has_the_setups_and_teardowns_that_it_needs() {
    let sandbox = sandbox();
    let tasks = [
        idle("before", &[], &json!({})),
        idle("create", &["before"], &json!({})),
        idle("work", &["create"], &json!({})),
        idle("more", &["create"], &json!({})),
        idle("delete", &["create"], &json!({"teardown": true})),
        idle("after", &["work"], &json!({})),
        idle("other", &[], &json!({})),
        idle("of_other", &["other"], &json!({"teardown": true})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    let ended = run(&sandbox, &["--only", "work"]).expect_status(0);
    assert_eq!(ended.stderr, "left out: 5 tasks: before, more, after, other, of_other\n");
    let expected = json!({
        "before": "skipped", "create": "success", "work": "success", "more": "skipped", "delete": "success",
        "after": "skipped", "other": "skipped", "of_other": "skipped",
    });
    let run = r(&sandbox);
    assert_eq!(states(&run), expected);
    super::in_turn(&run, "work", "delete");
}

#[test]
fn parts_that_do_not_exist_are_refused_and_nothing_runs() {
    let sandbox = chain();
    write_dag(
        &sandbox,
        &[idle("extract", &[], &json!({})), idle("load", &["extract"], &json!({}))],
        &json!({}),
    );
    super::write_dag_to(&sandbox, "other.json", "other", &[idle("t", &[], &json!({}))], &json!({}));
    oxidag(&sandbox, &["run", "dag.json", "--run-id", "good", "--format", "quiet"], 0);
    let cases: [(&[&str], &str); 6] = [
        (&["dag.json", "--only", "extrct"], "there is no task `extrct`; did you mean `extract`?"),
        (&["dag.json", "--from", "laod"], "there is no task `laod`; did you mean `load`?"),
        (&["dag.json", "--only", "quite-another"], "there is no task `quite-another`"),
        (&["--failed", "nobody"], "nobody"),
        (&["--failed", "good"], "nothing to repeat"),
        (&["other.json", "--failed", "good"], "one of the DAG d, not of other"),
    ];
    for (arguments, said) in cases {
        let ended = oxidag(&sandbox, &[&["run"], arguments].concat(), 2);
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let runs = oxidag(&sandbox, &["runs", "list", "--json"], 0).json();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs:#}");
}

#[test]
fn a_setup_that_is_made_again_comes_before_what_needs_it() {
    let sandbox = sandbox();
    let slow = json!({"delay_ms": 300});
    let tasks = [
        noop("setup", &[], &slow, &json!({})),
        idle("between", &["setup"], &json!({})),
        idle("work", &["between"], &json!({})),
        idle("teardown", &["setup"], &json!({"teardown": true})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    run(&sandbox, &["--only", "work"]).expect_status(0);
    let run = r(&sandbox);
    let expected =
        json!({"setup": "success", "between": "skipped", "work": "success", "teardown": "success"});
    assert_eq!(states(&run), expected);
    in_turn(&run, "setup", "work");
}

#[test]
fn a_branch_that_was_not_taken_is_not_taken_when_what_failed_is_repeated() {
    let sandbox = sandbox();
    let tasks = [
        idle("full", &[], &json!({"when": "false"})),
        shell("part", &[], "[ -e go ]"),
        idle("after_both", &["full", "part"], &json!({})),
        idle("after_any", &["full", "part"], &json!({"trigger_rule": "none_failed_min_one_success"})),
    ];
    write_dag(&sandbox, &tasks, &json!({}));
    run(&sandbox, &[]).expect_status(1);
    sandbox.write("go", "");
    oxidag(&sandbox, &["run", "--failed", "r", "--run-id", "again", "--format", "quiet"], 0);
    let expected =
        json!({"full": "skipped", "part": "success", "after_both": "skipped", "after_any": "success"});
    assert_eq!(states(&shown(&sandbox, "again")), expected);
}
