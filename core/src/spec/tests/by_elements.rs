//! The tasks of a JSON file are lowered as it is read, and what comes of that is what comes of the tree of all of it.

use std::sync::Arc;
use std::time::Duration;

use super::{Diagnostics, SourceFile, accepted, read};
use crate::spec::{json, lower};

fn source(text: &str) -> SourceFile {
    SourceFile::new("a.json".into(), text.to_owned())
}

/// What the whole tree says.
fn by_tree(text: &str) -> Result<String, String> {
    let dag = json::parse(text).map_err(|refused| refused.mistakes);
    match dag.and_then(|parsed| lower::dag(&source(text), parsed)) {
        Ok(dag) => Ok(format!("{dag:#?}")),
        Err(mistakes) => Err(Diagnostics::new(source(text), mistakes.into_list()).to_string()),
    }
}

fn said(text: &str) -> Result<String, String> {
    read("a.json", text).map(|dag| format!("{dag:#?}")).map_err(|mistakes| mistakes.to_string())
}

const A: &str =
    r#"{"task_id": "a", "script": {"engine": "sql", "inline": "select 1"}, "dependencies": ["b"]}"#;
const B: &str = r#"{"task_id": "b", "script": "local.b.f.sql.n", "retries": 3, "pool": "p"}"#;

#[test]
fn a_file_whose_tasks_are_lowered_one_by_one_says_the_same() {
    let plain = [
        format!(r#"{{"tasks": [{A}, {B}]}}"#),
        format!(r#"{{"dag": {{"dag_id": "x", "tasks": [{A}, {B}]}}}}"#),
        format!(r#"{{"retries": 2, "tasks": [{A}, {B}], "retry_delay": 7, "max_retry_delay": "1h"}}"#),
        format!(r#"{{"owner": 3, "dag": {{"tasks": [{B}]}}, "tags": []}}"#),
        format!(r#"{{"tasks": [{A}, {B}, {A}, 3, {{}}, {{"task_id": "c", "task_id": "d"}}], "tusks": 1}}"#),
        format!(r#"{{"dag": {{"dag": {{"tasks": [1]}}, "tasks": [{B}]}}}}"#),
        format!(r#"{{"x": {{"tasks": [{A}]}}, "tasks": [{B}]}}"#),
    ];
    for text in &plain {
        assert!(lower::json_dag(&source(text)).is_some(), "{text}");
        assert_eq!(said(text), by_tree(text), "{text}");
    }
}

#[test]
fn where_only_the_whole_file_tells_which_tasks_are_meant_it_is_told_by_the_tree() {
    let others = [
        format!(r#"{{"tasks": [{A}], "tasks": [{B}]}}"#),
        format!(r#"{{"tasks": 3, "tasks": [{B}]}}"#),
        format!(r#"{{"tasks": [{B}], "tasks": 3}}"#),
        format!(r#"{{"tasks": [{A}], "dag": {{"tasks": [{B}]}}}}"#),
        format!(r#"{{"dag": {{"tasks": [{B}]}}, "tasks": [{A}]}}"#),
        format!(r#"{{"tasks": [{A}], "dag": 1}}"#),
        format!(r#"{{"dag": 3, "dag": {{"tasks": [{B}]}}}}"#),
        format!(r#"{{"dag": {{"tasks": [{B}]}}, "dag": {{"tasks": [{A}]}}}}"#),
        format!(r#"{{"dag": {{"tasks": [{B}]}}, "dag": 3}}"#),
        r#"{"tasks": []}"#.to_owned(),
        r#"{"tasks": {"a": 1}}"#.to_owned(),
        "{}".to_owned(),
        format!(r#"[{{"tasks": [{A}]}}]"#),
        format!(r#"{{"tasks": [{{"task_id": "a", "task_id": "a"}}, {B},, {A}]}}"#),
        format!(r#"{{"tasks": [{{"task_id": 3}}, {B}"#),
    ];
    for text in &others {
        assert!(lower::json_dag(&source(text)).is_none(), "{text}");
        assert_eq!(said(text), by_tree(text), "{text}");
    }
}

#[test]
fn what_the_dag_says_for_its_tasks_may_stand_behind_them() {
    let text = format!(
        r#"{{"tasks": [{A}, {B}, {{"task_id": "c", "script": "local.b.f.sql.n", "retry_delay": 9}}],
            "pools": {{"p": 1}}, "retries": 5, "retry_delay": 7}}"#
    );
    let dag = accepted("a.json", &text);
    let said: Vec<(u32, Duration)> = dag.tasks.iter().map(|task| (task.retries, task.retry_delay)).collect();
    let seconds = Duration::from_secs;
    assert_eq!(said, [(5, seconds(7)), (3, seconds(7)), (5, seconds(9))]);
}

#[test]
fn tasks_that_say_the_same_hold_it_once() {
    let other = A.replace(r#""a""#, r#""c""#).replace("[\"b\"]", "[]");
    let dag = accepted("a.json", &format!(r#"{{"tasks": [{A}, {B}, {other}], "pools": {{"p": 1}}}}"#));
    let [a, b, c] = &dag.tasks[..] else { panic!("{dag:?}") };
    assert!(Arc::ptr_eq(&a.options, &c.options) && Arc::ptr_eq(&a.script, &c.script));
    assert!(Arc::ptr_eq(&a.dependencies[0].task_id, &b.task_id));
    assert!(!Arc::ptr_eq(&a.options, &b.options), "what one says is not said of the others");
    assert_eq!((c.retries, b.retries), (0, 3));
}
