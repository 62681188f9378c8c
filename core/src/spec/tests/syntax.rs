//! What is said about a file that is no DAG file at all.

use super::refused;

#[test]
fn an_empty_file_says_what_belongs_into_it() {
    let said = refused(
        "dag.yaml",
        "# only a comment
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:1: error: the file is empty
     1 | # only a comment
       | ^
       = help: a DAG file holds at least `tasks`; `oxidag schema dag` describes it
    ");
}

#[test]
fn text_that_is_no_mapping_is_shown() {
    let said = refused(
        "dag",
        "hello world
",
    );
    insta::assert_snapshot!(said, @r"
    dag:1:1: error: expected a mapping with the keys of a DAG, found the text `hello world`
     1 | hello world
       | ^^^^^^^^^^^
       = help: a DAG file is JSON or YAML and holds at least `tasks`; `oxidag schema dag` describes it
    ");
}

#[test]
fn what_is_neither_json_nor_yaml_gives_the_parsers_words_and_place() {
    let said = refused(
        "dag", "a: b: c
",
    );
    insta::assert_snapshot!(said, @r"
    dag:1:5: error: neither JSON nor YAML: mapping values are not allowed in this context
     1 | a: b: c
       |     ^
    ");
}

#[test]
fn wrong_json_gives_the_parsers_words_and_place() {
    let said = refused(
        "dag.json",
        r#"{"tasks": [
  {"task_id": "a",}
]}
"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.json:2:19: error: invalid JSON: trailing comma
     2 |   {"task_id": "a",}
       |                   ^
       = help: remove the comma after the last element
    "#);
}

#[test]
fn wrong_yaml_gives_the_parsers_words_and_place() {
    let said = refused("dag.yaml", "tasks:\n\t- a\n");
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:2: error: invalid YAML: tabs disallowed within this context (block indentation)
     2 |     - a
       |     ^
    ");
}

#[test]
fn json_that_ends_early_is_pointed_at_its_end() {
    let said = refused("dag.json", r#"{"tasks": ["#);
    insta::assert_snapshot!(said, @r#"
    dag.json:1:12: error: invalid JSON: EOF while parsing a list
     1 | {"tasks": [
       |            ^
       = help: the file ends before the value does; is a part of it missing?
    "#);
}

#[test]
fn text_after_the_json_value_is_refused() {
    let said = refused("dag.json", r#"{"tasks": []} {}"#);
    insta::assert_snapshot!(said, @r#"
    dag.json:1:15: error: invalid JSON: trailing characters
     1 | {"tasks": []} {}
       |               ^
       = help: a DAG file holds one value; remove what follows it
    "#);
}

#[test]
fn a_control_character_in_a_json_string_is_refused() {
    let said = refused("dag.json", "{\"description\": \"a\tb\"}");
    insta::assert_snapshot!(said, @r#"
    dag.json:1:19: error: invalid JSON: control character (\u0000-\u001F) found while parsing a string
     1 | {"description": "a    b"}
       |                   ^^^^
       = help: write a line break as `\n`, a tab as `\t`
    "#);
}

#[test]
fn an_unknown_escape_in_a_json_string_is_refused() {
    let said = refused("dag.json", r#"{"description": "\x"}"#);
    insta::assert_snapshot!(said, @r#"
    dag.json:1:19: error: invalid JSON: invalid escape
     1 | {"description": "\x"}
       |                   ^
       = help: a backslash itself is written `\\`
    "#);
}

#[test]
fn a_nul_character_in_yaml_is_refused() {
    let said = refused("dag.yaml", "owner: a\0b\n");
    insta::assert_snapshot!(said, @r"
    dag.yaml:1:9: error: invalid YAML: found unprintable character
     1 | owner: a�b
       |         ^
    ");
}

#[test]
fn a_second_document_is_refused() {
    let said = refused(
        "dag.yaml",
        "tasks: []
---
tasks: []
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:1: error: a second document begins here
     2 | ---
       | ^^^
       = help: a DAG file holds one DAG; put each into a file of its own
    ");
}
