//! Many tasks in a row: what is told of one is not lost on the others, and what was changed behind our back is noticed.

use rusqlite::Connection;

use super::*;
use crate::event::{Failure, FailureKind};

/// Some rows, the last of them not full.
const TASKS: u32 = 200;
/// Some rows of names.
const MANY: u32 = 1000;

fn count_long(home: &Path) -> u32 {
    let db = Connection::open(home.join("oxidag.db")).unwrap();
    db.query_row("SELECT count(*) FROM long_progress", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_change_of_one_task_leaves_its_neighbours_as_they_were() {
    let (_dir, store) = home();
    let mut owned = begin(&store, "a", TASKS);
    let mut expected = retelling::Retelling::new(TASKS);
    // Each of them in a transaction of its own, here and there.
    for i in 0..300 {
        let number = i * 77 % TASKS;
        let state = [TaskState::Running, TaskState::Success, TaskState::Scheduled][i as usize % 3];
        let event = task(i64::from(i), number, 1 + i % 2, state);
        expected.tell(&event);
        owned.record(&[event]).unwrap();
        if i % 50 == 0 {
            owned.finish().unwrap();
            owned = store.resume_run("a").unwrap();
            assert_eq!(details(&store, "a").tasks, expected.tasks);
        }
    }
    owned.finish().unwrap();
    assert_eq!(details(&store, "a").tasks, expected.tasks);
}

#[test]
fn a_task_of_which_there_is_much_to_tell_has_a_row_of_its_own_as_long_as_there_is() {
    let (dir, store) = home();
    let mut owned = begin(&store, "a", 3);
    let message = "x".repeat(10_000);
    let error = Failure { kind: FailureKind::Invalid, message };
    let failed = |ts, error| {
        let end = AttemptEnd { error, ..AttemptEnd::default() };
        ended(ts, 1, 0, TaskState::Failed, Some(end))
    };
    let neighbours = [task(1, 0, 1, TaskState::Running), task(2, 2, 1, TaskState::Running)];
    owned.record(&neighbours).unwrap();
    owned.record(&[failed(3, Some(error.clone()))]).unwrap();
    owned.finish().unwrap();
    assert_eq!(count_long(dir.path()), 1);
    let run = details(&store, "a");
    assert_eq!(run.tasks[1].error, Some(error));
    assert_eq!(states(&store, "a"), [TaskState::Running, TaskState::Failed, TaskState::Running]);

    let mut owned = store.resume_run("a").unwrap();
    owned.record(&[failed(4, None)]).unwrap();
    owned.finish().unwrap();
    assert_eq!(count_long(dir.path()), 0);
    let run = details(&store, "a");
    assert_eq!((&run.tasks[1].error, run.tasks[1].finished_at), (&None, Some(Timestamp(4))));
    assert_eq!(states(&store, "a"), [TaskState::Running, TaskState::Failed, TaskState::Running]);
}

#[test]
fn all_tasks_of_a_run_are_seen_from_its_beginning_and_what_waits_is_told() {
    let (dir, store) = home();
    let mut owned = begin(&store, "a", MANY);
    let other = Store::open(dir.path()).unwrap();
    let run = details(&other, "a");
    let names: Vec<&str> = run.tasks.iter().map(|task| task.task_id.as_str()).collect();
    assert_eq!(names, (0..MANY).map(|number| format!("t{number}")).collect::<Vec<_>>());
    assert_eq!(run.counts(), [(TaskState::None, MANY as usize)]);
    let ready = (0..MANY).flat_map(|number| {
        [task(1, number, 0, TaskState::Scheduled), task(2, number, 0, TaskState::Waiting)]
    });
    owned.record(&ready.collect::<Vec<_>>()).unwrap();
    while details(&other, "a").counts() != [(TaskState::Waiting, MANY as usize)] {
        owned.record(&[]).unwrap();
        std::thread::yield_now();
    }
    owned.finish().unwrap();
}

#[test]
fn a_row_that_was_changed_is_refused() {
    for table in ["task_names", "task_progress", "long_progress"] {
        let (dir, store) = home();
        let mut owned = begin(&store, "a", TASKS);
        let long = json!("x".repeat(10_000));
        owned.record(&[task(1, 0, 1, TaskState::Running), checkpoint(2, 0, 1, long)]).unwrap();
        owned.finish().unwrap();
        let db = Connection::open(dir.path().join("oxidag.db")).unwrap();
        let changed =
            db.execute(&format!("UPDATE {table} SET packed = CAST(x'00' || packed AS BLOB)"), []).unwrap();
        assert_eq!(changed, 1, "{table}");
        let error = store.run("a").unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(message(&error, dir.path()), @"OXIDAG_HOME/oxidag.db is not a file of oxidag, or it is damaged: what it holds of a run's tasks was changed; move it away, or choose another folder with OXIDAG_HOME");
        }
    }
}
