//! The quick start: what it leaves in its database, held against the source counted in another way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use oxidag_tests::{Sandbox, root};
use rusqlite::Connection;

/// Of one day: flights, cancelled ones, ones that left an hour late or more.
type Days = BTreeMap<String, (i64, i64, i64)>;

/// Counted from the file, without SQL.
fn expected() -> Days {
    let text = std::fs::read_to_string(root().join("dags/quickstart/data/flights.csv")).unwrap();
    let mut days = Days::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |i: usize| fields[i].parse::<i64>().unwrap();
        let date = format!("{}-{:02}-{:02}", number(0), number(1), number(2));
        let (flights, cancelled, late) = days.entry(date).or_default();
        *flights += 1;
        if fields[4] == "NA" {
            *cancelled += 1;
        } else if number(4) >= 60 {
            *late += 1;
        }
    }
    days
}

/// What the pipeline says of the same.
fn reported(database: &Connection) -> Days {
    let mut report =
        database.prepare("select flight_date, flights, cancelled, late from daily_report").unwrap();
    report
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn rows(database: &Connection, table: &str) -> i64 {
    database.query_row(&format!("select count(*) from {table}"), [], |row| row.get(0)).unwrap()
}

fn quickstart(sandbox: &Sandbox, database: &Path, run_id: &str) {
    let dag = root().join("dags/quickstart.yaml");
    let database = format!("url=sqlite:{}", database.display());
    let _ =
        sandbox.oxidag(&["run", dag.to_str().unwrap(), "-p", &database, "--run-id", run_id]).expect_status(0);
}

#[test]
fn the_quick_start_counts_every_flight_and_can_be_repeated() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("quickstart.db");
    let days = expected();
    let sum = |of: fn(&(i64, i64, i64)) -> i64| days.values().map(of).sum::<i64>();
    assert!(sum(|day| day.0) >= 10_000);

    for run_id in ["first", "second"] {
        quickstart(&sandbox, &path, run_id);
        let database = Connection::open(&path).unwrap();
        assert_eq!(reported(&database), days, "{run_id} run");
        assert_eq!(rows(&database, "raw_flights"), sum(|day| day.0));
        assert_eq!(rows(&database, "cancelled_flights"), sum(|day| day.1));
        assert_eq!(rows(&database, "late_flights"), sum(|day| day.2));
        assert_eq!(rows(&database, "disrupted_flights"), sum(|day| day.1 + day.2));
    }
}

#[test]
fn every_task_of_the_quick_start_succeeds_after_its_dependencies_and_leaves_a_log() {
    let sandbox = Sandbox::new();
    quickstart(&sandbox, &sandbox.path().join("quickstart.db"), "one");

    let shown = sandbox.oxidag(&["runs", "show", "one", "--json"]).expect_status(0).json();
    assert_eq!(shown["state"], "success");
    let tasks = shown["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 11);
    let task = |id: &str| tasks.iter().find(|task| task["task_id"] == id).unwrap();
    for task in tasks {
        assert_eq!(task["state"], "success", "{task}");
        let id = task["task_id"].as_str().unwrap();
        let log = sandbox.home().join("logs/quickstart").join(id).join("one.1.log");
        assert!(log.is_file(), "{}", log.display());
    }
    // Times are RFC 3339 in one zone and of one length, so their text is in their order.
    for (before, after) in [
        ("check_source", "ingest_flights"),
        ("create_table_disrupted", "ingest_flights"),
        ("ingest_flights", "clean_flights"),
        ("clean_flights", "extract_late"),
        ("clean_flights", "extract_cancelled"),
        ("extract_late", "merge_disruptions"),
        ("extract_cancelled", "merge_disruptions"),
        ("summarise_days", "report"),
    ] {
        let finished = task(before)["finished_at"].as_str().unwrap();
        let started = task(after)["started_at"].as_str().unwrap();
        assert!(finished <= started, "{before} ended at {finished}, {after} began at {started}");
    }

    let log = sandbox.oxidag(&["runs", "logs", "one", "report"]).expect_status(0);
    let worst = "The worst day was 2013-02-09: 421 of 684 flights.";
    assert!(log.stdout.contains(worst), "{}", log.stdout);
}
