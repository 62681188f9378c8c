//! Engines in C: the example, used as its reader uses it, and one that breaks its word in every way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broken;

use std::fs;
use std::path::Path;
use std::process::Command;

use oxidag_tests::running::{Running, in_time};
use oxidag_tests::{Sandbox, engine, root};
use serde_json::{Value, json};

/// A sandbox with the example, which is built in it as its README says.
fn example() -> Sandbox {
    let sandbox = Sandbox::new();
    for file in fs::read_dir(root().join("examples/engine-c")).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, sandbox.path().join(path.file_name().unwrap())).unwrap();
    }
    let include = format!("INCLUDE={}", root().join("plugin-api/include").display());
    let mut make = Command::new("make");
    make.args(["-B", &include, "CFLAGS=-g -Werror"]).current_dir(sandbox.path());
    in_time(make).expect_status(0);
    sandbox
}

/// The same, with this configuration, `noop` beside it, and a DAG of one script.
fn with(config: &str, script: &str) -> Sandbox {
    let sandbox = example();
    configure(&sandbox, config);
    let task = json!({"task_id": "a", "script": {"engine": "sum", "inline": script}});
    let other = json!({"task_id": "b", "script": {"engine": "noop", "inline": ""}});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    sandbox.write("other.json", &json!({"dag_id": "o", "tasks": [other]}).to_string());
    sandbox
}

fn configure(sandbox: &Sandbox, config: &str) {
    let noop = engine("noop");
    let sum = format!("[engines.sum]\npath = './liboxidag_engine_sum.so'\n[engines.sum.config]\n{config}\n");
    sandbox.write("plugins.toml", &format!("[engines.noop]\npath = {noop:?}\n{sum}"));
}

fn shown(sandbox: &Sandbox) -> Value {
    sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json()
}

fn log(sandbox: &Sandbox) -> String {
    sandbox.oxidag(&["runs", "logs", "r", "a"]).expect_status(0).stdout
}

/// Starts the DAG and waits until the engine has told of so many lines, or up to three more.
fn running(sandbox: &Sandbox, arguments: &[&str], lines: u32) -> Running {
    let mut running = Running::start(sandbox.command(&[arguments, &["--format", "json"]].concat()));
    let done: Vec<String> = (lines..=lines + 3).map(|lines| format!("\"lines\": {lines},")).collect();
    let is_so_far = |said: &str| done.iter().any(|done| said.contains(done));
    running.until(|event| event["event"] == "progress" && event["message"].as_str().is_some_and(is_so_far));
    running
}

/// The line of the reference that begins so.
fn reference(beginning: &str) -> String {
    let text = fs::read_to_string(root().join("docs/abi.md")).unwrap();
    let line = text.lines().find(|line| line.starts_with(beginning));
    line.unwrap_or_else(|| panic!("docs/abi.md has no line that begins with {beginning}")).to_owned()
}

fn shell(sandbox: &Sandbox, line: &str) {
    let mut sh = Command::new("sh");
    sh.args(["-c", line]).current_dir(sandbox.path());
    in_time(sh).expect_status(0);
}

#[test]
fn the_example_is_compiled_as_the_reference_says() {
    let sandbox = example();
    fs::remove_file(sandbox.path().join("liboxidag_engine_sum.so")).unwrap();
    std::os::unix::fs::symlink(root().join("plugin-api"), sandbox.path().join("plugin-api")).unwrap();
    shell(&sandbox, &format!("{} -Werror", reference("cc ")));
    let list = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    assert_eq!(list[0]["state"], "loaded", "{list}");
}

#[test]
fn the_smallest_description_of_the_reference_is_enough() {
    const SOURCE: &str = r#"
#include <string.h>
#include "oxidag_engine.h"
static oxidag_text text_of(const char *text) { oxidag_text borrowed = {text, strlen(text)}; return borrowed; }
static void describe(oxidag_answer answer) { answer.say(answer.to, text_of(DESCRIPTION)); }
static void *create(oxidag_text config, oxidag_answer why) { static int engine; (void)config, (void)why; return &engine; }
static int32_t run(void *engine, oxidag_text task, const oxidag_host *host, oxidag_attempt attempt) {
    (void)engine, (void)task;
    host->complete(attempt, text_of("{\"outcome\": {}}"));
    return OXIDAG_DONE;
}
static void destroy(void *engine) { (void)engine; }
OXIDAG_ENGINE("least", "1.0.0", describe, create, NULL, NULL, run, destroy);
"#;
    let sandbox = Sandbox::new();
    // A text of JSON with such characters is one of C.
    let description = Value::from(reference("{\"config_schema\""));
    sandbox.write("least.c", &format!("#define DESCRIPTION {description}\n{SOURCE}"));
    let include = root().join("plugin-api/include").display().to_string();
    shell(&sandbox, &format!("cc -std=c99 -Wall -Werror -fPIC -shared -I '{include}' -o least.so least.c"));
    sandbox.write("plugins.toml", "[engines.least]\npath = './least.so'\n");
    let task = json!({"task_id": "a", "script": {"engine": "least", "inline": ""}});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    sandbox.oxidag(&["run", "dag.json", "--format", "quiet"]).expect_status(0);
}

