//! Scripts on a real PostgreSQL server: what they leave, and how they fail.

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Engine as _, Error, ErrorKind, Outcome};
use serde_json::{Value, json};

use super::{block_on, errors};
use crate::testing::server::{PASSWORD, free_port, server};
use crate::testing::{Recorder, run_with, task};

struct Place {
    url: String,
    recorder: Arc<Recorder>,
}

impl Place {
    fn new() -> Self {
        Self { url: server().database(), recorder: Arc::default() }
    }

    fn run(&self, sql: &str) -> Result<Outcome, Error> {
        self.run_with(sql, json!({}))
    }

    fn run_with(&self, sql: &str, mut params: Value) -> Result<Outcome, Error> {
        params["url"] = self.url.clone().into();
        run_with(&self.recorder, &server().folder, sql, params)
    }

    /// What a query finds, from another connection.
    fn find(&self, sql: &str) -> Value {
        let outcome = crate::testing::run(Path::new("/"), sql, json!({"url": self.url})).unwrap();
        let rows = outcome.result.unwrap();
        rows[0].as_object().unwrap().values().next().unwrap().clone()
    }
}

/// Connects by a URL and does next to nothing.
fn connect(url: &str) -> Result<Outcome, Error> {
    crate::testing::run(&server().folder, "select 1 as one", json!({"url": url}))
}

