//! Rules: when they are applied, what keeps a type open, and what is wrong with them.

use oxidag_tests::Sandbox;
use oxidag_tests::running::Running;
use serde_json::json;

use super::{log, run, shown, states};

const LATE: &str = r#"
tasks:
- {task_id: fixed, type: page, script: {engine: noop, inline: ""}}
- {task_id: some, type: source, params: {result: [a, b]}, script: {engine: noop, inline: ""}}
- {task_id: none, type: source, params: {result: [], delay_ms: 50}, script: {engine: noop, inline: ""}}
rules:
- rule_id: pages
  each: {type: source}
  when: task.state == "success"
  add:
    tasks:
    - task_id: page
      type: page
      dependencies: ["{task}"]
      for_each: task.result
      params: {say: "{item} of {task.id}"}
      script: {engine: shell, inline: "echo {say}"}
- rule_id: merge
  when: closed("page") && types.page.states.success == 3
  add:
    tasks:
    - {task_id: merge, dependencies: [{type: page}], script: {engine: noop, inline: ""}}
"#;

#[test]
fn a_merge_is_added_once_nothing_more_of_its_kind_can_come() {
    let sandbox = Sandbox::new();
    let shown = run(&sandbox, LATE, 0);
    let mut names = states(&shown);
    names.sort();
    assert_eq!(
        names,
        [
            "fixed success",
            "merge success",
            "none success",
            "page[none] success",
            "page[some] success",
            "page[some][a] success",
            "page[some][b] success",
            "some success",
        ]
    );
    assert!(log(&sandbox, "page[some][b]").contains("b of some"));
    let tasks = shown["tasks"].as_array().unwrap();
    let from = |name: &str| tasks.iter().find(|task| task["task_id"] == name).unwrap()["grown_from"].clone();
    assert_eq!((from("page[some]"), from("merge")), (json!("some"), json!("rule merge")));
    let last = tasks.iter().map(|task| task["finished_at"].as_str().unwrap()).max();
    assert_eq!(last, tasks.iter().find(|task| task["task_id"] == "merge").unwrap()["finished_at"].as_str());
}

#[test]
fn a_rule_that_can_never_apply_ends_with_the_run_and_is_told() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks: [{task_id: a, script: {engine: noop, inline: ""}}]
rules:
- rule_id: late
  when: tasks.a.state == "failed"
  add: {tasks: [{task_id: b, type: x, script: {engine: noop, inline: ""}}]}
- rule_id: other
  when: closed("x")
  add: {tasks: [{task_id: c, type: x, script: {engine: noop, inline: ""}}]}
"#,
    );
    let ended = sandbox.oxidag(&["run", "dag.yaml", "--run-id", "r", "--format", "quiet"]).expect_status(0);
    assert!(ended.stderr.contains("rule late (dag.yaml:4:3) was never applied"), "{}", ended.stderr);
    assert!(ended.stderr.contains("rule other (dag.yaml:7:3) was never applied"), "{}", ended.stderr);
    let log = sandbox.oxidag(&["runs", "logs", "r"]).expect_status(0).stdout;
    assert!(log.contains("rule late"), "{log}");
}

#[test]
fn a_predicate_that_cannot_be_evaluated_fails_the_run_with_its_place() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks: [{task_id: a, params: {delay_ms: 600000, async: true}, script: {engine: noop, inline: ""}}]
rules:
- when: tasks.a.result.rows > 3
  add: {tasks: [{task_id: b, script: {engine: noop, inline: ""}}]}
"#;
    let shown = run(&sandbox, dag, 1);
    let why = shown["error"]["message"].as_str().unwrap();
    assert!(why.starts_with("dag.yaml:4:9: rule 1: the condition cannot be evaluated: "), "{why}");
    assert_eq!(states(&shown), ["a cancelled"]);
}

#[test]
fn a_graph_that_grows_for_ever_is_stopped() {
    let sandbox = Sandbox::new();
    let dag = r#"
max_tasks: 50
tasks: [{task_id: a, type: x, script: {engine: noop, inline: ""}}]
rules:
- each: {type: x}
  add: {tasks: [{task_id: b, type: x, script: {engine: noop, inline: ""}}]}
"#;
    let shown = run(&sandbox, dag, 1);
    let why = shown["error"]["message"].as_str().unwrap();
    assert!(why.contains("the graph would grow to 51 tasks, and `max_tasks` is 50"), "{why}");
    assert!(shown["tasks"].as_array().unwrap().len() <= 50);
}

