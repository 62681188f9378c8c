//! Bad input: each kind gives a message with its place and what to do, exit status 2, and nothing runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use oxidag_tests::{Ended, Sandbox, engine};

/// A DAG of one task; `{}` stands for the rest of its entry.
fn one_task(entry: &str) -> String {
    format!("dag_id: d\ntasks:\n  - task_id: a\n    {}\n", entry.replace('\n', "\n    "))
}

/// The request is refused: status 2, nothing on standard output, no run stored; every part is in the message.
#[track_caller]
fn refused(sandbox: &Sandbox, arguments: &[&str], parts: &[&str]) -> Ended {
    let ended = sandbox.oxidag(arguments).expect_status(2);
    assert_eq!(ended.stdout, "");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in:\n{}", ended.stderr);
    }
    let runs = sandbox.oxidag(&["runs", "list", "--json"]).expect_status(0);
    assert_eq!(runs.json(), serde_json::json!([]), "something ran");
    ended
}

#[track_caller]
fn refused_dag(text: &str, parts: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.write("dag.yaml", text);
    refused(&sandbox, &["run", "dag.yaml"], parts);
}

#[test]
fn no_file() {
    refused(&Sandbox::new(), &["run", "nowhere.yaml"], &["nowhere.yaml", "no such file"]);
}

#[test]
fn neither_json_nor_yaml() {
    refused_dag("tasks: [}", &["dag.yaml:1:9"]);
    refused_dag("{\"tasks\": [}", &["dag.yaml:1:1"]);
}

#[test]
fn no_tasks() {
    refused_dag("dag_id: d\n", &["dag.yaml:1:1", "tasks"]);
    refused_dag("dag_id: d\ntasks: []\n", &["dag.yaml:2:8", "tasks"]);
}

#[test]
fn an_unknown_or_misspelled_key() {
    refused_dag(
        &one_task("script: {engine: noop, inline: ''}\nretrys: 1"),
        &["dag.yaml:5:5", "`retrys`", "`retries`"],
    );
    refused_dag(
        "color: red\ntasks: [{task_id: a, script: {engine: noop, inline: ''}}]",
        &["dag.yaml:1:1", "`color`"],
    );
}

#[test]
fn a_duplicate_task_id() {
    let task = "{task_id: a, script: {engine: noop, inline: ''}}";
    refused_dag(&format!("tasks:\n- {task}\n- {task}\n"), &["dag.yaml:3:13", "`a`", "line 2"]);
}

#[test]
fn an_unknown_repeated_or_self_dependency() {
    let script = "script: {engine: noop, inline: ''}";
    refused_dag(&one_task(&format!("{script}\ndependencies: [b]")), &["dag.yaml:5:20", "`b`"]);
    refused_dag(&one_task(&format!("{script}\ndependencies: [a]")), &["dag.yaml:5:20", "itself"]);
    let two =
        format!("tasks:\n- {{task_id: a, {script}}}\n- {{task_id: b, {script}, dependencies: [a, a]}}\n");
    refused_dag(&two, &["dag.yaml:3:", "`a`", "repeated"]);
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let task = |id, upstream| {
        format!("- {{task_id: {id}, script: {{engine: noop, inline: ''}}, dependencies: [{upstream}]}}\n")
    };
    let dag = format!("tasks:\n{}{}{}", task("a", "c"), task("b", "a"), task("c", "b"));
    refused_dag(&dag, &["dag.yaml:2:", "a → b → c → a"]);
}

#[test]
fn a_malformed_script_reference() {
    refused_dag(
        &one_task("script: local.bucket.sql"),
        &["dag.yaml:4:13", "location.bucket.folder.engine.script_name"],
    );
    refused_dag(
        &one_task("script: local.my.bucket.folder.sql.name"),
        &["dag.yaml:4:13", "{location, bucket, folder, engine, name}"],
    );
}

#[test]
fn an_unknown_location_or_engine() {
    refused_dag(&one_task("script: ftp.bucket.folder.sql.name"), &["dag.yaml:4:13", "`ftp`", "local"]);
    refused_dag(
        &one_task("script: {engine: cobol, inline: ''}"),
        &["dag.yaml:4:13", "`cobol`", "plugins.toml"],
    );
    refused_dag(&one_task("script: {engine: bq, inline: ''}"), &["dag.yaml:4:13", "`bq`", "plugins.toml"]);
}

