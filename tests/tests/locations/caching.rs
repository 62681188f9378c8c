//! The script cache: in a Redis, or as long as the process lives. It is a convenience and never a failure.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use oxidag_tests::Sandbox;
use oxidag_tests::running::Running;
use oxidag_tests::servers::gcs::Gcs;
use oxidag_tests::servers::redis::Redis;
use serde_json::{Value, json};

use super::proxy::Proxy;
use super::{holds_nowhere, oxidag, results, run, sandbox, select, selected, shown, write_dag};

/// The sections of a storage and of a Redis, which a busy machine may keep waiting.
fn sections(gcs: &str, redis: &str) -> String {
    usual_sections(gcs, redis) + "timeout = '1m'\n"
}

/// The same with the usual timeout.
fn usual_sections(gcs: &str, redis: &str) -> String {
    format!("[locations.gcs]\nendpoint = {gcs:?}\nanonymous = true\n[cache]\nredis = {redis:?}\n")
}

/// Two tasks on one script of a bucket, and one on another.
fn dag(sandbox: &Sandbox, name: &str, bucket: &str, keys: &Value) {
    let place = |name: &str| json!(format!("gcs.{bucket}.f.sql.{name}"));
    write_dag(sandbox, name, &[("a", place("a")), ("again", place("a")), ("b", place("b"))], keys);
}

fn bucket(gcs: &Gcs, bucket: &str) {
    gcs.make_bucket(bucket);
    gcs.put(bucket, "f/a.sql", select("a"));
    gcs.put(bucket, "f/b.sql", select("b"));
}

fn counts(hits: u64, misses: u64) -> Value {
    json!({"hits": hits, "misses": misses})
}

#[test]
fn what_the_cache_has_needs_no_server() {
    let (gcs, redis) = (Gcs::start(), Redis::start());
    bucket(&gcs, "cached");
    let first = sandbox(&sections(&gcs.url(), &redis.url()));
    dag(&first, "dag.json", "cached", &json!({"script_cache": true}));
    assert_eq!(run(&first, "r"), "");
    assert_eq!(shown(&first, "r")["script_cache"], counts(0, 2));
    gcs.stop();
    // Another DAG, in another place.
    let second = sandbox(&sections(&gcs.url(), &redis.url()));
    dag(&second, "dag.json", "cached", &json!({"dag_id": "other", "script_cache": true, "expire_cache": 60}));
    assert_eq!(run(&second, "r"), "");
    let run = shown(&second, "r");
    assert_eq!(run["script_cache"], counts(2, 0));
    assert_eq!(results(&run), json!({"a": selected("a"), "again": selected("a"), "b": selected("b")}));
    let text = oxidag(&second, &["runs", "show", "r"], 0).stdout;
    assert!(text.contains("2 from the script cache, 0 fetched"), "{text}");
    // Without the cache there is nothing.
    dag(&second, "dag.json", "cached", &json!({}));
    oxidag(&second, &["run", "dag.json"], 2);
}

