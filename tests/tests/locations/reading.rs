//! Scripts are found at their places, and fetched no more often than needed.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use oxidag_tests::servers::gcs::Gcs;
use oxidag_tests::servers::google::Google;
use oxidag_tests::servers::postgres::{PASSWORD, Postgres};
use oxidag_tests::servers::s3::S3;
use serde_json::{Map, Value, json};

use super::proxy::Proxy;
use super::{holds_nowhere, oxidag, plugins, results, run, sandbox, select, selected, shown, write_dag};

#[test]
fn every_location_gives_its_script() {
    let (gcs, s3, postgres) = (Gcs::shared(), S3::shared(), Postgres::shared());
    gcs.make_bucket("every-location");
    gcs.put("every-location", "etl/one.sql", select("from gcs"));
    s3.make_bucket("every.location");
    s3.put("every.location", "a/b/two.sql", select("from s3"));
    postgres.execute(
        "create schema \"Every\"; create table \"Every\".location (id text, body varchar);
         insert into \"Every\".location values ('three', 'select ''from postgres'' as it')",
    );
    let sections = format!(
        "[locations.gcs]\nendpoint = {:?}\nanonymous = true
         [locations.s3]\nendpoint = {:?}\naccess_key_id = 'test-key-id'\nsecret_access_key = 's3cret-key'
         [locations.database]\nname_column = 'id'\nscript_column = 'body'
         [connections.WAREHOUSE]\nurl = {:?}\nfiles = 'sqlite:scripts.db'\n",
        gcs.url(),
        s3.url(),
        postgres.url()
    );
    let sandbox = sandbox(&sections);
    let db = rusqlite::Connection::open(sandbox.path().join("scripts.db")).unwrap();
    db.execute_batch(
        "create table scripts (id, body); insert into scripts values ('four', 'select ''from sqlite'' as it')",
    )
    .unwrap();
    let spelled = |location: &str, bucket: &str, folder: &str, name: &str| json!({"location": location, "bucket": bucket, "folder": folder, "name": name, "engine": "sql"});
    let scripts = [
        ("gcs", json!("gcs.every-location.etl.sql.one")),
        ("suffixed", spelled("gcs", "every-location", "etl", "one.sql")),
        ("s3", spelled("s3", "every.location", "a/b", "two")),
        ("postgres", spelled("database", "WAREHOUSE", "Every.location", "three")),
        ("sqlite", json!("database.WAREHOUSE_files.scripts.sql.four")),
    ];
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    assert_eq!(run(&sandbox, "r"), "");
    let from = |place| selected(&format!("from {place}"));
    let run = shown(&sandbox, "r");
    assert_eq!(
        results(&run),
        json!({"gcs": from("gcs"), "suffixed": from("gcs"), "s3": from("s3"), "postgres": from("postgres"), "sqlite": from("sqlite")})
    );
    assert_eq!(run["script_cache"], Value::Null, "no cache was asked");
    for secret in ["s3cret-key", PASSWORD] {
        holds_nowhere(&sandbox.home(), secret);
    }
}

#[test]
fn bytes_are_scripts_and_numbers_are_names_in_postgresql_too() {
    let postgres = Postgres::shared();
    postgres.execute(
        "create table bytes_named_by_numbers (name int, script bytea);
         insert into bytes_named_by_numbers values (7, 'select ''bytes'' as it'::bytea)",
    );
    let sandbox = sandbox(&format!("[connections.A]\nurl = {:?}\n", postgres.url()));
    let scripts = [("a", json!("database.A.bytes_named_by_numbers.sql.7"))];
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    assert_eq!(run(&sandbox, "r"), "");
    assert_eq!(results(&shown(&sandbox, "r")), json!({"a": selected("bytes")}));
}

#[test]
fn a_database_that_is_starting_is_asked_again() {
    let postgres = Postgres::shared();
    postgres.execute(
        "create table while_starting (name text, script text);
         insert into while_starting values ('a', 'select ''a'' as it')",
    );
    let starting = Starting::before(&postgres.url());
    let sandbox = sandbox(&format!("[connections.A]\nurl = {:?}\n", starting.url));
    write_dag(&sandbox, "dag.json", &[("a", json!("database.A.while_starting.sql.a"))], &json!({}));
    assert_eq!(run(&sandbox, "r"), "");
    assert_eq!(results(&shown(&sandbox, "r")), json!({"a": selected("a")}));
    assert!(starting.connections.load(Ordering::SeqCst) > 2);
}

/// Stands before a PostgreSQL: one connection is hung up on, one is told that the server is starting.
struct Starting {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Starting {
    fn before(url: &str) -> Self {
        let (front, rest) = url.rsplit_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{front}@{}/{database}?sslmode=disable", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let (server, count) = (server.to_owned(), Arc::clone(&connections));
        // Until the test process ends.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                match count.fetch_add(1, Ordering::SeqCst) {
                    0 => drop(client),
                    1 => tell_starting(client).unwrap(),
                    _ => pass_on(&client, &TcpStream::connect(&server).unwrap()),
                }
            }
        });
        Self { url, connections }
    }
}