#[test]
fn a_script_runs_all_its_statements_and_counts_their_rows() {
    let place = Place::new();
    let outcome = place
        .run(
            "create table t(a int, b text);\ninsert into t values (1, 'secret'), (2, null);\n\
             create table copy as select * from t;\nupdate t set b = 'x' where a = 3;\n\
             with n as (select 4) insert into t select * from n returning a;\n\
             do $$ begin raise notice 'half; way'; raise warning 'careful'; end $$;\n\
             delete from t;select 1 union select 2",
        )
        .unwrap();
    assert_eq!(
        Value::Object(outcome.metrics),
        json!({
            "statements": 8, "rows_affected": 8, "rows_returned": 3,
            "rows_affected_by_statement": [0, 2, 2, 0, 1, 0, 3, 0],
        })
    );
    assert_eq!(outcome.result, None);
    insta::assert_snapshot!(place.recorder.log(), @r##"
    Info statement 1 of 8, line 1: create table t(a int, b text): 0 rows affected
    Info statement 2 of 8, line 2: insert into t values (1, '…'), (2, null): 2 rows affected
    Info statement 3 of 8, line 3: create table copy as select * from t: 2 rows affected
    Info statement 4 of 8, line 4: update t set b = '…' where a = 3: 0 rows affected
    Info statement 5 of 8, line 5: with n as (select 4) insert into t select * from n returning…: 1 row affected
    Info notice: half; way
    Warn warning: careful
    Info statement 6 of 8, line 6: do '…': 0 rows affected
    Info statement 7 of 8, line 7: delete from t: 3 rows affected
    Info statement 8 of 8, line 7: select 1 union select 2: 2 rows returned
    Info no result is left: the script has several statements (`result: rows` would leave the last one's rows)
    "##);
}

#[test]
fn one_select_leaves_its_rows_with_their_types() {
    let outcome = Place::new()
        .run(
            r#"select 1::int8 as i, 1.5::float8 as f, 'NaN'::float4 as nan, 12.50 as n, 1e30::numeric as big,
                true as b, 'é"' as t, null::int as none, date '2024-02-29' as d,
                timestamptz '2024-02-29 12:00:00.5+00' at time zone 'UTC' as ts, '{"a": [1, null]}'::jsonb as j,
                array[[1, 2], [3, null]] as "array", array['a,b', null, 'NULL'] as texts, '\x00ff'::bytea as bytes,
                'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as u, sum(x), row(1, 'x') as r, 1 as i
            from (values (1::bigint), (2)) as v(x)"#,
        )
        .unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&outcome.result).unwrap(), @r##"
    [
      {
        "array": [
          [
            1,
            2
          ],
          [
            3,
            null
          ]
        ],
        "b": true,
        "big": "1000000000000000000000000000000",
        "bytes": "\\x00ff",
        "d": "2024-02-29",
        "f": 1.5,
        "i": 1,
        "i_2": 1,
        "j": {
          "a": [
            1,
            null
          ]
        },
        "n": 12.5,
        "nan": "NaN",
        "none": null,
        "r": "(1,x)",
        "sum": 3,
        "t": "é\"",
        "texts": [
          "a,b",
          null,
          "NULL"
        ],
        "ts": "2024-02-29 12:00:00.5",
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
      }
    ]
    "##);
}

#[test]
fn the_result_mode_decides_which_rows_are_left() {
    let place = Place::new();
    let script = "create table if not exists t(a int); select 1 as a; select 2 as a";
    assert_eq!(place.run(script).unwrap().result, None);
    assert_eq!(place.run_with(script, json!({"result": "rows"})).unwrap().result, Some(json!([{"a": 2}])));
    assert_eq!(place.run_with("select 1", json!({"result": "none"})).unwrap().result, None);
    assert_eq!(place.run("select from t").unwrap().result, Some(json!([])));
    assert_eq!(place.run("insert into t values (5) returning a").unwrap().result, Some(json!([{"a": 5}])));
    assert_eq!(place.run("delete from t").unwrap().result, None);
    let none = place.run_with("insert into t values (1)", json!({"result": "rows"})).unwrap_err();
    assert_eq!(none.kind, ErrorKind::Invalid);
    assert_eq!(place.find("select count(*) from t"), 0, "the attempt failed, so it leaves nothing");
    let many = place.run("select * from generate_series(1, 100000)").unwrap();
    assert_eq!((many.result, &many.metrics["rows_returned"]), (None, &json!(100_000)));
    assert!(place.recorder.log().contains("no result is left: the 100000 rows are more than"));
}

#[test]
fn a_failed_script_leaves_nothing_unless_told_otherwise() {
    let place = Place::new();
    let script = "create table t(a int unique); insert into t values (1);\ninsert into t values (1)";
    let error = place.run(script).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    insta::assert_snapshot!(error, @r#"line 2, column 1 of inline (statement 3 of 3): duplicate key value violates unique constraint "t_a_key" (SQLSTATE 23505); detail: Key (a)=(1) already exists."#);
    assert_eq!(place.find("select count(*) from pg_tables where tablename = 't'"), 0);
    place.run_with(script, json!({"transaction": false})).unwrap_err();
    assert_eq!(place.find("select count(*) from t"), 1);
    place.run("begin; insert into t values (2); commit; begin; delete from t; rollback").unwrap();
    assert_eq!(place.find("select count(*) from t"), 2);
}

#[test]
fn errors_say_where_in_the_script_they_are() {
    let place = Place::new();
    let error = |sql: &str| place.run(sql).unwrap_err().message;
    insta::assert_snapshot!(error("select 1;\n\nselekt 2"), @r#"line 3, column 1 of inline (statement 2 of 2): syntax error at or near "selekt" (SQLSTATE 42601)"#);
    insta::assert_snapshot!(error("select 'é',\n  'é' || missing"), @r#"line 2, column 10 of inline: column "missing" does not exist (SQLSTATE 42703)"#);
    insta::assert_snapshot!(error("select 1; select 'open"), @r#"line 1, column 18 of inline (statement 2 of 2): unterminated quoted string at or near "'open" (SQLSTATE 42601)"#);
    insta::assert_snapshot!(error("select 1;\n select 1/0"), @"line 2, column 2 of inline (statement 2 of 2): division by zero (SQLSTATE 22012)");
    insta::assert_snapshot!(error("select 1; vacuum"), @"line 1, column 11 of inline (statement 2 of 2): VACUUM cannot run inside a transaction block (SQLSTATE 25001); set `transaction: false` for this task, or begin and end transactions in the script");
    insta::assert_snapshot!(error("select 1;\n begin; select 2"), @"line 2, column 2 of inline (statement 2 of 3): the script begins a transaction and does not end it, so its changes would be lost: end it with `commit`, or leave transactions to the engine");
    insta::assert_snapshot!(error("select 1; copy pg_class to stdout"), @"line 1, column 11 of inline (statement 2 of 2): `copy` from stdin or to stdout has nothing to read or write here: name a file of the server, or use `insert`");
    insta::assert_snapshot!(error("do $$ begin execute 'selekt'; end $$"), @r#"line 1, column 1 of inline: syntax error at or near "selekt" (SQLSTATE 42601); in: PL/pgSQL function inline_code_block line 1 at EXECUTE"#);
    let reached = "create table t(a int unique deferrable initially deferred); insert into t values (1), (1)";
    insta::assert_snapshot!(error(reached), @r#"commit: duplicate key value violates unique constraint "t_a_key" (SQLSTATE 23505); detail: Key (a)=(1) already exists."#);
}

#[test]
fn what_may_go_well_later_is_transient() {
    let place = Place::new();
    let kind = |sql: &str| place.run(sql).unwrap_err().kind;
    for code in ["40001", "40P01", "55P03", "57P03", "53300", "08006"] {
        let sql = format!("do $$ begin raise exception sqlstate '{code}'; end $$");
        assert_eq!(kind(&sql), ErrorKind::Transient, "{code}");
    }
    assert_eq!(kind("do $$ begin raise exception sqlstate '42501'; end $$"), ErrorKind::Failed);
    assert_eq!(kind("select pg_terminate_backend(pg_backend_pid())"), ErrorKind::Transient);
    assert_eq!(kind("set statement_timeout = '10ms'; select pg_sleep(20)"), ErrorKind::Failed);
}

#[test]
fn what_follows_a_commit_is_not_tried_again_by_itself() {
    let place = Place::new();
    place.run("create table t(a int)").unwrap();
    let lost = "insert into t values (1); select pg_terminate_backend(pg_backend_pid())";
    let refused = "insert into t values (1); do $$ begin raise exception sqlstate '40001'; end $$";
    let apart = json!({"transaction": false});
    let error = |sql: &str, params: &Value| place.run_with(sql, params.clone()).unwrap_err();
    for sql in [lost, refused] {
        assert_eq!(error(sql, &apart).kind, ErrorKind::Failed, "{sql}");
        assert_eq!(error(&format!("begin; {sql}; commit"), &json!({})).kind, ErrorKind::Transient, "{sql}");
        assert_eq!(error(sql, &json!({})).kind, ErrorKind::Transient, "{sql}");
    }
    assert_eq!(place.find("select count(*) from t"), 2, "of the attempts without a transaction");
    let message = error(refused, &apart).message;
    assert!(
        message.ends_with("; what was committed before stays, so this is not tried again by itself"),
        "{message}"
    );
}

#[test]
fn a_server_that_listens_and_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = connect(&format!("postgres://u@127.0.0.1:{port}/d?connect_timeout=1")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    let message = error.message.replace(&port.to_string(), "PORT");
    insta::assert_snapshot!(message, @"no connection to postgres://127.0.0.1:PORT/d: it did not answer within 1s (`connect_timeout`)");
}

#[test]
fn a_deadlock_of_two_tasks_is_transient_for_one_and_nothing_for_the_other() {
    let place = Place::new();
    place.run("create table t(a int, b int); insert into t values (1, 0), (2, 0)").unwrap();
    let order = |first: i32, second: i32| {
        let wait = "do $$ begin for i in 1..1000 loop perform pg_sleep(0.01); \
                    exit when (select count(*) from pg_locks where locktype = 'advisory') = 2; end loop; end $$";
        format!(
            "update t set b = b + 1 where a = {first}; select pg_advisory_xact_lock({first}); {wait}; \
             update t set b = b + 1 where a = {second}"
        )
    };
    let (one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| place.run(&order(1, 2)));
        let two = scope.spawn(|| place.run(&order(2, 1)));
        (one.join().unwrap(), two.join().unwrap())
    });
    let loser = match (one, two) {
        (Ok(_), Err(loser)) | (Err(loser), Ok(_)) => loser,
        other => panic!("one should fail: {other:?}"),
    };
    assert_eq!(loser.kind, ErrorKind::Transient, "{loser}");
    assert!(loser.message.contains("deadlock detected (SQLSTATE 40P01)"), "{loser}");
    assert_eq!(place.find("select sum(b) from t"), 2);
}

#[test]
fn a_server_that_is_away_is_transient_and_wrong_credentials_are_invalid() {
    let server = server();
    let closed = free_port();
    let refused = connect(&format!("postgres://u:{PASSWORD}@127.0.0.1:{closed}/d")).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Transient, "{refused}");
    let wrong = connect(&server.tcp_url("").replace(PASSWORD, "wr0ng-pass")).unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Invalid, "{wrong}");
    let missing = connect(&server.url("missing")).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::Invalid, "{missing}");
    let place = Place::new();
    place.run("create role full_role login connection limit 0").unwrap();
    let full = connect(&place.url.replace("tester@", "full_role@")).unwrap_err();
    assert_eq!(full.kind, ErrorKind::Transient, "{full}");
    let all = [refused, wrong, missing, full].map(|error| error.message).join("\n");
    assert!(!all.contains(PASSWORD) && !all.contains("wr0ng-pass"), "{all}");
    let database = place.url.rsplit_once('/').unwrap().1;
    let all = all
        .replace(database, "DATABASE")
        .replace(&closed.to_string(), "PORT")
        .replace(&server.port.to_string(), "PORT");
    insta::assert_snapshot!(all.replace(server.folder.to_str().unwrap(), "/FOLDER"), @r##"
    no connection to postgres://127.0.0.1:PORT/d: error connecting to server: Connection refused (os error 111)
    no connection to postgres://127.0.0.1:PORT/postgres: password authentication failed for user "tester" (SQLSTATE 28P01)
    no connection to postgres:///FOLDER:PORT/missing: database "missing" does not exist (SQLSTATE 3D000)
    no connection to postgres:///FOLDER:PORT/DATABASE: too many connections for role "full_role" (SQLSTATE 53300)
    "##);
}

#[test]
fn a_stop_interrupts_a_long_query() {
    let place = Place::new();
    let started = Instant::now();
    let error = thread::scope(|scope| {
        let running = scope.spawn(|| place.run("create table undone(a int); select pg_sleep(60)"));
        place.recorder.wait_for("create table undone");
        place.recorder.cancel();
        running.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(place.find("select count(*) from pg_tables where tablename = 'undone'"), 0);
    let asleep =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    assert_eq!(place.find(asleep), 0, "the query still runs on the server");
}

#[test]
fn a_stop_ends_the_wait_for_a_silent_server() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@127.0.0.1:{}/d", silent.local_addr().unwrap().port());
    let recorder = Arc::<Recorder>::default();
    let error = thread::scope(|scope| {
        let running = scope.spawn(|| run_with(&recorder, Path::new("/"), "select 1", json!({"url": url})));
        let connection = silent.accept().unwrap();
        recorder.cancel();
        let error = running.join().unwrap().unwrap_err();
        drop(connection);
        error
    });
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
}

#[test]
fn many_tasks_write_at_once() {
    let place = Place::new();
    place.run("create table t(a int)").unwrap();
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                place.run("insert into t values (1); insert into t values (2)").unwrap();
            });
        }
    });
    assert_eq!(place.find("select count(*) from t"), 16);
}

