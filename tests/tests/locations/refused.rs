//! Scripts that cannot be had: nothing runs, and what is wrong is said at once and at its place.

use std::net::TcpListener;

use oxidag_tests::Sandbox;
use oxidag_tests::servers::gcs::Gcs;
use oxidag_tests::servers::s3::S3;
use serde_json::{Value, json};

use super::proxy::Proxy;
use super::{oxidag, sandbox, select, write_dag};

/// What is said of a DAG that does not run.
#[track_caller]
fn refused(sandbox: &Sandbox) -> String {
    let ended = oxidag(sandbox, &["run", "dag.json"], 2);
    assert_eq!(ended.stdout, "");
    assert_eq!(oxidag(sandbox, &["runs", "list", "--json"], 0).json(), json!([]));
    ended.stderr
}

/// A port on which nobody listens: it was free a moment ago.
fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let (gcs, s3) = (Gcs::shared(), S3::shared());
    gcs.make_bucket("all-that-is-missing");
    gcs.put("all-that-is-missing", "f/there.sql", select("there"));
    gcs.put("all-that-is-missing", "f/latin.sql", b"caf\xe9");
    gcs.put("all-that-is-missing", "f/braces.sql", "select {nowhere}");
    s3.make_bucket("all-that-is-missing");
    let sandbox = sandbox(&format!(
        "[locations.gcs]\nendpoint = {:?}\nanonymous = true
         [locations.s3]\nendpoint = {:?}\naccess_key_id = 'key-id'\nsecret_access_key = 's3cret-key'
         [connections.A]\nurl = 'sqlite:scripts.db'\n",
        gcs.url(),
        s3.url()
    ));
    let db = rusqlite::Connection::open(sandbox.path().join("scripts.db")).unwrap();
    db.execute_batch("create table scripts (name, script)").unwrap();
    let scripts = [
        ("there", json!("gcs.all-that-is-missing.f.sql.there")),
        ("gone", json!("gcs.all-that-is-missing.f.sql.gone")),
        ("again", json!("gcs.all-that-is-missing.f.sql.gone")),
        ("latin", json!("gcs.all-that-is-missing.f.sql.latin")),
        ("braces", json!("gcs.all-that-is-missing.f.sql.braces")),
        ("object", json!("s3.all-that-is-missing.f.sql.object")),
        ("bucket", json!("s3.no-such-bucket.f.sql.object")),
        ("row", json!("database.A.scripts.sql.row")),
        ("table", json!("database.A.nowhere.sql.row")),
        ("connection", json!("database.B.scripts.sql.row")),
    ];
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    for command in [&["run", "dag.json"] as &[&str], &["run", "dag.json", "--dry-run"]] {
        let said = oxidag(&sandbox, command, 2).stderr;
        for wrong in [
            "dag.json:8:17: error: cannot read the script gs://all-that-is-missing/f/gone.sql: it does not exist (and so for 1 more task)",
            "the script gs://all-that-is-missing/f/latin.sql is not UTF-8 text (byte 3)",
            "(gs://all-that-is-missing/f/braces.sql:1:8, task `braces`)",
            "cannot read the script s3://all-that-is-missing/f/object.sql: it does not exist",
            "cannot read the script s3://no-such-bucket/f/object.sql: the bucket does not exist",
            "cannot read the script database:A/scripts/row: the table scripts has no script of this name",
            "cannot read the script database:A/nowhere/row: no such table: nowhere",
            "cannot read the script database:B/scripts/row: the connection `**B_url` is not in plugins.toml",
        ] {
            assert!(said.contains(wrong), "{wrong}\n{said}");
        }
        assert_eq!(said.matches("error:").count(), 8, "{said}");
    }
    assert_eq!(oxidag(&sandbox, &["runs", "list", "--json"], 0).json(), json!([]));
}

#[test]
fn what_may_not_be_read_is_told_without_a_secret() {
    let said = "{\"error\": {\"code\": 403, \"message\": \"who@example.org does not have storage.objects.get access.\", \"status\": \"PERMISSION_DENIED\"}}";
    let gcs = Proxy::answering((403, said));
    let s3 = Proxy::answering((
        403,
        "<Error><Code>InvalidAccessKeyId</Code><Message>No such key</Message></Error>",
    ));
    let sandbox = sandbox(&format!(
        "[locations.gcs]\nendpoint = {:?}\nanonymous = true
         [locations.s3]\nendpoint = {:?}\naccess_key_id = 'key-id'\nsecret_access_key = 's3cret-key'\n",
        gcs.url(),
        s3.url()
    ));
    let scripts =
        [("a", json!("gcs.b.f.sql.a")), ("b", json!("gcs.b.f.sql.b")), ("c", json!("s3.b.f.sql.c"))];
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    let said = refused(&sandbox);
    let gcs = "cannot read the script gs://b/f/a.sql: who@example.org does not have storage.objects.get access (status 403) (and so for 1 more task)";
    let s3 = "cannot read the script s3://b/f/c.sql: No such key (InvalidAccessKeyId)";
    assert!(said.contains(gcs) && said.contains(s3) && !said.contains("s3cret"), "{said}");
}

