//! The program `spark-submit`, here a stand-in that takes the same arguments: the process, its group and its end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use oxidag_tests::running::{Running, in_time};
use oxidag_tests::{Ended, Sandbox, engine};
use serde_json::{Value, json};

use super::support::{ECHO, FAILS, end_of, error_of, lines, until_logged};

/// Skips the options, and runs the script as a child of its own, as `spark-submit` does. Its name is in the script's
/// environment, so that its processes are found.
const PROGRAM: &str = r#"#!/bin/sh
echo "options:" >&2
while [ "${1#--}" != "$1" ]; do echo "$1 $2" >&2; shift 2; done
python3 -u "$@"
"#;

/// Says that it is there and goes on for ever, whatever it is asked.
const STUBBORN: &str = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('here', flush=True)\n\
    while True:\n    time.sleep(0.05)\n";

/// So long nothing takes that a test waits for, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

const RUN: [&str; 6] = ["run", "dag.json", "--run-id", "r", "--format", "json"];

fn sandbox(script: &str, params: &Value, settings: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let program = sandbox.write("bin/spark-submit", PROGRAM);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write(
        "plugins.toml",
        &format!(
            "[engines.spark]\npath = {:?}\n[engines.spark.config]\nbackend = \"spark-submit\"\n\
         [engines.spark.config.spark-config]\n\"spark.jars\" = \"a.jar\"\n\"spark.x\" = \"1 2\"\n\
         [engines.spark.config.spark-submit]\nprogram = {program:?}\n{settings}\n",
            engine("spark")
        ),
    );
    sandbox.write("b/f/script.py", script);
    let task = json!({"task_id": "t", "script": "local.b.f.spark.script", "params": params});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    sandbox
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    in_time(sandbox.command(arguments))
}

/// Processes of this sandbox's script.
fn processes(sandbox: &Sandbox) -> usize {
    let script = sandbox.path().join("b/f/script.py");
    let script = script.to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(script)).count()
}

#[track_caller]
fn until_none(sandbox: &Sandbox) {
    let deadline = Instant::now() + PATIENCE;
    while processes(sandbox) > 0 {
        assert!(Instant::now() < deadline, "{} processes are left", processes(sandbox));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_job_gets_its_arguments_and_leaves_its_output() {
    let sandbox = sandbox(ECHO, &json!({"year": 2022}), "");
    let ended = run(&sandbox, &RUN).expect_status(0);
    let said = lines(&ended, "stderr");
    assert_eq!(said, ["options:", "--master local[*]", "--name d_t", "--jars a.jar", "--conf spark.x=1 2"]);
    assert!(lines(&ended, "stdout")[0].contains(r#""year": 2022"#), "{}", ended.stdout);
    let end = end_of(&ended);
    assert_eq!(
        (&end["metrics"]["backend"], &end["metrics"]["exit_status"]),
        (&json!("spark-submit"), &json!(0))
    );
}

#[test]
fn a_connection_is_neither_among_the_jobs_arguments_nor_in_its_environment() {
    // To a file: what is printed would be masked.
    let script = "import os, sys\nopen('seen', 'w').write(repr((sys.argv, dict(os.environ))))\n";
    let sandbox = sandbox(script, &json!({"**DB_password": "", "year": 2022}), "");
    let plugins = fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap();
    sandbox.write("plugins.toml", &format!("{plugins}[connections.DB]\npassword = \"very-s3cret\"\n"));
    run(&sandbox, &RUN).expect_status(0);
    let seen = fs::read_to_string(sandbox.path().join("seen")).unwrap();
    assert!(seen.contains("--params") && seen.contains("OXIDAG_RUN_ID"), "{seen}");
    assert!(!seen.contains("very-s3cret") && !seen.contains("DB_password"), "{seen}");
}

#[test]
fn a_job_waits_without_a_worker() {
    let sandbox = sandbox(ECHO, &json!({}), "");
    let ended = run(&sandbox, &RUN).expect_status(0);
    let states: Vec<_> =
        ended.json_lines().into_iter().filter(|event| event["event"] == "task_state").collect();
    assert!(states.iter().any(|event| event["state"] == "deferred"), "{states:?}");
}

#[test]
fn a_script_that_fails_says_why() {
    let sandbox = sandbox(FAILS, &json!({}), "");
    let ended = run(&sandbox, &RUN).expect_status(1);
    let (kind, message) = error_of(&ended);
    assert_eq!(kind, "failed");
    assert!(
        message.starts_with("spark-submit ended with exit status 1; the end of its output:"),
        "{message}"
    );
    // Not always the last one: the script has two outputs, which are read side by side.
    assert!(message.lines().any(|line| line == "ValueError: no such column"), "{message}");
    assert_eq!(end_of(&ended)["metrics"]["exit_status"], 1);
}

#[test]
fn bad_parameters_are_refused_and_nothing_is_started() {
    for (params, said) in [
        (json!({"spark.jars": ["a"]}), "`spark.jars` must be text"),
        (json!({"kind": "r"}), "the parameter `kind` must be `pyspark`, `sql` or `jar`"),
        (json!({"spark.submit.deployMode": "cluster"}), "whose driver outlives `spark-submit`"),
    ] {
        let sandbox = sandbox(ECHO, &params, "");
        let ended = run(&sandbox, &RUN).expect_status(1);
        let (kind, message) = error_of(&ended);
        assert_eq!(kind, "invalid", "{message}");
        assert!(message.contains(said), "{message}");
        assert_eq!(lines(&ended, "stderr"), [""; 0]);
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let sandbox = sandbox(ECHO, &json!({}), "");
    let plugins = fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap();
    sandbox.write("plugins.toml", &plugins.replace("bin/spark-submit", "bin/none"));
    let (kind, message) = error_of(&run(&sandbox, &RUN).expect_status(1));
    assert_eq!(kind, "invalid");
    assert!(message.contains("bin/none` is not there: install Spark, or set `program`"), "{message}");
}

#[test]
fn cancelling_ends_the_whole_group_even_what_takes_no_notice() {
    let sandbox = sandbox(STUBBORN, &json!({}), "grace_period = 0.5");
    let mut running = Running::start(sandbox.command(&RUN));
    until_logged(&mut running, "here");
    assert!(processes(&sandbox) > 0);
    run(&sandbox, &["runs", "cancel", "r"]).expect_status(0);
    let (kind, message) = error_of(&running.end());
    assert_eq!(
        (kind.as_str(), message.as_str()),
        ("cancelled", "cancelled: the job and its process group were ended")
    );
    until_none(&sandbox);
}

#[test]
fn a_deadline_ends_it_too() {
    let sandbox = sandbox(STUBBORN, &json!({}), "grace_period = 0.1");
    let task = json!({"task_id": "t", "script": "local.b.f.spark.script", "timeout": "1s"});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    let ended = run(&sandbox, &RUN).expect_status(1);
    assert_eq!(end_of(&ended)["state"], "failed");
    until_none(&sandbox);
}

#[test]
fn nothing_outlives_a_scheduler_that_is_killed_and_the_attempt_begins_anew() {
    let sandbox = sandbox(STUBBORN, &json!({}), "");
    let mut running = Running::start(sandbox.command(&RUN));
    until_logged(&mut running, "here");
    running.kill();
    until_none(&sandbox);
    sandbox.write("b/f/script.py", ECHO);
    let ended = run(&sandbox, &["resume", "r", "--format", "json"]).expect_status(0);
    assert_eq!(end_of(&ended)["attempt"], 1);
    let told = lines(&ended, "info");
    assert!(told.iter().any(|line| line.starts_with("nothing runs any more")), "{told:?}");
}
