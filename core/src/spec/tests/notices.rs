//! What is said about wrong notices, pools and limits of a run.

use super::refused;

const TASKS: &str = "tasks: [{task_id: a, script: local.b.f.sql.n}]\n";

#[test]
fn a_notice_has_one_target() {
    let said = refused(
        "dag.yaml",
        &format!("notify:\n- on: failure\n- {{command: x, webhook: 'https://a'}}\n- mail\n{TASKS}"),
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:3: error: a notice has a `command` or a `webhook`
     2 | - on: failure
       |   ^
       = help: add `command: [program, argument]`, or `webhook: https://…`
    dag.yaml:3:16: error: `webhook` stands beside `command`
     3 | - {command: x, webhook: 'https://a'}
       |                ^^^^^^^
       = help: a notice has one target; write two notices
    dag.yaml:4:3: error: expected a mapping with the keys of a notice for `notify`, found the text `mail`
     4 | - mail
       |   ^^^^
    ");
}

#[test]
fn a_notice_is_about_one_of_three_things() {
    let said = refused(
        "dag.yaml",
        &format!(
            "notify:\n- {{command: x, on: sucess}}\n- {{command: x, on: [failure, never]}}\n- {{command: x, on: []}}\n{TASKS}"
        ),
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:20: error: unknown on `sucess`
     2 | - {command: x, on: sucess}
       |                    ^^^^^^
       = help: did you mean `success`?
    dag.yaml:3:30: error: unknown on `never`
     3 | - {command: x, on: [failure, never]}
       |                              ^^^^^
       = help: it is one of: `success`, `failure`, `deadline`
    dag.yaml:4:20: error: `on` is empty
     4 | - {command: x, on: []}
       |                    ^^
       = help: to tell of nothing, leave the notice out
    ");
}

#[test]
fn a_target_can_be_run_or_posted_to() {
    let said = refused(
        "dag.yaml",
        &format!(
            "notify:\n- command: []\n- command: ' '\n- command: {{a: b}}\n- webhook: example.org\n- {{hook: x}}\n{TASKS}"
        ),
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:12: error: `command` names no program
     2 | - command: []
       |            ^^
       = help: write the program first, as in `[program, argument]`
    dag.yaml:3:12: error: `command` names no program
     3 | - command: ' '
       |            ^^^
       = help: write the program first, as in `[program, argument]`
    dag.yaml:4:12: error: expected a list of a program and its arguments, or a text for `/bin/sh -c`, for `command`, found a mapping
     4 | - command: {a: b}
       |            ^^^^^^
    dag.yaml:5:12: error: `webhook` `example.org` is no http or https URL
     5 | - webhook: example.org
       |            ^^^^^^^^^^^
       = help: write `https://host/path`, without spaces and with other characters percent-encoded
    dag.yaml:6:3: error: a notice has a `command` or a `webhook`
     6 | - {hook: x}
       |   ^
       = help: add `command: [program, argument]`, or `webhook: https://…`
    dag.yaml:6:4: error: unknown key `hook` in a notice
     6 | - {hook: x}
       |    ^^^^
       = help: the keys of a notice are: `on`, `command`, `webhook`
    ");
}

#[test]
fn a_pool_has_a_name_and_slots() {
    let said = refused("dag.yaml", &format!("pools: {{a b: 1, c: 0, d: many}}\n{TASKS}"));
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:9: error: pool `a b` has characters other than letters, digits, `_`, `-` and `.`
     1 | pools: {a b: 1, c: 0, d: many}
       |         ^^^
       = help: an id is 1 to 250 ASCII letters, digits, `_`, `-` and `.`
    dag.yaml:1:20: error: expected a whole number of at least 1 for `c`, found the number 0
     1 | pools: {a b: 1, c: 0, d: many}
       |                    ^
    dag.yaml:1:26: error: expected a whole number of at least 1 for `d`, found the text `many`
     1 | pools: {a b: 1, c: 0, d: many}
       |                          ^^^^
    ");
}

#[test]
fn limits_of_a_run_and_of_waits_are_not_zero() {
    let said = refused("dag.yaml", &format!("timeout: 0\nmax_retry_delay: 0s\n{TASKS}"));
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:10: error: `timeout` is zero
     1 | timeout: 0
       |          ^
       = help: for no limit, leave the key out
    dag.yaml:2:18: error: `max_retry_delay` is zero
     2 | max_retry_delay: 0s
       |                  ^^
       = help: for no wait at all, write `retry_delay: 0`
    ");
}
