//! What is told about runs: lists, names, durations, and the shapes that are public.

use super::*;
use crate::event::{Failure, FailureKind};
use crate::store::{RunFilter, query};

fn failure(kind: FailureKind, message: &str) -> Failure {
    let message = message.to_owned();
    Failure { kind, message }
}

/// A run that failed after its first task was tried twice, the second time remotely.
fn record_a_run(store: &Store) {
    let mut owned = begin(store, "a", 2);
    let first = AttemptEnd {
        error: Some(failure(FailureKind::Failed, "exit status 3")),
        metrics: Some(json!({"exit_status": 3})),
        result: None,
    };
    let second = AttemptEnd { result: Some(json!([1, 2])), ..AttemptEnd::default() };
    let events = [
        task(1_000_001, 0, 0, TaskState::Scheduled),
        task(1_000_002, 0, 1, TaskState::Running),
        ended(1_000_003, 0, 1, TaskState::UpForRetry, Some(first)),
        task(1_000_004, 0, 1, TaskState::Scheduled),
        task(1_000_005, 0, 2, TaskState::Running),
        checkpoint(1_000_006, 0, 2, json!("job-1")),
        task(1_000_007, 0, 2, TaskState::Deferred),
        ended(1_000_008, 0, 2, TaskState::Success, Some(second)),
        Event {
            ts: Timestamp(1_700_000_000_000_000),
            kind: EventKind::RunState {
                state: RunState::Failed,
                error: Some(Arc::new(failure(FailureKind::Invalid, "no engine"))),
            },
        },
    ];
    owned.record(&events).unwrap();
    owned.finish().unwrap();
}

#[test]
fn a_run_keeps_its_source_and_counts_what_it_did() {
    let (_dir, store) = home();
    record_a_run(&store);
    let run = details(&store, "a");
    assert_eq!(run.dag_source, "dag: text");
    assert_eq!(run.counts(), [(TaskState::None, 1), (TaskState::Success, 1)]);
    store.add_script_cache("a", CacheCounts { hits: 0, misses: 4 }).unwrap();
    assert_eq!(details(&store, "a").script_cache, Some(CacheCounts { hits: 2, misses: 5 }));
}

