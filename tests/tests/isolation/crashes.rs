//! Each way to die costs the attempts in the process one attempt each, and the next one finds a new process.

use serde_json::{Value, json};

use super::{ends, find, first_error, isolated, r, rogue, run, start, task, wait_until, write_dag};

/// Runs a deed beside a task of another engine; gives the first attempt's error, and the whole run.
#[track_caller]
fn costs_one_attempt(deed: &str, more: &str) -> (String, Value) {
    let sandbox = isolated(&["noop", "rogue"], more);
    let tasks = [
        task(
            "shell",
            "#!/bin/sh\nwhile [ ! -e go ] && [ -e plugins.toml ]; do sleep 0.01; done",
            "shell",
            &[],
            &json!({}),
            &json!({}),
        ),
        rogue(deed, "a", &[]),
        task("noop", "", "noop", &[], &json!({"async": true, "delay_ms": 1}), &json!({})),
        task("rogue", "print", "after", &["a"], &json!({"attempts": 0}), &json!({})),
    ];
    write_dag(&sandbox, &tasks);
    let mut running = start(&sandbox);
    running.until_task("a", "success");
    // Begun before the crash, and still on its way.
    sandbox.write("go", "");
    running.end().expect_status(0);
    let run = r(&sandbox);
    assert_eq!(ends(&run, "a"), ["failed", "success"]);
    for other in ["shell", "noop", "after"] {
        assert_eq!(ends(&run, other), ["success"], "{other}");
    }
    let (kind, message) = first_error(&run, "a");
    assert_eq!(kind, "panicked");
    assert!(message.contains("the process of the engine `rogue`"), "{message}");
    (message, run)
}

#[test]
fn an_abort_costs_one_attempt_whose_error_has_the_last_words() {
    let (message, _) = costs_one_attempt("abort", "");
    assert!(message.contains("SIGABRT") && message.contains("last words of a with {}"), "{message}");
}

#[test]
fn a_segfault_costs_one_attempt() {
    let (message, _) = costs_one_attempt("segfault", "");
    assert!(message.contains("SIGSEGV"), "{message}");
}

#[test]
fn an_exit_costs_one_attempt() {
    let (message, _) = costs_one_attempt("exit", "");
    assert!(message.contains("exit status 3"), "{message}");
}

#[test]
fn a_stack_overflow_costs_one_attempt() {
    let (message, _) = costs_one_attempt("overflow the stack", "");
    assert!(message.contains("SIGABRT") || message.contains("SIGSEGV"), "{message}");
}

#[test]
fn the_next_attempt_is_in_another_process_which_later_ones_share() {
    let (_, run) = costs_one_attempt("abort", "");
    let pid = |task: &str| {
        find(&run, task)["attempts"].as_array().unwrap().last().unwrap()["metrics"]["pid"].clone()
    };
    assert!(pid("a").is_number(), "{run:#}");
    assert_eq!(pid("a"), pid("after"));
}

#[test]
fn all_attempts_in_the_process_are_lost_with_it() {
    let sandbox = isolated(&["rogue"], "");
    let until = |file: &str| json!({"until": sandbox.path().join(file)});
    let more = json!({"retries": 1, "retry_delay": 0});
    let tasks = [
        task("rogue", "wait, then abort", "killer", &[], &until("now"), &more),
        task("rogue", "ignore cancellation", "victim", &[], &until("free"), &more),
    ];
    write_dag(&sandbox, &tasks);
    let mut running = start(&sandbox);
    // Each of the two says one thing.
    (0..2).for_each(|_| drop(running.until(|event| event["event"] == "log")));
    sandbox.write("now", "");
    running.until_task("victim", "up_for_retry");
    sandbox.write("free", "");
    running.end().expect_status(0);
    let run = r(&sandbox);
    for task in ["killer", "victim"] {
        assert_eq!(ends(&run, task), ["failed", "success"], "{task}");
    }
}

#[test]
fn nothing_is_repeated_that_has_no_retries() {
    let sandbox = isolated(&["rogue"], "");
    write_dag(&sandbox, &[task("rogue", "abort", "a", &[], &json!({}), &json!({}))]);
    run(&sandbox).expect_status(1);
    assert_eq!(ends(&r(&sandbox), "a"), ["failed"]);
}

#[test]
fn a_program_that_outlives_the_process_holds_nothing_up() {
    holds_nothing_up("leave a program");
}

/// It has the socket and the streams of the process.
#[test]
fn a_fork_that_outlives_the_process_holds_nothing_up() {
    holds_nothing_up("leave a fork");
}

#[track_caller]
fn holds_nothing_up(deed: &str) {
    let sandbox = isolated(&["rogue"], "");
    write_dag(&sandbox, &[rogue(deed, "a", &[])]);
    run(&sandbox).expect_status(0);
    let left: u32 = std::fs::read_to_string(sandbox.path().join("left.pid")).unwrap().parse().unwrap();
    assert!(super::lives(left));
    let killed = std::process::Command::new("kill").arg(left.to_string()).status().unwrap();
    assert!(killed.success());
    wait_until("the program ends", || !super::lives(left));
    assert_eq!(ends(&r(&sandbox), "a"), ["failed", "success"]);
}

#[test]
fn a_secret_in_the_last_words_is_masked() {
    let sandbox = isolated(&["rogue"], "[connections.A]\nkey = 'correct horse battery'\n");
    let more = json!({"retries": 0});
    write_dag(&sandbox, &[task("rogue", "abort", "a", &[], &json!({"**A_key": ""}), &more)]);
    let ended = run(&sandbox).expect_status(1);
    let (_, message) = first_error(&r(&sandbox), "a");
    assert!(message.contains("last words of a with") && message.contains("***"), "{message}");
    assert!(!ended.stdout.contains("battery") && !ended.stderr.contains("battery"));
    assert!(!super::log(&sandbox, "a").contains("battery"));
}
