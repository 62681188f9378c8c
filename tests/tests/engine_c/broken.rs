//! An engine in C that is not what it says: the library gives its one line, a task its error, and the others go on.

use oxidag_tests::{Ended, Sandbox, engine, root};
use serde_json::{Value, json};

use super::{compile, log, shown};

/// The library as it is compiled with these, and a DAG that asks it for something.
fn broken(defines: &[&str], script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let library = sandbox.path().join("broken.so");
    compile(&root().join("tests/tests/engine_c/broken.c"), defines, &library);
    let noop = engine("noop");
    let plugins = format!("[engines.noop]\npath = {noop:?}\n[engines.x]\npath = './broken.so'\n");
    sandbox.write("plugins.toml", &plugins);
    let dag = |engine: &str, script: &str| {
        let task = json!({"task_id": "a", "script": {"engine": engine, "inline": script}});
        json!({"dag_id": "d", "tasks": [task]}).to_string()
    };
    sandbox.write("dag.json", &dag("x", script));
    sandbox.write("other.json", &dag("noop", ""));
    sandbox
}

fn run(sandbox: &Sandbox) -> Ended {
    sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "quiet"])
}

/// The library is refused with one line, and no other one is.
#[track_caller]
fn refused(defines: &[&str], parts: &[&str]) {
    let sandbox = broken(defines, "");
    let ended = run(&sandbox).expect_status(2);
    assert_eq!(ended.stdout, "");
    let list = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    let error = list[1]["error"].as_str().unwrap();
    assert!(!error.contains('\n'), "more than one line: {error}");
    for part in parts {
        assert!(error.contains(part) && ended.stderr.contains(part), "{part:?} is not in: {error}");
    }
    let states: Vec<_> = list.as_array().unwrap().iter().map(|engine| &engine["state"]).collect();
    assert_eq!(states, ["loaded", "refused"]);
    sandbox.oxidag(&["run", "other.json", "--format", "quiet"]).expect_status(0);
}

#[test]
fn a_library_without_a_table_is_refused() {
    refused(&["NO_TABLE"], &["broken.so", "ABI 1.1", "oxidag_engine_c_v1"]);
    // It is refused, and stays open: closing it would take the code from under its thread.
    refused(&["NO_TABLE", "STARTS_A_THREAD"], &["broken.so", "oxidag_engine_c_v1"]);
    refused(&["SIZE=8"], &["oxidag_engine_c_v1 has 8 bytes"]);
    refused(&["SIZE=0"], &["oxidag_engine_c_v1 has 0 bytes"]);
    refused(&["NO_RUN"], &["oxidag_engine_c_v1 has no function run"]);
}

#[test]
fn a_library_of_another_abi_or_with_another_magic_is_refused() {
    refused(&["MAJOR=2", "MINOR=7"], &["ABI 2.7", "needs 1.x", "rebuild"]);
    refused(&["MAJOR=0"], &["ABI 0.1", "needs 1.x"]);
    refused(&["WRONG_MAGIC"], &["not an oxidag engine"]);
}

#[test]
fn a_library_that_does_not_describe_itself_is_refused() {
    refused(&["DESCRIBES_NOTHING"], &["does not describe itself", "says nothing"]);
    refused(&["DESCRIBES_IN_LATIN"], &["does not describe itself", "not UTF-8"]);
}

#[test]
fn an_engine_that_is_not_created_is_refused_with_or_without_a_reason() {
    refused(&["CREATE_FAILS"], &["told to fail"]);
    refused(&["CREATES_NOTHING"], &["gave no reason"]);
    refused(&["CREATE_FAILS_IN_LATIN"], &["reason cannot be read", "not UTF-8"]);
}

#[test]
fn a_library_of_a_later_minor_version_is_loaded() {
    let sandbox = broken(&["NEWER", "MINOR=99"], "");
    run(&sandbox).expect_status(0);
    let list = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    assert_eq!(list[1]["abi"], "1.99");
}

/// The error of a task that asks for this, and its log.
#[track_caller]
fn failed(script: &str) -> (Value, String) {
    let sandbox = broken(&[], script);
    run(&sandbox).expect_status(1);
    (shown(&sandbox)["tasks"][0]["error"].clone(), log(&sandbox))
}

#[test]
fn a_task_that_the_engine_ends_badly_fails_and_says_how() {
    for (script, why) in [
        ("never end", "returned from the task without ending it"),
        ("end in latin", "cannot be read: a text is not UTF-8 from its byte 3 on"),
        ("end in null", "cannot be read: a text of 5 bytes is a null pointer"),
        ("end in nonsense", "in a way that the ABI does not know"),
    ] {
        let (error, _) = failed(script);
        assert!(error.to_string().contains(why), "{script}: {error}");
    }
}

#[test]
fn the_first_of_two_ends_counts_and_the_log_tells_of_the_second() {
    let sandbox = broken(&[], "end twice");
    run(&sandbox).expect_status(0);
    assert!(log(&sandbox).contains("a second time; the first end counts"), "{}", log(&sandbox));
}

#[test]
fn what_an_engine_says_that_is_none_is_refused_and_the_task_goes_on() {
    let sandbox = broken(&[], "say nonsense");
    run(&sandbox).expect_status(0);
    let log = log(&sandbox);
    assert!(log.contains("caf\u{fffd}") && log.contains("null pointer"), "{log}");
}

#[test]
fn numbers_that_stand_for_no_attempt_have_no_effect() {
    let sandbox = broken(&[], "use another's");
    run(&sandbox).expect_status(0);
    assert!(!log(&sandbox).contains("not mine"));
}