#[test]
fn a_script_that_is_not_there() {
    refused_dag(
        &one_task("script: local.bucket.folder.sql.name"),
        &["dag.yaml:4:13", "bucket/folder/name.sql", "does not exist"],
    );
}

#[test]
fn a_placeholder_without_value() {
    let sandbox = Sandbox::new();
    sandbox.write("b/f/s.sql", "select 1;\nselect {column} from {table};\n");
    sandbox.write("dag.yaml", &one_task("script: local.b.f.sql.s\nparams: {table: t}"));
    let parts = ["dag.yaml:4:13", "b/f/s.sql:2:8", "`{column}`", "task `a`", "-p NAME=VALUE"];
    let ended = refused(&sandbox, &["run", "dag.yaml"], &parts);
    assert!(!ended.stderr.contains("{table}"), "has a value:\n{}", ended.stderr);
}

#[test]
fn text_that_is_not_utf8() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("dag.yaml"), b"dag_id: d\ndescription: caf\xe9\n").unwrap();
    refused(&sandbox, &["run", "dag.yaml"], &["dag.yaml:2:17", "UTF-8"]);
    sandbox.write("b/f/s.sql", "");
    fs::write(sandbox.path().join("b/f/s.sql"), b"select 'caf\xe9'").unwrap();
    sandbox.write("dag.yaml", &one_task("script: local.b.f.sql.s"));
    refused(&sandbox, &["run", "dag.yaml"], &["dag.yaml:4:13", "b/f/s.sql", "UTF-8"]);
}

#[test]
fn a_path_that_leaves_the_bucket_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("secret.sql", "select 1");
    sandbox.write("b/f/x.sql", "select 1");
    let spelled = |folder: &str, name: &str| {
        one_task(&format!(
            "script: {{location: local, bucket: b, folder: '{folder}', engine: sql, name: '{name}'}}"
        ))
    };
    for (folder, name) in [("..", "secret"), ("f/../..", "secret"), ("/etc", "x"), ("f", "../../secret")] {
        sandbox.write("dag.yaml", &spelled(folder, name));
        refused(&sandbox, &["run", "dag.yaml"], &["dag.yaml:4:"]);
    }
    symlink(sandbox.path().join("secret.sql"), sandbox.path().join("b/f/link.sql")).unwrap();
    sandbox.write("dag.yaml", &spelled("f", "link"));
    refused(&sandbox, &["run", "dag.yaml"], &["dag.yaml:4:13", "link out of its bucket folder"]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let dag = "tasks:\n- {task_id: a b, script: x}\n- {task_id: c, script: {engine: noop, inline: ''}, dependencies: [d], colour: 1}\n";
    refused_dag(dag, &["dag.yaml:2:13", "dag.yaml:2:26", "dag.yaml:3:", "`d`", "`colour`"]);
}

/// A sandbox with a DAG on the engine `x`, and that engine's section of `plugins.toml`.
fn with_engine(section: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let noop = engine("noop");
    sandbox.write("plugins.toml", &format!("[engines.noop]\npath = {noop:?}\n[engines.x]\n{section}\n"));
    sandbox.write("dag.yaml", &one_task("script: {engine: x, inline: ''}"));
    sandbox.write("other.yaml", &one_task("script: {engine: noop, inline: ''}"));
    sandbox
}

/// The engine is refused, and so is the DAG that needs it, but no other one.
#[track_caller]
fn refused_engine(section: &str, parts: &[&str]) {
    let sandbox = with_engine(section);
    refused(&sandbox, &["run", "dag.yaml"], parts);
    let list = sandbox.oxidag(&["engines", "list", "--json"]).expect_status(0).json();
    let error = list[1]["error"].as_str().unwrap();
    assert!(!error.contains('\n'), "more than one line: {error}");
    let states: Vec<_> =
        list.as_array().unwrap().iter().map(|e| (e["name"].as_str(), e["state"].as_str())).collect();
    assert_eq!(states, [(Some("noop"), Some("loaded")), (Some("x"), Some("refused"))]);
    sandbox.oxidag(&["run", "other.yaml", "--format", "quiet"]).expect_status(0);
}

/// A library made from C; the tests need a C compiler as the build does.
fn c_library(sandbox: &Sandbox, source: &str) -> PathBuf {
    let (code, library) = (sandbox.write("library.c", source), sandbox.path().join("library.so"));
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &code]).status().unwrap();
    assert!(compiled.success());
    library
}