#[test]
fn the_example_runs_as_its_readme_says() {
    let sandbox = example();
    let ended = sandbox.oxidag(&["run", "sum.yaml", "--run-id", "r", "--format", "json"]).expect_status(0);
    let progress: Vec<_> = ended.json_lines().iter().filter_map(|e| e["fraction"].as_f64()).collect();
    assert!(progress.contains(&1.0), "{progress:?}");
    let list = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    let said = ["name", "version", "state", "abi"].map(|key| list[0][key].as_str().unwrap());
    assert_eq!(said, ["sum", "1.0.0", "loaded", "1.1"]);
    let inspected = sandbox.oxidag(&["engines", "inspect", "sum"]).expect_status(0).stdout;
    assert!(inspected.contains("How long each number takes"), "{inspected}");
}

#[test]
fn the_example_passes_the_conformance_kit() {
    let sandbox = example();
    let arguments = ["engines", "test", "./liboxidag_engine_sum.so", "--cases", "conformance.toml", "--json"];
    let report = in_time(sandbox.command(&arguments)).expect_status(0).json();
    let checks = report["checks"].as_array().unwrap();
    let skipped: Vec<_> =
        checks.iter().filter(|check| check["result"] != "passed").map(|check| &check["check"]).collect();
    let panics =
        ["panic_create", "panic_blocks", "panic_validate", "panic_task", "panic_cancel", "panic_destroy"];
    assert_eq!(skipped, panics, "{report}");
}

#[test]
fn the_result_of_an_engine_in_c_decides_about_other_tasks() {
    let sandbox = with("", " 1\n-20 \n\n300");
    let tasks = json!([
        {"task_id": "a", "script": {"engine": "sum", "inline": " 1\n-20 \n\n300"}},
        {"task_id": "b", "script": {"engine": "noop", "inline": ""}, "dependencies": ["a"],
         "when": "tasks[\"a\"].result == 281"},
    ]);
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
    sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "quiet"]).expect_status(0);
    assert_eq!(shown(&sandbox)["tasks"][1]["state"], "success");
    assert!(log(&sandbox).contains("begins: 0 of 4 lines"), "{}", log(&sandbox));
}

#[test]
fn a_script_that_the_engine_does_not_take_fails_its_task_and_is_found_without_a_run() {
    let sandbox = with("most = 10", "1\ntwo\n3");
    sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "quiet"]).expect_status(1);
    let error = shown(&sandbox)["tasks"][0]["error"].to_string();
    assert!(error.contains("no number that this engine takes in line 2"), "{error}");
    let found = sandbox.oxidag(&["run", "dag.json", "--dry-run"]).expect_status(2).stderr;
    assert!(found.contains("no number that this engine takes"), "{found}");
}

#[test]
fn configurations_are_refused_by_the_schema_and_by_the_engine() {
    let sandbox = with("", "1");
    for (config, why) in [
        ("pause_ms = 's3cret'", "config.pause_ms"),
        ("pauze_ms = 1", "pauze_ms"),
        ("least = 2\nmost = 1", "`least` is greater than `most`"),
    ] {
        configure(&sandbox, config);
        let ended = sandbox.oxidag(&["run", "dag.json"]).expect_status(2);
        assert!(ended.stderr.contains(why) && ended.stdout.is_empty(), "{}", ended.stderr);
        sandbox.oxidag(&["run", "other.json", "--format", "quiet"]).expect_status(0);
    }
}

#[test]
fn a_task_that_waits_in_c_is_cancelled() {
    let sandbox = with("pause_ms = 0", "1\n2");
    configure(&sandbox, "pause_ms = 60000");
    let mut run = Running::start(sandbox.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]));
    run.until_task("a", "deferred");
    run.signal("INT");
    assert_eq!(run.end().status, Some(130));
    assert_eq!(shown(&sandbox)["tasks"][0]["state"], "cancelled");
    assert!(log(&sandbox).contains("stopped before line 1"), "{}", log(&sandbox));
}

#[test]
fn a_sum_goes_on_behind_its_checkpoint_after_the_scheduler_was_killed() {
    let sandbox = with("pause_ms = 0", "");
    let script = "1\n20\n300\n4000\n";
    let tasks = json!([
        {"task_id": "a", "script": {"engine": "sum", "inline": script}},
        {"task_id": "b", "script": {"engine": "noop", "inline": ""}, "dependencies": ["a"],
         "when": "tasks[\"a\"].result == 4321"},
    ]);
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
    configure(&sandbox, "pause_ms = 2000");
    running(&sandbox, &["run", "dag.json", "--run-id", "r"], 2).kill();
    configure(&sandbox, "pause_ms = 0");
    sandbox.oxidag(&["resume", "r", "--format", "quiet"]).expect_status(0);
    let shown = shown(&sandbox);
    assert_eq!(shown["tasks"][1]["state"], "success", "another sum");
    assert_eq!(shown["tasks"][0]["attempts"].as_array().unwrap().len(), 1);
    let log = log(&sandbox);
    assert!(log.contains("goes on: 2 of 4 lines") || log.contains("goes on: 3 of 4 lines"), "{log}");
}

/// Compiles an engine for a test.
fn compile(source: &Path, defines: &[&str], to: &Path) {
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-fPIC", "-shared", "-I"])
        .arg(root().join("plugin-api/include"))
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg("-o")
        .args([to, source]);
    in_time(cc).expect_status(0);
}
