//! Ten thousand jobs in flight at once, watched by two workers in little memory.

use oxidag_tests::many::{TASKS, end, in_flight};
use serde_json::{Value, json};

use super::{bq, cloud};

#[test]
fn ten_thousand_jobs_are_in_flight_on_two_workers_in_little_memory() {
    let tasks: Vec<Value> =
        (0..TASKS).map(|n| bq(&format!("t{n}"), &[], "select 1 as n", &json!({}))).collect();
    let cloud = cloud("bq-many", &tasks);
    end(&cloud, in_flight(&cloud));
    let jobs = cloud.google.ledger("bq-many")["jobs"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(jobs, TASKS);
}