#[test]
fn what_has_expired_is_fetched_again() {
    let (gcs, redis) = (Gcs::shared(), Redis::start());
    bucket(gcs, "expiring");
    let sandbox = sandbox(&sections(&gcs.url(), &redis.url()));
    dag(&sandbox, "dag.json", "expiring", &json!({"script_cache": true, "expire_cache": 1}));
    run(&sandbox, "r1");
    gcs.put("expiring", "f/a.sql", select("new"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while redis.cli(&["dbsize"]).trim() != "0" {
        assert!(Instant::now() < deadline, "nothing expires");
        std::thread::yield_now();
    }
    run(&sandbox, "r2");
    let second = shown(&sandbox, "r2");
    assert_eq!(second["script_cache"], counts(0, 2));
    assert_eq!(results(&second)["a"], selected("new"));
    // Without a time, and with none, it stays for ever.
    for (expire, run_id) in
        [(json!({"script_cache": true}), "r3"), (json!({"script_cache": true, "expire_cache": 0}), "r4")]
    {
        redis.cli(&["flushall"]);
        dag(&sandbox, "dag.json", "expiring", &expire);
        run(&sandbox, run_id);
        let keys = redis.cli(&["keys", "oxidag:script:gs://expiring/f/*"]);
        assert_eq!(keys.lines().count(), 2, "{keys}");
        for key in keys.lines() {
            assert_eq!(redis.cli(&["ttl", key]).trim(), "-1", "{key}");
        }
    }
}

#[test]
fn dags_of_one_process_share_what_it_keeps() {
    let gcs = Gcs::shared();
    bucket(gcs, "in-process");
    let proxy = Proxy::to(&gcs.url());
    let sandbox = sandbox(&format!("[locations.gcs]\nendpoint = {:?}\nanonymous = true\n", proxy.url()));
    for name in ["one.json", "two.json"] {
        dag(&sandbox, name, "in-process", &json!({"script_cache": true}));
    }
    oxidag(&sandbox, &["run", "one.json", "two.json", "--format", "quiet"], 0);
    assert_eq!(["a.sql", "b.sql"].map(|name| proxy.count(name)), [1, 1]);
    let runs = oxidag(&sandbox, &["runs", "list", "--json"], 0).json();
    let count = |run: &Value| {
        let run = shown(&sandbox, run["run_id"].as_str().unwrap());
        (run["dag_id"].as_str().unwrap().to_owned(), run["script_cache"].clone())
    };
    let mut counted: Vec<_> = runs.as_array().unwrap().iter().map(count).collect();
    counted.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(counted, [("one".to_owned(), counts(0, 2)), ("two".to_owned(), counts(2, 0))]);
}

#[test]
fn a_redis_that_is_down_or_silent_is_one_warning() {
    let gcs = Gcs::shared();
    bucket(gcs, "without-redis");
    // The one is not there; the other takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports =
        [(down, "cannot be used: "), (silent.local_addr().unwrap().port(), "it does not answer in time")];
    for (port, why) in ports {
        let redis = format!("redis://:s3cret-pass@127.0.0.1:{port}");
        let sandbox = sandbox(&usual_sections(&gcs.url(), &redis));
        dag(&sandbox, "dag.json", "without-redis", &json!({"script_cache": true}));
        let said = run(&sandbox, "r");
        let warning = format!("warning: the script cache redis://127.0.0.1:{port} cannot be used: ");
        assert!(said.starts_with(&warning) && said.contains(why), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.ends_with("; scripts are fetched without it\n"), "{said}");
        assert_eq!(shown(&sandbox, "r")["script_cache"], counts(0, 2));
        holds_nowhere(&sandbox.home(), "s3cret-pass");
        let cleared = oxidag(&sandbox, &["cache", "clear"], 2);
        assert!(cleared.stdout.is_empty() && cleared.stderr.contains("cannot be used"), "{cleared:?}");
        assert!(!cleared.stderr.contains("s3cret"), "{}", cleared.stderr);
    }
}

#[test]
fn a_redis_has_the_time_that_it_is_given() {
    let gcs = Gcs::shared();
    bucket(gcs, "slow-redis");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let redis = format!("redis://{}", silent.local_addr().unwrap());
    let sandbox = sandbox(&(usual_sections(&gcs.url(), &redis) + "timeout = '1s'\n"));
    dag(&sandbox, "dag.json", "slow-redis", &json!({"script_cache": true}));
    let began = Instant::now();
    assert!(run(&sandbox, "r").contains("it does not answer in time"));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn what_the_cache_has_that_is_no_text_is_fetched_and_written_over() {
    let (gcs, redis) = (Gcs::shared(), Redis::start());
    bucket(gcs, "no-text");
    let sandbox = sandbox(&sections(&gcs.url(), &redis.url()));
    dag(&sandbox, "dag.json", "no-text", &json!({"script_cache": true}));
    run(&sandbox, "r1");
    let keys = redis.cli(&["keys", "oxidag:script:gs://no-text/f/a.sql*"]);
    redis.cli(&["eval", "return redis.call('set', KEYS[1], string.char(99, 233))", "1", keys.trim()]);
    for (run_id, found) in [("r2", counts(1, 1)), ("r3", counts(2, 0))] {
        assert_eq!(run(&sandbox, run_id), "");
        let run = shown(&sandbox, run_id);
        assert_eq!(run["script_cache"], found);
        assert_eq!(results(&run)["a"], selected("a"));
    }
}

#[test]
fn what_a_redis_refuses_is_told_in_a_sentence() {
    let (gcs, redis) = (Gcs::shared(), Redis::start());
    bucket(gcs, "refusing");
    redis.cli(&["config", "set", "maxmemory", "1"]);
    let sandbox = sandbox(&sections(&gcs.url(), &redis.url()));
    dag(&sandbox, "dag.json", "refusing", &json!({"script_cache": true}));
    let said = run(&sandbox, "r");
    let why =
        format!("the script cache {} cannot be used: command not allowed when used memory", redis.url());
    assert!(said.contains(&why) && said.ends_with(" (OOM); scripts are fetched without it\n"), "{said}");
}

#[test]
fn clearing_the_cache_leaves_what_is_not_oxidags() {
    let (gcs, redis) = (Gcs::shared(), Redis::start());
    bucket(gcs, "to-clear");
    let sandbox = sandbox(&sections(&gcs.url(), &redis.url()));
    dag(&sandbox, "dag.json", "to-clear", &json!({"script_cache": true}));
    run(&sandbox, "r");
    redis.cli(&["mset", "theirs", "1", "oxidag:other", "2", "not:oxidag:script:", "3"]);
    let cleared = oxidag(&sandbox, &["cache", "clear"], 0).stdout;
    assert_eq!(cleared, format!("removed 2 scripts from {}\n", redis.url()));
    assert_eq!(redis.cli(&["mget", "theirs", "oxidag:other", "not:oxidag:script:"]), "1\n2\n3\n");
    assert_eq!(redis.cli(&["dbsize"]).trim(), "3");
    let again = oxidag(&sandbox, &["cache", "clear", "--json"], 0).json();
    assert_eq!(again, json!({"redis": redis.url(), "removed": 0}));
}

#[test]
fn without_a_redis_there_is_nothing_to_clear() {
    let sandbox = sandbox("");
    let said = oxidag(&sandbox, &["cache", "clear"], 0).stdout;
    assert!(
        said.starts_with("there is nothing to clear: plugins.toml has no `redis` below [cache]"),
        "{said}"
    );
    std::fs::remove_file(sandbox.path().join("plugins.toml")).unwrap();
    let said = oxidag(&sandbox, &["cache", "clear"], 0).stdout;
    assert!(said.starts_with("there is nothing to clear: there is no plugins.toml here"), "{said}");
    let said = oxidag(&sandbox, &["cache", "clear", "--json"], 0).json();
    assert_eq!(said, json!({"redis": null, "removed": 0}));
}

#[test]
fn secrets_of_locations_and_of_the_cache_are_masked_in_logs() {
    let redis = Redis::start();
    let url = redis.url().replace("redis://", "redis://:s3cret-redis@");
    let sandbox = sandbox(&format!(
        "[locations.s3]\nsecret_access_key = 's3cret-s3'\naccess_key_id = 'key-id-s3'\n[cache]\nredis = {url:?}\n"
    ));
    let says = "echo it is s3cret-s3 of key-id-s3 and s3cret-redis";
    let script = json!({"engine": "shell", "inline": says});
    write_dag(&sandbox, "dag.json", &[("a", script)], &json!({}));
    run(&sandbox, "r");
    let log = oxidag(&sandbox, &["runs", "logs", "r", "a"], 0).stdout;
    assert!(log.contains("it is *** of *** and ***"), "{log}");
}

#[test]
fn a_resumed_run_asks_the_cache_again() {
    let (gcs, redis) = (Gcs::start(), Redis::start());
    bucket(&gcs, "resumed");
    let sandbox = sandbox(&sections(&gcs.url(), &redis.url()));
    let wait =
        json!({"engine": "shell", "inline": "while [ ! -e go ] && [ -e plugins.toml ]; do sleep 0.05; done"});
    let scripts = [("gate", wait), ("a", json!("gcs.resumed.f.sql.a"))];
    write_dag(&sandbox, "dag.json", &scripts, &json!({"script_cache": true, "processors": 1}));
    let command = sandbox.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]);
    let mut running = Running::start(command);
    running.until_task("gate", "running");
    running.kill();
    gcs.stop();
    sandbox.write("go", "");
    let ended = oxidag(&sandbox, &["resume", "r", "--format", "quiet"], 0);
    assert_eq!(ended.stderr, "");
    let run = shown(&sandbox, "r");
    assert_eq!((&run["state"], &run["script_cache"]), (&json!("success"), &counts(1, 1)));
    assert_eq!(results(&run)["a"], selected("a"));
}
