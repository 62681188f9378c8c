//! Tests of what a DAG needs of its environment, and of what its conditions see. No engine is loaded.

use serde_json::json;

use super::*;
use crate::spec::parse;
use crate::state::TaskState;

const SCRIPT: &str = "{engine: noop, inline: ''}";

/// A DAG of these keys and tasks, `{script}` standing for a script.
fn dag(text: &str) -> (Dag, SourceFile) {
    let text = text.replace("{script}", &format!("script: {SCRIPT}"));
    parse(SourceFile::new("dag.yaml".into(), text)).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("{value}") };
    map
}

fn mistakes(text: &str, plugins: &Plugins, overrides: Value) -> String {
    let (dag, source) = dag(text);
    let checked = check(&dag, source.path(), plugins, &mut Engines::default(), &object(overrides)).unwrap();
    Diagnostics::new(source, checked.mistakes).to_string()
}

/// As [`prepare`], without scripts and engines.
fn prepared(text: &str, overrides: Value) -> Prepared {
    let ((dag, source), overrides) = (dag(text), object(overrides));
    let checked =
        check(&dag, source.path(), &Plugins::default(), &mut Engines::default(), &overrides).unwrap();
    assert_eq!(checked.mistakes, []);
    Prepared {
        dag,
        source,
        graph: checked.graph,
        engines: Vec::new(),
        pools: checked.pools,
        templates: Vec::new(),
        subs: Subs::new(),
        environment: Plugins::default(),
        masker: Masker::new(["s3cret-value"]),
        tasks: Vec::new(),
        watched: checked.watched,
        overrides,
        connections: Connections::from([(("A".to_owned(), "key".to_owned()), "s3cret-value".to_owned())]),
        working_dir: PathBuf::new(),
        script_cache: None,
        remark: None,
    }
}

fn pools(pools: &[(&str, u32)]) -> Plugins {
    let mut plugins = Plugins::default();
    plugins.pools.extend(pools.iter().map(|&(name, slots)| (name.to_owned(), slots)));
    plugins
}

#[test]
fn a_pool_is_the_dags_or_the_environments() {
    let text = "pools: {one: 1, two: 2}
tasks:
- {task_id: a, {script}, pool: one}
- {task_id: b, {script}, pool: three}
- {task_id: c, {script}, pool: two}
";
    assert_eq!(mistakes(text, &pools(&[("three", 3)]), json!({})), "");
    let (dag, source) = dag(text);
    let plugins = pools(&[("two", 20), ("three", 3)]);
    let checked = check(&dag, source.path(), &plugins, &mut Engines::default(), &Map::new()).unwrap();
    let sizes: Vec<(&str, u32, bool)> =
        checked.pools.iter().map(|pool| (&*pool.name, pool.slots, pool.shared)).collect();
    assert_eq!(sizes, [("one", 1, false), ("three", 3, true), ("two", 20, true)]);
}

#[test]
fn a_pool_that_is_nowhere_is_a_mistake_with_what_to_add() {
    let said = mistakes(
        "tasks:
- {task_id: a, {script}, pool: warehuose}
- {task_id: b, {script}, pool: slow}
",
        &pools(&[("warehouse", 3)]),
        json!({}),
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:13: error: task `a`: there is no pool `warehuose`
     2 | - {task_id: a, script: {engine: noop, inline: ''}, pool: warehuose}
       |             ^
       = help: did you mean `warehouse`?
    dag.yaml:3:13: error: task `b`: there is no pool `slow`
     3 | - {task_id: b, script: {engine: noop, inline: ''}, pool: slow}
       |             ^
       = help: add `slow: SLOTS` to `pools` of the DAG, or `slow = SLOTS` below [pools] in plugins.toml
    ");
}

#[test]
fn an_engine_whose_library_is_not_installed_is_what_the_environment_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plugins.toml");
    let found = |library: &str| {
        std::fs::write(&path, format!("[engines.noop]\npath = {library:?}")).unwrap();
        let plugins = Plugins::load(Some(&path), None, false).unwrap();
        let (dag, source) = dag("tasks: [{task_id: a, {script}}]");
        let mut engines = Engines::default();
        let checked = check(&dag, source.path(), &plugins, &mut engines, &Map::new()).unwrap();
        (checked.mistakes.len(), checked.missing.len())
    };
    assert_eq!(found("oxidag_engine_of_nobody"), (0, 1), "a name is looked up");
    assert_eq!(found("./oxidag_engine_of_nobody.so"), (1, 0), "a file was meant");
}

