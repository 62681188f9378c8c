//! What isolated engines are there for: the same work with the same results.

use oxidag_tests::running::in_time;
use oxidag_tests::{Sandbox, engine};
use serde_json::{Value, json};

use super::{find, isolated, log, r, rogue, run, task, write_dag};

/// Sections for these engines with this in each.
fn plugins(sandbox: &Sandbox, isolation: &str) {
    let section =
        |name: &str| format!("[engines.{name}]\npath = {:?}\nisolation = '{isolation}'\n", engine(name));
    sandbox.write("plugins.toml", &["noop", "shell", "sql"].map(section).concat());
}

/// What a run of a DAG left, without what differs from run to run.
fn results(sandbox: &Sandbox) -> Value {
    run(sandbox).expect_status(0);
    let run = r(sandbox);
    let kept = run["tasks"].as_array().unwrap().iter().map(|task| {
        json!([
            task["task_id"],
            task["state"],
            task["result"],
            task["attempts"][0]["metrics"]["rows_returned"]
        ])
    });
    kept.collect()
}

#[test]
fn a_dag_of_shell_sql_and_noop_leaves_the_same_in_both_places() {
    let each = ["in-process", "process"].map(|isolation| {
        let sandbox = Sandbox::new();
        plugins(&sandbox, isolation);
        let one = json!({"tasks": [{"task_id": "added", "script": {"engine": "noop", "inline": ""}}]});
        let database = json!({"url": "sqlite:work.db"});
        write_dag(
            &sandbox,
            &[
                task(
                    "shell",
                    "#!/bin/sh\necho '{{\"n\": 3}}' > \"$OXIDAG_RESULT\"",
                    "shell",
                    &[],
                    &json!({}),
                    &json!({}),
                ),
                task(
                    "sql",
                    "create table t (n integer); insert into t values (1), (2)",
                    "sql",
                    &["shell"],
                    &database,
                    &json!({}),
                ),
                task("sql", "select n from t order by n", "read", &["sql"], &database, &json!({})),
                task("noop", "", "grow", &[], &json!({"append": one}), &json!({})),
                task(
                    "noop",
                    "",
                    "ask",
                    &["grow"],
                    &json!({"query": {"tasks": ["shell", "read"]}, "async": true}),
                    &json!({"dependencies": ["grow", "read"]}),
                ),
                task(
                    "noop",
                    "",
                    "fails_once",
                    &[],
                    &json!({"fail": 1}),
                    &json!({"retries": 1, "retry_delay": 0}),
                ),
            ],
        );
        results(&sandbox)
    });
    assert_eq!(each[0], each[1]);
    for left in [r#"{"n":3}"#, r#"[{"n":1},{"n":2}]"#, r#""added","success""#] {
        assert!(each[0].to_string().contains(left), "{left}: {}", each[0]);
    }
}

/// Its process is asked about the task that its attempt adds, while the attempt waits.
#[test]
fn an_attempt_without_a_worker_adds_a_task_of_its_own_engine() {
    let sandbox = isolated(&["noop"], "");
    let added = json!({"tasks": [{"task_id": "added", "script": {"engine": "noop", "inline": ""}}]});
    write_dag(
        &sandbox,
        &[task("noop", "", "grow", &[], &json!({"async": true, "append": added}), &json!({"timeout": 50}))],
    );
    run(&sandbox).expect_status(0);
    let run = r(&sandbox);
    assert_eq!(
        (&find(&run, "grow")["state"], &find(&run, "added")["state"]),
        (&"success".into(), &"success".into())
    );
}

#[test]
fn ten_thousand_attempts_go_through_one_process() {
    let sandbox = isolated(&["noop"], "");
    let tasks: Vec<Value> = (0..10_000)
        .map(|n| task("noop", "", &format!("t{n}"), &[], &json!({"async": n % 2 == 0}), &json!({})))
        .collect();
    write_dag(&sandbox, &tasks);
    let mut command = sandbox.command(&["run", "dag.json", "--run-id", "r", "--format", "quiet"]);
    command.env("RUST_BACKTRACE", "1");
    in_time(command).expect_status(0);
    let run = r(&sandbox);
    let tasks = run["tasks"].as_array().unwrap();
    assert!(tasks.len() == 10_000 && tasks.iter().all(|task| task["state"] == "success"));
}

#[test]
fn a_dry_run_asks_the_engine_in_its_process() {
    let sandbox = isolated(&["sql"], "");
    let database = json!({"url": "sqlite:work.db"});
    write_dag(&sandbox, &[task("sql", "selec 1", "a", &[], &database, &json!({}))]);
    let ended = in_time(sandbox.command(&["run", "dag.json", "--dry-run"]));
    let said = format!("{}{}", ended.stdout, ended.stderr);
    plugins(&sandbox, "in-process");
    let ended = in_time(sandbox.command(&["run", "dag.json", "--dry-run"]));
    assert_eq!(said, format!("{}{}", ended.stdout, ended.stderr));
    assert!(said.contains("selec"), "{said}");
}

#[test]
fn what_a_library_prints_is_in_the_log_and_not_on_standard_output() {
    let sandbox = isolated(&["rogue"], "");
    write_dag(&sandbox, &[rogue("print", "a", &[])]);
    let ended = run(&sandbox).expect_status(0);
    let log = log(&sandbox, "a");
    assert!(log.contains("stdout printed to stdout") && log.contains("stderr printed to stderr"), "{log}");
    assert!(ended.json_lines().iter().all(|line| line["event"].is_string()));
    assert!(!ended.stderr.contains("printed"), "{}", ended.stderr);
}
