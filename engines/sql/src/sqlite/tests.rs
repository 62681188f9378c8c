//! Scripts on real SQLite files: what they leave, what they wait for, and how they fail.

use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, ErrorKind, Outcome};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::testing::{Recorder, run_with, task};

struct Place {
    folder: TempDir,
    recorder: Arc<Recorder>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), recorder: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("out/a.db")
    }

    fn run(&self, sql: &str) -> Result<Outcome, Error> {
        self.run_with(sql, json!({}))
    }

    fn run_with(&self, sql: &str, mut params: Value) -> Result<Outcome, Error> {
        params["url"] = "sqlite:out/a.db".into();
        run_with(&self.recorder, self.folder.path(), sql, params)
    }

    /// What a query finds, as another program sees it.
    fn find(&self, sql: &str) -> i64 {
        Connection::open(self.path()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn a_script_runs_all_its_statements_and_counts_their_rows() {
    let place = Place::new();
    let outcome = place
        .run(
            "create table t(a, b);\ninsert into t values (1, 'secret'), (2, null);\n\
             create table copy as select * from t;\nupdate t set b = 'x' where a = 3;\n\
             insert into t values (4, 4) returning a;\ndelete from t;select 1 union select 2",
        )
        .unwrap();
    assert_eq!(
        Value::Object(outcome.metrics),
        json!({
            "statements": 7, "rows_affected": 6, "rows_returned": 3,
            "rows_affected_by_statement": [0, 2, 0, 0, 1, 3, 0],
        })
    );
    assert_eq!(outcome.result, None);
    insta::assert_snapshot!(place.recorder.log(), @r##"
    Info statement 1 of 7, line 1: create table t(a, b): 0 rows affected
    Info statement 2 of 7, line 2: insert into t values (1, '…'), (2, null): 2 rows affected
    Info statement 3 of 7, line 3: create table copy as select * from t: 0 rows affected
    Info statement 4 of 7, line 4: update t set b = '…' where a = 3: 0 rows affected
    Info statement 5 of 7, line 5: insert into t values (4, 4) returning a: 1 row affected
    Info statement 6 of 7, line 6: delete from t: 3 rows affected
    Info statement 7 of 7, line 6: select 1 union select 2: 2 rows returned
    Info no result is left: the script has several statements (`result: rows` would leave the last one's rows)
    "##);
}

#[test]
fn one_select_leaves_its_rows_as_the_result() {
    let place = Place::new();
    place.run("create table t(a); insert into t values (1)").unwrap();
    let outcome = place
        .run("select a, 'x' as a, 1.5 as c, null as d, x'00ff' as e, 9e999 as f from t where a > 0; -- all")
        .unwrap();
    assert_eq!(
        outcome.result,
        Some(json!([{"a": 1, "a_2": "x", "c": 1.5, "d": null, "e": "\\x00ff", "f": "inf"}]))
    );
    assert_eq!(place.run("select * from t where a = 7").unwrap().result, Some(json!([])));
    assert_eq!(place.run("insert into t values (5) returning a").unwrap().result, Some(json!([{"a": 5}])));
    assert_eq!(place.run("delete from t").unwrap().result, None);
}

#[test]
fn the_result_mode_decides_which_rows_are_left() {
    let place = Place::new();
    let script = "create table if not exists t(a); select 1 as a; select 2 as a";
    assert_eq!(place.run(script).unwrap().result, None);
    assert_eq!(place.run_with(script, json!({"result": "rows"})).unwrap().result, Some(json!([{"a": 2}])));
    assert_eq!(place.run_with("select 1", json!({"result": "none"})).unwrap().result, None);
    let none = place.run_with("insert into t values (1)", json!({"result": "rows"})).unwrap_err();
    assert_eq!(none.kind, ErrorKind::Invalid);
    assert_eq!(place.find("select count(*) from t"), 0, "the attempt failed, so it leaves nothing");
}

#[test]
fn rows_that_do_not_fit_are_no_result_and_the_log_says_so() {
    let place = Place::new();
    let many =
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i from n";
    let outcome = place.run(many).unwrap();
    assert_eq!((outcome.result, &outcome.metrics["rows_returned"]), (None, &json!(100_000)));
    insta::assert_snapshot!(place.recorder.log(), @r##"
    Info statement 1 of 1, line 1: with recursive n(i) as (select 1 union all select i + 1 from…: 100000 rows returned
    Info no result is left: the 100000 rows are more than 65536 bytes of JSON, the most a result may have
    "##);
    let demanded = place.run_with(many, json!({"result": "rows"})).unwrap_err();
    assert_eq!(demanded.kind, ErrorKind::Failed);
    insta::assert_snapshot!(demanded, @"the 100000 rows are more than 65536 bytes of JSON, the most a result may have: select less, or leave out `result: rows`");
}

#[test]
fn a_failed_script_leaves_nothing_unless_told_otherwise() {
    let place = Place::new();
    let script = "create table t(a unique); insert into t values (1);\ninsert into t values (1)";
    let error = place.run(script).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    insta::assert_snapshot!(error, @"line 2, column 1 of inline (statement 3 of 3): UNIQUE constraint failed: t.a");
    assert_eq!(place.find("select count(*) from sqlite_schema"), 0);
    place.run_with(script, json!({"transaction": false})).unwrap_err();
    assert_eq!(place.find("select count(*) from t"), 1);
}

#[test]
fn errors_say_where_in_the_script_they_are() {
    let place = Place::new();
    let error = |sql: &str| place.run(sql).unwrap_err().message;
    insta::assert_snapshot!(error("select 1;\n\nselekt 2"), @r#"line 3, column 1 of inline (statement 2 of 2): near "selekt": syntax error"#);
    insta::assert_snapshot!(error("select\n  é,\n  1"), @"line 2, column 3 of inline: no such column: é");
    insta::assert_snapshot!(error("select 'é', x from (select 1)"), @"line 1, column 13 of inline: no such column: x");
    insta::assert_snapshot!(error("select 'open"), @r#"line 1, column 8 of inline: unrecognized token: "'open""#);
    insta::assert_snapshot!(error("select :name"), @"line 1, column 1 of inline: the bind parameter `:name` gets no value; write a task's parameter as `{name}`");
    insta::assert_snapshot!(error("create table t(a); vacuum"), @"line 1, column 20 of inline (statement 2 of 2): cannot VACUUM from within a transaction; set `transaction: false` for this task, or begin and end transactions in the script");
    insta::assert_snapshot!(error("select 1;\n begin; select 2"), @"line 2, column 2 of inline (statement 2 of 3): the script begins a transaction and does not end it, so its changes would be lost: end it with `commit`, or leave transactions to the engine");
    insta::assert_snapshot!(error("select 1\0"), @"the script has a null character in it, which no statement may have");
}

#[test]
fn a_trigger_with_statements_inside_is_made_and_fires() {
    let place = Place::new();
    place
        .run(
            "create table t(a); create table log(a);
             create trigger on_insert after insert on t begin
                 insert into log values (new.a); insert into log values (case when new.a then 'end;' end);
             end;
             insert into t values (1)",
        )
        .unwrap();
    assert_eq!(place.find("select count(*) from log"), 2);
}

#[test]
fn a_script_may_manage_its_own_transactions() {
    let place = Place::new();
    place
        .run("create table t(a); begin; insert into t values (1); commit; begin; delete from t; rollback")
        .unwrap();
    assert_eq!(place.find("select count(*) from t"), 1);
    place.run("begin; insert into t values (2); select * from missing; commit").unwrap_err();
    assert_eq!(place.find("select count(*) from t"), 1);
}

#[test]
fn settings_at_the_start_take_effect_before_the_transaction() {
    let place = Place::new();
    let dangling = "create table a(x primary key); create table b(x references a); insert into b values (1)";
    let error = place.run(dangling).unwrap_err();
    assert!(error.message.ends_with("FOREIGN KEY constraint failed"), "{error}");
    place.run(&format!("pragma foreign_keys = off; {dangling}")).unwrap();
    assert_eq!(place.find("select count(*) from b"), 1);
}

#[test]
fn tasks_that_make_and_write_one_database_at_once_all_succeed() {
    for _ in 0..20 {
        let place = Place::new();
        let (tasks, start) = (6, Barrier::new(6));
        thread::scope(|scope| {
            for task in 0..tasks {
                let (place, start) = (&place, &start);
                scope.spawn(move || {
                    start.wait();
                    let sql = format!(
                        "select count(*) from sqlite_schema; create table t{task}(a); \
                         create table if not exists shared(a); insert into shared values ({task})"
                    );
                    place.run(&sql).unwrap();
                });
            }
        });
        assert_eq!(place.find("select count(*) from shared"), tasks);
    }
}

#[test]
fn the_first_task_waits_until_the_database_can_have_its_write_ahead_log() {
    let place = Place::new();
    std::fs::create_dir(place.folder.path().join("out")).unwrap();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("create table t(a); begin immediate").unwrap();
    thread::scope(|scope| {
        let running = scope.spawn(|| place.run("insert into t values (1)"));
        place.recorder.wait_for("waiting");
        other.execute_batch("commit").unwrap();
        running.join().unwrap().unwrap();
    });
    assert_eq!(place.find("select count(*) from t, pragma_journal_mode where journal_mode = 'wal'"), 1);
}

#[test]
fn a_reader_does_not_wait_for_a_writer() {
    let place = Place::new();
    place.run("create table t(a); insert into t values (1)").unwrap();
    let writer = Connection::open(place.path()).unwrap();
    writer.execute_batch("begin immediate; delete from t").unwrap();
    let outcome = place.run("select count(*) as n from t").unwrap();
    assert_eq!(outcome.result, Some(json!([{"n": 1}])));
}

#[test]
fn a_database_locked_for_too_long_is_a_transient_error() {
    let place = Place::new();
    place.run("create table t(a)").unwrap();
    let writer = Connection::open(place.path()).unwrap();
    writer.execute_batch("begin immediate").unwrap();
    let config = serde_json::from_value(json!({"busy_timeout": "100ms", "url": "sqlite:out/a.db"})).unwrap();
    let mut waiting = task("insert into t values (1)", json!({}));
    place.folder.path().clone_into(&mut waiting.working_dir);
    let started = Instant::now();
    let error = crate::run(&config, &waiting, place.recorder.clone()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    assert!(started.elapsed() >= Duration::from_millis(100));
    insta::assert_snapshot!(error, @"begin immediate: database is locked (others were writing for longer than `busy_timeout`, 100ms)");
}

#[test]
fn what_follows_a_commit_is_not_tried_again_by_itself() {
    let place = Place::new();
    place.run("create table t(a)").unwrap();
    let other = Connection::open(place.folder.path().join("other.db")).unwrap();
    other.execute_batch("create table u(a); begin immediate").unwrap();
    let config = serde_json::from_value(json!({"busy_timeout": "10ms", "url": "sqlite:out/a.db"})).unwrap();
    let error = |sql: &str| {
        let folder = place.folder.path().display();
        let mut task =
            task(&format!("attach '{folder}/other.db' as o; {sql}"), json!({"transaction": false}));
        place.folder.path().clone_into(&mut task.working_dir);
        crate::run(&config, &task, place.recorder.clone()).unwrap_err()
    };
    assert_eq!(error("insert into o.u values (1)").kind, ErrorKind::Transient);
    let committed = error("insert into t values (1); insert into o.u values (1)");
    assert_eq!(committed.kind, ErrorKind::Failed);
    let message = committed.message;
    let end = "`busy_timeout`, 10ms); what was committed before stays, so this is not tried again by itself";
    assert!(message.ends_with(end), "{message}");
}

#[test]
fn a_setting_further_down_takes_effect_where_it_stands() {
    let place = Place::new();
    let sql = "select 1; select case when 'a' like 'A' then 1 else abs(-9223372036854775807 - 1) end; \
               pragma case_sensitive_like = on";
    place.run(sql).unwrap();
}

/// Runs `sql`, asks it to stop once `ready` was logged, and checks that it does and leaves nothing.
fn assert_stops(place: &Place, sql: &str, ready: &str) {
    let error = thread::scope(|scope| {
        let running = scope.spawn(|| place.run(sql));
        place.recorder.wait_for(ready);
        place.recorder.cancel();
        running.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert_eq!(place.find("select count(*) from sqlite_schema where name = 'undone'"), 0);
}

#[test]
fn a_stop_interrupts_a_long_query() {
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    assert_stops(&Place::new(), &format!("create table undone(a); {endless}"), "create table undone");
}

#[test]
fn a_stop_ends_the_wait_for_a_lock() {
    let place = Place::new();
    place.run("create table t(a)").unwrap();
    let writer = Connection::open(place.path()).unwrap();
    writer.execute_batch("begin immediate").unwrap();
    let started = Instant::now();
    assert_stops(&place, "create table undone(a)", "waiting");
    assert!(started.elapsed() < Duration::from_secs(10), "it waited for the lock");
}

#[test]
fn a_stop_that_was_there_before_runs_nothing() {
    let place = Place::new();
    place.recorder.cancel();
    assert_eq!(place.run("create table undone(a)").unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn a_path_that_is_no_database_is_invalid() {
    let place = Place::new();
    let open = |url: &str| {
        run_with(&place.recorder, place.folder.path(), "select * from sqlite_schema", json!({"url": url}))
    };
    std::fs::write(place.folder.path().join("text"), "this is a text, and long enough to be seen as none")
        .unwrap();
    std::fs::create_dir(place.folder.path().join("folder")).unwrap();
    for url in ["sqlite:text", "sqlite:folder", "sqlite:text/a.db"] {
        let error = open(url).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert!(error.message.contains(place.folder.path().to_str().unwrap()), "{error}");
    }
    assert_eq!(open("sqlite::memory:").unwrap().result, Some(json!([])));
}

#[test]
fn ten_thousand_statements_take_seconds_and_one_list_of_metrics() {
    let place = Place::new();
    let inserts: String = (0..10_000).map(|i| format!("insert into t values ({i});\n")).collect();
    let outcome = place.run(&format!("create table t(a);\n{inserts}")).unwrap();
    assert_eq!(outcome.metrics["rows_affected"], 10_000);
    assert!(!outcome.metrics.contains_key("rows_affected_by_statement"));
    assert_eq!(place.find("select count(*) from t"), 10_000);
}

#[test]
fn a_dry_run_finds_wrong_syntax_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut task = task(
        "create table t(a);\nselect * frm t where 1;\nselect * from made_by_another_task;\n select 'x",
        json!({"url": "sqlite:a.db"}),
    );
    folder.path().clone_into(&mut task.working_dir);
    let engine = <crate::Sql as oxidag_plugin_api::Engine>::create(crate::Config::default()).unwrap();
    let validate =
        |task: &oxidag_plugin_api::Task| oxidag_plugin_api::Engine::validate(&engine, task).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&validate(&task)).unwrap(), @r##"
    [
      {
        "severity": "error",
        "message": "near \"frm\": syntax error",
        "line": 2,
        "column": 10
      },
      {
        "severity": "error",
        "message": "unrecognized token: \"'x\"",
        "line": 4,
        "column": 9
      }
    ]
    "##);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    task.script.text = "-- nothing".to_owned();
    insta::assert_snapshot!(validate(&task)[0].message, @"the script has no statements");
    task.params.clear();
    assert!(validate(&task)[0].message.starts_with("no database is named"));
}
