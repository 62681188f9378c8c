//! The process of an engine ends with its scheduler, however that ends; and with an attempt that does not.

use std::fs;

use oxidag_tests::ledger::Ledger;
use oxidag_tests::running::in_time;
use oxidag_tests::{Sandbox, engine};
use serde_json::json;

use super::{children, ends, find, isolated, lives, r, start, task, wait_until, write_dag};

fn deaf(sandbox: &Sandbox, id: &str, more: &serde_json::Value) -> serde_json::Value {
    let params = json!({"until": sandbox.path().join("until")});
    task("rogue", "ignore cancellation", id, &[], &params, more)
}

#[test]
fn a_killed_scheduler_leaves_no_process() {
    let sandbox = isolated(&["noop", "rogue"], "");
    let waits = task("noop", "", "b", &[], &json!({"delay_ms": 600_000, "async": true}), &json!({}));
    write_dag(&sandbox, &[deaf(&sandbox, "a", &json!({})), waits]);
    let mut running = start(&sandbox);
    running.until(|event| event["line"] == "deaf");
    let left = children(running.pid());
    assert_eq!(left.len(), 2);
    running.kill();
    for pid in left {
        wait_until("the process ends", || !lives(pid));
    }
}

#[test]
fn a_resumed_run_finds_the_job_that_an_isolated_engine_began() {
    let ledger_folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::start(ledger_folder.path().join("ledger"));
    let config = format!("config = {{address = '{}'}}\n", ledger.address());
    let sandbox = isolated(&["ledger"], &config);
    write_dag(&sandbox, &[task("ledger", "", "a", &[], &json!({"duration_ms": 1_000}), &json!({}))]);
    let mut running = start(&sandbox);
    running.until_task("a", "deferred");
    let wrote = || ledger.book().entries().into_iter().map(|entry| entry.what).collect::<Vec<_>>();
    wait_until("the job's id is stored", || wrote().contains(&"stored".to_owned()));
    running.kill();
    in_time(sandbox.command(&["resume", "r"])).expect_status(0);
    assert_eq!(ends(&r(&sandbox), "a"), ["success"]);
    let submitted = wrote().iter().filter(|what| *what == "submitted").count();
    assert_eq!(submitted, 1, "{:?}", wrote());
}

#[test]
fn ctrl_c_cancels_what_waits_in_the_process() {
    let sandbox = isolated(&["noop"], "");
    let waiting = |id: &str, is_async: bool| {
        task("noop", "", id, &[], &json!({"delay_ms": 600_000, "async": is_async}), &json!({}))
    };
    write_dag(&sandbox, &[waiting("a", true), waiting("b", false)]);
    let mut running = start(&sandbox);
    running.until_task("b", "running");
    running.until_task("a", "deferred");
    let left = children(running.pid());
    assert_eq!(left.len(), 1);
    running.signal("INT");
    running.end().expect_status(130);
    let run = r(&sandbox);
    for task in ["a", "b"] {
        assert_eq!(find(&run, task)["state"], "cancelled", "{run:#}");
    }
    wait_until("the process ends", || !lives(left[0]));
}

#[test]
fn a_deadline_cancels_an_attempt_in_the_process_and_the_next_one_stays_there() {
    let sandbox = isolated(&["noop"], "");
    let more = json!({"timeout": 0.2, "retries": 1, "retry_delay": 0});
    let late = task("noop", "", "a", &[], &json!({"delay_ms": 600_000}), &more);
    write_dag(&sandbox, &[late]);
    super::run(&sandbox).expect_status(1);
    let run = r(&sandbox);
    assert_eq!(ends(&run, "a"), ["failed", "failed"]);
    assert_eq!(super::first_error(&run, "a").0, "timed_out");
}

/// It takes as long as the grace of an attempt that does not stop.
#[test]
fn an_abandoned_attempt_ends_with_its_process_once_nothing_else_is_in_it() {
    let sandbox = isolated(&["rogue"], "");
    let free = task(
        "rogue",
        "ignore cancellation",
        "free",
        &[],
        &json!({"until": sandbox.path().join("free")}),
        &json!({}),
    );
    let later = task("rogue", "", "later", &["deaf"], &json!({}), &json!({"trigger_rule": "all_done"}));
    write_dag(&sandbox, &[deaf(&sandbox, "deaf", &json!({"timeout": 0.2})), free, later]);
    let mut running = start(&sandbox);
    running.until_task("deaf", "running");
    let first = || children(running.pid());
    wait_until("the process is there", || first().len() == 1);
    let stuck = first()[0];
    running.until_task("deaf", "failed");
    // The other attempt in it goes on, and a new one is given to another process.
    running.until_task("later", "success");
    assert!(lives(stuck));
    sandbox.write("free", "");
    running.until_task("free", "success");
    running.end().expect_status(1);
    wait_until("the process ends", || !lives(stuck));
    let run = r(&sandbox);
    assert_eq!(find(&run, "deaf")["error"]["kind"], "abandoned");
    assert_eq!(
        (ends(&run, "free"), ends(&run, "later")),
        (vec!["success".to_owned()], vec!["success".to_owned()])
    );
}

#[test]
fn the_process_has_nothing_of_its_scheduler_open_and_no_secret_in_its_arguments() {
    let sandbox = isolated(&["rogue"], "config = {number = 4711}\n[connections.A]\nkey = 'correct horse'\n");
    let params = json!({"until": sandbox.path().join("until"), "**A_key": ""});
    write_dag(&sandbox, &[task("rogue", "ignore cancellation", "a", &[], &params, &json!({}))]);
    let mut running = start(&sandbox);
    running.until(|event| event["line"] == "deaf");
    let child = children(running.pid())[0];
    let open = fs::read_dir(format!("/proc/{child}/fd")).unwrap();
    let open: Vec<String> =
        open.map(|fd| fs::read_link(fd.unwrap().path()).unwrap().display().to_string()).collect();
    assert!(!open.iter().any(|file| file.contains(".oxidag")), "{open:?}");
    assert_eq!(open.iter().filter(|file| file.starts_with("socket:")).count(), 2, "{open:?}");
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{child}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("correct horse") && !text.contains("4711"), "{file}: {text}");
    }
    sandbox.write("until", "");
    running.end().expect_status(0);
}

#[test]
fn an_engine_that_is_refused_in_its_process_is_refused_as_ever() {
    let sandbox = isolated(&["rogue"], "config = {create = 'fails'}\n");
    let listed = in_time(sandbox.command(&["engines", "list", "--json"])).expect_status(0).json();
    let rogue = listed.as_array().unwrap().iter().find(|engine| engine["name"] == "rogue").unwrap();
    assert_eq!(rogue["state"], "refused");
    assert!(rogue["error"].as_str().unwrap().contains("told to fail"), "{rogue}");
    let other = Sandbox::new();
    let path = engine("rogue");
    other.write(
        "plugins.toml",
        &format!("[engines.rogue]\npath = {path:?}\nisolation = 'process'\nconfig = {{numbr = 1}}\n"),
    );
    let listed = in_time(other.command(&["engines", "list", "--json"])).expect_status(0).json();
    assert!(listed[0]["error"].as_str().unwrap().contains("numbr"), "{listed}");
}
