//! A disk that is full, as a limit on file sizes: the system refuses writes in just the same way.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;

/// Runs a test of this program with at most so many KiB in any file; returns what it said on standard error.
fn limited(test: &str, home: &Path, kib: u32) -> String {
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(env::current_exe().unwrap())
        .args(only(test))
        .env(CHILD, home)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

fn fill_the_journal(home: &Path) {
    let store = Store::open(home).unwrap();
    let mut run = begin(&store, "a", 2);
    run.record(&[task(1, 0, 1, TaskState::Running)]).unwrap();
    let big = json!("x".repeat(2_000_000));
    let error = run.record(&[checkpoint(2, 0, 1, big)]).unwrap_err();
    writeln!(std::io::stderr(), "{}", message(&error, home)).unwrap();
    // What still fits is stored, and where the failed write began.
    run.record(&[task(3, 0, 1, TaskState::Success)]).unwrap();
}

#[test]
fn events_that_do_not_fit_are_refused_and_the_next_ones_stored() {
    if let Some(home) = as_child() {
        return fill_the_journal(&home);
    }
    let (dir, store) = home();
    drop(store);
    let test = "full::events_that_do_not_fit_are_refused_and_the_next_ones_stored";
    insta::assert_snapshot!(limited(test, dir.path(), 512), @"cannot write to OXIDAG_HOME/journal/a.journal: File too large (os error 27); free some space; what was stored before is kept");
    let store = Store::open(dir.path()).unwrap();
    let run = details(&store, "a");
    assert_eq!(run.tasks[0].state, TaskState::Success);
    assert_eq!(run.tasks[0].attempts[0].checkpoint, None);
}

/// Lets the database's log grow, transaction by transaction, until it cannot; says how many tasks were recorded.
fn fill_the_database(home: &Path) {
    let store = Store::open(home).unwrap();
    let mut journal = begin(&store, "a", 2000);
    let text = json!("x".repeat(3000));
    let failed = (0..2000).find_map(|i| {
        let events = [task(1, i, 1, TaskState::Running), checkpoint(2, i, 1, text.clone())];
        let recorded = journal.record(&events);
        let deadline = Instant::now() + Duration::from_secs(60);
        // One transaction each: the next comes when this one is in, or has failed.
        while i % 8 == 0
            && journal.record(&[]).is_ok()
            && states(&store, "a")[i as usize] != TaskState::Running
        {
            assert!(Instant::now() < deadline, "neither applied nor refused");
            std::thread::yield_now();
        }
        recorded.err().map(|error| (i, error))
    });
    let (i, error) = failed.unwrap();
    let finished = journal.finish().unwrap_err();
    assert_eq!(finished, error);
    let mut said = std::io::stderr();
    writeln!(said, "{i}\n{}", message(&error, home)).unwrap();
}

#[test]
fn a_database_that_cannot_grow_stops_the_run_and_the_journal_keeps_it() {
    if let Some(home) = as_child() {
        return fill_the_database(&home);
    }
    let (dir, store) = home();
    drop(store);
    let test = "full::a_database_that_cannot_grow_stops_the_run_and_the_journal_keeps_it";
    let said = limited(test, dir.path(), 1024);
    let (recorded, error) = said.split_once('\n').unwrap();
    insta::assert_snapshot!(error, @"cannot write to OXIDAG_HOME/oxidag.db: disk I/O error; free some space; what was stored before is kept");
    assert!(journal(dir.path(), "a").exists());
    let store = Store::open(dir.path()).unwrap();
    let recorded: usize = recorded.parse().unwrap();
    // The call that told of the failure had stored its own events, too.
    for (i, state) in states(&store, "a").into_iter().enumerate() {
        let expected = if i <= recorded { TaskState::Running } else { TaskState::None };
        assert_eq!(state, expected, "task {i} of {recorded}");
    }
}
