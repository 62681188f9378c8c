//! What is said about teardowns that are none.

use super::refused;

#[test]
fn a_teardown_has_setups() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  teardown: true
- task_id: b
  script: local.b.f.sql.n
  teardown: true
  dependencies: []
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:3: error: a teardown has at least one dependency
     4 |   teardown: true
       |   ^^^^^^^^
       = help: its setups are its dependencies; name the tasks whose work it takes down
    dag.yaml:7:3: error: a teardown has at least one dependency
     7 |   teardown: true
       |   ^^^^^^^^
       = help: its setups are its dependencies; name the tasks whose work it takes down
    ");
}

#[test]
fn a_teardown_has_a_rule_of_its_own_and_no_condition() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
- task_id: b
  script: local.b.f.sql.n
  dependencies: [a]
  when: tasks.a.state == 'success'
  teardown: true
  trigger_rule: all_done
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:7:3: error: `when` stands beside `teardown`
     7 |   when: tasks.a.state == 'success'
       |   ^^^^
       = help: a teardown runs whenever one of its setups ran; take it out
    dag.yaml:9:3: error: `trigger_rule` stands beside `teardown`
     9 |   trigger_rule: all_done
       |   ^^^^^^^^^^^^
       = help: a teardown has a rule of its own: it runs if one of its setups ran; take it out
    ");
}

#[test]
fn only_a_teardown_says_whether_its_failure_fails_the_run() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  on_failure_fail_dagrun: true
- task_id: b
  script: local.b.f.sql.n
  teardown: false
  on_failure_fail_dagrun: false
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:3: error: `on_failure_fail_dagrun` stands in a task that is no teardown
     4 |   on_failure_fail_dagrun: true
       |   ^^^^^^^^^^^^^^^^^^^^^^
       = help: the run fails with any other task; take it out, or add `teardown: true`
    dag.yaml:8:3: error: `on_failure_fail_dagrun` stands in a task that is no teardown
     8 |   on_failure_fail_dagrun: false
       |   ^^^^^^^^^^^^^^^^^^^^^^
       = help: the run fails with any other task; take it out, or add `teardown: true`
    ");
}
