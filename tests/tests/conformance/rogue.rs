//! The rogue engine, which breaks one rule at a time: the check of that rule fails, with what was seen and what to do, and the
//! others go on.

use std::path::Path;

use oxidag_tests::{Ended, Sandbox, engine, root};
use serde_json::Value;

/// Time enough for all that ends.
const TIMEOUT: &str = "60s";

/// The kit on the rogue engine, which breaks this rule.
fn kit(rule: &str, arguments: &[&str]) -> Ended {
    let library = engine("rogue");
    kit_on(&library, rule, arguments)
}

fn kit_on(library: &Path, rule: &str, arguments: &[&str]) -> Ended {
    let cases = root().join("tests/rogue-engine/conformance.toml").display().to_string();
    let library = library.display().to_string();
    let always = ["engines", "test", &library, "--cases", &cases, "--strict"];
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&[&always, arguments].concat());
    command.env("OXIDAG_ROGUE", rule).env("OXIDAG_ROGUE_LEFT", sandbox.path().join("left"));
    let mut ended = oxidag_tests::running::in_time(command);
    // For the one test that looks at it.
    ended.stderr += &std::fs::read_to_string(sandbox.path().join("left")).unwrap_or_default();
    ended
}

/// The check fails, and what it saw has this.
#[track_caller]
fn fails_with(rule: &str, check: &str, limit: &str, seen: &str) {
    let arguments = ["--only", check, "--json", "--grace", "1s", "--timeout", limit];
    let report = kit(rule, &arguments).expect_status(1).json();
    let made: &Value = &report["checks"][0];
    assert_eq!((&made["check"], &made["result"]), (&check.into(), &"failed".into()), "{report:#}");
    let text = made["seen"].as_str().unwrap();
    assert!(text.contains(seen), "{text}");
    assert!(!made["advice"].as_str().unwrap().is_empty());
}

/// The check of the same name as the rule fails.
#[track_caller]
fn fails(rule: &str, seen: &str) {
    fails_with(rule, rule, TIMEOUT, seen);
}

#[test]
fn an_engine_that_breaks_none_passes_all() {
    let report = kit("none", &["--json", "--timeout", TIMEOUT]).expect_status(0).json();
    assert_eq!((&report["passed"], &report["not_applicable"]), (&26.into(), &1.into()), "{report:#}");
}

#[test]
fn what_is_wrong_before_any_task_is_found() {
    fails("schema", "no JSON Schema");
    fails_with("panic_describe", "schema", TIMEOUT, "SIGABRT");
    fails_with("panic_schema", "schema", TIMEOUT, "it says nothing, as after a panic");
    fails("create", "told not to be created");
    fails("config_refused", "the schema refuses `number` = true");
    fails_with("speechless", "config_refused", TIMEOUT, "without a message");
    fails("malformed", "SIGABRT");
}

#[test]
fn tasks_that_end_wrongly_are_found() {
    fails("validate", "told to see mistakes");
    fails("success", "told to fail");
    fails("failure", "transient: told to call");
    fails("same_key", "the job is there already");
    fails_with("endless", "success", "12s", "has not ended");
}

#[test]
fn an_attempt_that_is_ended_twice_or_never_or_kept_is_found() {
    fails("completion", "ended 2 times");
    fails_with("held", "completion", "12s", "still holds the host");
    fails_with("forgotten", "success", TIMEOUT, "without ending it");
}

#[test]
fn crashes_that_the_engine_does_not_take_up_are_found() {
    fails("crash_before_checkpoint", "the job is there already");
    fails("crash_after_checkpoint", "whose job is this?");
}

#[test]
fn cancellations_that_are_not_heeded_are_found() {
    fails("cancel_before", "went on and succeeded");
    fails("cancel_during", "went on and succeeded");
    fails("cancel_after", "SIGABRT");
    fails("deadline", "still ran");
}

