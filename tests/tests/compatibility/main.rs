//! Engines that were built elsewhere: with the first plugin-api, outside the workspace, in debug and in release, with
//! another allocator; and libraries that no machine like this one made. What C can be wrong about is in `engine_c`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use oxidag_tests::running::Running;
use oxidag_tests::{Sandbox, built, engine, root};
use serde_json::{Value, json};

/// The library of `tests/fixtures/engine-1.0`, which cargo builds where it has changed.
fn first_engine(profile: &str) -> PathBuf {
    let target = built().parent().unwrap().join("fixtures");
    let manifest = root().join("tests/fixtures/engine-1.0/Cargo.toml");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--quiet", "--profile", profile, "--manifest-path"]).arg(manifest);
    // Not what the tests of the workspace are built with.
    cargo.arg("--target-dir").arg(&target).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = if profile == "dev" { "debug" } else { profile };
    let name = format!("{}oxidag_engine_first{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    target.join(folder).join(name)
}

/// A sandbox with this engine beside `noop`, and DAGs for both.
fn with(library: &PathBuf, config: &str, tasks: &Value) -> Sandbox {
    let sandbox = Sandbox::new();
    let noop = engine("noop");
    let first = format!("[engines.first]\npath = {library:?}\n[engines.first.config]\n{config}\n");
    sandbox.write("plugins.toml", &format!("[engines.noop]\npath = {noop:?}\n{first}"));
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
    let other = json!([{"task_id": "a", "script": {"engine": "noop", "inline": ""}}]);
    sandbox.write("other.json", &json!({"dag_id": "o", "tasks": other}).to_string());
    sandbox
}

fn first(id: &str, script: &str) -> Value {
    json!({"task_id": id, "script": {"engine": "first", "inline": script}})
}

/// The engine's one line, where it is refused and `noop` is not.
#[track_caller]
fn refused(sandbox: &Sandbox) -> String {
    let ended = sandbox.oxidag(&["run", "dag.json"]).expect_status(2);
    assert_eq!(ended.stdout, "");
    sandbox.oxidag(&["run", "other.json", "--format", "quiet"]).expect_status(0);
    let list = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    assert_eq!([&list[0]["state"], &list[1]["state"]], ["refused", "loaded"]);
    let error = list[0]["error"].as_str().unwrap().to_owned();
    assert!(ended.stderr.contains(&error) && !error.contains('\n'), "{error}\n{}", ended.stderr);
    error
}

/// Everything that an engine does, once.
fn an_engine_of_the_first_plugin_api_does_all_it_did(profile: &str) {
    let library = first_engine(profile);
    let mut checked =
        json!({"task_id": "checked", "script": {"engine": "noop", "inline": ""}, "dependencies": ["all"]});
    checked["when"] = "tasks[\"all\"].result.own_blocks".into();
    let tasks = json!([
        first("all", "all"),
        checked,
        first("fails", "fail"),
        first("panics", "panic"),
        first("grows", "grow")
    ]);
    let sandbox = with(&library, "greeting = 'built with 1.0'", &tasks);
    sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "quiet"]).expect_status(1);

    let shown = sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json();
    let of = |id: &str| shown["tasks"].as_array().unwrap().iter().find(|task| task["task_id"] == id).unwrap();
    let states =
        ["all", "checked", "fails", "panics", "grows", "added"].map(|id| of(id)["state"].as_str().unwrap());
    assert_eq!(states, ["success", "success", "failed", "failed", "success", "success"]);
    for id in ["fails", "panics"] {
        assert!(of(id)["error"].to_string().contains("told to"), "{}", of(id)["error"]);
    }
    let log = sandbox.oxidag(&["runs", "logs", "r", "all"]).expect_status(0).stdout;
    assert!(log.contains("built with 1.0") && log.contains("a text of the engine's"), "{log}");

    let list = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    let said = ["state", "version", "abi", "plugin_api"].map(|key| list[0][key].as_str().unwrap());
    assert_eq!(said, ["loaded", "1.0.3", "1.0", "1.0.0"]);

    let sandbox = with(&library, "", &json!([first("a", "find me")]));
    let found = sandbox.oxidag(&["run", "dag.json", "--dry-run"]).expect_status(0);
    assert!(format!("{}{}", found.stdout, found.stderr).contains("found by the first engine"), "{found:?}");
}

#[test]
fn an_engine_of_the_first_plugin_api_built_in_debug_does_all_it_did() {
    an_engine_of_the_first_plugin_api_does_all_it_did("dev");
}

#[test]
fn an_engine_of_the_first_plugin_api_built_in_release_does_all_it_did() {
    an_engine_of_the_first_plugin_api_does_all_it_did("release");
}

#[test]
fn an_engine_of_the_first_plugin_api_is_cancelled() {
    let sandbox = with(&first_engine("dev"), "", &json!([first("a", "wait")]));
    let mut run = Running::start(sandbox.command(&["run", "dag.json", "--format", "json"]));
    run.until(|event| event["event"] == "log" && event["line"] == "waits");
    run.signal("INT");
    assert_eq!(run.end().status, Some(130));
}

#[test]
fn an_engine_of_the_first_plugin_api_is_refused_where_its_creation_fails_or_panics() {
    let library = first_engine("dev");
    for (config, why) in [
        ("greeting = 'fail'", "told to fail"),
        ("greeting = 'panic'", "told to panic"),
        ("greeting = 7", "config.greeting"),
    ] {
        let error = refused(&with(&library, config, &json!([first("a", "all")])));
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_library_for_another_processor_is_refused() {
    let mut library = fs::read(engine("noop")).unwrap();
    // The machine in an ELF header (System V ABI, "Object Files"): 183 is AArch64, 62 x86-64.
    library[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    let folder = Sandbox::new();
    let path = folder.path().join("elsewhere.so");
    fs::write(&path, library).unwrap();
    let error = refused(&with(&path, "", &json!([first("a", "all")])));
    assert!(error.contains("elsewhere.so"), "{error}");
}
