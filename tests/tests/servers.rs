//! The test servers: each starts, keeps what it is given and gives it back, and ends with the process that started it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use oxidag_tests::servers::functions;
use oxidag_tests::servers::{gcs::Gcs, google::Google, postgres::Postgres, redis::Redis, s3::S3};

/// Longer than the servers take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that no line-wise or textual handling leaves as they are.
const BYTES: &[u8] = b"\x1f\x8b\x00\r\n--x\n\r\xff\xfe end\r\n";

const FUNCTION: &str =
    "import functions_framework\n\n\n@functions_framework.http\ndef answer(request):\n    return 'here'\n";

#[test]
fn cloud_storage_gives_back_what_it_was_given() {
    let storage = Gcs::shared();
    storage.make_bucket("harness-gcs");
    storage.put("harness-gcs", "folder/a b.sql", BYTES);
    storage.put("harness-gcs", "other/c.sql", "select 1");
    assert_eq!(storage.get("harness-gcs", "folder/a b.sql").unwrap(), BYTES);
    assert_eq!(storage.get("harness-gcs", "folder/none.sql"), None);
    assert_eq!(storage.list("harness-gcs", "folder/"), ["folder/a b.sql"]);
    assert_eq!(storage.list("harness-gcs", "").len(), 2);
}

#[test]
fn s3_gives_back_what_it_was_given() {
    let storage = S3::shared();
    storage.make_bucket("harness-s3");
    storage.put("harness-s3", "folder/a b.sql", BYTES);
    storage.put("harness-s3", "other/c.sql", "select 1");
    assert_eq!(storage.get("harness-s3", "folder/a b.sql").unwrap(), BYTES);
    assert_eq!(storage.get("harness-s3", "folder/none.sql"), None);
    assert_eq!(storage.list("harness-s3", "folder/"), ["folder/a b.sql"]);
    assert_eq!(storage.list("harness-s3", "").len(), 2);
}

#[test]
fn redis_keeps_a_value_until_it_is_stopped() {
    let redis = Redis::start();
    assert_eq!(redis.cli(&["set", "key", "value"]).trim(), "OK");
    assert_eq!(redis.cli(&["get", "key"]).trim(), "value");
    let address = address(&redis.url());
    redis.stop();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn postgresql_runs_statements() {
    let server = Postgres::shared();
    server.execute("create table harness (a text); insert into harness values ('one')");
    assert_eq!(server.execute("select a, 2 from harness").trim(), "one|2");
}

#[test]
fn the_fake_of_google_keeps_projects_apart() {
    let google = Google::shared();
    google.control("bigquery/datasets", "harness-one", json!({"dataset": "d"}));
    google.settings("harness-one", json!({"hold": true}));
    google.fault("harness-one", json!({"method": "bigquery.jobs.insert", "fault": "503", "times": 2}));
    assert_eq!(google.ledger("harness-one")["faults_left"], 2);
    assert_eq!(google.ledger("harness-two")["faults_left"], 0);
    let key: Value = serde_json::from_str(&std::fs::read_to_string(google.key_file()).unwrap()).unwrap();
    assert_eq!(key["type"], "service_account");
}

#[test]
fn a_function_is_served() {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("main.py"), FUNCTION).unwrap();
    let function = functions::start(source.path(), "answer");
    let mut answer = ureq::get(function.url()).call().unwrap();
    assert_eq!(answer.body_mut().read_to_string().unwrap(), "here");
}

#[test]
fn no_server_outlives_a_process_that_is_killed() {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("main.py"), FUNCTION).unwrap();
    let folders = tempfile::tempdir().unwrap();
    let mut holder = Command::new(env!("CARGO_BIN_EXE_hold-servers"));
    holder.arg(source.path()).env("TMPDIR", folders.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    // The server of PostgreSQL runs as another user.
    open_to_others(folders.path());
    let mut holder = holder.spawn().unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let urls: Vec<_> = lines.map(Result::unwrap).take_while(|line| line != "ready").collect();
    let addresses: Vec<_> = urls.iter().map(|url| address(url)).collect();
    assert_eq!(addresses.len(), 6, "{urls:?}");
    for address in &addresses {
        TcpStream::connect(address).unwrap();
    }

    // SIGKILL.
    holder.kill().unwrap();
    holder.wait().unwrap();
    let left = || addresses.iter().any(|address| TcpStream::connect(address).is_ok());
    let until = Instant::now() + PATIENCE;
    while left() || folders.path().read_dir().unwrap().next().is_some() {
        let files: Vec<_> = folders.path().read_dir().unwrap().flatten().collect();
        assert!(Instant::now() < until, "servers {addresses:?}, files {files:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn open_to_others(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Host and port of a URL.
fn address(url: &str) -> SocketAddr {
    let rest = url.split("://").nth(1).unwrap();
    let host = rest.split('/').next().unwrap();
    host.rsplit('@').next().unwrap().parse().unwrap()
}
