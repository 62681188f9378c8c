//! `resume` and `run --resume`: which runs go on, and with which DAG.

use std::io::Write as _;
use std::process::Command;

use oxidag_tests::Sandbox;
use oxidag_tests::running::Running;
use serde_json::{Value, json};

use super::{attempts, gate, idle, noop, oxidag, r, run, sandbox, shell, shown, start, states, write_dag};

/// The DAG of [`interrupted`], whose last task says this.
fn dag(sandbox: &Sandbox, says: &str, more: &[Value]) {
    let tasks = [idle("first", &[], &json!({})), gate("gate", &["first"]), shell("last", &["gate"], says)];
    write_dag(sandbox, &[&tasks, more].concat(), &json!({}));
}

/// A run whose process was killed at its gate, which is open by now.
fn interrupted() -> Sandbox {
    let sandbox = sandbox();
    dag(&sandbox, "echo as it was", &[]);
    let mut run = start(&sandbox, &[]);
    run.until_task("gate", "running");
    run.kill();
    sandbox.write("go", "");
    sandbox
}

fn last_words(sandbox: &Sandbox) -> String {
    oxidag(sandbox, &["runs", "logs", "r", "last"], 0).stdout
}

#[test]
fn a_run_goes_on_where_its_process_died() {
    let sandbox = interrupted();
    assert_eq!(r(&sandbox)["interrupted"], true);
    let ended = oxidag(&sandbox, &["resume", "r"], 0);
    assert_eq!(ended.stderr, "");
    let run = r(&sandbox);
    assert_eq!(states(&run), json!({"first": "success", "gate": "success", "last": "success"}));
    assert_eq!(attempts(&run, "first").len(), 1);
    assert!(last_words(&sandbox).contains("as it was"));
}

#[test]
fn a_run_that_was_stopped_by_trouble_of_its_own_was_not_cancelled() {
    let sandbox = sandbox();
    let held =
        shell("held", &[], "trap '' TERM; while [ ! -e end ] && [ -e plugins.toml ]; do sleep 0.01; done");
    let tasks =
        [held, shell("says", &["gate"], "echo something"), gate("gate", &[]), shell("later", &["says"], "")];
    write_dag(&sandbox, &tasks, &json!({}));
    // A file where a folder should be: the log cannot be written.
    sandbox.write(".oxidag/logs/d/says", "");
    let mut run = start(&sandbox, &["--workers", "2"]);
    run.until_task("held", "running");
    sandbox.write("go", "");
    run.until_task("later", "cancelled");
    run.kill();
    assert!(r(&sandbox)["error"]["message"].as_str().unwrap().starts_with("cannot write the log"));
    sandbox.write("end", "");
    let _ = oxidag(&sandbox, &["resume", "r"], 1);
    let run = r(&sandbox);
    let ended = json!({"held": "success", "gate": "success", "says": "success", "later": "cancelled"});
    assert_eq!((states(&run), &run["state"]), (ended, &json!("failed")));
}

#[test]
fn a_run_that_has_ended_is_not_resumed() {
    let cases = [(json!({}), 0, "success"), (json!({"fail": true}), 1, "failed")];
    for (params, status, state) in cases {
        let sandbox = sandbox();
        write_dag(&sandbox, &[noop("a", &[], &params, &json!({}))], &json!({}));
        run(&sandbox, &[]).expect_status(status);
        let before = r(&sandbox);
        let ended = oxidag(&sandbox, &["resume", "r"], status);
        assert!(ended.stderr.contains(&format!("has ended already: {state}")), "{}", ended.stderr);
        assert_eq!(ended.stderr.contains("oxidag run --failed r"), status != 0, "{}", ended.stderr);
        assert_eq!((r(&sandbox), ended.stdout.as_str()), (before, ""));
    }
}

#[test]
fn a_run_that_another_process_owns_is_left_to_it() {
    let sandbox = sandbox();
    dag(&sandbox, "echo done", &[]);
    let mut run = start(&sandbox, &[]);
    run.until_task("gate", "running");
    let owner = r(&sandbox)["owner"].to_string();
    for arguments in [&["resume", "r"] as &[_], &["run", "--failed", "r"]] {
        let ended = oxidag(&sandbox, arguments, 2);
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.contains("the run"), "{}", ended.stderr);
        assert!(arguments[0] == "run" || ended.stderr.contains(&owner), "{}", ended.stderr);
    }
    sandbox.write("go", "");
    run.end().expect_status(0);
    assert_eq!(attempts(&r(&sandbox), "gate").len(), 1);
}