#[test]
fn panics_that_leave_something_behind_are_found() {
    fails("panic_create", "a creation before this one panicked");
    fails("panic_destroy", "the engine before this one panicked at its end");
    for check in ["panic_validate", "panic_task", "panic_cancel"] {
        fails(check, "a lock is poisoned");
    }
}

#[test]
fn a_panic_of_blocks_is_tried_where_it_is_asked() {
    fails("panic_blocks", "SIGABRT");
    let report = kit("per_task", &["--only", "panic_blocks", "--json"]).expect_status(0).json();
    assert_eq!(report["passed"], 1, "{report:#}");
}

#[test]
fn much_and_many_are_found_to_be_too_much() {
    fails("large_parameters", "told to have no room");
    fails("non_ascii", "panicked");
    fails("concurrent", "31 of 32 tasks");
    fails("threads", "8 threads");
    fails_with("most_threads", "threads", TIMEOUT, "7 threads");
    fails("stdout", "told to print");
}

#[test]
fn a_pool_that_grows_to_its_size_is_no_leak() {
    let report = kit("pool", &["--only", "threads", "--json"]).expect_status(0).json();
    assert_eq!(report["passed"], 1, "{report:#}");
}

#[test]
fn a_check_that_takes_too_long_tells_what_took_its_time() {
    // Each task takes 1 s, and 11 of them do not fit.
    fails_with("slow", "threads", "10s", " went to the ");
}

#[test]
fn what_a_library_writes_to_the_socket_of_the_kit_fails_its_check_alone() {
    fails_with("wire", "success", TIMEOUT, "\"told to write\" was written to the socket of the kit");
    let report = kit("wire", &["--only", "success", "--only", "schema", "--json"]).expect_status(1).json();
    assert_eq!((&report["passed"], &report["failed"]), (&1.into(), &1.into()), "{report:#}");
}

#[test]
fn what_a_library_starts_does_not_outlive_the_kit() {
    for rule in ["leaves", "forks"] {
        let ended = kit(rule, &["--only", "success"]).expect_status(0);
        let left: u32 = ended.stderr.trim().parse().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
        let lives = stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']));
        assert!(!lives, "{rule}: {left} lives: {stat}");
    }
}

#[test]
fn a_library_that_hangs_or_ends_the_process_is_a_failed_check_and_not_the_end() {
    fails_with("hang", "schema", "1s", "nothing came of it within 1s");
    // Nor does each of the others take all its time then.
    let report = kit("hang", &["--timeout", "5s", "--json"]).expect_status(1).json();
    assert_eq!((&report["failed"], &report["not_tested"]), (&1.into(), &25.into()), "{report:#}");
    assert!(report["checks"][2]["seen"].as_str().unwrap().contains("see the check `schema`"), "{report:#}");
    let text = kit("exit", &["--only", "success", "--only", "failure"]).expect_status(1).stdout;
    assert!(text.contains("was ended with exit status 0 from within"), "{text}");
    assert!(text.contains("failure                  passed"), "{text}");
    assert!(text.ends_with("\n1 passed, 1 failed, 0 not tested, 0 not applicable\n"), "{text}");
}

#[test]
fn a_handshake_that_is_none_is_found_and_nothing_else_is_tried() {
    let sandbox = Sandbox::new();
    let mut library = std::fs::read(engine("rogue")).unwrap();
    let magic = b"oxidag engine\0\0\x01";
    let at = library.windows(magic.len()).position(|bytes| bytes == magic).unwrap();
    library[at] = b'O';
    let file = sandbox.path().join("other.so");
    std::fs::write(&file, library).unwrap();
    let report = kit_on(&file, "none", &["--json"]).expect_status(1).json();
    assert_eq!((&report["failed"], &report["not_tested"]), (&1.into(), &26.into()), "{report:#}");
    assert_eq!(report["checks"][0]["check"], "handshake");
    assert!(report["checks"][0]["seen"].as_str().unwrap().contains("is not an oxidag engine"), "{report:#}");
}
