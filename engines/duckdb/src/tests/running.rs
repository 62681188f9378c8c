//! Running scripts: outcome, log, errors, waiting for others, and ends.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, ErrorKind, Outcome};
use serde_json::json;

use super::{PATIENCE, Recorder, config, program, rows, run, run_with, task};

/// More work than any test has time for.
const ENDLESS: &str = "select count(*) as n from unnest(generate_array(1, 100000)) as a, \
                       unnest(generate_array(1, 100000)) as b, unnest(generate_array(1, 100000)) as c \
                       where a * b + c = 0";

#[test]
fn a_script_leaves_its_tables_to_the_next_one_and_says_what_each_statement_did() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::default();
    let script =
        "create table p.d.t (a int64);\ninsert into p.d.t (a)\nvalues (1), (2);\nselect * from p.d.t";
    let config = config(json!({"database": "made/on the way/a.db"}));
    let outcome = run_with(&recorder, &config, folder.path(), script, json!({})).unwrap();
    assert_eq!(outcome.result, None, "several statements");
    let metrics = json!({"rows_affected": 2, "rows_returned": 2, "statements": 3});
    assert_eq!(outcome.metrics, *metrics.as_object().unwrap());
    let log = recorder.log();
    let info: Vec<&str> = log.lines().filter(|line| line.starts_with("Info")).collect();
    insta::assert_snapshot!(info.join("\n"), @r"
    Info statement 1 of 3, line 1: CREATE: 0 rows affected
    Info statement 2 of 3, line 2: INSERT: 2 rows affected
    Info statement 3 of 3, line 4: SELECT: 2 rows returned
    ");
    assert!(log.contains(r#"Debug statement 2 for DuckDB: INSERT INTO "d"."t""#), "{log}");
    let outcome =
        run_with(&Arc::default(), &config, folder.path(), "select * from t", json!({"dataset": "d"}));
    assert_eq!(outcome.unwrap().result, Some(json!([{"a": 1}, {"a": 2}])));
}

#[test]
fn a_failure_is_placed_in_the_script_as_it_was_written_and_keeps_what_was_done_before() {
    let folder = tempfile::tempdir().unwrap();
    let script = "create table d.t (a int64);\n-- why\n  insert into d.t\n  select cast('x' as int64);\ndrop table d.t";
    let error = run(folder.path(), script, json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    insta::assert_snapshot!(error, @"line 3, column 3 of inline (statement 2 of 3): Conversion Error: Could not convert string 'x' to INT64");
    assert_eq!(rows(folder.path(), "select * from d.t"), json!([]), "each statement commits by itself");
}

#[test]
fn a_script_that_is_wrong_is_invalid_before_any_of_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let script = "create table d.t (a int64);\nselect * frm d.t x y";
    let error = run(folder.path(), script, json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.starts_with("line 2, column "), "{error}");
    assert!(!folder.path().join("a.db").exists());
    let error =
        run(folder.path(), "select array_agg(a limit 2) from unnest([1]) as a", json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("DuckDB has no such syntax"), "{error}");
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), "create table d.t (a int64)", json!({})).unwrap();
    let script = "begin transaction; insert into d.t (a) values (1); select error('no'); commit transaction";
    run(folder.path(), script, json!({})).unwrap_err();
    assert_eq!(rows(folder.path(), "select * from d.t"), json!([]));
}

#[test]
fn a_transaction_that_nothing_ends_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let script = "select 1;\n  begin transaction; create table d.t (a int64)";
    let error = run(folder.path(), script, json!({})).unwrap_err();
    insta::assert_snapshot!(error, @"line 2, column 3 of inline: the transaction that begins here is never ended, which would undo it: end it with `commit` or `rollback`");
    assert!(!folder.path().join("a.db").exists());
    let own = config(json!({"translate": false}));
    let script = "begin;\ncreate table t (a int)";
    let error = run_with(&Arc::default(), &own, folder.path(), script, json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.starts_with("line 1, column 1 of inline: the transaction"), "{error}");
    assert_eq!(crate::validate(&own, &task(script, json!({}))).unwrap()[0].line, Some(1));
}

