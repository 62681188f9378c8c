//! What a process may use, and what is not taken for limits.

use oxidag_tests::running::in_time;
use serde_json::json;

use super::{RUN, ends, first_error, isolated, r, rogue, run, task, write_dag};

#[test]
fn memory_beyond_the_limit_costs_one_attempt() {
    let sandbox = isolated(&["rogue"], "limits = {memory = '512MB'}\n");
    write_dag(&sandbox, &[rogue("hog memory", "a", &[])]);
    run(&sandbox).expect_status(0);
    let run = r(&sandbox);
    assert_eq!(ends(&run, "a"), ["failed", "success"]);
    let (_, message) = first_error(&run, "a");
    assert!(message.contains("limits.memory is 512000000 bytes"), "{message}");
    assert!(message.contains("memory allocation of 67108864 bytes failed"), "{message}");
}

#[test]
fn an_endless_loop_ends_with_its_cpu_time() {
    let sandbox = isolated(&["rogue"], "limits = {cpu = 1}\n");
    write_dag(&sandbox, &[rogue("spin", "a", &[])]);
    run(&sandbox).expect_status(0);
    let run = r(&sandbox);
    assert_eq!(ends(&run, "a"), ["failed", "success"]);
    let (_, message) = first_error(&run, "a");
    assert!(message.contains("SIGXCPU") && message.contains("limits.cpu is 1 s"), "{message}");
}

/// What `engines list` says of `rogue` with this in its section.
fn refusal(more: &str) -> String {
    let sandbox = isolated(&["rogue"], more);
    let list = in_time(sandbox.command(&["engines", "list", "--json"])).expect_status(0).json();
    let rogue = list.as_array().unwrap().iter().find(|engine| engine["name"] == "rogue").unwrap();
    assert_eq!((&rogue["state"], &rogue["isolation"]), (&"refused".into(), &"process".into()), "{rogue}");
    rogue["error"].as_str().unwrap().to_owned()
}

#[test]
fn memory_that_no_engine_could_live_in_is_refused_with_what_is_needed() {
    let error = refusal("limits = {memory = '2MB'}\n");
    assert!(error.contains("limits.memory is 2000000 bytes") && error.contains("allow at least "), "{error}");
}

#[test]
fn an_engine_that_is_not_made_in_its_time_is_refused() {
    let error = refusal("limits = {start = 1}\nconfig = {create = 'hangs'}\n");
    assert!(error.contains("it did not answer within 1s; limits.start gives it longer"), "{error}");
}

#[test]
fn an_engine_that_does_not_say_whether_a_task_blocks_holds_up_no_run() {
    let sandbox = isolated(&["rogue"], "limits = {start = 5}\n");
    write_dag(&sandbox, &[task("rogue", "", "a", &[], &json!({}), &json!({}))]);
    let mut command = sandbox.command(&RUN);
    command.env("OXIDAG_ROGUE", "hang_blocks");
    in_time(command).expect_status(0);
}

#[test]
fn limits_without_a_process_are_refused() {
    let sandbox = isolated(&["rogue"], "");
    let text = std::fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap();
    sandbox.write("plugins.toml", &text.replace("isolation = 'process'", "limits = {cpu = 1}"));
    write_dag(&sandbox, &[task("rogue", "", "a", &[], &json!({}), &json!({}))]);
    let ended = run(&sandbox).expect_status(2);
    assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    assert!(ended.stderr.contains("[engines.rogue.limits]"), "{}", ended.stderr);
    assert!(ended.stderr.contains("isolation = \"process\""), "{}", ended.stderr);
}

#[test]
fn the_process_of_an_engine_is_not_for_people() {
    let sandbox = isolated(&["rogue"], "");
    let ended = in_time(sandbox.command(&["engine-host"])).expect_status(2);
    assert!(ended.stdout.is_empty() && ended.stderr.contains("is for oxidag itself"), "{}", ended.stderr);
    let help = in_time(sandbox.command(&["--help"])).expect_status(0);
    assert!(!help.stdout.contains("engine-host"), "{}", help.stdout);
}