#[test]
fn a_library_that_is_missing() {
    refused_engine(
        "path = 'no_such_engine'",
        &["dag.yaml:4:13", "`x`", "libno_such_engine.so", "OXIDAG_ENGINE_PATH"],
    );
    refused_engine("path = './no_such_engine.so'", &["dag.yaml:4:13", "./no_such_engine.so"]);
}

#[test]
fn a_library_that_is_not_an_engine() {
    let elsewhere = Sandbox::new();
    let library = c_library(&elsewhere, "int answer = 42;");
    refused_engine(&format!("path = {library:?}"), &["dag.yaml:4:13", "not an oxidag engine"]);
    let text = elsewhere.write("text.so", "not a library");
    refused_engine(&format!("path = {text:?}"), &["dag.yaml:4:13", "text.so"]);
}

#[test]
fn a_library_that_was_copied_in_part() {
    let elsewhere = Sandbox::new();
    let whole = fs::read(engine("noop")).unwrap();
    for length in [100, 1_000, 100_000, whole.len() - 1] {
        let library = elsewhere.path().join("part.so");
        fs::write(&library, &whole[..length]).unwrap();
        refused_engine(&format!("path = {library:?}"), &["dag.yaml:4:13", "part.so", "cut off"]);
    }
}

#[test]
fn a_library_with_another_abi() {
    let elsewhere = Sandbox::new();
    let source = r#"struct { char magic[16]; unsigned major, minor; char texts[288]; } oxidag_engine_handshake =
        { "oxidag engine\0\0\1", 2, 7, "" };"#;
    let library = c_library(&elsewhere, source);
    refused_engine(&format!("path = {library:?}"), &["dag.yaml:4:13", "ABI 2.7", "needs 1.x", "rebuild"]);
}

#[test]
fn a_library_with_another_hash() {
    let (noop, wanted) = (engine("noop"), "0".repeat(64));
    refused_engine(&format!("path = {noop:?}\nsha256 = '{wanted}'"), &["dag.yaml:4:13", &wanted, "SHA-256"]);
}

#[test]
fn a_library_with_its_own_hash_is_loaded() {
    let noop = engine("noop");
    let sum = Command::new("sha256sum").arg(&noop).output().unwrap().stdout;
    let sum = String::from_utf8(sum[..64].to_vec()).unwrap();
    let sandbox = with_engine(&format!("path = {noop:?}\nsha256 = '{sum}'"));
    sandbox.oxidag(&["run", "dag.yaml", "--format", "quiet"]).expect_status(0);
}

#[test]
fn a_library_that_fails_in_create() {
    let rogue = engine("rogue");
    refused_engine(
        &format!("path = {rogue:?}\nconfig = {{create = 'fails'}}"),
        &["dag.yaml:4:13", "told to fail"],
    );
    refused_engine(
        &format!("path = {rogue:?}\nconfig = {{create = 'panics'}}"),
        &["dag.yaml:4:13", "told to panic"],
    );
}

#[test]
fn a_config_that_its_schema_refuses() {
    let rogue = engine("rogue");
    let ended = ["number = 's3cret'", "nummer = 1"];
    for (config, parts) in ended.iter().zip([["config.number", "a whole number"], ["config", "nummer"]]) {
        let section = format!("path = {rogue:?}\nconfig = {{{config}}}");
        refused_engine(&section, &[&["dag.yaml:4:13", "`x`"], &parts[..]].concat());
    }
}

#[test]
fn plugins_that_cannot_be_read() {
    let sandbox = with_engine("pth = 'x'");
    refused(&sandbox, &["run", "other.yaml"], &["plugins.toml:4:1", "`pth`", "`path`"]);
    refused(&sandbox, &["run", "other.yaml", "--plugins", "no.toml"], &["no.toml"]);
    sandbox.write("plugins.toml", "");
    refused(&sandbox, &["run", "other.yaml", "--env", "prod"], &["prod", "plugins.prod.toml"]);
}

#[test]
fn a_connection_that_is_not_there() {
    let sandbox = Sandbox::new();
    sandbox
        .write("dag.yaml", &one_task("script: {engine: noop, inline: '{PG_url}'}\nparams: {'**PG_url': ''}"));
    refused(&sandbox, &["run", "dag.yaml"], &["`**PG_url`", "[connections.PG]"]);
}

