//! What is said about ids of tasks and what refers to them.

use super::refused;

#[test]
fn ids_are_letters_digits_and_three_signs() {
    let said = refused(
        "dag.yaml",
        r#"dag_id: my dag
tasks:
- task_id: größe
  script: local.b.f.sql.n
- task_id: ""
  script: local.b.f.sql.n
- task_id: ..
  script: local.b.f.sql.n
"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:1:9: error: dag_id `my dag` has characters other than letters, digits, `_`, `-` and `.`
     1 | dag_id: my dag
       |         ^^^^^^
       = help: an id is 1 to 250 ASCII letters, digits, `_`, `-` and `.`
    dag.yaml:3:12: error: task_id `größe` has characters other than letters, digits, `_`, `-` and `.`
     3 | - task_id: größe
       |            ^^^^^
       = help: an id is 1 to 250 ASCII letters, digits, `_`, `-` and `.`
    dag.yaml:5:12: error: task_id `` is empty
     5 | - task_id: ""
       |            ^^
       = help: an id is 1 to 250 ASCII letters, digits, `_`, `-` and `.`
    dag.yaml:7:12: error: task_id `..` is the name of a folder
     7 | - task_id: ..
       |            ^^
       = help: an id is 1 to 250 ASCII letters, digits, `_`, `-` and `.`
    "#);
}

#[test]
fn a_task_needs_an_id_and_a_script() {
    let said = refused(
        "dag.yaml",
        "tasks:
- retries: 1
- {}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:3: error: `script` is missing in a task
     2 | - retries: 1
       |   ^
    dag.yaml:2:3: error: `task_id` is missing in a task
     2 | - retries: 1
       |   ^
    dag.yaml:3:3: error: `script` is missing in a task
     3 | - {}
       |   ^
    dag.yaml:3:3: error: `task_id` is missing in a task
     3 | - {}
       |   ^
    ");
}

#[test]
fn a_duplicate_task_names_the_line_of_the_first() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
- task_id: a
  script: local.b.f.sql.n
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:12: error: duplicate task_id `a`: the first is on line 2
     4 | - task_id: a
       |            ^
       = help: give each task an id of its own
    ");
}

#[test]
fn an_unknown_dependency_suggests_the_nearest() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: extract
  script: local.b.f.sql.n
- task_id: load
  script: local.b.f.sql.n
  dependencies: [extrct, something_else]
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:6:18: error: there is no task `extrct`
     6 |   dependencies: [extrct, something_else]
       |                  ^^^^^^
       = help: did you mean `extract`?
    dag.yaml:6:26: error: there is no task `something_else`
     6 |   dependencies: [extrct, something_else]
       |                          ^^^^^^^^^^^^^^
    ");
}

#[test]
fn a_repeated_dependency_is_pointed_at() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
- task_id: b
  script: local.b.f.sql.n
  dependencies: [a, a]
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:6:21: error: dependency `a` is repeated
     6 |   dependencies: [a, a]
       |                     ^
       = help: remove it from the dependencies
    ");
}

#[test]
fn a_task_cannot_depend_on_itself() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  dependencies: [a]
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:18: error: task `a` depends on itself
     4 |   dependencies: [a]
       |                  ^
       = help: remove it from the dependencies
    ");
}

#[test]
fn a_wrong_task_is_no_second_mistake_in_what_depends_on_it() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a b
  script: x
- task_id: c
  script: local.b.f.sql.n
  dependencies: [a b]
",
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:2:12: error: task_id `a b` has characters other than letters, digits, `_`, `-` and `.`
     2 | - task_id: a b
       |            ^^^
       = help: an id is 1 to 250 ASCII letters, digits, `_`, `-` and `.`
    dag.yaml:3:11: error: malformed script `x`: expected `location.bucket.folder.engine.script_name`, found 1 part
     3 |   script: x
       |           ^
       = help: a short script may stand in the DAG itself: `{engine: sql, inline: "select 1"}`
    "#);
}
