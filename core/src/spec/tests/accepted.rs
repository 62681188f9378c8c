//! What a right file means.

use std::time::Duration;

use serde_json::json;

use super::super::{Backoff, Location, NotifyOn, NotifyTarget, Script, ScriptSource, TriggerRule};
use super::{accepted, task, without_places};

const PYDAG: &str = include_str!("../../../../dags/pydag_example.json");

fn stored(bucket: &str, folder: &str, engine: &str, name: &str) -> Script {
    Script {
        engine: engine.into(),
        source: ScriptSource::Stored {
            location: Location::Gcs,
            bucket: bucket.to_owned(),
            folder: folder.to_owned(),
            name: name.to_owned(),
        },
    }
}

#[test]
fn pydags_own_example_reads_unchanged() {
    let dag = accepted("dags/pydag_example.json", PYDAG);
    assert_eq!(dag.dag_id, "TEST_DAG");
    assert_eq!(dag.tags, ["tag"]);
    assert_eq!(dag.owner.as_deref(), Some("owner"));
    assert_eq!((dag.description, dag.schedule_interval, dag.start_date), (None, None, None));
    assert_eq!((dag.processors, dag.script_cache), (Some(4), true));
    assert_eq!(dag.expire_cache, Some(Duration::from_secs(7200)));
    let ids: Vec<&str> = dag.tasks.iter().map(|task| &*task.task_id).collect();
    assert_eq!(
        ids,
        [
            "startup_dataproc_1",
            "create_table_final",
            "create_table_stg_1",
            "create_table_stg_2",
            "initial_ingestion_1",
            "extract_from_stg_1",
            "extract_from_stg_2",
            "insert_to_fact"
        ]
    );
    let ingestion = &dag.tasks[4];
    assert_eq!(*ingestion.script, stored("project-pydag", "module_name", "spark", "csv_gcs_to_bq"));
    assert_eq!(ingestion.params["region"], "us-central1");
    assert_eq!(ingestion.params["**GCP_service-account"], "");
    let upstream: Vec<&str> = ingestion.dependencies.iter().map(|d| &*d.task_id).collect();
    assert_eq!(upstream, &ids[..4]);
    assert_eq!(&PYDAG[ingestion.span.start as usize..ingestion.span.end as usize], "\"initial_ingestion_1\"");
}

#[test]
fn json_and_yaml_say_the_same() {
    let json: serde_json::Value = serde_json::from_str(PYDAG).unwrap();
    let yaml = super::random::yaml(&json);
    let said = |path, text| without_places(accepted(path, text));
    assert_eq!(said("pydag.json", PYDAG), said("pydag.yaml", &yaml));
    assert_eq!(said("pydag.json", PYDAG), said("pydag.yml", PYDAG));
}

#[test]
fn a_yaml_file_may_begin_with_a_brace() {
    let dag = accepted("dag.yaml", "{tasks: [{task_id: a, script: local.b.f.sql.n}]}");
    assert_eq!(&*dag.tasks[0].task_id, "a");
}

#[test]
fn without_a_name_a_dag_is_named_as_its_file() {
    let text = "tasks: [{task_id: a, script: local.b.f.sql.n}]";
    assert_eq!(accepted("x/nightly load.v2.yaml", text).dag_id, "nightly_load.v2");
    assert_eq!(accepted("", text).dag_id, "dag");
    assert_eq!(accepted("nightly.yaml", &format!("dag_id: given\n{text}")).dag_id, "given");
}

#[test]
fn a_task_takes_what_it_does_not_say_from_the_dag_wherever_that_stands() {
    let text = "tasks:\n- {task_id: a, script: local.b.f.sql.n}\n\
                - {task_id: b, script: local.b.f.sql.n, retries: 0, retry_delay: 0, max_retry_delay: 5}\n\
                retries: 3\nretry_delay: 1m\nretry_backoff: exponential\nmax_retry_delay: 10m\n";
    let dag = accepted("dag.yaml", text);
    let said = |at: usize| (dag.tasks[at].retries, dag.tasks[at].retry_delay, dag.tasks[at].retry_backoff);
    assert_eq!(said(0), (3, Duration::from_secs(60), Backoff::Exponential));
    assert_eq!(said(1), (0, Duration::ZERO, Backoff::Exponential));
    assert_eq!(dag.tasks[0].max_retry_delay, Some(Duration::from_secs(600)));
    assert_eq!(dag.tasks[1].max_retry_delay, Some(Duration::from_secs(5)));
}

