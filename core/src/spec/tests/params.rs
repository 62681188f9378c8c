//! What is said about wrong parameters.

use super::refused;

#[test]
fn keys_of_connections_and_variables_have_a_form() {
    let said = refused(
        "dag.yaml",
        r#"tasks:
- task_id: a
  script: local.b.f.sql.n
  params: {"**GCP": "", "**_x": "", "**A_": "", "*": 1, "": 2}
"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:4:12: error: parameter `**GCP` is not a connection
     4 |   params: {"**GCP": "", "**_x": "", "**A_": "", "*": 1, "": 2}
       |            ^^^^^^^
       = help: a connection is `**SECTION_key`, for `key` of `[connections.SECTION]` in plugins.toml
    dag.yaml:4:25: error: parameter `**_x` is not a connection
     4 |   params: {"**GCP": "", "**_x": "", "**A_": "", "*": 1, "": 2}
       |                         ^^^^^^
       = help: a connection is `**SECTION_key`, for `key` of `[connections.SECTION]` in plugins.toml
    dag.yaml:4:37: error: parameter `**A_` is not a connection
     4 |   params: {"**GCP": "", "**_x": "", "**A_": "", "*": 1, "": 2}
       |                                     ^^^^^^
       = help: a connection is `**SECTION_key`, for `key` of `[connections.SECTION]` in plugins.toml
    dag.yaml:4:49: error: parameter `*` has no name
     4 |   params: {"**GCP": "", "**_x": "", "**A_": "", "*": 1, "": 2}
       |                                                 ^^^
       = help: a variable is `*name`
    dag.yaml:4:57: error: parameter `` has no name
     4 |   params: {"**GCP": "", "**_x": "", "**A_": "", "*": 1, "": 2}
       |                                                         ^^
       = help: a parameter is named as the placeholder it fills
    "#);
}

#[test]
fn a_mistake_in_pydags_text_is_pointed_at_inside_it() {
    let said = refused(
        "dag.json",
        r#"{"tasks": [{"task_id": "a", "script": "local.b.f.sql.n",
"params": "{'a': 'it's'}"}]}"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.json:2:22: error: in the text of `params`: invalid JSON: expected `,` or `}`
     2 | "params": "{'a': 'it's'}"}]}
       |                      ^
       = help: pyDag's form turns every `'` into `"`; a mapping in its place needs no such rule
    "#);
}

#[test]
fn a_mistake_in_escaped_text_is_pointed_at_as_a_whole() {
    let said = refused(
        "dag.json",
        r#"{"tasks": [{"task_id": "a", "script": "local.b.f.sql.n",
"params": "{'a':\n1, '**x': 1, 'a': 2}"}]}"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.json:2:11: error: in the text of `params`: duplicate key `a`
     2 | "params": "{'a':\n1, '**x': 1, 'a': 2}"}]}
       |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: a key stands in a mapping once; remove one of the two
    dag.json:2:11: error: in the text of `params`: parameter `**x` is not a connection
     2 | "params": "{'a':\n1, '**x': 1, 'a': 2}"}]}
       |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: a connection is `**SECTION_key`, for `key` of `[connections.SECTION]` in plugins.toml
    "#);
}

#[test]
fn pydags_text_holds_a_mapping() {
    let said = refused(
        "dag.yaml",
        r#"tasks:
- task_id: a
  script: local.b.f.sql.n
  params: "[1]"
- task_id: b
  script: local.b.f.sql.n
  params: "'x'"
"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:4:12: error: in the text of `params`: expected a mapping for `params`, found a list
     4 |   params: "[1]"
       |            ^^^
    dag.yaml:7:12: error: in the text of `params`: expected a mapping for `params`, found the text `x`
     7 |   params: "'x'"
       |            ^^^
    "#);
}