#[test]
fn sslmode_decides_whether_and_with_whom_the_connection_is_encrypted() {
    let server = server();
    let encrypted = |options: &str| {
        let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        let outcome = crate::testing::run(&server.folder, sql, json!({"url": server.tcp_url(options)}))?;
        Ok::<_, Error>(outcome.result.unwrap()[0]["ssl"].clone())
    };
    assert_eq!(encrypted("?sslmode=disable"), Ok(json!(false)));
    assert_eq!(encrypted(""), Ok(json!(true)));
    assert_eq!(encrypted("?sslmode=require"), Ok(json!(true)));
    assert_eq!(encrypted("?sslmode=require&channel_binding=require"), Ok(json!(true)));
    assert_eq!(encrypted("?sslmode=verify-ca&sslrootcert=ca.pem"), Ok(json!(true)));
    // The certificate is for db.test, not for an address.
    let name = encrypted("?sslmode=verify-full&sslrootcert=ca.pem").unwrap_err();
    assert_eq!(name.kind, ErrorKind::Invalid, "{name}");
    assert!(name.message.contains("not valid for name"), "{name}");
    let named = server.tcp_url("?sslmode=verify-full&sslrootcert=ca.pem&hostaddr=127.0.0.1");
    assert!(connect(&named.replace("@127.0.0.1", "@db.test")).is_ok());
    let unknown = encrypted("?sslmode=verify-ca").unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::Invalid, "{unknown}");
    assert!(
        encrypted("?sslmode=verify-ca&sslrootcert=missing.pem").unwrap_err().message.contains("missing.pem")
    );
}

