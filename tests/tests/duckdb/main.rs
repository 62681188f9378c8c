//! The engine `duckdb` in the built program: pyDag's SQL scripts on a laptop, and what is left when it is killed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oxidag_tests::running::Running;
use oxidag_tests::{Sandbox, built, engine, root};
use serde_json::{Value, json};

/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sandbox in which `--env dev` maps `bq` to the engine, as `plugins.dev.toml` of the repository does.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let dev = fs::read_to_string(root().join("plugins.dev.toml")).unwrap();
    let library = format!("{:?}", engine("duckdb"));
    let mapped = dev.replace("\"oxidag_engine_duckdb\"", &library);
    assert_eq!(mapped.matches(&library).count(), 2, "{dev}");
    sandbox.write("plugins.dev.toml", &mapped);
    sandbox
}

/// The folder of the program `duckdb` that the test servers' packages bring.
fn programs() -> PathBuf {
    let folder = built().parent().unwrap().join("python/bin");
    let program = folder.join("duckdb");
    assert!(program.is_file(), "{} is not there; `cargo xtask test` installs it", program.display());
    folder
}

/// The program with these arguments and `duckdb` on its PATH.
fn oxidag(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [programs()].into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap());
    command
}

#[track_caller]
fn run(sandbox: &Sandbox, arguments: &[&str], status: i32) -> oxidag_tests::Ended {
    let ended: oxidag_tests::Ended = oxidag(sandbox, arguments).output().unwrap().into();
    ended.expect_status(status)
}

/// What `duckdb` itself finds in a database.
fn query(database: &Path, sql: &str) -> Value {
    let output = Command::new(programs().join("duckdb"))
        .args(["-no-init", "-readonly", "-json"])
        .arg(database)
        .args(["-c", sql])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(json!([]))
}

/// The rows of the example's file that its SQL selects, found without SQL.
fn expected() -> Value {
    let text = fs::read_to_string(root().join("dags/pydag/module_name/test.csv")).unwrap();
    let rows = text.lines().skip(1).filter_map(|line| {
        let [id, category, day] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let kept = [("cars", "2022-"), ("food", "2021-")].contains(&(category, day.get(..5)?));
        kept.then(|| json!({"id": id.parse::<i64>().unwrap(), "category": category, "lastdate": day}))
    });
    rows.collect()
}

fn copy(sandbox: &Sandbox, name: &str) {
    sandbox.write(name, &fs::read_to_string(root().join("dags").join(name)).unwrap());
}

/// The example and its bucket, in the sandbox, so that its database is there too.
fn example(sandbox: &Sandbox) {
    copy(sandbox, "pydag_laptop.yaml");
    for entry in fs::read_dir(root().join("dags/pydag/module_name")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        copy(sandbox, &format!("pydag/module_name/{name}"));
    }
}

#[test]
fn pydags_example_runs_on_a_laptop_and_can_be_repeated() {
    let sandbox = sandbox();
    example(&sandbox);
    let database = sandbox.path().join(".oxidag/duckdb.db");
    let expected = expected();
    assert!(expected.as_array().unwrap().len() >= 4);
    for run_id in ["first", "second"] {
        let _ = run(&sandbox, &["run", "pydag_laptop.yaml", "--env", "dev", "--run-id", run_id], 0);
        let found = query(&database, "select * from datasettest.mytable3 order by id");
        assert_eq!(found, expected, "{run_id} run");
        let left = query(&database, "select table_name from duckdb_tables()");
        assert_eq!(left, json!([{"table_name": "mytable3"}]), "the staging tables are dropped");
    }
    let shown = run(&sandbox, &["runs", "show", "second", "--json"], 0).json();
    assert_eq!(shown["state"], "success");
    let counted =
        shown["tasks"].as_array().unwrap().iter().find(|task| task["task_id"] == "count_rows").unwrap();
    assert_eq!(
        counted["result"],
        json!([{"category": "cars", "n": 2}, {"category": "food", "n": 3}]),
        "{counted}"
    );
}

