//! What is said about wrong conditions, and where.

use super::refused;

#[test]
fn a_condition_is_refused_at_the_place_that_is_wrong() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
- task_id: b
  script: local.b.f.sql.n
  dependencies: [a]
  when: tasks.a.state = 'success'
- task_id: c
  script: local.b.f.sql.n
  dependencies: [a]
  when: |
    tasks.a.state == 'success'
    and true
- task_id: d
  script: local.b.f.sql.n
  when: ''
- task_id: e
  script: local.b.f.sql.n
  when: true
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:7:23: error: `=` is not expected here
     7 |   when: tasks.a.state = 'success'
       |                       ^
       = help: CEL writes `==` for `=`
    dag.yaml:12:5: error: `and` is not expected here
     12 |     tasks.a.state == 'success'
        |     ^^^^^^^^^^^^^^^^^^^^^^^^^^
        = help: CEL writes `&&` for `and`
    dag.yaml:16:9: error: `when` is empty
     16 |   when: ''
        |         ^^
        = help: for no condition, leave the key out
    dag.yaml:19:9: error: expected text for `when`, found `true`
     19 |   when: true
        |         ^^^^
    ");
}

#[test]
fn a_condition_names_tasks_that_exist() {
    let said = refused(
        "dag.yaml",
        r#"tasks:
- task_id: decide
  script: local.b.f.sql.n
- task_id: b
  script: local.b.f.sql.n
  dependencies: [decide]
  when: "tasks['decode'].result.n > 1 || tasks.nowhere.state == 'failed' || tasks.b.result == null"
"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:7:16: error: there is no task `decode`
     7 |   when: "tasks['decode'].result.n > 1 || tasks.nowhere.state == 'failed' || tasks.b.result == null"
       |                ^^^^^^^^
       = help: did you mean `decide`?
    dag.yaml:7:48: error: there is no task `nowhere`
     7 |   when: "tasks['decode'].result.n > 1 || tasks.nowhere.state == 'failed' || tasks.b.result == null"
       |                                                ^^^^^^^
    dag.yaml:7:83: error: the condition of task `b` looks at the task itself
     7 | …when: "tasks['decode'].result.n > 1 || tasks.nowhere.state == 'failed' || tasks.b.result == null"
       |                                                                                  ^
       = help: it is evaluated before the task runs, and can look at what is upstream
    "#);
}

#[test]
fn a_condition_in_json_with_escapes_is_pointed_at_as_a_whole() {
    let said = refused(
        "dag.json",
        r#"{"tasks": [{"task_id": "a", "script": "local.b.f.sql.n", "when": "tasks[\"x\"].state == 'failed'"}]}"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.json:1:66: error: there is no task `x`
     1 | {"tasks": [{"task_id": "a", "script": "local.b.f.sql.n", "when": "tasks[\"x\"].state == 'failed'"}]}
       |                                                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}