#[test]
fn mistakes_in_rules_are_told_with_their_places() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks: [{task_id: a, type: pdf, script: {engine: noop, inline: ""}}]
rules:
- when: closed("pfd") && types.pdf.stats.failed == 0
  add: {tasks: [{task_id: b, dependencies: [c], script: {engine: noop, inline: ""}}]}
- add: {tasks: []}
- when: size(tasks) > 1
  each: {type: pdf, instances_of: a}
  add: {tasks: [{task_id: a, script: {engine: noop, inline: "{x}"}}]}
- when: closed("pfd")
  each: {instances_of: a}
  add: {rules: [{each: {type: pdf}, add: {tasks: [{task_id: d, script: {engine: noop, inline: ""}}]}}]}
"#,
    );
    let said = sandbox.oxidag(&["validate", "dag.yaml"]).expect_status(2).stderr;
    for wanted in [
        "many tasks have no `stats` in a rule",
        "there is no task `c`",
        "a rule has `when` or `each`",
        "a rule names what it looks at, and `tasks` stands here alone",
        "`each` has one key",
        "duplicate task_id `a`",
        "no task is of the type `pfd`",
        "`each` names `a`, which is not mapped",
        "`each` stands in a rule that is added by one with `each`",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

#[test]
fn a_run_with_rules_that_was_killed_applies_each_of_them_once() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks: [{task_id: a, type: x, script: {engine: noop, inline: ""}}]
rules:
- each: {type: x}
  when: task.state == "success"
  add:
    tasks:
    - {task_id: b, dependencies: ["{task}"], script: {engine: shell, inline: "until [ -e go ]; do sleep 0.01; done"}}
    rules:
    - when: tasks.a.state == "success"
      add: {tasks: [{task_id: c, script: {engine: noop, inline: ""}}]}
"#,
    );
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("b[a]", "running");
    running.kill();
    sandbox.write("go", "");
    let _ = sandbox.oxidag(&["resume", "r", "--format", "quiet"]).expect_status(0);
    assert_eq!(states(&shown(&sandbox)), ["a success", "b[a] success", "c[a] success"]);
}

#[test]
fn what_was_left_out_counts_as_done_for_rules_after_a_crash_too() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.yaml",
        r#"
tasks:
- {task_id: a, type: page, script: {engine: noop, inline: ""}}
- {task_id: b, type: page, script: {engine: shell, inline: "until [ -e go ]; do sleep 0.01; done"}}
rules:
- when: types.page.states.success == 2
  add: {tasks: [{task_id: c, script: {engine: noop, inline: ""}}]}
"#,
    );
    let arguments = ["run", "dag.yaml", "--only", "b", "--run-id", "r", "--format", "json"];
    let mut running = Running::start(sandbox.command(&arguments));
    running.until_task("b", "running");
    running.kill();
    sandbox.write("go", "");
    let _ = sandbox.oxidag(&["resume", "r", "--format", "quiet"]).expect_status(0);
    assert_eq!(states(&shown(&sandbox)), ["a skipped", "b success", "c success"]);
}

#[test]
fn a_teardown_waits_for_what_a_rule_adds_behind_its_setup() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks:
- {task_id: setup, script: {engine: shell, inline: "touch there"}}
- {task_id: use, type: u, dependencies: [setup], script: {engine: noop, inline: ""}}
- {task_id: down, dependencies: [setup], teardown: true, script: {engine: shell, inline: "rm there"}}
rules:
- when: tasks.use.state == "success"
  add: {tasks: [{task_id: more, dependencies: [setup], script: {engine: shell, inline: "sleep 0.1; test -e there"}}]}
"#;
    let shown = run(&sandbox, dag, 0);
    assert_eq!(states(&shown), ["setup success", "use success", "down success", "more success"]);
}

#[test]
fn a_type_stays_open_while_a_rule_may_add_a_task_that_may_add_to_it() {
    let sandbox = Sandbox::new();
    let dag = r#"
tasks: [{task_id: a, script: {engine: noop, inline: ""}}]
rules:
- when: tasks.a.state == "success"
  add:
    tasks:
    - task_id: x
      adds: [pdf]
      params: {append: {tasks: [{task_id: p, type: pdf, script: {engine: noop, inline: ""}}]}}
      script: {engine: noop, inline: ""}
- when: closed("pdf")
  add: {tasks: [{task_id: merge, dependencies: [{type: pdf}], script: {engine: noop, inline: ""}}]}
"#;
    let shown = run(&sandbox, dag, 0);
    assert_eq!(states(&shown), ["a success", "x success", "p success", "merge success"]);
}
