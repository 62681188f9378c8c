//! Items, keys, placeholders, and what causes add.

mod rules;

use std::sync::Arc;

use serde_json::{Value, json};

use super::fill::fill;
use super::*;
use crate::spec::{Dag, SourceFile, parse};
use crate::state::TaskState;

fn keys(value: Value) -> Vec<String> {
    Items::of(value).unwrap().iter().map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn text_and_numbers_are_their_own_keys() {
    assert_eq!(
        keys(json!(["2024-01", 7, true, "a/b c.csv", "漢"])),
        ["2024-01", "7", "true", "a_b_c.csv", "漢"]
    );
    assert_eq!(keys(json!({"eu": 1, "us": [2]})), ["eu", "us"]);
}

#[test]
fn items_whose_keys_would_not_do_are_numbered() {
    for list in [json!(["a", "a"]), json!(["a b", "a/b"]), json!(["", "x"]), json!([{"a": 1}, "x"])] {
        assert_eq!(keys(list), ["0", "1"]);
    }
    assert_eq!(keys(json!(["x".repeat(61)])), ["0"]);
}

#[test]
fn lists_are_zipped_and_crossed() {
    let lists =
        || vec![("n".to_owned(), vec![json!(1), json!(2)]), ("s".to_owned(), vec![json!("a"), json!("b")])];
    let shown = |items: Items| {
        items.iter().map(|(key, item)| format!("{key}: {item}")).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(shown(Items::zip(lists()).unwrap()), r#"1,a: {"n":1,"s":"a"}; 2,b: {"n":2,"s":"b"}"#);
    insta::assert_snapshot!(shown(Items::cross(lists(), 4).unwrap()), @r#"1,a: {"n":1,"s":"a"}; 1,b: {"n":1,"s":"b"}; 2,a: {"n":2,"s":"a"}; 2,b: {"n":2,"s":"b"}"#);
    let mut uneven = lists();
    uneven[1].1.pop();
    insta::assert_snapshot!(Items::zip(uneven).unwrap_err(), @"the lists of `zip` differ in length: `n` has 2, `s` has 1");
    assert!(
        Items::cross(vec![("a".to_owned(), vec![]), ("b".to_owned(), vec![json!(1)])], 4).unwrap().is_empty()
    );
}

#[test]
fn combinations_are_stored_and_read_as_items() {
    let lists = [("b", json!([1, null])), ("a", json!(["x", {"deep": []}, "z"]))];
    let lists = lists.map(|(name, list)| (name.to_owned(), list.as_array().unwrap().clone())).to_vec();
    let items = Items::cross(lists, 6).unwrap();
    assert_eq!(keys(json!([0, 1, 2, 3, 4, 5])), items.iter().map(|(key, _)| key).collect::<Vec<_>>());
    let stored = serde_json::to_value(&items).unwrap();
    assert_eq!(stored[4], json!(["4", {"a": {"deep": []}, "b": null}]));
    let read: Items = serde_json::from_value(stored).unwrap();
    assert_eq!(read, items);
    assert_ne!(read, Items::of(json!([0, 1, 2, 3, 4, 5])).unwrap());
}

#[test]
fn combinations_beyond_the_limit_of_the_graph_are_not_made() {
    let lists =
        |count: usize| (0..count).map(|n| (n.to_string(), vec![json!(1), json!(2)])).collect::<Vec<_>>();
    insta::assert_snapshot!(Items::cross(lists(31), 1_000_000).unwrap_err(), @"the lists of `cross` have 2147483648 combinations, and `max_tasks` is 1000000; raise it in the DAG if that is meant");
    assert!(Items::cross(lists(70), u32::MAX).unwrap_err().contains("too many combinations"));
    let with_none = lists(70).into_iter().chain([("none".to_owned(), vec![])]).collect();
    assert!(Items::cross(with_none, 4).unwrap().is_empty());
}

#[test]
fn placeholders_are_filled_and_other_braces_stay() {
    let (item, key, index) = (json!({"a": {"b": [1, "x"]}}), json!("k"), json!(3));
    let bindings = [("item", &item), ("key", &key), ("index", &index)];
    let filled = |value: Value| fill(&value, &bindings);
    assert_eq!(filled(json!("{index}")), Ok(json!(3)));
    assert_eq!(filled(json!("{item.a}")), Ok(json!({"b": [1, "x"]})));
    assert_eq!(filled(json!("{item.a.b.1}-{key}{index} {item.a.b}")), Ok(json!("x-k3 [1,\"x\"]")));
    assert_eq!(filled(json!(["{key}", {"{key}": "{key}"}])), Ok(json!(["k", {"{key}": "k"}])));
    for same in ["{", "}", "{}", "{{key}", "{other}", "{items}", "{\"item\": 1}", "a{key", "{item.}{"] {
        let expected = same.replace("{key}", "k");
        match filled(json!(same)) {
            Ok(value) => assert_eq!(value, json!(expected), "{same}"),
            Err(_) => assert_eq!(same, "{item.}{"),
        }
    }
    insta::assert_snapshot!(filled(json!("{item.a.c}")).unwrap_err(), @"the placeholder `{item.a.c}` stands for nothing: there is no such part");
}

fn dag(text: &str) -> Dag {
    let text = text.replace("{script}", "script: {engine: noop, inline: ''}");
    parse(SourceFile::new("dag.yaml".into(), text)).unwrap_or_else(|mistakes| panic!("{mistakes}")).0
}

fn mapped(task: u32, items: Option<Value>) -> Cause {
    Cause::Mapped { task: TaskIdx(task), items: items.map(|items| Arc::new(Items::of(items).unwrap())) }
}

#[test]
fn a_cause_that_was_stored_brings_back_the_same_tasks() {
    let dag = dag("tasks:
- {task_id: a, {script}, for_each: [x], params: {p: '{item}-{index}'}}
- {task_id: b, {script}, for_each: {instances_of: a}}
");
    let causes = [mapped(0, Some(json!(["x", "y"]))), mapped(1, None)];
    let grown = |causes: &[Cause]| {
        let mut growing = Growing::new(&dag);
        for cause in causes {
            let growth = growing.derive(&dag, cause.clone()).unwrap();
            growing.commit(&dag, &growth);
        }
        let shown =
            |task: &Arc<Grown>| format!("{} {} {:?}", task.task_id, json!(task.params), task.upstream);
        growing.grown().iter().map(shown).collect::<Vec<_>>()
    };
    let first = grown(&causes);
    assert_eq!(
        first,
        [r#"a[x] {"p":"x-0"} []"#, r#"a[y] {"p":"y-1"} []"#, "b[x] {} [TaskIdx(2)]", "b[y] {} [TaskIdx(3)]"]
    );
    let stored = serde_json::to_string(&causes).unwrap();
    let causes: Vec<Cause> = serde_json::from_str(&stored).unwrap();
    assert_eq!(grown(&causes), first);
}

#[test]
fn a_graph_does_not_grow_beyond_its_limit() {
    let dag = dag("max_tasks: 3\ntasks: [{task_id: a, {script}, for_each: []}]");
    let mut growing = Growing::new(&dag);
    assert!(growing.derive(&dag, mapped(0, Some(json!([1, 2])))).is_ok());
    let why = growing.derive(&dag, mapped(0, Some(json!([1, 2, 3])))).unwrap_err();
    insta::assert_snapshot!(why, @"the graph would grow to 4 tasks, and `max_tasks` is 3; raise it in the DAG if that is meant");
}

#[test]
fn what_a_rule_adds_is_called_after_the_task_that_it_is_for() {
    let dag = dag("tasks:
- {task_id: a, type: x, {script}}
- {task_id: b, type: x, {script}}
rules:
- each: {type: x}
  add:
    tasks:
    - {task_id: second, dependencies: [first, {type: x}], {script}}
    - {task_id: first, dependencies: ['{task}'], params: {of: '{task.id} {task.result.n}'}, {script}}
    rules:
    - {when: true, add: {tasks: [{task_id: third, dependencies: ['{task}'], {script}}]}}
");
    let mut growing = Growing::new(&dag);
    let rule = |rule, result| Cause::Rule {
        rule,
        name: "1".into(),
        task: Some(TaskIdx(1)),
        result: Some(Arc::new(result)),
    };
    for cause in [rule(0, json!({"n": 7})), rule(1, json!({"n": 7}))] {
        let growth = growing.derive(&dag, cause).unwrap();
        growing.commit(&dag, &growth);
    }
    let shown = |task: &Arc<Grown>| format!("{} {} {:?}", task.task_id, json!(task.params), task.upstream);
    let shown: Vec<String> = growing.grown().iter().map(shown).collect();
    assert_eq!(
        shown,
        [
            r#"first[b] {"of":"b 7"} [TaskIdx(1)]"#,
            "second[b] {} [TaskIdx(0), TaskIdx(1), TaskIdx(2)]",
            "third[b] {} [TaskIdx(1)]",
        ]
    );
    let why = growing.derive(&dag, rule(0, json!({"n": 7}))).unwrap_err();
    assert_eq!(why, "there is a task `first[b]` already");
    let why = growing.derive(&dag, rule(0, Value::Null)).unwrap_err();
    assert_eq!(why, "the placeholder `{task.result.n}` stands for nothing: there is no such part");
}