#[test]
fn a_task_that_says_nothing_is_tried_once_without_limits() {
    let task = task("");
    assert_eq!(
        (task.retries, task.retry_delay, task.retry_backoff),
        (0, Duration::from_secs(1), Backoff::Fixed)
    );
    assert_eq!((task.timeout, task.expected_duration, task.priority), (None, None, 0));
    assert_eq!((task.max_retry_delay, task.teardown, task.on_failure_fail_dagrun), (None, false, false));
    assert!(task.when.is_none() && task.pool.is_none());
    assert_eq!(task.trigger_rule, TriggerRule::AllSuccess);
    assert!(task.params.is_empty() && task.dependencies.is_empty());
}

#[test]
fn a_duration_is_a_number_of_seconds_or_text_with_units() {
    for (written, milliseconds) in [
        ("5", 5000),
        ("0.25", 250),
        ("90s", 90_000),
        ("'5m'", 300_000),
        ("1h30m", 5_400_000),
        ("500ms", 500),
        ("2.0", 2000),
    ] {
        let task = task(&format!("  timeout: {written}\n"));
        assert_eq!(task.timeout, Some(Duration::from_millis(milliseconds)), "{written}");
    }
}

#[test]
fn every_trigger_rule_is_known_by_its_name() {
    for (name, rule) in TriggerRule::NAMES {
        assert_eq!(task(&format!("  trigger_rule: {name}\n")).trigger_rule, rule);
    }
}

#[test]
fn a_condition_is_compiled_once_however_many_tasks_have_it() {
    let task = |id| format!("- {{task_id: {id}, script: local.b.f.sql.n, when: params.full}}\n");
    let dag = accepted("dag.yaml", &format!("params: {{full: true}}\ntasks:\n{}{}", task("a"), task("b")));
    let [a, b] = &dag.tasks[..] else { panic!("{dag:?}") };
    let (a, b) = (a.when.as_ref().unwrap(), b.when.as_ref().unwrap());
    assert_eq!(&*a.text, "params.full");
    assert!(std::sync::Arc::ptr_eq(&a.condition, &b.condition) && a.span != b.span);
}

#[test]
fn a_teardown_names_its_setups() {
    let text = "tasks:\n- {task_id: a, script: local.b.f.sql.n}\n\
                - {task_id: b, script: local.b.f.sql.n, dependencies: [a], teardown: true, on_failure_fail_dagrun: true}\n\
                - {task_id: c, script: local.b.f.sql.n, teardown: false, trigger_rule: all_done, when: 'true'}\n";
    let dag = accepted("dag.yaml", text);
    let said: Vec<(bool, bool)> = dag.tasks.iter().map(|t| (t.teardown, t.on_failure_fail_dagrun)).collect();
    assert_eq!(said, [(false, false), (true, true), (false, false)]);
}

