//! What is said about wrong keys and values, one test for each kind of mistake.

use super::refused;

#[test]
fn a_dag_without_tasks_is_refused() {
    let said = refused(
        "dag.yaml",
        "owner: me
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:1: error: `tasks` is missing in a DAG
     1 | owner: me
       | ^
    ");
}

#[test]
fn a_dag_with_an_empty_list_of_tasks_is_refused() {
    let said = refused(
        "dag.yaml",
        "tasks: []
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:8: error: a DAG has at least one task
     1 | tasks: []
       |        ^^
    ");
}

#[test]
fn nothing_stands_beside_the_wrapper() {
    let said = refused("dag.json", r#"{"dag": {"tasks": []}, "tasks": []}"#);
    insta::assert_snapshot!(said, @r#"
    dag.json:1:19: error: a DAG has at least one task
     1 | {"dag": {"tasks": []}, "tasks": []}
       |                   ^^
    dag.json:1:24: error: `tasks` stands beside `dag`
     1 | {"dag": {"tasks": []}, "tasks": []}
       |                        ^^^^^^^
       = help: move it into `dag`
    "#);
}

#[test]
fn a_misspelled_key_suggests_the_nearest() {
    let said = refused(
        "dag.yaml",
        "retrys: 2
tasks:
- task_id: a
  script: local.b.f.sql.n
  Depends: []
  depndencies: []
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:1: error: unknown key `retrys` in a DAG
     1 | retrys: 2
       | ^^^^^^
       = help: did you mean `retries`?
    dag.yaml:5:3: error: unknown key `Depends` in a task
     5 |   Depends: []
       |   ^^^^^^^
       = help: the keys of a task are: `task_id`, `type`, `script`, `dag`, `params`, `dependencies`, `retries`, `retry_delay`, `retry_backoff`, `max_retry_delay`, `timeout`, `trigger_rule`, `when`, `for_each`, `max_active_tis_per_dagrun`, `adds`, `teardown`, `on_failure_fail_dagrun`, `pool`, `priority`, `expected_duration`
    dag.yaml:6:3: error: unknown key `depndencies` in a task
     6 |   depndencies: []
       |   ^^^^^^^^^^^
       = help: did you mean `dependencies`?
    ");
}

#[test]
fn an_unknown_key_that_is_near_none_lists_them_all() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  colour: red
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:3: error: unknown key `colour` in a task
     4 |   colour: red
       |   ^^^^^^
       = help: the keys of a task are: `task_id`, `type`, `script`, `dag`, `params`, `dependencies`, `retries`, `retry_delay`, `retry_backoff`, `max_retry_delay`, `timeout`, `trigger_rule`, `when`, `for_each`, `max_active_tis_per_dagrun`, `adds`, `teardown`, `on_failure_fail_dagrun`, `pool`, `priority`, `expected_duration`
    ");
}

#[test]
fn a_key_in_the_wrong_mapping_is_told_where_it_belongs() {
    let said = refused(
        "dag.yaml",
        "priority: 5
tasks:
- task_id: a
  script: local.b.f.sql.n
  processors: 2
  webhook: x
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:1: error: unknown key `priority` in a DAG
     1 | priority: 5
       | ^^^^^^^^
       = help: `priority` is a key of a task
    dag.yaml:5:3: error: unknown key `processors` in a task
     5 |   processors: 2
       |   ^^^^^^^^^^
       = help: `processors` is a key of a DAG
    dag.yaml:6:3: error: unknown key `webhook` in a task
     6 |   webhook: x
       |   ^^^^^^^
       = help: `webhook` is a key of a notice
    ");
}

#[test]
fn a_merge_key_is_refused_with_what_to_do() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  <<: {retries: 1}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:3: error: unknown key `<<` in a task
     4 |   <<: {retries: 1}
       |   ^^
       = help: YAML 1.2 has no merge key; write the keys out, or use defaults of the DAG
    ");
}

#[test]
fn a_duplicate_key_is_pointed_at_where_it_stands_again() {
    let said = refused(
        "dag.yaml",
        "owner: a
owner: b
tasks:
- task_id: a
  script: local.b.f.sql.n
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:1: error: duplicate key `owner`
     2 | owner: b
       | ^^^^^
       = help: a key stands in a mapping once; remove one of the two
    ");
}

#[test]
fn wrong_types_say_what_was_expected_and_what_was_found() {
    let said = refused(
        "dag.yaml",
        "owner: 1
tags: x
processors: 0
script_cache: yes
retries: -1
retry_delay: []
params: [1]
tasks:
- 5
- task_id: [a]
  script: 5
  dependencies: b
  priority: 1.5
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:8: error: expected text for `owner`, found the number 1
     1 | owner: 1
       |        ^
    dag.yaml:2:7: error: expected a list of texts for `tags`, found the text `x`
     2 | tags: x
       |       ^
    dag.yaml:3:13: error: expected a whole number of at least 1 for `processors`, found the number 0
     3 | processors: 0
       |             ^
    dag.yaml:4:15: error: expected `true` or `false` for `script_cache`, found the text `yes`
     4 | script_cache: yes
       |               ^^^
    dag.yaml:5:10: error: expected a whole number of at least 0 for `retries`, found the number -1
     5 | retries: -1
       |          ^^
    dag.yaml:6:14: error: expected a number of seconds, or text such as `90s`, `5m`, `1h30m` for `retry_delay`, found a list
     6 | retry_delay: []
       |              ^^
    dag.yaml:7:9: error: expected a mapping for `params`, found a list
     7 | params: [1]
       |         ^^^
    dag.yaml:9:3: error: expected a mapping with the keys of a task for `tasks`, found the number 5
     9 | - 5
       |   ^
    dag.yaml:10:12: error: expected text for `task_id`, found a list
     10 | - task_id: [a]
        |            ^^^
    dag.yaml:11:11: error: expected `location.bucket.folder.engine.script_name` or a mapping for `script`, found the number 5
     11 |   script: 5
        |           ^
    dag.yaml:12:17: error: expected a list of task ids for `dependencies`, found the text `b`
     12 |   dependencies: b
        |                 ^
    dag.yaml:13:13: error: expected a whole number of 32 bits for `priority`, found the number 1.5
     13 |   priority: 1.5
        |             ^^^
    ");
}

#[test]
fn a_value_that_is_null_is_to_be_left_out() {
    let said = refused(
        "dag.yaml",
        "owner:
tasks:
- task_id: a
  script: local.b.f.sql.n
  retries: ~
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:1: error: expected text for `owner`, found nothing (null)
     1 | owner:
       | ^^^^^
       = help: to leave the value out, leave its key out
    dag.yaml:5:12: error: expected a whole number of at least 0 for `retries`, found nothing (null)
     5 |   retries: ~
       |            ^
       = help: to leave the value out, leave its key out
    ");
}

#[test]
fn durations_say_how_they_are_written() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  timeout: 0
  retry_delay: -1
  expected_duration: 5 parsecs
",
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:4:12: error: `timeout` is zero
     4 |   timeout: 0
       |            ^
       = help: for no limit, leave the key out
    dag.yaml:5:16: error: expected a number of seconds, or text such as `90s`, `5m`, `1h30m` for `retry_delay`, found the number -1
     5 |   retry_delay: -1
       |                ^^
    dag.yaml:6:22: error: `expected_duration` `5 parsecs` is not a duration: unknown time unit "parsecs", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)
     6 |   expected_duration: 5 parsecs
       |                      ^^^^^^^^^
       = help: write a number of seconds, or text such as `90s`, `5m`, `1h30m`
    "#);
}

#[test]
fn a_duration_beyond_reason_is_refused() {
    let said = refused(
        "dag.yaml",
        "expire_cache: 1e300
retry_delay: 40 years
tasks:
- task_id: a
  script: local.b.f.sql.n
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:15: error: expected a number of seconds, or text such as `90s`, `5m`, `1h30m` for `expire_cache`, found the number 1e+300
     1 | expire_cache: 1e300
       |               ^^^^^
    dag.yaml:2:14: error: `retry_delay` is longer than 1000000000 seconds
     2 | retry_delay: 40 years
       |              ^^^^^^^^
    ");
}

#[test]
fn words_outside_the_list_are_refused() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  trigger_rule: all_succes
  retry_backoff: linear
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:17: error: unknown trigger_rule `all_succes`
     4 |   trigger_rule: all_succes
       |                 ^^^^^^^^^^
       = help: did you mean `all_success`?
    dag.yaml:5:18: error: unknown retry_backoff `linear`
     5 |   retry_backoff: linear
       |                  ^^^^^^
       = help: it is one of: `fixed`, `exponential`
    ");
}

#[test]
fn schedules_and_dates_are_checked() {
    let said = refused(
        "dag.yaml",
        "schedule_interval: 0 25 * * *
start_date: 2023-02-29
tasks:
- task_id: a
  script: local.b.f.sql.n
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:20: error: schedule_interval `0 25 * * *` is no cron expression: `25` is no hour, which is 0 to 23
     1 | schedule_interval: 0 25 * * *
       |                    ^^^^^^^^^^
       = help: write `minute hour day month weekday`, as in `30 2 * * 1-5`, or a preset such as `@daily`
    dag.yaml:2:13: error: start_date `2023-02-29` is not a date
     2 | start_date: 2023-02-29
       |             ^^^^^^^^^^
       = help: write `2024-01-31`, or with a time `2024-01-31T12:00:00Z`
    ");
}

#[test]
fn a_misspelled_preset_suggests_the_nearest() {
    let said = refused(
        "dag.yaml",
        r#"schedule_interval: "@dayly"
tasks:
- task_id: a
  script: local.b.f.sql.n
"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:1:20: error: unknown schedule_interval `@dayly`
     1 | schedule_interval: "@dayly"
       |                    ^^^^^^^^
       = help: did you mean `@daily`?
    "#);
}

#[test]
fn a_number_beyond_64_bits_is_refused() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  params: {big: 123456789012345678901234567890, huge: 1e999}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:17: error: this number does not fit 64 bits
     4 |   params: {big: 123456789012345678901234567890, huge: 1e999}
       |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: write it as text, in quotes
    dag.yaml:4:55: error: this number does not fit 64 bits
     4 |   params: {big: 123456789012345678901234567890, huge: 1e999}
       |                                                       ^^^^^
       = help: write it as text, in quotes
    ");
}

#[test]
fn a_tag_that_means_nothing_here_is_refused() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  params: {a: !point 1, b: !!int x}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:15: error: a DAG file has no use for the tag `!point`
     4 |   params: {a: !point 1, b: !!int x}
       |               ^^^^^^^^
       = help: remove the tag
    dag.yaml:4:28: error: the text `x` is not what the tag `!!int` says
     4 |   params: {a: !point 1, b: !!int x}
       |                            ^^^^^^^
    ");
}

#[test]
fn a_key_that_is_no_text_is_refused() {
    let said = refused(
        "dag.yaml",
        "tasks:
- task_id: a
  script: local.b.f.sql.n
  params: {[a]: 1}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:4:12: error: a key of a mapping must be text
     4 |   params: {[a]: 1}
       |            ^
    ");
}
