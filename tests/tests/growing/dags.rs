//! DAGs in DAGs.

use oxidag_tests::Sandbox;
use oxidag_tests::running::Running;

use super::{log, run, shown, states};

/// A DAG in a folder of its own, with a script beside it.
fn inner(sandbox: &Sandbox) {
    sandbox.write("inner/files/shell/say.sh", "echo {greeting} from $(basename \"$PWD\")\n");
    sandbox.write(
        "inner/load.yaml",
        r#"
params: {greeting: hello, region: none}
processors: 1
tasks:
- {task_id: list, params: {result: [a, b]}, script: {engine: noop, inline: ""}}
- {task_id: load, dependencies: [list], for_each: tasks.list.result, params: {item: "{item}"}, script: {engine: shell, inline: "echo {item} of {region}"}}
- {task_id: check, dependencies: [load], when: size(tasks.load.result) == 2, script: {engine: noop, inline: ""}}
- {task_id: say, dependencies: [check], script: local.files.shell.shell.say}
"#,
    );
}

#[test]
fn a_task_stands_for_the_tasks_of_another_dag() {
    let sandbox = Sandbox::new();
    inner(&sandbox);
    let dag = r#"
params: {region: outer}
tasks:
- {task_id: before, script: {engine: noop, inline: ""}}
- {task_id: sub, dag: inner/load.yaml, dependencies: [before], params: {region: eu}}
- {task_id: after, dependencies: [sub], script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 0);
    assert_eq!(
        states(&shown),
        [
            "before success",
            "sub success",
            "after success",
            "sub/list success",
            "sub/load success",
            "sub/check success",
            "sub/say success",
            "sub/load[a] success",
            "sub/load[b] success",
        ]
    );
    assert!(log(&sandbox, "sub/load[b]").contains("b of eu"));
    assert!(log(&sandbox, "sub/say").contains("hello from inner"));
    assert_eq!(shown["tasks"][3]["grown_from"], "sub");
    let graph = sandbox.oxidag(&["graph", "r"]).expect_status(0).stdout;
    assert!(graph.contains(r#""sub" -> "sub/list" [style=dashed];"#), "{graph}");
    let _ = sandbox.oxidag(&["plan", "dag.yaml"]).expect_status(0);
}

#[test]
fn what_a_dag_in_a_mapped_dag_has_set_up_is_torn_down() {
    let sandbox = Sandbox::new();
    sandbox.write("create.yaml", "tasks: [{task_id: create, script: {engine: noop, inline: ''}}]");
    sandbox.write("nested.yaml", "tasks: [{task_id: inner, dag: create.yaml}]");
    let dag = "
tasks:
- {task_id: setup, dag: nested.yaml, for_each: [eu, us]}
- {task_id: delete, dependencies: [setup], teardown: true, script: {engine: noop, inline: ''}}
";
    let shown = run(&sandbox, dag, 0);
    assert!(states(&shown).contains(&"delete success".to_owned()), "{:?}", states(&shown));
}

#[test]
fn a_dag_is_run_for_each_item() {
    let sandbox = Sandbox::new();
    inner(&sandbox);
    let dag = r#"
tasks:
- {task_id: sub, dag: inner/load.yaml, for_each: [eu, us], params: {region: "{item}"}}
- {task_id: after, dependencies: [sub], script: {engine: noop, inline: ""}}
"#;
    let shown = run(&sandbox, dag, 0);
    let states = states(&shown);
    for task in ["sub", "sub[eu]", "sub[eu]/load[a]", "sub[us]/say", "after"] {
        assert!(states.contains(&format!("{task} success")), "{task}: {states:?}");
    }
    assert_eq!(states.len(), 16);
    assert!(log(&sandbox, "sub[us]/load[a]").contains("a of us"));
}

#[test]
fn a_dag_in_another_one_fails_it_and_is_cancelled_with_it() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.yaml", "tasks: [{task_id: x, params: {fail: true}, script: {engine: noop, inline: ''}}, {task_id: y, dependencies: [x], script: {engine: noop, inline: ''}}]");
    let dag = "tasks: [{task_id: sub, dag: bad.yaml}, {task_id: after, dependencies: [sub], script: {engine: noop, inline: ''}}]";
    let shown = run(&sandbox, dag, 1);
    assert_eq!(
        states(&shown),
        ["sub failed", "after upstream_failed", "sub/x failed", "sub/y upstream_failed"]
    );
    let why = &shown["tasks"][0]["error"]["message"];
    assert_eq!(why, "2 of 2 tasks failed, the first of them sub/x");

    let sandbox = Sandbox::new();
    sandbox.write(
        "slow.yaml",
        "tasks: [{task_id: x, params: {delay_ms: 600000, async: true}, script: {engine: noop, inline: ''}}]",
    );
    sandbox.write("dag.yaml", "tasks: [{task_id: sub, dag: slow.yaml}]");
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("sub/x", "deferred");
    let _ = sandbox.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    assert_eq!(running.end().status, Some(130));
    assert_eq!(states(&self::shown(&sandbox)), ["sub cancelled", "sub/x cancelled"]);
}

#[test]
fn a_run_that_was_killed_goes_on_within_a_dag_in_it() {
    let sandbox = Sandbox::new();
    sandbox.write("waits.yaml", "tasks: [{task_id: x, script: {engine: shell, inline: 'until [ -e go ]; do sleep 0.01; done'}}, {task_id: y, dependencies: [x], script: {engine: shell, inline: 'true'}}]");
    sandbox.write("dag.yaml", "tasks: [{task_id: sub, dag: waits.yaml}]");
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("sub/x", "running");
    running.kill();
    sandbox.write("go", "");
    let _ = sandbox.oxidag(&["resume", "r", "--format", "quiet"]).expect_status(0);
    assert_eq!(states(&shown(&sandbox)), ["sub success", "sub/x success", "sub/y success"]);
}

#[test]
fn mistakes_of_a_dag_in_another_one_are_told() {
    let sandbox = Sandbox::new();
    let said = |dag: &str| {
        sandbox.write("dag.yaml", dag);
        sandbox.oxidag(&["validate", "dag.yaml"]).expect_status(2).stderr
    };
    sandbox.write("self.yaml", "tasks: [{task_id: a, dag: self.yaml}]");
    sandbox.write("there.yaml", "tasks: [{task_id: a, dag: back.yaml}]");
    sandbox.write("back.yaml", "tasks: [{task_id: a, dag: there.yaml}]");
    sandbox.write("rules.yaml", "tasks: [{task_id: a, script: {engine: noop, inline: ''}}]\nrules: [{when: true, add: {tasks: [{task_id: b, script: {engine: noop, inline: ''}}]}}]");
    sandbox.write("broken.yaml", "tasks: [{task_id: a, retrys: 1, script: {engine: noop, inline: ''}}]");
    sandbox.write("placeholder.yaml", "tasks: [{task_id: a, script: {engine: noop, inline: '{x}'}}]");
    sandbox.write("teardown.yaml", "tasks: [{task_id: a, script: {engine: noop, inline: ''}}, {task_id: b, dependencies: [a], teardown: true, script: {engine: noop, inline: ''}}]");
    for (dag, why) in [
        ("tasks: [{task_id: s, dag: nowhere.yaml}]", "there is no such file"),
        ("tasks: [{task_id: s, dag: self.yaml}]", "stands in itself"),
        ("tasks: [{task_id: s, dag: broken.yaml}]", "broken.yaml:1:22: error: unknown key `retrys`"),
        (
            "tasks: [{task_id: s, dag: placeholder.yaml}]",
            "in placeholder.yaml: the placeholder `{x}` has no value",
        ),
        ("tasks: [{task_id: s, dag: teardown.yaml}]", "is a teardown, in a DAG that stands in another one"),
        ("tasks: [{task_id: s, dag: rules.yaml}]", "rules stand in the outermost DAG"),
        ("tasks: [{task_id: s, dag: there.yaml}]", "the DAG `there.yaml` stands in itself"),
        ("tasks: [{task_id: s, dag: broken.yaml, retries: 3}]", "`retries` stands beside `dag`"),
        ("tasks: [{task_id: s}]", "`script` is missing in a task"),
    ] {
        let said = said(dag);
        assert!(said.contains(why), "{why}\n{said}");
    }
}

#[test]
fn only_so_many_of_the_dags_of_a_mapped_task_run_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "inner.yaml",
        "tasks: [{task_id: t, params: {delay_ms: 10, async: true}, script: {engine: noop, inline: ''}}]",
    );
    let shown = run(
        &sandbox,
        "tasks: [{task_id: sub, dag: inner.yaml, for_each: [a, b, c], max_active_tis_per_dagrun: 1}]",
        0,
    );
    let tasks = shown["tasks"].as_array().unwrap().iter();
    let inner = tasks.filter(|task| task["task_id"].as_str().unwrap().ends_with("/t"));
    let mut times: Vec<(&str, &str)> = inner
        .map(|task| (task["started_at"].as_str().unwrap(), task["finished_at"].as_str().unwrap()))
        .collect();
    times.sort_unstable();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|two| two[0].1 <= two[1].0), "{times:?}");
}

