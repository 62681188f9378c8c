//! The JSON Schema and the reading of files agree.

use jsonschema::Validator;
use serde_json::{Value, json};

use super::super::keys::{DagKey, Keys, NotifyKey, RuleKey, ScriptKey, TaskKey};
use super::super::{Location, NotifyOn, TriggerRule, schema};
use super::read;

fn validator() -> Validator {
    let schema = schema();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// A file of one task in which the task has these further keys.
fn with_task(keys: Value) -> Value {
    let mut task = json!({"task_id": "a", "script": "local.b.f.sql.n"});
    merge(&mut task, keys);
    json!({"tasks": [task]})
}

/// A file of one task in which the DAG has these further keys.
fn with_dag(keys: Value) -> Value {
    let mut dag = with_task(json!({}));
    merge(&mut dag, keys);
    dag
}

fn merge(into: &mut Value, keys: Value) {
    let Value::Object(keys) = keys else { panic!("{keys}") };
    into.as_object_mut().unwrap().extend(keys);
}

fn scripts(scripts: impl IntoIterator<Item = Value>) -> Vec<Value> {
    scripts.into_iter().map(|script| with_task(json!({"script": script}))).collect()
}

fn right() -> Vec<Value> {
    let mut files = vec![
        with_task(json!({})),
        json!({"dag": with_task(json!({}))}),
        with_dag(json!({
            "dag_id": "a.b-c_9", "description": "", "owner": "me", "tags": ["x", "x"], "processors": 1, "retries": 0,
            "retry_delay": 0, "retry_backoff": "fixed", "max_retry_delay": "1h", "timeout": 3600, "pools": {}, "notify": [], "script_cache": true, "expire_cache": 7200.5, "params": {},
        })),
        with_task(json!({
            "params": {"a": [1, null], "**A_b_c": "", "*x": 1}, "dependencies": [], "retries": 4.0, "retry_delay": "1h 30m",
            "retry_backoff": "exponential", "max_retry_delay": 0.5, "when": "1 < 2", "teardown": false, "pool": "a-b.c", "timeout": 0.5, "priority": -5, "expected_duration": "1.5h",
        })),
        with_task(json!({"params": "{'a': 1}"})),
        with_task(json!({"params": ""})),
        with_task(json!({"task_id": "x".repeat(250)})),
        with_task(json!({"task_id": "..."})),
    ];
    for schedule in ["", "@once", "@annually", "*/5 0,12 1-15 JAN *", "0 0 * * sun"] {
        files.push(with_dag(json!({"schedule_interval": schedule})));
    }
    for date in ["", "2024-01-31", "2024-01-31T12:00:00Z", "2024-01-31 12:00:00.25+02:00"] {
        files.push(with_dag(json!({"start_date": date})));
    }
    for (rule, _) in TriggerRule::NAMES {
        files.push(with_task(json!({"trigger_rule": rule})));
    }
    for (on, _) in NotifyOn::NAMES {
        files.push(with_dag(
            json!({"notify": [{"on": on, "command": ["x", ""]}, {"on": [on, on], "webhook": "http://a"}]}),
        ));
    }
    for target in [
        json!({"command": "echo\n"}),
        json!({"webhook": "https://user@host:80/a/b?c=d#e"}),
        json!({"webhook": "http://[::1]"}),
    ] {
        files.push(with_dag(json!({"notify": [target]})));
    }
    for for_each in [
        json!([1, {"a": 2}]),
        json!({"a": 1}),
        json!("[1]"),
        json!({"zip": {"a": [1], "b": "[2]"}}),
        json!({"cross": {"a": []}}),
    ] {
        files.push(with_task(json!({"for_each": for_each, "max_active_tis_per_dagrun": 3})));
    }
    files.push(with_task(json!({"type": "x.y", "adds": ["z"]})));
    files.push(json!({"tasks": [{"task_id": "a", "dag": "b.yaml", "params": {"x": 1}}], "max_tasks": 9}));
    let script = json!({"engine": "sql", "inline": ""});
    let added = json!({"task_id": "new", "type": "x", "script": script, "dependencies": [{"type": "x"}]});
    for rule in [
        json!({"when": true}),
        json!({"when": "closed('x')", "rule_id": "r"}),
        json!({"each": {"type": "x"}}),
    ] {
        let mut rule = rule;
        rule["add"] = json!({"tasks": [added], "rules": [{"when": "true", "add": {"tasks": [{"task_id": "n2", "script": script}]}}]});
        files.push(with_dag(json!({"rules": [rule]})));
    }
    files.push(with_dag(json!({"pools": {"a.b-c_9": 1, "x": 4_294_967_295_u32}})));
    files.extend(scripts(Location::ALL.map(|location| json!(format!("{}.b-1.f.bq.n", location.name())))));
    files.extend(scripts([
        json!("s3.b.f/g.Cloud-Function_1.n"),
        json!({"engine": "sql", "inline": ""}),
        json!({"engine": "sql", "location": "local", "bucket": "a.b", "name": "...x"}),
        json!({"engine": "sql", "location": "gcs", "bucket": "b", "folder": "a/b.c", "name": "n"}),
        json!({"engine": "sql", "location": "gcs", "bucket": "b", "folder": "", "name": "n"}),
    ]));
    files
}

fn wrong_notices() -> Vec<Value> {
    vec![
        json!("x"),
        json!({}),
        json!({"on": "failure"}),
        json!({"command": "x", "webhook": "http://a"}),
        json!({"command": "x", "on": "start"}),
        json!({"command": "x", "on": []}),
        json!({"command": "x", "on": [1]}),
        json!({"command": " "}),
        json!({"command": []}),
        json!({"command": ["", "x"]}),
        json!({"command": ["x", 1]}),
        json!({"command": ["x", "a\u{0}"]}),
        json!({"command": "x\u{0}"}),
        json!({"command": 1}),
        json!({"webhook": "ftp://a"}),
        json!({"webhook": "https://"}),
        json!({"webhook": "https:///a"}),
        json!({"webhook": "https://a b"}),
        json!({"webhook": "https://é"}),
        json!({"webhook": "https://a", "email": "x"}),
    ]
}

fn wrong_tasks() -> Vec<Value> {
    vec![
        json!({"when": ""}),
        json!({"when": true}),
        json!({"pool": "a b"}),
        json!({"pool": ""}),
        json!({"pool": 1}),
        json!({"for_each": 3}),
        json!({"teardown": 1}),
        json!({"on_failure_fail_dagrun": "yes"}),
        json!({"max_retry_delay": 0}),
        json!({"max_retry_delay": -1}),
        json!({"notify": []}),
        json!({"processors": 1}),
        json!({"task_id": ""}),
        json!({"task_id": "ö"}),
        json!({"task_id": "."}),
        json!({"task_id": ".."}),
        json!({"task_id": "x".repeat(251)}),
        json!({"task_id": 1}),
        json!({"dependencies": "b"}),
        json!({"dependencies": [1]}),
        json!({"timeout": 0}),
        json!({"timeout": [1]}),
        json!({"priority": "high"}),
        json!({"priority": 3_000_000_000_u64}),
        json!({"trigger_rule": "some"}),
        json!({"expected_duration": "5"}),
        json!({"params": {"**A": 1}}),
        json!({"params": {"**_b": 1}}),
        json!({"params": {"*": 1}}),
        json!({"params": {"": 1}}),
        json!({"params": 1}),
    ]
}

fn wrong() -> Vec<Value> {
    let mut files = vec![
        json!([]),
        json!({}),
        json!({"tasks": []}),
        json!({"tasks": [1]}),
        json!({"tasks": [{}]}),
        json!({"dag": {}}),
        json!({"dag": with_task(json!({})), "owner": "me"}),
    ];
    for keys in [
        json!({"colour": 1}),
        json!({"notify": {"command": "x"}}),
        json!({"pools": []}),
        json!({"pools": {"a b": 1}}),
        json!({"pools": {"..": 1}}),
        json!({"pools": {"a": 0}}),
        json!({"pools": {"a": "1"}}),
        json!({"rules": [{"add": {"tasks": []}}]}),
        json!({"timeout": 0}),
        json!({"max_retry_delay": 0}),
        json!({"when": "true"}),
        json!({"teardown": true}),
        json!({"dag_id": "a b"}),
        json!({"dag_id": null}),
        json!({"description": 1}),
        json!({"owner": []}),
        json!({"tags": "x"}),
        json!({"tags": [1]}),
        json!({"schedule_interval": "@dayly"}),
        json!({"schedule_interval": "* * * *"}),
        json!({"start_date": "tomorrow"}),
        json!({"start_date": 20240131}),
        json!({"processors": 0}),
        json!({"processors": 1.5}),
        json!({"processors": "4"}),
        json!({"retries": -1}),
        json!({"retries": 5_000_000_000_u64}),
        json!({"retry_delay": -0.5}),
        json!({"retry_delay": "soon"}),
        json!({"retry_delay": ""}),
        json!({"expire_cache": 2e9}),
        json!({"retry_backoff": "none"}),
        json!({"script_cache": 1}),
        json!({"params": []}),
    ] {
        files.push(with_dag(keys));
    }
    files.extend(wrong_notices().into_iter().map(|notice| with_dag(json!({"notify": [notice]}))));
    files.extend(wrong_tasks().into_iter().map(with_task));
    files.extend(scripts([
        json!(1),
        json!(""),
        json!("local.b.sql.n"),
        json!("local.b.f.g.sql.n"),
        json!("ftp.b.f.sql.n"),
        json!("local..f.sql.n"),
        json!("local.b.f.s q.n"),
        json!("local.b/c.f.sql.n"),
        json!("local.b./f.sql.n"),
        json!("local.b.f.sql.n/m"),
        json!("local.b\\c.f.sql.n"),
        json!({}),
        json!({"engine": "sql"}),
        json!({"inline": "x"}),
        json!({"engine": "", "inline": "x"}),
        json!({"engine": "sql", "inline": 1}),
        json!({"engine": "sql", "inline": "x", "name": "n"}),
        json!({"engine": "sql", "location": "local", "name": "n"}),
        json!({"engine": "sql", "location": "ftp", "bucket": "b", "name": "n"}),
        json!({"engine": "sql", "location": "local", "bucket": "..", "name": "n"}),
        json!({"engine": "sql", "location": "local", "bucket": "b", "folder": "/a", "name": "n"}),
        json!({"engine": "sql", "location": "local", "bucket": "b", "folder": "a/../b", "name": "n"}),
        json!({"engine": "sql", "location": "local", "bucket": "b", "folder": "a/", "name": "n"}),
        json!({"engine": "sql", "location": "local", "bucket": "b", "name": "a\u{0}"}),
        json!({"engine": "sql", "location": "local", "bucket": "b", "name": ""}),
        json!({"engine": "sql", "location": "local", "bucket": "b", "name": "n", "path": "x"}),
    ]));
    files
}

#[test]
fn what_is_read_is_valid() {
    let validator = validator();
    for file in right() {
        if let Err(mistakes) = read("dag.json", &file.to_string()) {
            panic!("{mistakes}");
        }
        if let Err(error) = validator.validate(&file) {
            panic!("{file:#}: {error}");
        }
    }
}

#[test]
fn what_is_refused_for_its_form_is_invalid() {
    let validator = validator();
    for file in wrong() {
        assert!(read("dag.json", &file.to_string()).is_err(), "read: {file:#}");
        assert!(!validator.is_valid(&file), "valid: {file:#}");
    }
}

#[test]
fn every_key_is_described_in_the_schema() {
    fn check<K: Keys>(mapping: &Value) {
        let properties = mapping["properties"].as_object().unwrap();
        assert_eq!(properties.len(), K::TABLE.len());
        for (index, key) in K::TABLE.iter().enumerate() {
            assert_eq!(properties[key.name]["description"], key.doc);
            assert_eq!(K::find(key.name).map(K::index), Some(index));
        }
    }
    let schema = schema();
    check::<DagKey>(&schema["$defs"]["dag"]);
    check::<TaskKey>(&schema["$defs"]["task"]);
    check::<ScriptKey>(&schema["$defs"]["script"]["anyOf"][1]);
    check::<NotifyKey>(&schema["$defs"]["notice"]);
    check::<RuleKey>(&schema["$defs"]["rule"]);
    check::<TaskKey>(&schema["$defs"]["added_task"]);
}