#[test]
fn a_dag_has_pools_a_time_limit_and_notices() {
    let text = "pools: {warehouse: 4, a.b-c: 1}\ntimeout: 2h\nnotify:\n- {command: [mail, -s, ''], on: [success, failure, success]}\n\
                - command: echo done\n- {webhook: 'https://example.org/hook?a=b#c', on: deadline}\n\
                tasks: [{task_id: a, script: local.b.f.sql.n, pool: warehouse}]\n";
    let dag = accepted("dag.yaml", text);
    let pools: Vec<(&str, u32)> = dag.pools.iter().map(|(name, slots)| (&**name, *slots)).collect();
    assert_eq!(pools, [("a.b-c", 1), ("warehouse", 4)]);
    assert_eq!(dag.timeout, Some(Duration::from_secs(7200)));
    assert_eq!(dag.tasks[0].pool.as_deref(), Some("warehouse"));
    let [list, shell, webhook] = &dag.notify[..] else { panic!("{dag:?}") };
    let command =
        |words: &[&str]| NotifyTarget::Command(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(list.on, [NotifyOn::Success, NotifyOn::Failure]);
    assert_eq!(list.target, command(&["mail", "-s", ""]));
    assert_eq!(shell.on, [NotifyOn::Failure, NotifyOn::Deadline]);
    assert_eq!(shell.target, command(&["/bin/sh", "-c", "echo done"]));
    assert_eq!(webhook.on, [NotifyOn::Deadline]);
    assert_eq!(webhook.target, NotifyTarget::Webhook("https://example.org/hook?a=b#c".to_owned()));
    assert_eq!(&text[webhook.span.start as usize..][..9], "{webhook:");
}

#[test]
fn a_script_is_short_spelled_out_or_inline() {
    let script = |written: &str| {
        let dag = accepted("dag.yaml", &format!("tasks: [{{task_id: a, script: {written}}}]"));
        Script::clone(&dag.tasks[0].script)
    };
    assert_eq!(script("gcs.b.f.Cloud-Function_2.n"), stored("b", "f", "Cloud-Function_2", "n"));
    let spelled_out = "{location: gcs, bucket: my.bucket, folder: a/b, engine: bq, name: n.v2}";
    assert_eq!(script(spelled_out), stored("my.bucket", "a/b", "bq", "n.v2"));
    assert_eq!(script("{location: gcs, bucket: b, engine: bq, name: n}"), stored("b", "", "bq", "n"));
    let inline = Script { engine: "sql".into(), source: ScriptSource::Inline("select 1".into()) };
    assert_eq!(script("{engine: sql, inline: select 1}"), inline);
}

#[test]
fn tasks_of_one_engine_share_its_name() {
    let dag = accepted(
        "dag.yaml",
        "tasks:\n- {task_id: a, script: gcs.b.f.sql.n}\n- {task_id: b, script: {engine: sql, inline: x}}",
    );
    assert!(std::sync::Arc::ptr_eq(&dag.tasks[0].script.engine, &dag.tasks[1].script.engine));
}

#[test]
fn parameters_keep_their_keys_and_types() {
    let expected = json!({"s": "yes", "i": 1, "f": 1.5, "b": true, "n": null, "l": [1, {"a": "b"}], "**S_k_2": "", "*v": "x"});
    let written = "  params: {s: yes, i: 1, f: 1.5, b: true, n: ~, l: [1, {a: b}], '**S_k_2': '', '*v': x}\n";
    assert_eq!(json!(task(written).params), expected);
}

#[test]
fn pydags_text_of_parameters_may_be_empty() {
    assert!(task("  params: ''\n").params.is_empty());
    assert_eq!(task("  params: \"{'a': {'b': 1}}\"\n").params["a"]["b"], 1);
}

#[test]
fn an_alias_stands_for_what_it_refers_to() {
    let text = "params: &common {a: 1}\ntasks:\n- {task_id: &id a, script: local.b.f.sql.n, params: *common}\n\
                - {task_id: b, script: local.b.f.sql.n, dependencies: [*id]}\n";
    let dag = accepted("dag.yaml", text);
    assert_eq!(dag.tasks[0].params["a"], 1);
    assert_eq!(&*dag.tasks[1].dependencies[0].task_id, "a");
}

#[test]
fn schedules_and_dates_are_kept_as_written() {
    let text = "schedule_interval: 30 2 * * mon-fri\nstart_date: 2024-01-31T12:00:00Z\ntasks: [{task_id: a, script: local.b.f.sql.n}]";
    let dag = accepted("dag.yaml", text);
    assert_eq!(dag.schedule_interval.as_deref(), Some("30 2 * * mon-fri"));
    assert_eq!(dag.start_date.as_deref(), Some("2024-01-31T12:00:00Z"));
}

#[test]
fn places_are_right_behind_wide_characters_and_windows_line_ends() {
    let text = "\u{feff}description: 'grün 漢😀' # ü\r\ntasks:\r\n- task_id: \"a\"\r\n  script: local.b.f.sql.n\r\n\
                - {task_id: b, script: local.b.f.sql.n, dependencies: [\"a\"]}\r\n";
    let dag = accepted("dag.yaml", text);
    let text = &text['\u{feff}'.len_utf8()..];
    let at = |span: super::Span| &text[span.start as usize..span.end as usize];
    assert_eq!(at(dag.tasks[0].span), "\"a\"");
    assert_eq!(at(dag.tasks[0].script_span), "local.b.f.sql.n");
    assert_eq!(at(dag.tasks[1].span), "b");
    assert_eq!(at(dag.tasks[1].dependencies[0].span), "\"a\"");
}