#[test]
fn rules_see_the_types_of_the_tasks_of_dags_in_the_dag() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "inner.yaml",
        "tasks: [{task_id: t, type: pdf, params: {delay_ms: 20}, script: {engine: noop, inline: ''}}]",
    );
    let dag = r#"
tasks: [{task_id: sub, dag: inner.yaml}]
rules:
- when: closed("pdf") && types.pdf.states.success == 1
  add: {tasks: [{task_id: merge, dependencies: [{type: pdf}], script: {engine: noop, inline: ""}}]}
"#;
    let shown = run(&sandbox, dag, 0);
    assert_eq!(states(&shown), ["sub success", "sub/t success", "merge success"]);
    let graph = sandbox.oxidag(&["graph", "r"]).expect_status(0).stdout;
    assert!(graph.contains(r#""sub/t" -> "merge";"#), "{graph}");
    sandbox.write("dag.yaml", &dag.replace("closed(\"pdf\")", "closed(\"pfd\")"));
    let said = sandbox.oxidag(&["validate", "dag.yaml"]).expect_status(2).stderr;
    assert!(said.contains("no task is of the type `pfd`") && said.contains("did you mean `pdf`?"), "{said}");
}

/// Looks until a task is shown like this: other processes see what happens a moment later.
fn until_shown(sandbox: &Sandbox, state: &str) -> Vec<String> {
    loop {
        let now = states(&shown(sandbox));
        if now.iter().any(|task| task == state) {
            return now;
        }
    }
}

#[test]
fn a_part_of_a_run_is_cancelled_with_all_that_is_in_it() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "slow.yaml",
        "tasks: [{task_id: x, for_each: [p, q], params: {delay_ms: 600000, async: true}, script: {engine: noop, inline: ''}}]",
    );
    sandbox.write("dag.yaml", "tasks: [{task_id: sub, dag: slow.yaml, for_each: [a, b]}, {task_id: after, dependencies: [sub], trigger_rule: all_done, script: {engine: noop, inline: ''}}]");
    let mut running =
        Running::start(sandbox.command(&["run", "dag.yaml", "--run-id", "r", "--format", "json"]));
    running.until_task("sub[b]/x[q]", "deferred");
    until_shown(&sandbox, "sub[b]/x[q] deferred");
    let _ = sandbox.oxidag(&["runs", "cancel", "r", "sub[a]"]).expect_status(0);
    running.until_task("sub[a]", "cancelled");
    let states_now = until_shown(&sandbox, "sub[a] cancelled");
    assert!(states_now.contains(&"sub running".to_owned()), "{states_now:?}");
    let _ = sandbox.oxidag(&["runs", "cancel", "r", "sub"]).expect_status(0);
    assert_eq!(running.end().status, Some(1));
    let end = states(&shown(&sandbox));
    let cancelled = end.iter().filter(|state| state.ends_with(" cancelled")).count();
    assert_eq!(cancelled, 9, "{end:?}");
    assert!(end.contains(&"after success".to_owned()), "{end:?}");
}