#[test]
fn a_key_that_is_none_is_refused_and_not_shown() {
    for key in ["s3cret", "{\"private_key\": \"s3cret\"}"] {
        let sandbox = sandbox(&format!("[locations.gcs]\nservice_account = '{key}'\n"));
        write_dag(&sandbox, "dag.json", &[("a", json!("gcs.b.f.sql.a"))], &json!({}));
        let said = refused(&sandbox);
        let wrong =
            "error: plugins.toml: `service_account` of [locations.gcs] is no service account's key in JSON";
        assert!(said.contains(wrong) && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn mistakes_of_plugins_toml_are_told_as_its_own_and_once() {
    let sandbox = sandbox(
        "[cache]\nredis = 'http://:s3cret@h'\n[locations.gcs]\nservice_account = { file = 'none.json' }\n",
    );
    let mut scripts: Vec<_> = ["a", "b"].map(|name| (name, json!(format!("gcs.b.f.sql.{name}")))).into();
    scripts.push(("c", json!({"engine": "sql", "inline": "select {nowhere}"})));
    write_dag(&sandbox, "dag.json", &scripts, &json!({"script_cache": true}));
    let said = refused(&sandbox);
    for why in [
        "error: plugins.toml: `redis` of [cache] is no URL such as ",
        "error: plugins.toml: `service_account` of [locations.gcs] cannot be read from none.json: No such file",
        "task `c`)",
    ] {
        assert!(said.contains(why), "{why}\n{said}");
    }
    assert!(said.matches("error:").count() == 3 && !said.contains("s3cret"), "{said}");
    assert!(!said.contains("cannot read the script"), "{said}");
}

#[test]
fn two_databases_with_one_mistake_are_both_named() {
    let sandbox =
        sandbox("[connections.A]\nurl = 'mysql://s3cret@h'\n[connections.B]\nurl = 'mysql://s3cret@h'\n");
    let scripts = ["A", "B"].map(|name| (name, json!(format!("database.{name}.t.sql.x"))));
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    let said = refused(&sandbox);
    for name in ["A", "B"] {
        let why =
            format!("cannot read the script database:{name}/t/x: the database's URL is of no known kind");
        assert!(said.contains(&why), "{said}");
    }
}

#[test]
fn a_bucket_that_is_elsewhere_says_nothing_of_others() {
    let s3 = S3::shared();
    s3.make_bucket("not-elsewhere");
    let proxy = Proxy::with(&s3.url(), |before| (before == 0).then_some((301, "")));
    let sandbox = sandbox(&format!(
        "[locations.s3]\nendpoint = {:?}\naccess_key_id = 'key-id'\nsecret_access_key = 's3cret-key'\n",
        proxy.url()
    ));
    let script = |bucket: &str| [("a", json!(format!("s3.{bucket}.f.sql.a")))];
    write_dag(&sandbox, "dag.json", &script("elsewhere"), &json!({}));
    let said = refused(&sandbox);
    let why =
        "s3://elsewhere/f/a.sql: the bucket is elsewhere: see `region` and `endpoint` of [locations.s3]";
    assert!(said.contains(why), "{said}");
    write_dag(&sandbox, "dag.json", &script("not-elsewhere"), &json!({}));
    assert!(refused(&sandbox).contains("s3://not-elsewhere/f/a.sql: it does not exist"));
}

#[test]
fn a_service_that_is_away_is_told_once() {
    let sandbox = sandbox(&format!(
        "[locations.gcs]\nendpoint = 'http://127.0.0.1:{0}'\nanonymous = true
         [locations.s3]\nendpoint = 'http://127.0.0.1:{0}'\naccess_key_id = 'key-id'\nsecret_access_key = 's3cret-key'
         [connections.A]\nurl = 'postgres://me:s3cret@127.0.0.1:{0}/d'\n",
        nobody()
    ));
    let ids: Vec<String> = (0..48).map(|n| format!("t{n}")).collect();
    let locations = ["gcs.b", "s3.b", "database.A"];
    let scripts: Vec<(&str, Value)> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| (id.as_str(), json!(format!("{}.f.sql.{id}", locations[n % 3]))))
        .collect();
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    let said = refused(&sandbox);
    assert_eq!(said.matches("error:").count(), 3, "{said}");
    assert!(said.matches("(and so for 15 more tasks)").count() == 3 && !said.contains("s3cret"), "{said}");
}

#[test]
fn who_is_nobody_asks_without_a_signature() {
    let (gcs, s3) = (Proxy::answering((401, "")), Proxy::answering((403, "")));
    let sandbox = sandbox(&format!(
        "[locations.gcs]\nendpoint = {:?}\nanonymous = true\n[locations.s3]\nendpoint = {:?}\nanonymous = true\n",
        gcs.url(),
        s3.url()
    ));
    let scripts = [("a", json!("gcs.b.f.sql.a")), ("b", json!("s3.b.f.sql.b"))];
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    let said = refused(&sandbox);
    assert!(said.contains("gs://b/f/a.sql: status 401"), "{said}");
    assert!(said.contains("s3://b/f/b.sql: status 403"), "{said}");
    let heads = [gcs.heads(), s3.heads()].concat();
    assert_eq!(heads.len(), 2, "what is refused is not asked again: {heads:?}");
    assert!(!heads.concat().to_lowercase().contains("authorization"), "{heads:?}");
}