#[test]
fn a_result_with_two_columns_of_one_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let query = "select * from (select 1 as id) as a join (select 2 as id) as b on a.id < b.id";
    let error = run(folder.path(), query, json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    insta::assert_snapshot!(error, @"line 1, column 1 of inline: two columns of the result are named `id`: give each a name of its own, with `as`");
    run(folder.path(), query, json!({"result": "none"})).unwrap();
}

#[test]
fn the_rows_of_the_last_query_are_the_result_where_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let result = |sql, mode| run(folder.path(), sql, json!({"result": mode})).map(|outcome| outcome.result);
    let several = "create or replace table d.t as select 1 as a; select sum(a) as s from d.t";
    assert_eq!(result(several, "rows"), Ok(Some(json!([{"s": 1}]))));
    assert_eq!(result("select 1 as a", "none"), Ok(None));
    let change = result("select 1;\ncreate table d.u (a int64)", "rows").unwrap_err();
    insta::assert_snapshot!(change, @"line 2, column 1 of inline: `result: rows` wants the rows of the last statement, but that is no query");
    let large = "select a from unnest(generate_array(1, 10000)) as a";
    assert_eq!(rows_or_none(&folder, large), None);
    assert!(result(large, "rows").unwrap_err().message.contains("select less"));
}

fn rows_or_none(folder: &tempfile::TempDir, sql: &str) -> Option<serde_json::Value> {
    run(folder.path(), sql, json!({})).unwrap().result
}

#[test]
fn parameters_are_values_and_never_sql() {
    let folder = tempfile::tempdir().unwrap();
    let params = json!({"text": "'; drop table d.t; -- \\", "year": 2022, "days": ["2022-01-01"]});
    let query = "select @text as t, @year + 1 as y, date '2022-01-01' in (select cast(d as date) from unnest(@days) as d) as d";
    let outcome = run(folder.path(), query, params).unwrap();
    assert_eq!(outcome.result, Some(json!([{"t": "'; drop table d.t; -- \\", "y": 2023, "d": true}])));
}

#[test]
fn duckdbs_own_sql_runs_untranslated() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(json!({"translate": false}));
    fs::write(folder.path().join("a.csv"), "a,b\n1,x\n").unwrap();
    let run = |sql| run_with(&Arc::default(), &config, folder.path(), sql, json!({"database": ":memory:"}));
    let outcome = run("from read_csv('a.csv') -- ;\n;").unwrap();
    assert_eq!(outcome.result, Some(json!([{"a": 1, "b": "x"}])));
    let error = run("select 1;\n.shell touch made").unwrap_err();
    insta::assert_snapshot!(error, @"line 2, column 1 of inline: commands of the duckdb program, which begin with a dot, are not SQL");
    assert_eq!(run("selec 1").unwrap_err().kind, ErrorKind::Invalid);
}

/// An overflow of the stack would end the test, and the scheduler.
#[test]
fn a_script_that_is_nested_too_deep_is_refused_and_any_other_translated() {
    let kinds = [
        ("(", ")"),
        ("abs(", ")"),
        ("(select ", ")"),
        ("case when true then ", " end"),
        ("not ", ""),
        ("[", "]"),
        ("- ", ""),
    ];
    for (before, after) in kinds {
        let nested = |depth: usize| {
            let sql = format!("select {}1{} as a", before.repeat(depth), after.repeat(depth));
            crate::validate(&config(json!({})), &task(&sql, json!({}))).unwrap()
        };
        assert_eq!(nested(20), [], "{before}");
        // Up to where the library stops, wherever that is.
        for depth in [100, 300, 500, 1_000] {
            nested(depth);
        }
        let refused = nested(5_000);
        assert!(refused[0].message.starts_with("it is nested too deep"), "{before}: {refused:?}");
    }
    let union = format!("select 1 as a{}", " union all select 1".repeat(5_000));
    let refused = crate::validate(&config(json!({})), &task(&union, json!({}))).unwrap();
    assert!(refused[0].message.starts_with("it is nested too deep"), "{refused:?}");
}

