//! Which runs are removed and which are not, and that nothing of them is left, wherever that is cut short.

use std::fs;

use super::*;
use crate::logs::RunLogs;
use crate::store::{PruneRule, Pruned, RunFilter};

/// A run of two tasks that ended, with logs of ten bytes of the first task and of the run.
fn ended_run(store: &Store, home: &Path, dag_id: &str, run_id: &str, ts: i64) {
    let mut owned = try_begin(store, run_id, dag_id, ts, 2).unwrap();
    owned.record(&events(ts)).unwrap();
    owned.finish().unwrap();
    let logs = RunLogs::new(home, dag_id, run_id);
    write(&logs.attempt("t0", 1));
    write(&logs.run());
}

fn events(ts: i64) -> Vec<Event> {
    vec![
        task(ts, 0, 1, TaskState::Running),
        task(ts + 1, 0, 1, TaskState::Success),
        task(ts + 1, 1, 1, TaskState::Running),
        task(ts + 2, 1, 1, TaskState::Success),
        run(ts + 2, RunState::Success),
    ]
}

fn write(log: &Path) {
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(log, "ten bytes\n").unwrap();
}

/// What is left: runs from the newest, and files below `logs`.
fn left(store: &Store, home: &Path) -> (String, Vec<String>) {
    let runs = store.list_runs(&RunFilter::default()).unwrap();
    let ids: Vec<String> = runs.into_iter().map(|head| head.run_id).collect();
    let mut found = Vec::new();
    walk(&home.join("logs"), &mut found);
    let mut found: Vec<String> =
        found.iter().map(|path| path.strip_prefix(home).unwrap().display().to_string()).collect();
    found.sort();
    (ids.join(" "), found)
}