#[test]
fn a_run_that_nobody_knows_is_not_resumed() {
    let sandbox = sandbox();
    let nothing = oxidag(&sandbox, &["resume", "r"], 2);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains('r'), "{nothing:?}");
    dag(&sandbox, "echo done", &[]);
    sandbox.write("go", "");
    run(&sandbox, &[]).expect_status(0);
    let unknown = oxidag(&sandbox, &["resume", "nobody"], 2);
    assert!(unknown.stdout.is_empty() && unknown.stderr.contains("nobody"), "{unknown:?}");
}

#[test]
fn a_changed_file_is_said_and_not_used() {
    let sandbox = interrupted();
    dag(&sandbox, "echo as it is now", &[]);
    let ended = oxidag(&sandbox, &["resume", "r"], 0);
    assert!(ended.stderr.contains("dag.json was changed since the run r began"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--changed"), "{}", ended.stderr);
    let said = last_words(&sandbox);
    assert!(said.contains("as it was") && !said.contains("as it is now"), "{said}");
}

#[test]
fn a_file_that_is_gone_is_not_needed() {
    let sandbox = interrupted();
    std::fs::remove_file(sandbox.path().join("dag.json")).unwrap();
    oxidag(&sandbox, &["resume", "r"], 0);
    assert!(last_words(&sandbox).contains("as it was"));
}

#[test]
fn a_changed_file_is_used_on_request() {
    let sandbox = interrupted();
    dag(&sandbox, "echo as it is now", &[]);
    let ended = oxidag(&sandbox, &["resume", "r", "--changed"], 0);
    assert_eq!(ended.stderr, "");
    let said = last_words(&sandbox);
    assert!(said.contains("as it is now") && !said.contains("as it was"), "{said}");
    assert_eq!(attempts(&r(&sandbox), "first").len(), 1);
}

#[test]
fn a_file_with_other_tasks_is_refused() {
    let sandbox = interrupted();
    dag(&sandbox, "echo done", &[idle("new", &[], &json!({}))]);
    let ended = oxidag(&sandbox, &["resume", "r", "--changed"], 2);
    assert!(ended.stderr.contains("has a task `new`"), "{}", ended.stderr);
    // Nothing was done, and the run can go on as it was.
    assert_eq!(r(&sandbox)["interrupted"], true);
    oxidag(&sandbox, &["resume", "r"], 0);
}

#[test]
fn run_resume_goes_on_with_the_newest_run_or_begins_one() {
    let sandbox = interrupted();
    let resume = ["run", "dag.json", "--resume", "--format", "quiet"];
    let ids = || {
        let runs = oxidag(&sandbox, &["runs", "list", "--json"], 0).json();
        let id = |run: &Value| run["run_id"].as_str().unwrap().to_owned();
        runs.as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    oxidag(&sandbox, &resume, 0);
    assert_eq!(ids(), ["r"]);
    let run = r(&sandbox);
    assert_eq!(run["state"], "success");
    assert_eq!(attempts(&run, "first").len(), 1);
    oxidag(&sandbox, &resume, 0);
    let ids = ids();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert_eq!(shown(&sandbox, &ids[0])["state"], "success");
}

#[test]
fn run_resume_leaves_a_run_that_another_process_owns() {
    let sandbox = sandbox();
    dag(&sandbox, "echo done", &[]);
    let mut first = start(&sandbox, &[]);
    first.until_task("gate", "running");
    let refused = oxidag(&sandbox, &["run", "dag.json", "--resume", "--format", "quiet"], 2);
    assert!(refused.stderr.contains("the run r of d is still going on"), "{}", refused.stderr);
    sandbox.write("go", "");
    first.end().expect_status(0);
    let runs = oxidag(&sandbox, &["runs", "list", "--json"], 0).json();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs:#}");
}

#[test]
fn a_run_can_be_cancelled_before_it_goes_on() {
    let sandbox = interrupted();
    let path = sandbox.path().join("dag.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut resumed = Running::start(sandbox.command(&["resume", "r", "--format", "json"]));
    // Whoever writes to it waits for `resume`, which has the run by then.
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let cancel = Running::start(sandbox.command(&["runs", "cancel", "r"]));
    while !sandbox.home().join("journal/r.cancel").exists() {
        std::thread::yield_now();
    }
    file.write_all(text.as_bytes()).unwrap();
    drop(file);
    resumed.end().expect_status(130);
    assert_eq!({ cancel }.end().expect_status(0).stdout, "run r is cancelled\n");
}