#[test]
fn validation_finds_every_mistake_with_its_place_and_runs_nothing() {
    let findings = |config, sql| {
        let findings = crate::validate(&config, &task(sql, json!({}))).unwrap();
        let shown =
            findings.iter().map(|f| format!("{:?} {:?}:{:?} {}", f.severity, f.line, f.column, f.message));
        shown.collect::<Vec<_>>().join("\n")
    };
    let found = findings(config(json!({})), "select @a;\ndrop table d.t;\n declare x int64;");
    insta::assert_snapshot!(found, @r"
    Error Some(1):Some(8) the query parameter `@a` gets no value: give the task a parameter `a`
    Error Some(3):Some(2) statements that begin with `DECLARE` are not translated to DuckDB: of BigQuery's scripting only transactions are, and of its definitions those of tables, views, schemas and SQL functions; run the script on BigQuery, or write it without them
    ");
    let absent = config(json!({"program": "/nowhere/duckdb"}));
    insta::assert_snapshot!(findings(absent, "-- nothing"), @r"
    Warning None:None the program `/nowhere/duckdb` is not there: install DuckDB's (`pip install duckdb-cli` does), so that it is on PATH, or name it by `program` in the engine's config
    Warning None:None the script has no statements
    ");
}

#[test]
fn a_database_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.db"), "no database").unwrap();
    let error = run(folder.path(), "select 1", json!({})).unwrap_err();
    let shown = error.message.replace(folder.path().to_str().unwrap(), "");
    insta::assert_snapshot!(shown, @r#"the database /a.db cannot be used: IO Error: The file "/a.db" exists, but it is not a valid DuckDB database file!"#);
}

/// Runs a script on a shell script in DuckDB's place.
fn run_on(folder: &tempfile::TempDir, program: &str, sql: &str) -> Result<Outcome, Error> {
    let path = folder.path().join("program");
    fs::write(&path, format!("#!/bin/sh\n{program}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let config = config(json!({"program": path, "database": "a.db"}));
    run_with(&Arc::default(), &config, folder.path(), sql, json!({}))
}

#[test]
fn neither_arguments_nor_leftover_files_hold_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let program = "printf '%s ' \"$0\" \"$@\" > arguments\ncat > input\nls -l /proc/self/fd/0 > file\n\
         sed -n 's/^.output //p' input | tr -d '\"' | xargs dirname | xargs ls > left";
    run_on(&folder, program, "select 's3cret'").unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let input = read("input");
    assert!(input.contains("s3cret"));
    let arguments = read("arguments").replace(folder.path().to_str().unwrap(), "");
    assert_eq!(arguments.trim(), "/program -no-init -batch -bail -jsonlines /a.db");
    assert!(read("file").contains("(deleted)"), "{}", read("file"));
    assert_eq!(read("left").trim(), "results", "while the program runs");
    let pipe = input.lines().next().unwrap().trim_start_matches(".output ").trim_matches('"');
    assert!(!std::path::Path::new(pipe).parent().unwrap().exists(), "{pipe} is left");
}

#[test]
fn a_program_that_was_killed_is_no_fault_of_a_statement() {
    let folder = tempfile::tempdir().unwrap();
    // As the system does, as the script that PyPI installs tells of it, and with the shell that leads the group.
    let first = "pipe=$(sed -n 's/^.output //p' | tr -d '\"')\necho 'oxidag-statement 1' > \"$pipe\"\n";
    for end in ["kill -KILL $$", "exit 247", "kill -KILL 0"] {
        let error = run_on(&folder, &format!("{first}{end}"), "select 1").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed, "{end}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"DuckDB was killed (signal 9), perhaps since memory ran out: give it more, or run fewer tasks at a time");
        }
    }
    let error = run_on(&folder, &format!("{first}kill -SEGV $$"), "select 1").unwrap_err();
    assert!(error.message.starts_with("line 1, column 1 of inline: DuckDB crashed (signal 11)"), "{error}");
}

#[test]
fn what_a_script_prints_is_logged_and_no_part_of_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::<Recorder>::default();
    let script = "copy (select 'oxidag-statement 3') to '/dev/stdout' (format csv, header false);
        copy (select 7 as a) to '/dev/stdout' (format json);
        select 1 as a";
    let config = config(json!({"translate": false, "database": ":memory:"}));
    let outcome = run_with(&recorder, &config, folder.path(), script, json!({"result": "rows"})).unwrap();
    assert_eq!(outcome.result, Some(json!([{"a": 1}])));
    assert_eq!(outcome.metrics["rows_returned"], 1);
    let log = recorder.log();
    for line in ["oxidag-statement 3", "{\"a\":7}"] {
        assert!(log.contains(&format!("Stdout {line}\n")), "{log}");
    }
}

#[test]
fn tasks_on_one_file_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), "create table d.t (a int64)", json!({})).unwrap();
    thread::scope(|scope| {
        for i in 0..4 {
            let folder = folder.path();
            scope.spawn(move || run(folder, "insert into d.t (a) values (@i)", json!({"i": i})).unwrap());
        }
    });
    assert_eq!(rows(folder.path(), "select count(distinct a) as n from d.t"), json!([{"n": 4}]));
}