/// Files and empty folders.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    if entries.is_empty() {
        found.push(folder.to_owned());
    }
    for path in entries {
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

fn ids(pruned: &Pruned) -> Vec<&str> {
    pruned.runs.iter().map(|run| run.head.run_id.as_str()).collect()
}

fn count(home: &Path, table: &str) -> u32 {
    let db = rusqlite::Connection::open(home.join("oxidag.db")).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn the_newest_runs_of_each_dag_are_kept_and_of_the_others_nothing() {
    let (dir, store) = home();
    for (i, dag_id) in ["x", "x", "y", "x", "z"].into_iter().enumerate() {
        ended_run(&store, dir.path(), dag_id, &format!("{dag_id}{i}"), i as i64 * 10);
    }
    let rule = PruneRule { keep: Some(1), ..PruneRule::default() };
    let would = store.would_prune(&rule).unwrap();
    assert_eq!(ids(&would), ["x0", "x1"]);
    assert_eq!(left(&store, dir.path()).0, "z4 x3 y2 x1 x0", "only said");
    let pruned = store.prune(&rule).unwrap();
    assert_eq!(pruned, would);
    assert_eq!((pruned.log_files, pruned.log_bytes), (4, 40));
    let expected = ["logs/x/t0/x3.1.log", "logs/x/x3.log", "logs/y/t0/y2.1.log", "logs/y/y2.log"];
    let expected: Vec<String> =
        expected.into_iter().chain(["logs/z/t0/z4.1.log", "logs/z/z4.log"]).map(str::to_owned).collect();
    assert_eq!(left(&store, dir.path()), ("z4 x3 y2".to_owned(), expected));
    assert_eq!((count(dir.path(), "task_names"), count(dir.path(), "task_progress")), (3, 3));
    assert_eq!(ids(&store.prune(&rule).unwrap()), [""; 0]);
}

#[test]
fn what_is_asked_for_has_to_hold_together() {
    let (dir, store) = home();
    for (i, dag_id) in ["x", "y", "x", "x"].into_iter().enumerate() {
        ended_run(&store, dir.path(), dag_id, &format!("{dag_id}{i}"), i as i64 * 10);
    }
    let would = |rule: PruneRule| ids(&store.would_prune(&rule).unwrap()).join(" ");
    let all = PruneRule::default();
    // `x2` ended at 22.
    assert_eq!(would(PruneRule { before: Some(Timestamp(22)), ..all.clone() }), "x0 y1");
    assert_eq!(would(PruneRule { before: Some(Timestamp(23)), ..all.clone() }), "x0 y1 x2");
    assert_eq!(would(PruneRule { before: Some(Timestamp(23)), keep: Some(2), ..all.clone() }), "x0");
    assert_eq!(would(PruneRule { dag_id: Some("y".into()), ..all.clone() }), "y1");
    assert_eq!(would(PruneRule { keep: Some(9), ..all.clone() }), "");
    let unknown = store.prune(&PruneRule { dag_id: Some("w".into()), ..all }).unwrap_err();
    insta::assert_snapshot!(unknown, @"there is no run of the DAG `w`; `oxidag runs list` shows those there are");
}

#[test]
fn folders_are_removed_once_they_are_empty_unless_a_run_of_the_dag_lives() {
    let (dir, store) = home();
    let all = PruneRule::default();
    ended_run(&store, dir.path(), "dag", "a", 1);
    let living = begin(&store, "living", 1);
    assert_eq!(ids(&store.prune(&all).unwrap()), ["a"]);
    assert_eq!(left(&store, dir.path()), ("living".to_owned(), vec!["logs/dag/t0".to_owned()]));
    drop(living);
    ended_run(&store, dir.path(), "dag", "b", 2);
    assert_eq!(ids(&store.prune(&all).unwrap()), ["b"]);
    assert_eq!(left(&store, dir.path()), ("living".to_owned(), vec!["logs".to_owned()]));
}

#[test]
fn a_run_with_a_living_owner_is_never_removed() {
    let (dir, store) = home();
    let all = PruneRule { interrupted: true, ..PruneRule::default() };
    // One that runs, and one whose end is in the database while its process still has it.
    let running = begin(&store, "running", 1);
    let mut ending = begin(&store, "ending", 2);
    ending.record(&events(1)).unwrap();
    let other = Store::open(dir.path()).unwrap();
    while details(&other, "ending").head.state == RunState::Running {
        std::thread::yield_now();
    }
    for pruned in [other.would_prune(&all).unwrap(), other.prune(&all).unwrap()] {
        assert_eq!(
            (ids(&pruned).len(), pruned.kept_owned),
            (0, vec!["running".to_owned(), "ending".to_owned()])
        );
    }
    ending.finish().unwrap();
    drop(running);
    assert_eq!(ids(&other.prune(&all).unwrap()), ["running", "ending"]);
}

#[test]
fn an_interrupted_run_is_removed_only_when_that_is_asked_for() {
    let (dir, store) = home();
    drop(begin(&store, "a", 1));
    store.ask_to_cancel("a", &["t0".to_owned()]).unwrap();
    let rule = PruneRule::default();
    let kept = store.prune(&rule).unwrap();
    assert_eq!((ids(&kept).len(), kept.kept_interrupted), (0, vec!["a".to_owned()]));
    let pruned = store.prune(&PruneRule { interrupted: true, ..rule }).unwrap();
    assert!(pruned.runs[0].head.interrupted);
    assert_eq!(count(dir.path(), "runs"), 0);
    assert_eq!(fs::read_dir(dir.path().join("journal")).unwrap().count(), 0);
}

#[test]
fn pruning_that_was_cut_short_is_finished_by_the_next() {
    let (dir, store) = home();
    for run_id in ["a", "b"] {
        ended_run(&store, dir.path(), "dag", run_id, 1);
    }
    // A folder where a log of the second should be stops it after the first log was removed.
    let blocked = RunLogs::new(dir.path(), "dag", "b").run();
    fs::remove_file(&blocked).unwrap();
    fs::create_dir(&blocked).unwrap();
    write(&blocked.join("x"));
    let rule = PruneRule::default();
    store.prune(&rule).unwrap_err();
    assert_eq!(count(dir.path(), "runs"), 2, "no row goes before its logs");
    fs::remove_dir_all(&blocked).unwrap();
    assert_eq!(ids(&store.prune(&rule).unwrap()), ["a", "b"]);
    assert_eq!(left(&store, dir.path()), (String::new(), vec!["logs".to_owned()]));
}

#[test]
fn the_text_of_a_file_goes_with_its_last_run() {
    let (dir, store) = home();
    for run_id in ["a", "b"] {
        ended_run(&store, dir.path(), "dag", run_id, 1);
    }
    let keep = |keep| PruneRule { keep: Some(keep), ..PruneRule::default() };
    store.prune(&keep(1)).unwrap();
    assert_eq!(count(dir.path(), "sources"), 1);
    assert_eq!(details(&store, "b").dag_source, "dag: text");
    store.prune(&keep(0)).unwrap();
    assert_eq!(count(dir.path(), "sources"), 0);
}

#[test]
fn what_the_database_no_longer_uses_is_given_back() {
    let (dir, store) = home();
    let mut owned = begin(&store, "large", 1);
    // A page more than 3 MiB: it begins on one that stays in use.
    let text = json!("x".repeat((3 << 20) + 4096));
    owned.record(&[task(1, 0, 1, TaskState::Running), checkpoint(2, 0, 1, text)]).unwrap();
    owned.record(&[run(3, RunState::Success)]).unwrap();
    owned.finish().unwrap();
    ended_run(&store, dir.path(), "dag", "small", 2_000_000);
    assert_eq!(count(dir.path(), "long_progress"), 1);
    let pruned = store.prune(&PruneRule { keep: Some(1), ..PruneRule::default() }).unwrap();
    assert_eq!(count(dir.path(), "long_progress"), 0);
    assert!(pruned.database_bytes > 3 << 20, "{pruned:?}");
    assert_eq!(pruned.not_compacted, None);
    let size = fs::metadata(dir.path().join("oxidag.db")).unwrap().len();
    assert!(size < 1 << 20, "{size}");
    // Keys are as they were: what another process writes still finds its rows.
    assert_eq!(states(&store, "small"), [TaskState::Success; 2]);
    assert_eq!(store.prune(&PruneRule::default()).unwrap().database_bytes, 0, "too little to be worth it");
}
