//! Two processes that want to go on with the same run.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use oxidag_tests::Sandbox;
use oxidag_tests::running::{Running, in_time};
use serde_json::json;

/// Linux's `O_NONBLOCK`.
const NONBLOCK: i32 = 0o4000;

/// A run whose process was killed within its only task, which writes a line each time it is run.
fn interrupted() -> Sandbox {
    let sandbox = Sandbox::new();
    let script =
        "#!/bin/sh\necho run >> effects\nwhile [ ! -e go ] && [ -e plugins.toml ]; do sleep 0.01; done\n";
    let task = json!({"task_id": "a", "script": {"engine": "shell", "inline": script}});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    let mut run = Running::start(sandbox.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]));
    run.until_task("a", "running");
    while !sandbox.path().join("effects").exists() {
        std::thread::yield_now();
    }
    run.kill();
    fs::remove_file(sandbox.path().join("effects")).unwrap();
    sandbox.write("go", "");
    sandbox
}

#[test]
fn a_run_that_another_process_brought_to_its_end_meanwhile_is_not_run_again() {
    let sandbox = interrupted();
    let plugins = fs::read(sandbox.path().join("plugins.toml")).unwrap();
    // Whoever reads its plugins from a pipe waits there, amid its preparations, until they are written.
    let pipe = sandbox.path().join("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut slow = sandbox.command(&["resume", "r", "--plugins", "pipe.toml"]);
    let mut slow = slow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let writer = loop {
        // It cannot be opened before there is a reader.
        match OpenOptions::new().write(true).custom_flags(NONBLOCK).open(&pipe) {
            Ok(writer) => break Some(writer),
            Err(_) if slow.try_wait().unwrap().is_some() => break None,
            Err(_) => std::thread::yield_now(),
        }
    };
    let quick = in_time(sandbox.command(&["resume", "r"]));
    if let Some(mut writer) = writer {
        writer.write_all(&plugins).unwrap();
    }
    let slow = slow.wait_with_output().unwrap();
    // Either one may be refused, since the other one owns the run.
    let statuses = [quick.status, slow.status.code()];
    assert!(
        statuses.contains(&Some(0)) && statuses.iter().all(|it| [Some(0), Some(2)].contains(it)),
        "{statuses:?}"
    );
    let effects = fs::read_to_string(sandbox.path().join("effects")).unwrap();
    assert_eq!(effects, "run\n", "{}", String::from_utf8_lossy(&slow.stdout));
}