/// The SQL tasks of pyDag's own file, as they are, on scripts in the location `local`.
#[test]
fn pydags_own_sql_tasks_run_unchanged() {
    let sandbox = sandbox();
    example(&sandbox);
    let text = fs::read_to_string(root().join("dags/pydag_example_with_teardown.json")).unwrap();
    let mut dag: Value = serde_json::from_str(&text).unwrap();
    let tasks = dag["dag"]["tasks"].as_array_mut().unwrap();
    tasks.retain(|task| task["script"].as_str().unwrap().contains(".bq."));
    assert_eq!(tasks.len(), 7);
    let ids: Vec<Value> = tasks.iter().map(|task| task["task_id"].clone()).collect();
    for task in &mut *tasks {
        let script = task["script"].as_str().unwrap().replace("gcs.project-pydag.", "local.pydag.");
        task["script"] = script.into();
        let upstream = task["dependencies"].as_array_mut().unwrap();
        let ingested = upstream.iter().position(|id| id == "initial_ingestion_1");
        upstream.retain(|id| ids.contains(id));
        // What stands for Spark's ingestion.
        if ingested.is_some() {
            upstream.push("ingest".into());
        }
    }
    let upstream = ["create_table_final", "create_table_stg_1", "create_table_stg_2"];
    tasks.push(json!({
        "task_id": "ingest", "script": "local.pydag.module_name.duckdb.csv_to_duckdb", "dependencies": upstream,
        "params": {
            "dataset": "datasettest", "destination_table": "table_stg",
            "bucket": "pydag", "folder": "module_name", "file_name": "test.csv",
        },
    }));
    sandbox.write("dag.json", &dag.to_string());
    let _ = run(&sandbox, &["run", "dag.json", "--env", "dev"], 0);
    let found =
        query(&sandbox.path().join(".oxidag/duckdb.db"), "select * from datasettest.mytable3 order by id");
    assert_eq!(found, expected());
}

#[test]
fn a_dry_run_places_mistakes_in_the_script_and_makes_no_database() {
    let sandbox = sandbox();
    let dag = json!({"dag_id": "d", "tasks": [
        {"task_id": "a", "script": {"engine": "bq", "inline": "select 1;\n  declare x int64;"}},
    ]});
    sandbox.write("dag.json", &dag.to_string());
    let ended = run(&sandbox, &["run", "dag.json", "--env", "dev", "--dry-run"], 2);
    let told = ended.stdout + &ended.stderr;
    assert!(told.contains("2:3") && told.contains("`DECLARE` are not translated"), "{told}");
    assert!(!sandbox.path().join(".oxidag/duckdb.db").exists());
}

#[test]
fn what_config_has_for_bigquery_alone_does_not_hinder_the_overlay() {
    let sandbox = sandbox();
    let plugins = fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap();
    let bq = "[engines.bq]\npath = \"/nowhere/bq.so\"\n[engines.bq.config]\nproject = \"p\"\nlocation = \"EU\"\n\
              dataset = \"d\"\npriority = \"batch\"\nmaximum_bytes_billed = 5\n";
    sandbox.write("plugins.toml", &format!("{plugins}{bq}"));
    let dag = json!({"dag_id": "d", "tasks": [
        {"task_id": "a", "script": {"engine": "bq", "inline": "create table t as select 1 as a"}},
    ]});
    sandbox.write("dag.json", &dag.to_string());
    let _ = run(&sandbox, &["run", "dag.json", "--env", "dev"], 0);
    let found = query(&sandbox.path().join(".oxidag/duckdb.db"), "select a from d.t");
    assert_eq!(found, json!([{"a": 1}]));
}

#[test]
fn a_folder_for_temporary_files_that_is_not_there_is_what_is_told() {
    let sandbox = sandbox();
    let dag =
        json!({"dag_id": "d", "tasks": [{"task_id": "a", "script": {"engine": "bq", "inline": "select 1"}}]});
    sandbox.write("dag.json", &dag.to_string());
    let mut command = oxidag(&sandbox, &["run", "dag.json", "--env", "dev"]);
    let ended: oxidag_tests::Ended = command.env("TMPDIR", "/nowhere").output().unwrap().into();
    let ended = ended.expect_status(1);
    let told = ended.stdout + &ended.stderr;
    assert!(
        told.contains("in /nowhere, the folder for temporary files") && told.contains("TMPDIR"),
        "{told}"
    );
}

/// One task on a script, with the database `a.db` of the sandbox.
fn write_task(sandbox: &Sandbox, script: &str, more: &Value) {
    let database = sandbox.path().join("a.db");
    let mut task = json!({"task_id": "a", "script": {"engine": "bq", "inline": script}, "params": {"database": database}});
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
}

