//! Engines that add to the graph, and look at it.

use oxidag_tests::Sandbox;
use oxidag_tests::running::Running;
use serde_json::{Value, json};

use super::{run, shown, states};

/// A task whose engine adds something, then waits for a moment.
fn appending(addition: &Value, more: &str) -> String {
    format!(
        "tasks:\n- {{task_id: a, params: {{append: {addition}}}, script: {{engine: noop, inline: \"\"}}, {more}}}\n"
    )
}

fn noop(name: &str, more: Value) -> Value {
    let mut task = json!({"task_id": name, "script": {"engine": "noop", "inline": ""}});
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

#[test]
fn an_engine_adds_tasks_and_rules_to_the_graph() {
    let sandbox = Sandbox::new();
    let addition = json!({
        "tasks": [
            noop("after", json!({"dependencies": ["{task}", "beside"]})),
            noop("beside", json!({"params": {"say": "{task.id}"}, "for_each": ["x", "y"]})),
        ],
        "rules": [{"when": "tasks.after.state == \"success\"", "add": {"tasks": [noop("last", json!({}))]}}],
    });
    let shown = run(&sandbox, &appending(&addition, "retries: 0"), 0);
    let mut names = states(&shown);
    names.sort();
    assert_eq!(
        names,
        [
            "a success",
            "after success",
            "beside success",
            "beside[x] success",
            "beside[y] success",
            "last success"
        ]
    );
    assert_eq!(shown["tasks"][1]["grown_from"], "a");
}

#[test]
fn nothing_is_added_if_any_of_it_is_wrong() {
    let good = noop("good", json!({}));
    let wrong = [
        (json!({"tasks": [good, noop("a", json!({}))]}), "there is a task `a` already"),
        (
            json!({"tasks": [good, noop("b", json!({"dependencies": ["c"]}))]}),
            "task `b` names `c`, which is not there",
        ),
        (json!({"tasks": [good, noop("b", json!({"retrys": 3}))]}), "unknown key `retrys` in a task"),
        (json!({"tasks": [good, noop("b", json!({"type": "pdf"}))]}), "say so in the DAG: `adds: [pdf]`"),
        (
            json!({"tasks": [good, {"task_id": "b", "script": {"engine": "sql", "inline": ""}}]}),
            "no task of the DAG has the engine `sql`",
        ),
        (
            json!({"tasks": [good, {"task_id": "b", "script": {"engine": "noop", "inline": "{x}"}}]}),
            "the placeholder `{x}` has no value",
        ),
        (
            json!({"tasks": [good], "rules": [{"when": "tasks.zz.state == \"failed\"", "add": {"tasks": [noop("b", json!({}))]}}]}),
            "looks at `zz`, which is not there",
        ),
        (
            json!({"tasks": [noop("b", json!({"dependencies": ["c"]})), noop("c", json!({"dependencies": ["b"]}))]}),
            "depend on each other in a cycle",
        ),
        (json!({}), "nothing is added"),
        (
            json!({"tasks": [good], "rules": [{"when": "closed(\"pfd\")", "add": {"tasks": [noop("b", json!({}))]}}]}),
            "no task is of the type `pfd`",
        ),
        (
            json!({"tasks": [good, noop("b", json!({"for_each": {"instances_of": "good"}}))]}),
            "`good` is not mapped, and has no instances",
        ),
        (
            json!({"tasks": [good, noop("b", json!({"dependencies": ["good", "good"]}))]}),
            "task `b` names `good` more than once among its dependencies",
        ),
    ];
    for (addition, why) in wrong {
        let sandbox = Sandbox::new();
        let shown = run(&sandbox, &appending(&addition, "retries: 0"), 1);
        assert_eq!(states(&shown), ["a failed"], "{addition}");
        let said = shown["tasks"][0]["error"]["message"].as_str().unwrap();
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn an_attempt_that_is_repeated_adds_nothing_twice() {
    let sandbox = Sandbox::new();
    let addition = json!({"tasks": [noop("b", json!({}))]});
    let dag = appending(&addition, "retries: 1, retry_delay: 0").replace("{append:", "{fail: 1, append:");
    let shown = run(&sandbox, &dag, 0);
    assert_eq!(states(&shown), ["a success", "b success"]);
    assert_eq!(shown["tasks"][0]["attempts"].as_array().unwrap().len(), 2);
}

#[test]
fn what_an_engine_had_added_is_there_after_a_crash() {
    let sandbox = Sandbox::new();
    let addition = json!({
        "tasks": [{"task_id": "b", "script": {"engine": "shell", "inline": "until [ -e go ]; do sleep 0.01; done"}}],
        "rules": [{"when": "tasks.b.state == \"success\"", "add": {"tasks": [noop("c", json!({}))]}}],
    });
    let dag = appending(&addition, "retries: 0").replace("{append:", "{delay_ms: 100, append:");
    let dag = format!("{dag}- {{task_id: s, script: {{engine: shell, inline: 'true'}}}}\n");
    sandbox.write("dag.yaml", &dag);
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("b", "running");
    running.kill();
    sandbox.write("go", "");
    let _ = sandbox.oxidag(&["resume", "r", "--format", "quiet"]).expect_status(0);
    assert_eq!(states(&shown(&sandbox)), ["a success", "s success", "b success", "c success"]);
}

#[test]
fn a_type_stays_open_while_a_task_runs_that_may_add_to_it() {
    let sandbox = Sandbox::new();
    let addition = json!({"tasks": [noop("b", json!({"type": "pdf"}))]});
    let dag = appending(&addition, "adds: [pdf]").replace("{append:", "{delay_ms: 50, append:");
    let dag = format!(
        "{dag}rules:\n- {{when: closed(\"pdf\"), add: {{tasks: [{{task_id: merge, dependencies: [{{type: pdf}}], script: {{engine: noop, inline: \"\"}}}}]}}}}\n"
    );
    let shown = run(&sandbox, &dag, 0);
    assert_eq!(states(&shown), ["a success", "b success", "merge success"]);
}

#[test]
fn an_engine_can_look_at_the_graph() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- {task_id: a, type: x, params: {result: 7}, script: {engine: noop, inline: ""}}
- {task_id: m, for_each: [p], dependencies: [a], script: {engine: noop, inline: ""}}
- {task_id: q, dependencies: [m], params: {query: {type: x, instances_of: m, tasks: [q]}}, script: {engine: noop, inline: ""}}
- {task_id: w, dependencies: [q], params: {query: {tasks: [nowhere]}}, script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 1);
    let task = |id: &str, state: &str, kind: Value, result: Value, upstream: Value| json!({"task_id": id, "state": state, "type": kind, "result": result, "upstream": upstream});
    assert_eq!(
        shown["tasks"][2]["result"],
        json!([
            task("q", "running", Value::Null, Value::Null, json!(["m"])),
            task("m[p]", "success", Value::Null, Value::Null, json!([])),
            task("a", "success", json!("x"), json!(7), json!([])),
        ])
    );
    assert_eq!(shown["tasks"][3]["error"]["message"], "there is no task `nowhere`");
}

#[test]
fn what_failed_of_what_was_added_is_run_once_more() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- {task_id: a, params: {result: [x, y]}, script: {engine: noop, inline: ""}}
- {task_id: m, dependencies: [a], for_each: tasks.a.result, script: {engine: noop, inline: ""}}
- {task_id: f, for_each: {instances_of: m}, script: {engine: shell, inline: "test -e there"}}
rules:
- when: tasks.a.state == "success"
  add: {tasks: [{task_id: r, dependencies: [a], script: {engine: shell, inline: "test -e there"}}]}
"#;
    let shown = run(&sandbox, dag, 1);
    assert!(states(&shown).contains(&"r failed".to_owned()), "{:?}", states(&shown));
    sandbox.write("there", "");
    let again = ["run", "--failed", "r", "--run-id", "again", "--format", "quiet"];
    let _ = sandbox.oxidag(&again).expect_status(0);
    let shown = sandbox.oxidag(&["runs", "show", "again", "--json"]).expect_status(0).json();
    let mut states = states(&shown);
    states.sort();
    assert_eq!(
        states,
        [
            "a skipped",
            "f success",
            "f[x] success",
            "f[y] success",
            "m success",
            "m[x] success",
            "m[y] success",
            "r success",
        ]
    );
}
