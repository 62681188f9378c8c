//! Logs are uploaded when attempts and runs end, to real servers; a server that fails changes nothing about the run,
//! and what did not get through is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broken;
mod flaky;

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use oxidag_tests::running::{Running, in_time};
use oxidag_tests::servers::gcs::Gcs;
use oxidag_tests::servers::s3::S3;
use oxidag_tests::{Sandbox, engine};
use serde_json::{Value, json};

/// So long nothing takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sandbox whose logs are uploaded; `settings` is the rest of its plugins.toml.
fn sandbox(upload: &str, settings: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    plugins(&sandbox, upload, settings);
    sandbox
}

fn plugins(sandbox: &Sandbox, upload: &str, settings: &str) {
    let (shell, noop) = (engine("shell"), engine("noop"));
    let engines = format!("[engines.shell]\npath = {shell:?}\n[engines.noop]\npath = {noop:?}\n");
    let text = format!("{engines}[logs]\nupload = {upload:?}\n{settings}");
    sandbox.write("plugins.toml", &text);
}

/// Cloud Storage at this address.
fn gcs(url: &str) -> String {
    format!("[locations.gcs]\nendpoint = {url:?}\nanonymous = true\n")
}

/// S3 at this address.
fn s3(url: &str) -> String {
    format!(
        "[locations.s3]\nendpoint = {url:?}\nregion = 'eu-west-1'\naccess_key_id = 'someone'\n\
         secret_access_key = 'their-secret-key'\n"
    )
}

fn task(id: &str, script: &str, more: &Value) -> Value {
    let script = format!("#!/bin/sh\n{script}\n");
    let mut task = json!({"task_id": id, "script": {"engine": "shell", "inline": script}});
    task.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    task
}