/// The error of the last event about the task.
#[track_caller]
fn error_of(lines: &[Value]) -> (Value, String) {
    let ended = lines.iter().rfind(|event| event["event"] == "task_state").unwrap();
    (ended["error"]["kind"].clone(), ended["error"]["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn what_is_wrong_with_a_script_or_its_parameters_is_said() {
    for (script, params, kind, said) in [
        ("select * from d.missing", json!({}), "failed", "missing"),
        ("select @day", json!({}), "invalid", "`@day`"),
        ("select 1", json!({"database": 7}), "invalid", "`database`"),
    ] {
        let sandbox = sandbox();
        let params = if params == json!({}) { json!({}) } else { json!({"params": params}) };
        write_task(&sandbox, script, &params);
        let ended = run(&sandbox, &["run", "dag.json", "--env", "dev", "--format", "json"], 1);
        let (found, message) = error_of(&ended.json_lines());
        assert_eq!(found, kind, "{message}");
        assert!(message.contains(said), "{message}");
    }
}

/// A script whose last statement does not end in a lifetime.
const ENDLESS: &str = "create table if not exists d.t (a int64);\n\
     select count(*) as n from unnest(generate_array(1, 100000)) as a, unnest(generate_array(1, 100000)) as b, \
     unnest(generate_array(1, 100000)) as c where a * b + c = 0";

#[test]
fn a_run_that_is_cancelled_ends_its_duckdb() {
    let sandbox = sandbox();
    write_task(&sandbox, ENDLESS, &json!({}));
    let arguments = ["run", "dag.json", "--env", "dev", "--run-id", "r", "--format", "json"];
    let mut running = Running::start(oxidag(&sandbox, &arguments));
    running.until(|event| event.to_string().contains("statement 1 of 2"));
    let _ = run(&sandbox, &["runs", "cancel", "r"], 0);
    let ended = running.end().expect_status(130);
    assert_eq!(error_of(&ended.json_lines()).0, "cancelled", "{}", ended.stdout);
    assert_eq!(users(&sandbox.path().join("a.db")), [""; 0]);
}

#[test]
fn a_deadline_ends_it_too() {
    let sandbox = sandbox();
    write_task(&sandbox, ENDLESS, &json!({"timeout": "2s"}));
    let ended = run(&sandbox, &["run", "dag.json", "--env", "dev", "--format", "json"], 1);
    let (_, message) = error_of(&ended.json_lines());
    assert!(message.contains("timeout"), "{message}");
    assert_eq!(users(&sandbox.path().join("a.db")), [""; 0]);
}

/// The processes that have the database's path among their arguments.
fn users(database: &Path) -> Vec<String> {
    let name = database.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter(|entry| {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).split('\0').any(|word| word == name)
    });
    ids.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_killed_scheduler_leaves_no_duckdb_and_its_run_is_resumed() {
    let sandbox = sandbox();
    let database = sandbox.path().join("a.db");
    // The first attempt never ends; the resumed one finds what the first has committed.
    let script = "create table if not exists d.tries (a int64);\ninsert into d.tries (a) values (1);\n\
                  select count(*) as n from (select if(count(*) > 1, 1, 100000) as most from d.tries) as t, \
                  unnest(generate_array(1, t.most)) as a, unnest(generate_array(1, t.most)) as b, \
                  unnest(generate_array(1, t.most)) as c where a * b + c = 0";
    let dag = json!({"dag_id": "d", "tasks": [
        {"task_id": "a", "script": {"engine": "bq", "inline": script}, "params": {"database": database}},
    ]});
    sandbox.write("dag.json", &dag.to_string());
    let arguments = ["run", "dag.json", "--env", "dev", "--run-id", "r", "--format", "json"];
    let temporary = sandbox.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let files = || fs::read_dir(&temporary).unwrap().count();
    let mut scheduler = oxidag(&sandbox, &arguments);
    let mut scheduler = scheduler.env("TMPDIR", &temporary).stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(scheduler.stdout.take().unwrap()).lines();
    let inserted = |line: &String| line.contains("statement 2 of 3");
    assert!(events.by_ref().map(Result::unwrap).any(|line| inserted(&line)), "the run ended too soon");
    assert!(!users(&database).is_empty());
    assert_ne!(files(), 0);
    scheduler.kill().unwrap();
    scheduler.wait().unwrap();
    let until = Instant::now() + PATIENCE;
    while !users(&database).is_empty() {
        assert!(Instant::now() < until, "processes {:?} are left", users(&database));
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(files(), 0, "removed before the processes end");
    let _ = run(&sandbox, &["resume", "r"], 0);
    assert_eq!(query(&database, "select count(*) as n from d.tries"), json!([{"n": 2}]));
}
