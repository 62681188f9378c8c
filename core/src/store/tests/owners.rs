//! Who owns a run, and what others may do meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;
use crate::store::RunFilter;

#[test]
fn a_run_whose_owner_lives_is_left_alone() {
    let (dir, store) = home();
    let mut owned = begin(&store, "a", 1);
    owned.record(&[task(1, 0, 1, TaskState::Running)]).unwrap();
    let other = Store::open(dir.path()).unwrap();
    let head = details(&other, "a").head;
    assert_eq!((head.interrupted, head.owner), (false, Some(std::process::id())));
    assert_eq!(other.owner_pid("a").unwrap(), Some(std::process::id()));
    owned.record(&[task(2, 0, 1, TaskState::Success)]).unwrap();
    owned.finish().unwrap();
    assert_eq!(other.owner_pid("a").unwrap(), None);
    assert_eq!(states(&other, "a"), [TaskState::Success]);
}

#[test]
fn a_run_has_one_owner() {
    let (dir, store) = home();
    let other = Store::open(dir.path()).unwrap();
    let mut owned = begin(&store, "a", 1);
    let owner = std::process::id().to_string();
    for second in [try_begin(&other, "a", "dag", 1, 1), other.resume_run("a")] {
        let said = second.unwrap_err().to_string().replace(&owner, "PID");
        insta::allow_duplicates! {
            insta::assert_snapshot!(said, @"process PID owns the run `a`; wait until it ends, or stop it with `oxidag runs cancel a`");
        }
    }
    owned.record(&[task(1, 0, 1, TaskState::Running)]).unwrap();
    owned.finish().unwrap();
    let used = try_begin(&other, "a", "dag", 1, 1).unwrap_err();
    insta::assert_snapshot!(used, @"the run id `a` is already used; choose another");
    assert_eq!(states(&store, "a"), [TaskState::Running]);
    assert!(!journal(dir.path(), "a").exists());
}

#[test]
fn an_unknown_run_cannot_be_resumed() {
    let (dir, store) = home();
    insta::assert_snapshot!(store.resume_run("a").unwrap_err(), @"there is no run `a`; `oxidag runs list` shows those there are");
    insta::assert_snapshot!(store.resume_run("../a").unwrap_err(), @"there is no run `../a`; `oxidag runs list` shows those there are");
    assert!(!journal(dir.path(), "a").exists());
}

#[test]
fn a_run_id_is_a_plain_name() {
    let (_dir, store) = home();
    let refused = |run_id: &str| try_begin(&store, run_id, "dag", 1, 1).unwrap_err();
    insta::assert_snapshot!(refused("../a"), @"the run id `../a` cannot be used: take 1 to 128 letters, digits, `_`, `-` and `.`, the first a letter or digit");
    insta::assert_snapshot!(refused("latest"), @"the run id `latest` stands for the newest run; choose another");
    refused("");
    refused("ä");
    refused(&"a".repeat(129));
    for run_id in [".", "..", ".a", "-a", "_a"] {
        refused(run_id);
    }
    for run_id in ["A-b_c.9", "9", &"a".repeat(128)] {
        begin(&store, run_id, 1).finish().unwrap();
    }
}

/// Owns a run until standard input ends.
fn own_until_told(home: &Path) {
    let store = Store::open(home).unwrap();
    let mut owned = begin(&store, "a", 1);
    owned.record(&[task(1, 0, 1, TaskState::Running)]).unwrap();
    writeln!(std::io::stderr(), "owned").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    owned.finish().unwrap();
}

#[test]
fn another_process_sees_a_live_run_and_cannot_take_it() {
    if let Some(home) = as_child() {
        return own_until_told(&home);
    }
    let (dir, store) = home();
    let mut child = child("owners::another_process_sees_a_live_run_and_cannot_take_it", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "owned");

    let heads = store.list_runs(&RunFilter::default()).unwrap();
    assert_eq!((heads[0].owner, heads[0].interrupted), (Some(child.id()), false));
    let refused = store.resume_run("a").unwrap_err();
    let (run_id, pid) = ("a".to_owned(), child.id());
    assert_eq!(refused, StoreError::RunOwned { run_id, pid });
    // Its events come in while it runs.
    let deadline = Instant::now() + Duration::from_secs(60);
    while states(&store, "a") != [TaskState::Running] {
        assert!(Instant::now() < deadline, "nothing came in");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(details(&store, "a").head.interrupted);
    store.resume_run("a").unwrap().finish().unwrap();
}

#[test]
fn many_can_open_a_store_at_once_and_recover_it_once() {
    for fresh in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        if !fresh {
            let store = Store::open(dir.path()).unwrap();
            for i in 0..4 {
                let mut run = begin(&store, &format!("r{i}"), 50);
                let events: Vec<_> = (0..50).map(|i| task(1, i, 1, TaskState::Running)).collect();
                run.record(&events).unwrap();
            }
        }
        std::thread::scope(|scope| {
            for i in 0..8 {
                let home = dir.path();
                scope.spawn(move || {
                    let store = Store::open(home).unwrap();
                    let heads = store.list_runs(&RunFilter::default()).unwrap();
                    assert!(fresh || heads.len() >= 4);
                    let mut own = begin(&store, &format!("own{i}"), 1);
                    own.record(&[run(2, RunState::Success)]).unwrap();
                    own.finish().unwrap();
                });
            }
        });
        let store = Store::open(dir.path()).unwrap();
        let heads = store.list_runs(&RunFilter::default()).unwrap();
        let ended = heads.iter().filter(|head| head.state == RunState::Success);
        assert_eq!(ended.count(), 8);
        for head in heads.iter().filter(|head| head.state == RunState::Running) {
            assert!(head.interrupted);
            assert_eq!(states(&store, &head.run_id), [TaskState::Running; 50]);
        }
    }
}

#[test]
fn an_event_of_a_task_that_the_run_does_not_have_is_refused() {
    let (_dir, store) = home();
    let mut owned = begin(&store, "a", 2);
    let events = [task(1, 0, 0, TaskState::Scheduled), task(1, 2, 0, TaskState::Scheduled)];
    insta::assert_snapshot!(owned.record(&events).unwrap_err(), @"run `a` has no task number 2: it was begun with 2");
    owned.finish().unwrap();
    assert_eq!(states(&store, "a"), [TaskState::None; 2]);
}