#[test]
fn a_condition_looks_upstream_only() {
    let said = mistakes(
        "tasks:
- {task_id: first, {script}}
- {task_id: second, {script}, dependencies: [first]}
- {task_id: beside, {script}}
- {task_id: third, {script}, dependencies: [second], when: \"tasks.first.state == tasks.beside.state\"}
- {task_id: fourth, {script}, dependencies: [third], when: \"tasks.third.state == 'success'\"}
- {task_id: early, {script}, when: \"tasks.fourth.state == 'success'\"}
",
        &Plugins::default(),
        json!({}),
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:5:86: error: the condition of task `third` looks at `beside`, which is not upstream of it
     5 | …sk_id: third, script: {engine: noop, inline: ''}, dependencies: [second], when: "tasks.first.state == tasks.beside.state"}
       |                                                                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: add `beside` to the dependencies of `third`, so that it has ended before
    dag.yaml:7:62: error: the condition of task `early` looks at `fourth`, which is not upstream of it
     7 | - {task_id: early, script: {engine: noop, inline: ''}, when: "tasks.fourth.state == 'success'"}
       |                                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: add `fourth` to the dependencies of `early`, so that it has ended before
    "#);
}

#[test]
fn a_condition_looks_at_parameters_that_have_a_value() {
    let said = mistakes(
        "params: {region: eu, '**A_key': '', '*variable': 1}
tasks:
- {task_id: a, {script}, params: {table: t}, when: \"params.region == params.table && params['*variable'] == params.given\"}
- {task_id: b, {script}, when: params.regoin == params.table}
- {task_id: c, {script}, when: params.A_key == 's3cret'}
- {task_id: d, {script}, when: has(params.nowhere) && params.nowhere}
",
        &Plugins::default(),
        json!({"given": 1}),
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:58: error: the condition of task `b` looks at the parameter `regoin`, which has no value
     4 | - {task_id: b, script: {engine: noop, inline: ''}, when: params.regoin == params.table}
       |                                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: did you mean `region`?
    dag.yaml:4:58: error: the condition of task `b` looks at the parameter `table`, which has no value
     4 | - {task_id: b, script: {engine: noop, inline: ''}, when: params.regoin == params.table}
       |                                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: give it a value in the task's `params`, in the DAG's, or by -p NAME=VALUE; `has(params.table)` asks if it has one
    dag.yaml:5:58: error: the condition of task `c` looks at the connection `A_key`
     5 | - {task_id: c, script: {engine: noop, inline: ''}, when: params.A_key == 's3cret'}
       |                                                          ^^^^^^^^^^^^^^^^^^^^^^^^
       = help: connections are secrets, and no condition can see one
    ");
}

/// What was asked for while a task's condition was evaluated, and the answer.
fn asked(prepared: &Prepared, task: &str, result: &Value) -> (Vec<String>, Option<Result<bool, String>>) {
    let task = prepared.graph.find(task).unwrap();
    let Some(when) = &prepared.task(task).when else { return (Vec::new(), None) };
    let watched = prepared.watched(task);
    let look = |task: &TaskIdx| (prepared.graph.name(*task), TaskState::Success, Some(result.clone()));
    let look = Look { tasks: watched.iter().map(look).collect(), ..Look::default() };
    let asked = look.tasks.iter().map(|(name, ..)| (*name).to_owned()).collect();
    (asked, Some(prepared.evaluate(&when.condition, &prepared.task(task).params, look)))
}

const BRANCHES: &str = "params: {'**A_key': '', least: 5}
tasks:
- {task_id: first, {script}}
- {task_id: decide, {script}, dependencies: [first]}
- {task_id: beside, {script}}
- {task_id: big, {script}, dependencies: [decide, beside], when: tasks.decide.result.rows > params.least}
- {task_id: any, {script}, dependencies: [decide], params: {least: 50}, when: \"tasks.all(id, tasks[id].result.rows > params.least)\"}
- {task_id: secret, {script}, dependencies: [decide], when: params.size() == 1 && !has(params.A_key)}
- {task_id: told, {script}, dependencies: [decide], when: tasks.decide.result.text}
";

#[test]
fn a_condition_is_given_the_tasks_that_it_names_and_no_others() {
    let prepared = prepared(BRANCHES, json!({}));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let rows = json!({"rows": 10});
    assert_eq!(asked(&prepared, "big", &rows), (names(&["decide"]), Some(Ok(true))));
    assert_eq!(asked(&prepared, "any", &rows), (names(&["first", "decide"]), Some(Ok(false))));
    assert_eq!(asked(&prepared, "secret", &rows), (names(&[]), Some(Ok(true))));
    assert_eq!(asked(&prepared, "decide", &rows), (names(&[]), None));
}

#[test]
fn the_command_line_changes_what_a_condition_sees() {
    let prepared = prepared(BRANCHES, json!({"least": 9}));
    assert_eq!(asked(&prepared, "any", &json!({"rows": 10})).1, Some(Ok(true)));
}

#[test]
fn no_secret_gets_out_by_the_message_of_a_condition() {
    let prepared = prepared(BRANCHES, json!({}));
    let (_, answer) = asked(&prepared, "told", &json!({"text": "it is s3cret-value"}));
    insta::assert_snapshot!(answer.unwrap().unwrap_err(), @r"the condition gives the text `it is ***`, which is neither true nor false");
}