#[test]
fn a_task_waits_for_another_one_of_its_scheduler_however_long_that_takes() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let turn = runtime.block_on(crate::lock::turn(&folder.path().join("a.db"), || panic!("nobody has it")));
    let recorder = Arc::<Recorder>::default();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let config = config(json!({"database": "a.db", "lock_timeout": 0}));
            run_with(&recorder, &config, folder.path(), "select 1 as a", json!({}))
        });
        recorder.wait_for("another task has the database: waiting");
        drop(turn);
        assert_eq!(waits.join().unwrap().unwrap().result, Some(json!([{"a": 1}])));
    });
}

/// Another process that has the database open until its input ends.
fn holder(folder: &std::path::Path) -> Child {
    let mut child = Command::new(program())
        .args(["-no-init", "-batch", "-jsonlines", "a.db"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let input = child.stdin.as_mut().unwrap();
    writeln!(input, "create table main.held (a int);\n.output held\nselect 1;\n.output").unwrap();
    input.flush().unwrap();
    let until = Instant::now() + PATIENCE;
    while !folder.join("held").exists() {
        assert!(Instant::now() < until, "the other process does not open the database");
        thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn a_database_that_another_process_has_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = holder(folder.path());
    let recorder = Arc::<Recorder>::default();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let config = config(json!({"database": "a.db"}));
            run_with(&recorder, &config, folder.path(), "select count(*) as n from held", json!({}))
        });
        recorder.wait_for("another process has the database open: waiting");
        drop(other.stdin.take());
        other.wait().unwrap();
        assert_eq!(waits.join().unwrap().unwrap().result, Some(json!([{"n": 0}])));
    });
}

#[test]
fn waiting_for_a_database_ends_with_its_time_and_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = holder(folder.path());
    let short = config(json!({"database": "a.db", "lock_timeout": 0.1}));
    let error = run_with(&Arc::default(), &short, folder.path(), "select 1", json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    let told = error.message.replace(folder.path().to_str().unwrap(), "");
    let rest = told.trim_start_matches("process ").trim_start_matches(|letter: char| letter.is_ascii_digit());
    assert!(told.starts_with("process ") && told.len() > "process ".len() + rest.len(), "{told}");
    insta::assert_snapshot!(rest, @" still has the database /a.db open after 0.1 s, and DuckDB lets one process at a time use it: end that process, or raise `lock_timeout`");
    let recorder = Arc::<Recorder>::default();
    let long = config(json!({"database": "a.db"}));
    thread::scope(|scope| {
        let waits = scope.spawn(|| run_with(&recorder, &long, folder.path(), "select 1", json!({})));
        recorder.wait_for("another process has the database open: waiting");
        recorder.cancel();
        assert_eq!(waits.join().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    });
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_task_that_is_stopped_leaves_no_process_and_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::<Recorder>::default();
    let script = format!("create table d.t (a int64); insert into d.t (a) values (1); {ENDLESS}");
    thread::scope(|scope| {
        let config = config(json!({"database": "a.db"}));
        let runs = scope.spawn({
            let (recorder, folder) = (recorder.clone(), folder.path());
            move || run_with(&recorder, &config, folder, &script, json!({}))
        });
        recorder.wait_for("statement 2 of 3");
        recorder.cancel();
        let error = runs.join().unwrap().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    });
    let at_once = config(json!({"database": "a.db", "lock_timeout": 0}));
    let next = run_with(&Arc::default(), &at_once, folder.path(), "select a from d.t", json!({}));
    assert_eq!(next.unwrap().result, Some(json!([{"a": 1}])));
}
