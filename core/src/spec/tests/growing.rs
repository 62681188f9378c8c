//! Mapped tasks, rules and DAGs in DAGs.

use serde_json::json;

use super::{accepted, refused, task};
use crate::spec::{Each, List, Over};

#[test]
fn what_a_task_is_run_for_has_five_forms() {
    let over = |keys: &str| task(keys).for_each.clone().unwrap().over;
    assert!(
        matches!(over("  for_each: [1, a]"), Over::List(List::Literal(list)) if *list == json!([1, "a"]))
    );
    assert!(matches!(over("  for_each: {zip: 1, x: 2}"), Over::List(List::Literal(map)) if map["zip"] == 1));
    assert!(matches!(over("  for_each: params.months"), Over::List(List::Expression(_))));
    assert!(
        matches!(over("  for_each: {cross: {a: [1], b: params.b}}"), Over::Cross(lists) if lists.len() == 2)
    );
    assert!(matches!(over("  for_each: {zip: {a: [1]}}"), Over::Zip(lists) if lists[0].0 == "a"));
}

#[test]
fn mapping_is_refused_where_it_means_nothing() {
    let said = refused(
        "dag.yaml",
        "tasks:
- {task_id: a, script: local.b.f.sql.n, max_active_tis_per_dagrun: 2}
- {task_id: b, script: local.b.f.sql.n, for_each: {instances_of: a}}
- {task_id: c, script: local.b.f.sql.n, for_each: 3}
- {task_id: d, script: local.b.f.sql.n, for_each: {zip: [1]}}
- {task_id: e, script: local.b.f.sql.n, for_each: tasks.nowhere.result}
- {task_id: f, script: local.b.f.sql.n, for_each: {instances_of: f}}
",
    );
    for wanted in [
        "`max_active_tis_per_dagrun` stands in a task that is not mapped",
        "`instances_of` names `a`, which is not mapped",
        "expected a list, an object or an expression for `for_each`, found the number 3",
        "expected a mapping of names to lists for `zip`, found a list",
        "there is no task `nowhere`",
        "task `f` depends on itself",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

#[test]
fn a_task_waits_for_the_one_that_it_follows() {
    let said = crate::graph::Graph::new(&accepted(
        "dag.yaml",
        "tasks:
- {task_id: a, script: local.b.f.sql.n, for_each: [1], dependencies: [b]}
- {task_id: b, script: local.b.f.sql.n, for_each: {instances_of: a}}
",
    ));
    assert_eq!(said.unwrap_err()[0].path, ["a", "b", "a"]);
}

#[test]
fn a_rule_is_read_with_what_it_adds() {
    let dag = accepted(
        "dag.yaml",
        "tasks: [{task_id: a, type: x, script: local.b.f.sql.n}]
rules:
- when: true
  each: {type: x}
  add:
    tasks:
    - {task_id: c, dependencies: [b, {type: x}], script: local.b.f.sql.n}
    - {task_id: b, dependencies: ['{task}'], script: local.b.f.sql.n}
    rules:
    - {rule_id: inner, when: closed('x'), add: {tasks: [{task_id: d, script: local.b.f.sql.n}]}}
",
    );
    let rule = &dag.rules[0];
    assert!(matches!(&rule.each, Some(Each::Type(kind)) if *kind.task_id == *"x"));
    let names: Vec<&str> = rule.tasks.iter().map(|task| &*task.task_id).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!((&*rule.name, &*rule.rules[0].name), ("1", "inner"));
    assert_eq!(dag.templates().len(), 3);
    assert_eq!(rule.rules[0].when.as_ref().unwrap().condition.references().closed[0].name, "x");
}

#[test]
fn rules_name_what_they_look_at_and_add_what_can_be_added() {
    let said = refused(
        "dag.yaml",
        "tasks: [{task_id: a, type: x, script: local.b.f.sql.n, dependencies: [b]}]
rules:
- {when: 'size(types) > 0', add: {tasks: [{task_id: b, script: local.b.f.sql.n}]}}
- {when: 'task.state == \"failed\"', add: {tasks: [{task_id: c, dependencies: ['{task}'], script: local.b.f.sql.n}]}}
- {each: {type: x}, when: 'task.colour == 1', add: {tasks: [{task_id: d, teardown: true, dependencies: [a], script: local.b.f.sql.n}]}}
- {when: 'closed(params.x)', add: {tasks: [{task_id: e, dependencies: [f], script: local.b.f.sql.n}, {task_id: f, dependencies: [e], script: local.b.f.sql.n}]}}
- {when: true, add: {}}
",
    );
    for wanted in [
        "there is no task `b`",
        "a rule names what it looks at, and `types` stands here alone",
        "the name `task` is unknown",
        "there is no task `{task}`",
        "`task` has no `colour`",
        "task `d` is a teardown",
        "`closed` takes the name of a type in quotes",
        "tasks that are added depend on each other in a cycle",
        "nothing is added",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

#[test]
fn a_cycle_among_added_tasks_is_one_mistake() {
    let said = refused(
        "dag.yaml",
        "tasks: [{task_id: a, script: local.b.f.sql.n}]
rules:
- {when: true, add: {tasks: [{task_id: b, dependencies: [c], script: local.b.f.sql.n}, {task_id: c, dependencies: [b], script: local.b.f.sql.n}]}}
- {when: true, add: {tasks: [{task_id: d, script: local.b.f.sql.n}, {task_id: e, dependencies: [b, d], script: local.b.f.sql.n}]}}
",
    );
    assert!(said.contains("depend on each other in a cycle: `b`, `c`"), "{said}");
    assert!(!said.contains("there is no task"), "{said}");
}

#[test]
fn a_task_has_a_script_or_stands_for_a_dag() {
    let said = refused(
        "dag.yaml",
        "tasks: [{task_id: a}, {task_id: b, dag: x.yaml, script: local.b.f.sql.n, timeout: 3}]",
    );
    for wanted in
        ["`script` is missing in a task", "`script` stands beside `dag`", "`timeout` stands beside `dag`"]
    {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}