#[test]
fn the_json_of_a_run_is_what_the_design_says() {
    let (_dir, store) = home();
    record_a_run(&store);
    insta::assert_snapshot!(serde_json::to_string_pretty(&details(&store, "a")).unwrap(), @r#"
    {
      "run_id": "a",
      "dag_id": "dag",
      "state": "failed",
      "started_at": "1970-01-01T00:00:01.000000Z",
      "finished_at": "2023-11-14T22:13:20.000000Z",
      "interrupted": false,
      "owner": null,
      "error": {
        "kind": "invalid",
        "message": "no engine"
      },
      "environment": "prod",
      "plugins": "/etc/plugins.toml",
      "dag_path": "dags/dag.yaml",
      "params": {
        "day": 1
      },
      "script_cache": {
        "hits": 2,
        "misses": 1
      },
      "tasks": [
        {
          "task_id": "t0",
          "engine": "noop",
          "state": "success",
          "scheduled_at": "1970-01-01T00:00:01.000004Z",
          "started_at": "1970-01-01T00:00:01.000002Z",
          "finished_at": "1970-01-01T00:00:01.000008Z",
          "error": null,
          "result": [
            1,
            2
          ],
          "attempts": [
            {
              "attempt": 1,
              "state": "failed",
              "scheduled_at": "1970-01-01T00:00:01.000001Z",
              "started_at": "1970-01-01T00:00:01.000002Z",
              "deferred_at": null,
              "finished_at": "1970-01-01T00:00:01.000003Z",
              "error": {
                "kind": "failed",
                "message": "exit status 3"
              },
              "metrics": {
                "exit_status": 3
              },
              "checkpoint": null
            },
            {
              "attempt": 2,
              "state": "success",
              "scheduled_at": "1970-01-01T00:00:01.000004Z",
              "started_at": "1970-01-01T00:00:01.000005Z",
              "deferred_at": "1970-01-01T00:00:01.000007Z",
              "finished_at": "1970-01-01T00:00:01.000008Z",
              "error": null,
              "metrics": null,
              "checkpoint": "job-1"
            }
          ]
        },
        {
          "task_id": "t1",
          "engine": "noop",
          "state": "none",
          "scheduled_at": null,
          "started_at": null,
          "finished_at": null,
          "error": null,
          "result": null,
          "attempts": []
        }
      ]
    }
    "#);
    let heads = store.list_runs(&RunFilter::default()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&heads).unwrap(), @r#"
    [
      {
        "run_id": "a",
        "dag_id": "dag",
        "state": "failed",
        "started_at": "1970-01-01T00:00:01.000000Z",
        "finished_at": "2023-11-14T22:13:20.000000Z",
        "interrupted": false,
        "owner": null,
        "error": {
          "kind": "invalid",
          "message": "no engine"
        }
      }
    ]
    "#);
}

#[test]
fn a_time_that_no_calendar_has_is_still_printed() {
    let (_dir, store) = home();
    for (run_id, ts) in [("a", i64::MIN), ("b", i64::MAX)] {
        try_begin(&store, run_id, "dag", ts, 0).unwrap().finish().unwrap();
    }
    let heads = store.list_runs(&RunFilter::default()).unwrap();
    let heads = serde_json::to_value(heads).unwrap();
    assert_eq!(heads[0]["started_at"], "9999-12-31T23:59:59.999999Z");
    assert_eq!(heads[1]["started_at"], "1970-01-01T00:00:00.000000Z");
}

/// The codes are in every database that was ever written.
#[test]
fn stored_codes_of_states_never_change() {
    let tasks = TaskState::ALL.map(|state| format!("{}={}", state as u8, state));
    insta::assert_snapshot!(tasks.join(" "), @"0=none 1=scheduled 2=waiting 3=running 4=deferred 5=up_for_retry 6=success 7=failed 8=skipped 9=upstream_failed 10=cancelled");
    let runs = RunState::ALL.map(|state| format!("{}={}", state as u8, state));
    insta::assert_snapshot!(runs.join(" "), @"0=running 1=success 2=failed 3=cancelled");
}

fn store_with_runs() -> (TempDir, Store) {
    let (dir, store) = home();
    for (i, dag_id) in ["x", "y", "x", "y"].into_iter().enumerate() {
        let run_id = format!("{dag_id}-{i}");
        let mut owned = try_begin(&store, &run_id, dag_id, i as i64, 1).unwrap();
        if i != 3 {
            let state = RunState::ALL[i + 1];
            owned.record(&[run(100, state)]).unwrap();
        }
        owned.finish().unwrap();
    }
    (dir, store)
}

#[test]
fn runs_are_listed_newest_first_and_filtered() {
    let (_dir, store) = store_with_runs();
    let list = |filter: &RunFilter| {
        let heads = store.list_runs(filter).unwrap().into_iter();
        let ids: Vec<String> = heads.map(|head| head.run_id).collect();
        ids.join(" ")
    };
    let all = RunFilter::default();
    assert_eq!(list(&all), "y-3 x-2 y-1 x-0");
    let two = RunFilter { limit: 2, ..all.clone() };
    assert_eq!(list(&two), "y-3 x-2");
    let of_x = RunFilter { dag_id: Some("x".into()), ..all.clone() };
    assert_eq!(list(&of_x), "x-2 x-0");
    let since = RunFilter { since: Some(Timestamp(2)), ..all.clone() };
    assert_eq!(list(&since), "y-3 x-2");
    let failed = RunFilter { state: Some(RunState::Failed), ..all };
    assert_eq!(list(&failed), "y-1");
    let both = RunFilter { dag_id: Some("x".into()), ..failed };
    assert_eq!(list(&both), "");
}

/// Without its index a list would read every run that was ever stored.
#[test]
fn every_list_is_read_from_an_index_in_its_order() {
    let (dir, _store) = home();
    let db = rusqlite::Connection::open(dir.path().join("oxidag.db")).unwrap();
    for (dag_id, state) in
        [(None, None), (Some("x"), None), (None, Some(RunState::Failed)), (Some("x"), Some(RunState::Failed))]
    {
        let filter = RunFilter { dag_id: dag_id.map(str::to_owned), state, ..RunFilter::default() };
        let sql = format!("EXPLAIN QUERY PLAN {}", query::select(&filter));
        let mut statement = db.prepare(&sql).unwrap();
        let count = statement.parameter_count();
        let steps =
            statement.query_map(rusqlite::params_from_iter(vec![0; count]), |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(steps.len() == 1 && steps[0].starts_with("SEARCH runs USING INDEX"), "{filter:?}: {steps:?}");
    }
}

#[test]
fn a_run_can_be_named_by_its_beginning_or_as_the_latest() {
    let (_dir, store) = store_with_runs();
    assert_eq!(store.resolve_run("x-0").unwrap(), "x-0");
    assert_eq!(store.resolve_run("y-1").unwrap(), "y-1");
    assert_eq!(store.resolve_run("latest").unwrap(), "y-3");
    begin(&store, "x-01", 0).finish().unwrap();
    begin(&store, "zeta", 0).finish().unwrap();
    assert_eq!(store.resolve_run("x-0").unwrap(), "x-0");
    assert_eq!(store.resolve_run("z").unwrap(), "zeta");
    insta::assert_snapshot!(store.resolve_run("x").unwrap_err(), @"several runs begin with `x`: x-0, x-01, x-2; give more of the id");
    begin(&store, "x-02", 0).finish().unwrap();
    insta::assert_snapshot!(store.resolve_run("x").unwrap_err(), @"several runs begin with `x`: x-0, x-01, x-02, …; give more of the id");
    insta::assert_snapshot!(store.resolve_run("w").unwrap_err(), @"there is no run `w`; `oxidag runs list` shows those there are");
    assert_eq!(store.resolve_run("%"), Err(StoreError::UnknownRun("%".into())));
    let (_dir, empty) = home();
    insta::assert_snapshot!(empty.resolve_run("latest").unwrap_err(), @"there is no run yet; `oxidag run` starts one");
}

/// One run in which the attempts of task 0 and of task 1 take so many seconds; `None` fails.
fn past_run(store: &Store, run_id: &str, started_at: i64, seconds: [Option<i64>; 2]) {
    let mut owned = try_begin(store, run_id, "dag", started_at, 2).unwrap();
    for (i, seconds) in (0..).zip(seconds) {
        let state = seconds.map_or(TaskState::Failed, |_| TaskState::Success);
        let end = seconds.unwrap_or(1000) * 1_000_000;
        let events = [task(0, i, 1, TaskState::Running), task(end, i, 1, state)];
        owned.record(&events).unwrap();
    }
    owned.finish().unwrap();
}

#[test]
fn durations_are_medians_of_past_successes() {
    let (_dir, store) = home();
    assert_eq!(store.durations("dag").unwrap(), crate::store::Durations::default());
    past_run(&store, "a", 1, [Some(1), Some(10)]);
    past_run(&store, "b", 2, [Some(2), None]);
    past_run(&store, "c", 3, [Some(9), None]);
    let durations = store.durations("dag").unwrap();
    assert_eq!(durations.by_task["t0"], 2.0);
    assert_eq!(durations.by_task["t1"], 10.0);
    // Of 1, 2, 9 and 10.
    assert_eq!(durations.by_engine["noop"], 5.5);
    assert_eq!(store.durations("other").unwrap().by_task.len(), 0);
}

#[test]
fn only_recent_runs_count_for_durations() {
    let (_dir, store) = home();
    past_run(&store, "old", 0, [Some(1000), Some(1000)]);
    for i in 1..=20 {
        past_run(&store, &format!("r{i}"), i, [Some(1), None]);
    }
    let durations = store.durations("dag").unwrap();
    assert_eq!(durations.by_task["t0"], 1.0);
    assert_eq!(durations.by_task.get("t1"), None);
}

#[test]
fn runs_of_an_unchanged_file_share_its_text() {
    let (dir, store) = home();
    for run_id in ["a", "b"] {
        begin(&store, run_id, 0).finish().unwrap();
    }
    assert_eq!(details(&store, "b").dag_source, "dag: text");
    let db = rusqlite::Connection::open(dir.path().join("oxidag.db")).unwrap();
    let texts: u32 = db.query_row("SELECT count(*) FROM sources", [], |row| row.get(0)).unwrap();
    assert_eq!(texts, 1);
}

#[test]
fn a_text_that_was_damaged_is_an_error_and_no_other_text() {
    let (dir, store) = home();
    begin(&store, "a", 0).finish().unwrap();
    let db = rusqlite::Connection::open(dir.path().join("oxidag.db")).unwrap();
    for packed in [&[][..], &[1, 0], &[255, 255, 255, 255, 0x10], &[4, 0, 0, 0, 0x40, 0xff, 0xfe, 0xfd, 0xfc]]
    {
        db.execute("UPDATE sources SET text = ?1", [packed]).unwrap();
        assert!(store.run("a").is_err(), "{packed:?}");
    }
}