/// Reads who asks, and answers as a server does that is not ready.
fn tell_starting(mut client: TcpStream) -> std::io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - length.len()];
    client.read_exact(&mut startup)?;
    let fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    client.write_all(&[b"E", length.as_slice(), fields].concat())
}

/// Both ways, until one end hangs up.
fn pass_on(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            // Whoever hangs up does not concern the other.
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

#[test]
fn what_tasks_share_is_fetched_once() {
    let gcs = Gcs::shared();
    gcs.make_bucket("shared-scripts");
    for name in ["a", "b", "c"] {
        gcs.put("shared-scripts", &format!("f/{name}.sql"), select(name));
    }
    let proxy = Proxy::to(&gcs.url());
    let sandbox = sandbox(&format!("[locations.gcs]\nendpoint = {:?}\nanonymous = true\n", proxy.url()));
    let ids: Vec<(String, &str)> = (0..200).map(|n| (format!("t{n}"), ["a", "b", "c"][n % 3])).collect();
    let scripts: Vec<(&str, Value)> = ids
        .iter()
        .map(|(id, name)| (id.as_str(), json!(format!("gcs.shared-scripts.f.sql.{name}"))))
        .collect();
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    run(&sandbox, "r");
    let expected: Map<String, Value> = ids.iter().map(|(id, name)| (id.clone(), selected(name))).collect();
    assert_eq!(results(&shown(&sandbox, "r")), Value::Object(expected));
    assert_eq!(["a.sql", "b.sql", "c.sql"].map(|name| proxy.count(name)), [1, 1, 1], "{:?}", proxy.heads());
}

#[test]
fn a_service_accounts_key_proves_who_asks() {
    let google = Google::shared();
    google.storage().make_bucket("with-a-key");
    google.storage().put("with-a-key", "f/a.sql", select("a"));
    let proxy = Proxy::to(&google.storage().url());
    let base = "[locations.gcs]\nendpoint = 'http://127.0.0.1:1'\nanonymous = true\n";
    let sandbox = sandbox(base);
    plugins(
        &sandbox,
        "plugins.prod.toml",
        &format!(
            "[locations.gcs]\nendpoint = {:?}\nanonymous = false\nservice_account = {{ file = {:?} }}\n",
            proxy.url(),
            google.key_file()
        ),
    );
    write_dag(&sandbox, "dag.json", &[("a", json!("gcs.with-a-key.f.sql.a"))], &json!({}));
    oxidag(&sandbox, &["run", "dag.json", "--env", "prod", "--run-id", "r", "--format", "quiet"], 0);
    let heads = proxy.heads();
    let is_signed = |head: &String| head.to_lowercase().contains("authorization: bearer ey");
    assert!(heads.len() == 1 && heads.iter().all(is_signed), "{heads:?}");
}

#[test]
fn a_service_that_is_away_for_a_moment_is_asked_again() {
    let (gcs, s3) = (Gcs::shared(), S3::shared());
    gcs.make_bucket("away-for-a-moment");
    gcs.put("away-for-a-moment", "f/a.sql", select("a"));
    s3.make_bucket("away-for-a-moment");
    s3.put("away-for-a-moment", "f/b.sql", select("b"));
    let gcs = Proxy::with(&gcs.url(), |before| [(503, "busy"), (429, "slower")].get(before).copied());
    let s3 = Proxy::with(&s3.url(), |before| [(503, ""), (500, "")].get(before).copied());
    let sandbox = sandbox(&format!(
        "[locations.gcs]\nendpoint = {:?}\nanonymous = true
         [locations.s3]\nendpoint = {:?}\naccess_key_id = 'key-id'\nsecret_access_key = 's3cret-key'\n",
        gcs.url(),
        s3.url()
    ));
    let scripts =
        [("a", json!("gcs.away-for-a-moment.f.sql.a")), ("b", json!("s3.away-for-a-moment.f.sql.b"))];
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    assert_eq!(run(&sandbox, "r"), "");
    assert_eq!(results(&shown(&sandbox, "r")), json!({"a": selected("a"), "b": selected("b")}));
    assert_eq!((gcs.count("a.sql"), s3.count("b.sql")), (3, 3));
}

#[test]
fn looking_at_a_dag_asks_no_service() {
    let proxy = Proxy::answering((500, ""));
    let url = proxy.url();
    let sandbox = sandbox(&format!(
        "[locations.gcs]\nendpoint = {url:?}\nanonymous = true\n[locations.s3]\nendpoint = {url:?}
         [connections.A]\nurl = 'postgres://{}/d'\n",
        url.strip_prefix("http://").unwrap()
    ));
    let scripts =
        ["gcs", "s3", "database"].map(|location| (location, json!(format!("{location}.A.f.sql.a"))));
    write_dag(&sandbox, "dag.json", &scripts, &json!({}));
    let ended = oxidag(&sandbox, &["validate", "dag.json"], 0);
    for location in ["gcs", "s3", "database"] {
        let warning = format!("scripts of the location `{location}` are not looked at here");
        assert!(ended.stderr.contains(&warning), "{}", ended.stderr);
    }
    oxidag(&sandbox, &["plan", "dag.json"], 0);
    oxidag(&sandbox, &["graph", "dag.json"], 0);
    assert_eq!(proxy.heads(), [""; 0]);
}
