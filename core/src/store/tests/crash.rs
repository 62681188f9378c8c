//! Killing the owner at any instant.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use super::*;

const TASKS: u32 = 200;

/// Runs one run after another, and says on standard error what it has recorded.
fn record_until_killed(home: &Path) {
    let store = Store::open(home).unwrap();
    let mut said = std::io::stderr();
    for number in 0.. {
        let run_id = format!("{}-{number}", std::process::id());
        let mut journal = begin(&store, &run_id, TASKS);
        journal.record(&[run(1, RunState::Running)]).unwrap();
        for i in 0..TASKS {
            journal.record(&[task(2, i, 1, TaskState::Running)]).unwrap();
            journal.record(&[task(3, i, 1, TaskState::Success)]).unwrap();
            writeln!(said, "recorded {run_id} {}", i + 1).unwrap();
        }
        journal.record(&[run(4, RunState::Success)]).unwrap();
        writeln!(said, "recorded {run_id} {}", TASKS + 1).unwrap();
        journal.finish().unwrap();
        writeln!(said, "recorded {run_id} {}", TASKS + 2).unwrap();
    }
}

/// Kills a child after so many lines; adds to `said` what it has recorded until it died.
fn kill_after(home: &Path, lines: usize, said: &mut HashMap<String, u32>) {
    let mut child = child("crash::what_was_reported_survives_a_kill", home)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    for number in 0.. {
        if number == lines {
            child.kill().unwrap();
        }
        line.clear();
        // The last line may be torn.
        if output.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
            break;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["recorded", run_id, count] = words[..] else {
            panic!("the child said: {line}");
        };
        said.insert(run_id.to_owned(), count.parse().unwrap());
    }
    child.wait().unwrap();
}

#[test]
fn what_was_reported_survives_a_kill() {
    if let Some(home) = as_child() {
        return record_until_killed(&home);
    }
    let (dir, store) = home();
    drop(store);
    let mut said = HashMap::new();
    for round in 0..24_usize {
        kill_after(dir.path(), round * 97 % 701, &mut said);
        // Now and then the next child finds what several left behind.
        if round % 3 != 2 {
            continue;
        }
        let store = Store::open(dir.path()).unwrap();
        for (run_id, count) in &said {
            let run = details(&store, run_id);
            let tasks = (*count).min(TASKS) as usize;
            for task in &run.tasks[..tasks] {
                assert_eq!(task.state, TaskState::Success, "{run_id} {}", task.task_id);
                assert_eq!(task.attempts[0].state, TaskState::Success);
            }
            let ended = run.head.state == RunState::Success;
            assert!(ended || *count <= TASKS, "{run_id} had ended");
            assert_eq!(run.head.interrupted, !ended);
            assert!(!journal(dir.path(), run_id).exists());
        }
    }
    assert!(said.len() >= 24 / 2, "too few runs to mean anything");
}

#[test]
fn a_run_that_was_dropped_can_be_resumed_and_ended() {
    let (dir, store) = home();
    let mut first = begin(&store, "a", 2);
    let before = [task(10, 0, 1, TaskState::Running), checkpoint(11, 0, 1, json!({"job": 7}))];
    first.record(&before).unwrap();
    drop(first);
    let reopened = Store::open(dir.path()).unwrap();
    let run_before = details(&reopened, "a");
    assert!(run_before.head.interrupted);
    assert_eq!(run_before.tasks[0].attempts[0].checkpoint, Some(json!({"job": 7})));

    let mut second = reopened.resume_run("a").unwrap();
    assert!(!details(&store, "a").head.interrupted);
    let after =
        [task(20, 0, 1, TaskState::Running), task(21, 0, 1, TaskState::Success), run(22, RunState::Success)];
    second.record(&after).unwrap();
    second.finish().unwrap();
    let run = details(&store, "a");
    assert_eq!(run.head.state, RunState::Success);
    assert_eq!(run.head.finished_at, Some(Timestamp(22)));
    assert_eq!(run.tasks[0].started_at, Some(Timestamp(10)));
    let attempt = &run.tasks[0].attempts[0];
    assert_eq!((attempt.started_at, attempt.finished_at), (Timestamp(10), Some(Timestamp(21))));
    assert_eq!(attempt.checkpoint, Some(json!({"job": 7})));
}

#[test]
fn a_second_interruption_loses_nothing_of_the_resumed_run() {
    let (dir, store) = home();
    // The first journal is longer than the second: its offset must not be taken for the second's.
    let mut first = begin(&store, "a", 2);
    let long = "x".repeat(1000);
    first.record(&[task(1, 0, 1, TaskState::Running), checkpoint(2, 0, 1, json!(long))]).unwrap();
    drop(first);
    let store = Store::open(dir.path()).unwrap();
    let mut second = store.resume_run("a").unwrap();
    second.record(&[task(3, 0, 1, TaskState::Success)]).unwrap();
    drop(second);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(states(&store, "a"), [TaskState::Success, TaskState::None]);
}

#[test]
fn an_owner_that_died_before_its_run_began_leaves_nothing() {
    let (dir, store) = home();
    for bytes in [&b""[..], b"oxidag", b"oxidagJ1\x01\x00\x00\x00"] {
        std::fs::write(journal(dir.path(), "a"), bytes).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.run("a").unwrap(), None);
        assert!(!journal(dir.path(), "a").exists());
    }
    std::fs::write(journal(dir.path(), "a"), b"oxidag").unwrap();
    begin(&store, "a", 1).finish().unwrap();
}

#[test]
fn a_journal_of_which_a_power_failure_left_only_its_length_holds_nothing() {
    let (dir, store) = home();
    drop(begin(&store, "a", 1));
    std::fs::write(journal(dir.path(), "a"), [0; 100_000]).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(states(&store, "a"), [TaskState::None]);
    assert!(!journal(dir.path(), "a").exists());
}

#[test]
fn a_journal_of_something_else_is_kept_and_named() {
    let (dir, store) = home();
    drop(begin(&store, "a", 1));
    std::fs::write(journal(dir.path(), "a"), [b'?'; 40]).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    insta::assert_snapshot!(message(&error, dir.path()), @"OXIDAG_HOME/journal/a.journal is not a file of oxidag, or it is damaged: its header is not that of a journal; move it away, or choose another folder with OXIDAG_HOME");
    assert!(journal(dir.path(), "a").exists());
}
