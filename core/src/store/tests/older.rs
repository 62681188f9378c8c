//! A database of the fifth schema, which had a row for each task and for each attempt.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::Value;

use super::*;
use crate::event::{Failure, FailureKind};
use crate::store::{AttemptDetails, TaskDetails};

/// More than are in one row, and not as many as in three.
const TASKS: u32 = 150;
/// From this one on they were added.
const GROWN: u32 = 140;

/// One that has of everything something, or not.
fn old_task(number: u32) -> TaskDetails {
    let at = |every: u32, ts| number.is_multiple_of(every).then_some(Timestamp(ts));
    let error = |every| {
        let message = format!("error of {number}");
        number.is_multiple_of(every).then_some(Failure { kind: FailureKind::Failed, message })
    };
    let attempts = (1..=number % 3).map(|attempt| AttemptDetails {
        attempt,
        state: TaskState::ALL[(number as usize + 4) % 11],
        scheduled_at: at(2, 50),
        started_at: Timestamp(60 + i64::from(attempt)),
        deferred_at: at(3, 70),
        finished_at: at(4, 80),
        error: error(6),
        metrics: number.is_multiple_of(7).then(|| json!({ "exit_status": number })),
        checkpoint: number.is_multiple_of(8).then(|| json!(["job", "x".repeat(number as usize * 5)])),
    });
    TaskDetails {
        task_id: format!("t{number}"),
        grown_from: (number >= GROWN).then(|| "t1".to_owned()),
        engine: if number.is_multiple_of(5) { "shell".into() } else { "noop".into() },
        state: TaskState::ALL[number as usize % 11],
        scheduled_at: at(2, 10),
        started_at: at(3, 20),
        finished_at: at(5, 2_000_000_000_000_000),
        error: error(4),
        result: number.is_multiple_of(9).then(|| json!("y".repeat(number as usize))),
        attempts: attempts.collect(),
    }
}

fn insert(db: &Connection, number: u32, task: &TaskDetails) {
    let time = |at: Option<Timestamp>| at.map(|at| at.0);
    let json = |value: Option<&Value>| value.map(Value::to_string);
    let error = |error: Option<&Failure>| error.map(|error| serde_json::to_string(error).unwrap());
    let from = task.grown_from.as_ref().map(|_| 1);
    db.execute(
        "INSERT INTO tasks (run_key, task, task_id, engine, state, started_at, finished_at, error, result,
             scheduled_at, grown_from)
         VALUES (7, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            number,
            task.task_id,
            task.engine,
            task.state as u8,
            time(task.started_at),
            time(task.finished_at),
            error(task.error.as_ref()),
            json(task.result.as_ref()),
            time(task.scheduled_at),
            from
        ],
    )
    .unwrap();
    for attempt in &task.attempts {
        db.execute(
            "INSERT INTO attempts (run_key, task, attempt, state, started_at, finished_at, error, metrics,
                 checkpoint, scheduled_at, deferred_at)
             VALUES (7, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                number,
                attempt.attempt,
                attempt.state as u8,
                attempt.started_at.0,
                time(attempt.finished_at),
                error(attempt.error.as_ref()),
                json(attempt.metrics.as_ref()),
                json(attempt.checkpoint.as_ref()),
                time(attempt.scheduled_at),
                time(attempt.deferred_at)
            ],
        )
        .unwrap();
    }
}

/// A database of the fifth schema.
fn fifth(home: &Path) -> Connection {
    fs::create_dir(home.join("journal")).unwrap();
    let db = Connection::open(home.join("oxidag.db")).unwrap();
    for step in [
        include_str!("../older/1.sql"),
        include_str!("../older/2.sql"),
        include_str!("../older/3.sql"),
        include_str!("../older/4.sql"),
        include_str!("../older/5.sql"),
        "PRAGMA application_id = 0x6f786467; PRAGMA user_version = 5;",
    ] {
        db.execute_batch(step).unwrap();
    }
    db
}

/// All tables with their columns, and all indices.
fn schema(home: &Path) -> Vec<String> {
    let db = Connection::open(home.join("oxidag.db")).unwrap();
    let mut parts = db
        .prepare(
            "SELECT format('%s%s%s: %s %s %s %s', list.name, iif(wr, ', without rowid', ''), iif(strict, ', strict', ''),
                 info.name, info.type, iif(\"notnull\", 'not null', ''), iif(pk, 'key ' || pk, ''))
             FROM pragma_table_list AS list JOIN pragma_table_info(list.name) AS info WHERE list.schema = 'main'
             UNION ALL SELECT coalesce(sql, name) FROM sqlite_schema WHERE type = 'index' ORDER BY 1",
        )
        .unwrap();
    parts.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn an_older_database_comes_to_the_schema_of_a_new_one() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(fifth(old.path()));
    for home in [&old, &new] {
        Store::open(home.path()).unwrap();
    }
    assert_eq!(schema(old.path()), schema(new.path()));
    assert!(schema(new.path()).iter().any(|part| part.starts_with("runs, strict: run_id TEXT not null")));
}

#[test]
fn what_older_runs_did_is_carried_over() {
    let dir = tempfile::tempdir().unwrap();
    let db = fifth(dir.path());
    db.execute_batch(
        "INSERT INTO sources VALUES (1, 'dag: text');
         INSERT INTO runs (run_key, run_id, dag_id, state, started_at, dag_path, params, source_key, journal_applied)
         VALUES (3, 'empty', 'dag', 1, 5, 'dag.yaml', '{}', 1, 16), (7, 'a', 'dag', 0, 6, 'dag.yaml', '{}', 1, 16);",
    )
    .unwrap();
    let tasks: Vec<TaskDetails> = (0..TASKS).map(old_task).collect();
    tasks.iter().zip(0..).for_each(|(task, number)| insert(&db, number, task));
    drop(db);

    let store = Store::open(dir.path()).unwrap();
    assert_eq!(details(&store, "a").tasks, tasks);
    assert_eq!(details(&store, "a").dag_source, "dag: text");
    assert_eq!(details(&store, "empty").tasks, []);
    // And it goes on, with as many tasks as it had.
    let mut owned = store.resume_run("a").unwrap();
    owned.record(&[task(90, TASKS - 1, 9, TaskState::Running)]).unwrap();
    owned.record(&[task(91, TASKS, 1, TaskState::Running)]).unwrap_err();
    owned.finish().unwrap();
    let run = details(&store, "a");
    assert_eq!(run.tasks[..TASKS as usize - 1], tasks[..TASKS as usize - 1]);
    assert_eq!(run.tasks[TASKS as usize - 1].attempts.last().unwrap().attempt, 9);
}