#[test]
fn a_connection_on_the_command_line() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "plugins.toml",
        &format!("[engines.noop]\npath = {:?}\n[connections.PG]\nurl = 'x'", engine("noop")),
    );
    sandbox.write("dag.yaml", &one_task("script: {engine: noop, inline: ''}\nparams: {'**PG_url': ''}"));
    let ended = refused(&sandbox, &["run", "dag.yaml", "-p", "PG_url=s3cret"], &["`PG_url`", "connection"]);
    assert!(!ended.stderr.contains("s3cret"));
}

#[test]
fn a_run_id_that_is_used() {
    let sandbox = with_engine("path = 'x'");
    sandbox.oxidag(&["run", "other.yaml", "--run-id", "r1", "--format", "quiet"]).expect_status(0);
    let ended = sandbox.oxidag(&["run", "other.yaml", "--run-id", "r1"]).expect_status(2);
    assert!(ended.stdout.is_empty() && ended.stderr.contains("`r1`"), "{}", ended.stderr);
}

#[test]
fn wrong_usage() {
    refused(&Sandbox::new(), &["run"], &["DAG"]);
    refused(&Sandbox::new(), &["runn", "x.yaml"], &["run"]);
    let sandbox = with_engine("path = 'x'");
    refused(&sandbox, &["run", "other.yaml", "-p", "novalue"], &["novalue", "="]);
    refused(&sandbox, &["run", "other.yaml", "--workers", "0"], &["workers"]);
}

#[test]
fn a_thousand_levels_of_nesting() {
    let sandbox = Sandbox::new();
    for levels in [1_000, 100_000] {
        sandbox.write("dag.json", &format!("{{\"tasks\": {}{}}}", "[".repeat(levels), "]".repeat(levels)));
        refused(&sandbox, &["run", "dag.json"], &["dag.json:1:", "deep"]);
        sandbox.write("dag.yaml", &format!("tasks: {}{}", "[".repeat(levels), "]".repeat(levels)));
        refused(&sandbox, &["run", "dag.yaml"], &["dag.yaml:1:", "deep"]);
    }
}

#[test]
fn a_file_of_a_hundred_megabytes() {
    let sandbox = Sandbox::new();
    let text = "x".repeat(100 << 20);
    sandbox.write("dag.json", &format!("{{\"dag_id\": \"d\", \"description\": \"{text}\", \"tasks\": []}}"));
    refused(&sandbox, &["run", "dag.json"], &["dag.json:1:", "tasks"]);
}

#[test]
fn a_full_disk_fails_the_run_and_the_state_stays_readable() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.yaml", &one_task("script:\n  engine: shell\n  inline: yes | head -c 4000000"));
    // A limit on file sizes gives the error that a full disk gives: a write that is refused.
    let program = sandbox.command(&["run", "dag.yaml", "--run-id", "full"]);
    let limited = "ulimit -f 2000; exec \"$@\"";
    let mut command = Command::new("bash");
    command
        .args(["-c", limited, "bash"])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(sandbox.path());
    program.get_envs().for_each(|(name, value)| match value {
        Some(value) => _ = command.env(name, value),
        None => _ = command.env_remove(name),
    });
    let ended = Ended::from(command.output().unwrap()).expect_status(1);
    assert!(ended.stdout.contains("full.1.log: File too large"), "{}", ended.stdout);
    let run = sandbox.oxidag(&["runs", "show", "full", "--json"]).expect_status(0).json();
    assert_eq!(run["state"], "failed", "{run}");
}

#[test]
fn a_dag_cannot_name_the_file_of_a_connection() {
    let sandbox = Sandbox::new();
    let key = sandbox.write("key.json", "very-s3cret");
    let task = format!(
        "script: {{engine: shell, inline: 'test \"{{A_b}}\" = granted'}}\nparams: {{'**A_b': '{}'}}",
        key.display()
    );
    sandbox.write("dag.yaml", &one_task(&task));
    refused(&sandbox, &["run", "dag.yaml"], &["`**A_b`", "[connections.A]"]);
    let plugins = fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap();
    sandbox.write("plugins.toml", &format!("{plugins}[connections.A]\nb = 'granted'\n"));
    let _ = sandbox.oxidag(&["run", "dag.yaml"]).expect_status(0);
}