fn write_dag(sandbox: &Sandbox, tasks: &[Value]) {
    sandbox.write("d.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
}

/// One task that fails once, one that says nothing.
fn write_usual_dag(sandbox: &Sandbox) {
    let twice = "echo attempt $OXIDAG_ATTEMPT\n[ $OXIDAG_ATTEMPT = 2 ]";
    let silent = json!({"task_id": "silent", "script": {"engine": "noop", "inline": ""}});
    write_dag(sandbox, &[task("loud", twice, &json!({"retries": 1})), silent]);
}

/// What the disk has below `logs/`.
fn local(sandbox: &Sandbox, name: &str) -> Vec<u8> {
    fs::read(sandbox.home().join("logs").join(name)).unwrap()
}

fn decompressed(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// Waits for a condition.
#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_log_is_in_the_bucket_once_the_run_has_ended() {
    let storage = Gcs::shared();
    storage.make_bucket("logs-every");
    let sandbox = sandbox("gs://logs-every/a/b/", &gcs(&storage.url()));
    write_usual_dag(&sandbox);
    let ended = in_time(sandbox.command(&["run", "d.json", "--run-id", "r"])).expect_status(0);
    assert_eq!(ended.stderr, "");
    let names = ["d/loud/r.1.log", "d/loud/r.2.log", "d/r.log"];
    assert_eq!(storage.list("logs-every", ""), names.map(|name| format!("a/b/{name}")));
    for name in names {
        let uploaded = storage.get("logs-every", &format!("a/b/{name}")).unwrap();
        assert_eq!(uploaded, local(&sandbox, name), "{name}");
    }
    assert!(String::from_utf8_lossy(&local(&sandbox, names[1])).contains("attempt 2"));
}

#[test]
fn s3_gets_them_compressed_if_so_said() {
    let storage = S3::shared();
    storage.make_bucket("logs-gzip");
    let sandbox = sandbox("s3://logs-gzip", &format!("gzip = true\n{}", s3(&storage.url())));
    write_usual_dag(&sandbox);
    let ended = in_time(sandbox.command(&["run", "d.json", "--run-id", "r"])).expect_status(0);
    assert_eq!(ended.stderr, "");
    let names = ["d/loud/r.1.log", "d/loud/r.2.log", "d/r.log"];
    assert_eq!(storage.list("logs-gzip", ""), names.map(|name| format!("{name}.gz")));
    for name in names {
        let uploaded = storage.get("logs-gzip", &format!("{name}.gz")).unwrap();
        assert_eq!(decompressed(&uploaded), local(&sandbox, name), "{name}");
    }
}

#[test]
fn compressed_logs_reach_cloud_storage_whole() {
    let storage = Gcs::shared();
    storage.make_bucket("logs-gzip");
    let sandbox = sandbox("gs://logs-gzip", &format!("gzip = true\n{}", gcs(&storage.url())));
    write_dag(&sandbox, &[task("much", "seq 100000", &json!({}))]);
    let ended = in_time(sandbox.command(&["run", "d.json", "--run-id", "r"])).expect_status(0);
    assert_eq!(ended.stderr, "");
    let uploaded = storage.get("logs-gzip", "d/much/r.1.log.gz").unwrap();
    assert_eq!(decompressed(&uploaded), local(&sandbox, "d/much/r.1.log"));
}

#[test]
fn a_log_of_many_mebibytes_reaches_cloud_storage_whole() {
    let storage = Gcs::shared();
    storage.make_bucket("logs-large");
    let sandbox = sandbox("gs://logs-large", &gcs(&storage.url()));
    write_dag(&sandbox, &[task("much", "seq 500000", &json!({}))]);
    let ended = in_time(sandbox.command(&["run", "d.json", "--run-id", "r"])).expect_status(0);
    assert_eq!(ended.stderr, "");
    let log = local(&sandbox, "d/much/r.1.log");
    assert!(log.len() > 16 << 20, "so much is sent in parts: {}", log.len());
    assert!(storage.get("logs-large", "d/much/r.1.log").unwrap() == log, "another content");
}

#[test]
fn a_log_is_uploaded_while_the_run_goes_on() {
    let storage = Gcs::shared();
    storage.make_bucket("logs-early");
    let sandbox = sandbox("gs://logs-early", &gcs(&storage.url()));
    let wait = "while [ ! -e go ] && [ -e plugins.toml ]; do sleep 0.05; done";
    write_dag(&sandbox, &[task("first", "echo one", &json!({})), gate(wait)]);
    let mut running =
        Running::start(sandbox.command(&["run", "d.json", "--run-id", "r", "--format", "json"]));
    running.until_task("gate", "running");
    until("no log of the task that has ended", || storage.get("logs-early", "d/first/r.1.log").is_some());
    assert_eq!(storage.get("logs-early", "d/r.log"), None);
    sandbox.write("go", "");
    let ended = running.end().expect_status(0);
    assert_eq!(ended.stderr, "");
    assert!(storage.get("logs-early", "d/r.log").is_some());
}

fn gate(wait: &str) -> Value {
    task("gate", wait, &json!({"dependencies": ["first"]}))
}

#[test]
fn a_resumed_run_uploads_what_the_process_that_died_did_not() {
    let storage = S3::shared();
    storage.make_bucket("logs-resumed");
    // Nothing listens there.
    let sandbox = sandbox("s3://logs-resumed", &s3("http://127.0.0.1:9"));
    let wait = "echo begun\nwhile [ ! -e go ] && [ -e plugins.toml ]; do sleep 0.05; done";
    write_dag(&sandbox, &[task("first", "echo one", &json!({})), gate(wait)]);
    let mut running =
        Running::start(sandbox.command(&["run", "d.json", "--run-id", "r", "--format", "json"]));
    running.until_task("gate", "running");
    running.until(|event| event["event"] == "log" && event["task_id"] == "gate");
    running.kill();
    assert_eq!(storage.list("logs-resumed", ""), Vec::<String>::new());

    plugins(&sandbox, "s3://logs-resumed", &s3(&storage.url()));
    sandbox.write("go", "");
    let ended = in_time(sandbox.command(&["resume", "r"])).expect_status(0);
    assert_eq!(ended.stderr, "");
    let names = ["d/first/r.1.log", "d/gate/r.1.log", "d/r.log"];
    assert_eq!(storage.list("logs-resumed", ""), names);
    for name in names {
        assert_eq!(storage.get("logs-resumed", name).unwrap(), local(&sandbox, name), "{name}");
    }
    let log = String::from_utf8(local(&sandbox, names[1])).unwrap();
    assert_eq!(log.matches("begun").count(), 2, "both processes' lines: {log}");
}

#[test]
fn the_logs_of_a_run_that_has_ended_are_uploaded_later() {
    let storage = S3::shared();
    storage.make_bucket("logs-later");
    // Connections are made and nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = sandbox("s3://logs-later", &s3(&format!("http://{}", silent.local_addr().unwrap())));
    write_usual_dag(&sandbox);
    let mut running =
        Running::start(sandbox.command(&["run", "d.json", "--run-id", "r", "--format", "json"]));
    running.until(|event| event["event"] == "run_state" && event["state"] == "success");
    running.kill();

    let ended = in_time(sandbox.command(&["runs", "upload", "r", "--plugins", "none.toml"])).expect_status(2);
    assert!(ended.stderr.contains("cannot read none.toml"), "{}", ended.stderr);
    plugins(&sandbox, "s3://logs-later", &s3(&storage.url()));
    let ended = in_time(sandbox.command(&["runs", "upload", "r"])).expect_status(0);
    assert_eq!(ended.stdout, "uploaded 3 logs of the run r to s3://logs-later/\n");
    let names = ["d/loud/r.1.log", "d/loud/r.2.log", "d/r.log"];
    assert_eq!(storage.list("logs-later", ""), names);
    for name in names {
        assert_eq!(storage.get("logs-later", name).unwrap(), local(&sandbox, name), "{name}");
    }

    plugins(&sandbox, "s3://logs-nowhere", &s3(&storage.url()));
    let ended = in_time(sandbox.command(&["runs", "upload", "r"])).expect_status(2);
    assert!(ended.stderr.contains("3 logs could not be uploaded to s3://logs-nowhere/"), "{}", ended.stderr);
    assert!(ended.stderr.contains("the bucket does not exist"), "{}", ended.stderr);
}

#[test]
fn a_target_that_is_none_is_refused_before_anything_runs() {
    let sandbox = sandbox("file:///logs", "");
    write_usual_dag(&sandbox);
    let ended = in_time(sandbox.command(&["run", "d.json"])).expect_status(2);
    assert!(ended.stderr.contains("plugins.toml:6:10"), "{}", ended.stderr);
    assert!(ended.stderr.contains("gs://bucket/folder or s3://bucket/folder"), "{}", ended.stderr);
    assert!(!Path::new(&sandbox.home()).join("logs").exists());
}