#[test]
fn a_dry_run_prepares_statements_and_runs_none() {
    let place = Place::new();
    let url = place.url.clone();
    let checked = task(
        "create table t(a int);\nselct 1;\n\nselect *\n  from made_by_another_task",
        json!({"url": url}),
    );
    let engine = crate::Sql::create(crate::Config::default()).unwrap();
    let findings = engine.validate(&checked).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&findings).unwrap(), @r##"
    [
      {
        "severity": "error",
        "message": "syntax error at or near \"selct\" (SQLSTATE 42601)",
        "line": 2,
        "column": 1
      },
      {
        "severity": "info",
        "message": "relation \"made_by_another_task\" does not exist (SQLSTATE 42P01)",
        "line": 5,
        "column": 8
      }
    ]
    "##);
    assert_eq!(place.find("select count(*) from pg_tables where tablename = 't'"), 0);
    let away = task("select 1", json!({"url": format!("postgres://u@127.0.0.1:{}/d", free_port())}));
    let findings = engine.validate(&away).unwrap();
    assert!(findings[0].message.starts_with("the script was not checked: no connection to"), "{findings:?}");
}

#[test]
fn a_connection_lost_at_commit_is_not_tried_again_blindly() {
    let place = Place::new();
    let lost = block_on(async {
        let config: tokio_postgres::Config = place.url.parse().unwrap();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        drop(connection);
        client.batch_execute("commit").await.unwrap_err()
    });
    let sql = crate::script::Script::new("", "s", crate::lexer::Dialect::Postgres);
    let request = crate::config::Request {
        url: String::new(),
        busy_timeout: Duration::ZERO,
        transaction: true,
        result: None,
    };
    let job = crate::job::Job::new(&sql, &request, place.recorder.clone());
    let error = errors::at_commit(&lost.unwrap(), &job);
    assert_eq!(error.kind, ErrorKind::Failed);
    insta::assert_snapshot!(error, @"commit: connection closed; whether the changes are there is unknown: look before the task runs again");
}
