//! The engine `spark` with Spark itself: `spark-submit` in local mode.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use oxidag_tests::running::{Running, in_time};
use oxidag_tests::servers::python;
use oxidag_tests::{Ended, Sandbox, engine};
use serde_json::{Value, json};

/// Reads one CSV and writes another.
const INGEST: &str = r#"
import argparse, json
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

parser = argparse.ArgumentParser()
parser.add_argument("--params", type=json.loads)
params = parser.parse_args().params
spark = SparkSession.builder.getOrCreate()
rows = spark.read.option("header", "true").csv(params["input"]).filter(f.col("year") == params["year"])
rows.coalesce(1).write.csv(params["output"])
print(params["id"], "wrote", rows.count(), "rows as", spark.sparkContext.appName)
spark.stop()
"#;

/// Works in Python processes of Spark's own until it is ended.
const ENDLESS: &str = r#"
import time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print("ready", flush=True)
spark.sparkContext.parallelize(range(2), 2).foreach(lambda _: time.sleep(3600))
"#;

/// So long nothing takes that a test waits for, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sandbox whose tasks go to Spark, with one script.
fn sandbox(name: &str, script: &str, params: &Value) -> Sandbox {
    let sandbox = Sandbox::new();
    let program = python().with_file_name("spark-submit");
    sandbox.write(
        "plugins.toml",
        &format!(
            "[engines.spark]\npath = {:?}\n[engines.spark.config]\nbackend = \"spark-submit\"\n\
             [engines.spark.config.spark-config]\n\"spark.ui.enabled\" = false\n\
             [engines.spark.config.spark-submit]\nprogram = {program:?}\nmaster = \"local[2]\"\n",
            engine("spark")
        ),
    );
    sandbox.write(&format!("b/f/{name}"), script);
    let script = json!({"location": "local", "bucket": "b", "folder": "f", "engine": "spark", "name": name});
    let task = json!({"task_id": "t", "script": script, "params": params});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    sandbox
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    // Spark looks for its own folder with this Python.
    command.env("PYSPARK_PYTHON", python()).env_remove("SPARK_HOME");
    command
}

fn start(sandbox: &Sandbox) -> Running {
    Running::start(command(sandbox, &["run", "dag.json", "--run-id", "r", "--format", "json"]))
}

fn run(sandbox: &Sandbox) -> Ended {
    start(sandbox).end()
}

#[track_caller]
fn end_of(ended: &Ended) -> Value {
    let of_task = |event: &Value| event["event"] == "task_state" && event["task_id"] == "t";
    ended.json_lines().into_iter().rfind(of_task).unwrap()
}

fn is_logged(event: &Value, text: &str) -> bool {
    event["event"] == "log" && event["level"] == "stdout" && event["line"].as_str().unwrap().contains(text)
}

/// Processes that this sandbox's scheduler has started, whatever group they are in: all know its state's folder.
fn processes(sandbox: &Sandbox) -> Vec<String> {
    let mark = format!("OXIDAG_HOME={}", sandbox.home().display());
    let all = fs::read_dir("/proc").unwrap().flatten();
    let ours = all.filter(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
    });
    ours.map(|process| process.file_name().into_string().unwrap()).collect()
}

#[track_caller]
fn until_none(sandbox: &Sandbox) {
    let deadline = Instant::now() + PATIENCE;
    while !processes(sandbox).is_empty() {
        assert!(Instant::now() < deadline, "the processes {:?} are left", processes(sandbox));
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_script_reads_one_csv_and_writes_another() {
    let params = json!({"input": "in.csv", "output": "out", "year": 2022});
    let sandbox = sandbox("ingest.py", INGEST, &params);
    sandbox.write("in.csv", "year,name\n2022,a\n2021,b\n2022,c\n");
    let ended = run(&sandbox).expect_status(0);
    let events = ended.json_lines();
    assert!(events.iter().any(|event| is_logged(event, "d_t wrote 2 rows as d_t")), "{}", ended.stdout);
    let parts = fs::read_dir(sandbox.path().join("out")).unwrap().map(|entry| entry.unwrap().path());
    let rows: String = parts
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(rows, "2022,a\n2022,c\n");
    assert_eq!(end_of(&ended)["metrics"]["exit_status"], 0);
}

#[test]
fn an_sql_script_gets_its_variables() {
    let sandbox = sandbox("next.sql", "select concat('${id}', ' ', ${year} + 1);\n", &json!({"year": 2022}));
    let ended = run(&sandbox).expect_status(0);
    assert!(ended.json_lines().iter().any(|event| is_logged(event, "d_t 2023")), "{}", ended.stdout);
}

/// One of Spark's own: its class says which version of Hadoop it is, whatever its arguments.
#[test]
fn a_jar_runs_its_class() {
    let script = "import glob, os, pyspark; print(glob.glob(os.path.dirname(pyspark.__file__) + '/jars/hadoop-client-api-*')[0])";
    let found = Command::new(python()).args(["-c", script]).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let sandbox = sandbox("job.jar", "", &json!({"main_class": "org.apache.hadoop.util.VersionInfo"}));
    fs::copy(String::from_utf8(found.stdout).unwrap().trim(), sandbox.path().join("b/f/job.jar")).unwrap();
    let ended = run(&sandbox).expect_status(0);
    assert!(ended.json_lines().iter().any(|event| is_logged(event, "Hadoop 3.")), "{}", ended.stdout);
}

#[test]
fn an_exception_of_spark_is_the_end_of_the_error() {
    let params = json!({"input": "none.csv", "output": "out", "year": 2022});
    let sandbox = sandbox("ingest.py", INGEST, &params);
    let ended = run(&sandbox).expect_status(1);
    let error = &end_of(&ended)["error"];
    assert_eq!(error["kind"], "failed");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("spark-submit ended with exit status 1; the end of its output:"),
        "{message}"
    );
    assert!(message.contains("PATH_NOT_FOUND") && message.contains("none.csv"), "{message}");
}

#[test]
fn cancelling_ends_spark_with_all_its_processes() {
    let sandbox = sandbox("endless.py", ENDLESS, &json!({}));
    let mut run = start(&sandbox);
    run.until(|event| is_logged(event, "ready"));
    assert!(processes(&sandbox).len() > 2);
    in_time(command(&sandbox, &["runs", "cancel", "r"])).expect_status(0);
    let ended = run.end();
    assert_eq!(end_of(&ended)["error"]["kind"], "cancelled", "{}", ended.stdout);
    until_none(&sandbox);
}

#[test]
fn nothing_of_spark_outlives_a_scheduler_that_is_killed() {
    let sandbox = sandbox("endless.py", ENDLESS, &json!({}));
    let mut run = start(&sandbox);
    run.until(|event| is_logged(event, "ready"));
    run.kill();
    until_none(&sandbox);
}
