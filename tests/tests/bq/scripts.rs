//! What scripts do, what they are given and what they leave.

use serde_json::json;

use super::{bq, cloud, end_of, error_of, jobs, write_dag};

#[test]
fn a_task_waits_for_its_job_so_that_the_next_one_sees_its_rows() {
    let fill = "create table d.t as select * from unnest([1, 2, 3]) as n";
    let tasks = [
        bq("fill", &[], fill, &json!({})),
        bq("count", &["fill"], "select count(*) as c from d.t", &json!({})),
    ];
    let cloud = cloud("bq-waits", &tasks);
    cloud.google.settings("bq-waits", json!({"pending_seconds": 1, "job_seconds": 1}));
    let ended = cloud.run().expect_status(0);
    assert_eq!(end_of(&ended, "count")["result"], json!([{"c": 3}]));
}

#[test]
fn a_job_tells_what_it_did_and_where_it_is() {
    let cloud = cloud("bq-metrics", &[bq("one", &[], "select 1 as n", &json!({}))]);
    let ended = cloud.run().expect_status(0);
    let end = end_of(&ended, "one");
    let (id, job) = cloud.until_job("DONE");
    let metrics = &end["metrics"];
    assert_eq!(metrics["job_id"], id);
    assert!(id.starts_with("oxidag-"), "{id}");
    assert_eq!(metrics["project"], "bq-metrics");
    assert_eq!(metrics["location"], "US");
    assert!(metrics["link"].as_str().unwrap().contains(&format!("bq-metrics&j=bq:US:{id}")), "{metrics}");
    assert_eq!(metrics["statement_type"], "SELECT");
    assert_eq!(metrics["rows"], 1);
    assert_eq!(metrics["cache_hit"], false);
    for number in ["bytes_processed", "bytes_billed", "slot_ms"] {
        assert!(metrics[number].is_u64(), "{number}: {metrics}");
    }
    assert_eq!(job["labels"], json!({"oxidag-dag": "d", "oxidag-task": "one", "oxidag-run": "r"}));
    let logs: Vec<_> = ended.json_lines().into_iter().filter(|event| event["event"] == "log").collect();
    assert!(
        logs[0]["line"].as_str().unwrap().starts_with(&format!("submitted job bq-metrics:US.{id}")),
        "{logs:?}"
    );
}

#[test]
fn several_statements_are_one_task() {
    let script = "declare n int64 default 2;\ncreate table d.t (n int64);\ninsert into d.t select n;\nif n = 2 then\n  \
                  insert into d.t values (7), (8);\nend if;\nselect sum(n) as s from d.t;";
    let tasks = [
        bq("script", &[], script, &json!({})),
        bq(
            "again",
            &["script"],
            "insert into d.t values (1); select sum(n) as s from d.t",
            &json!({"result": "rows"}),
        ),
        bq("change", &["again"], "update d.t set n = n + 1 where n > 1", &json!({})),
    ];
    let cloud = cloud("bq-script", &tasks);
    let ended = cloud.run().expect_status(0);
    let script = end_of(&ended, "script");
    assert_eq!(script["metrics"]["statement_type"], "SCRIPT");
    assert!(script["metrics"]["child_jobs"].as_u64().unwrap() >= 4, "{script:#}");
    assert!(script["result"].is_null());
    assert_eq!(end_of(&ended, "again")["result"], json!([{"s": 18}]));
    assert_eq!(end_of(&ended, "change")["metrics"]["rows"], 3);
    assert_eq!(jobs(&cloud).len(), 3);
}

#[test]
fn query_parameters_are_bound_by_their_types() {
    let sql = "select @text as text, @whole + 1 as whole, @part * 2 as part, @yes as yes, array_length(@list) as n, \
               date_add(@day, interval 1 day) as day, '@no' as no -- @nor\n";
    let params = json!({
        "text": "it's; {no} '@x'", "whole": 41, "part": 0.25, "yes": true, "list": ["a", "b"],
        "day": {"type": "DATE", "value": "2024-02-28"},
    });
    let cloud = cloud("bq-params", &[bq("one", &[], sql, &params)]);
    let ended = cloud.run().expect_status(0);
    let row = json!({
        "text": "it's; {no} '@x'", "whole": 42, "part": 0.5, "yes": true, "n": 2, "day": "2024-02-29", "no": "@no",
    });
    assert_eq!(end_of(&ended, "one")["result"], json!([row]));
}

#[test]
fn rows_keep_their_types_and_their_nesting() {
    let sql = "select cast(null as int64) as nothing, 9007199254740993 as large, numeric '0.1' as exact, \
               timestamp '2024-02-29 12:00:00.5+00' as time, [1, 2] as list, \
               [struct('a' as name, [true] as flags)] as people";
    let cloud = cloud("bq-types", &[bq("one", &[], sql, &json!({}))]);
    let ended = cloud.run().expect_status(0);
    let row = json!({
        "nothing": null, "large": 9_007_199_254_740_993_i64, "exact": "0.1", "time": "2024-02-29T12:00:00.5Z",
        "list": [1, 2], "people": [{"name": "a", "flags": [true]}],
    });
    assert_eq!(end_of(&ended, "one")["result"], json!([row]));
}

#[test]
fn a_result_is_left_only_if_it_fits_and_is_wanted() {
    let many = "select n, 'some text to fill it' as t from unnest(generate_array(1, 5000)) as n";
    let tasks = [
        bq("large", &[], many, &json!({})),
        bq("none", &[], "select 1 as n", &json!({"result": "none"})),
        bq("demanded", &[], many, &json!({"result": "rows"})),
        bq("absent", &[], "create table d.x (n int64)", &json!({"result": "rows"})),
        bq("pages", &[], "select n from unnest(generate_array(1, 3000)) as n", &json!({"result": "rows"})),
    ];
    let cloud = cloud("bq-result", &tasks);
    let ended = cloud.run().expect_status(1);
    let large = end_of(&ended, "large");
    assert_eq!((&large["state"], &large["result"]), (&json!("success"), &json!(null)));
    assert_eq!(large["metrics"]["rows"], 5000);
    assert!(end_of(&ended, "none")["result"].is_null());
    assert_eq!(end_of(&ended, "none")["metrics"]["rows"], 1);
    let (kind, message) = error_of(&ended, "demanded");
    assert_eq!(kind, "failed");
    assert!(message.starts_with("the 5000 rows are more than 65536 bytes"), "{message}");
    assert!(error_of(&ended, "absent").1.contains("returns none"));
    let rows = end_of(&ended, "pages")["result"].as_array().unwrap().clone();
    assert_eq!((rows.len(), &rows[2999]), (3000, &json!({"n": 3000})));
}

#[test]
fn the_default_dataset_the_location_and_the_priority_are_the_tasks() {
    let make = "create schema europe options (location = 'EU'); create table europe.t (n int64)";
    let place = json!({"location": "EU", "dataset": "europe", "priority": "batch"});
    let tasks = [
        bq("make", &[], make, &json!({"location": "EU"})),
        bq("look", &["make"], "select count(*) as c from t", &place),
    ];
    let cloud = cloud("bq-place", &tasks);
    let ended = cloud.run().expect_status(0);
    assert_eq!(end_of(&ended, "look")["result"], json!([{"c": 0}]));
    assert_eq!(end_of(&ended, "look")["metrics"]["location"], "EU");
    assert!(jobs(&cloud).iter().all(|job| job["location"] == "EU"));
    let ledger = cloud.google.ledger("bq-place");
    let inserts =
        ledger["requests"].as_array().unwrap().iter().filter(|call| call["method"] == "bigquery.jobs.insert");
    let priorities: Vec<_> =
        inserts.map(|call| call["body"]["configuration"]["query"]["priority"].clone()).collect();
    assert_eq!(priorities, ["INTERACTIVE", "BATCH"]);
}

#[test]
fn what_would_cost_more_than_it_may_is_not_run() {
    let fill = bq("fill", &[], "create table d.t as select 1 as n", &json!({}));
    let sum =
        |limit| bq("sum", &["fill"], "select sum(n) as s from d.t", &json!({"maximum_bytes_billed": limit}));
    let cloud = cloud("bq-limit", &[fill.clone(), sum(1)]);
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended, "sum");
    assert_eq!(kind, "invalid");
    assert!(message.contains("limit for bytes billed"), "{message}");
    write_dag(
        &cloud,
        &[sum(20_000_000).clone()].map(|mut task| {
            task["dependencies"] = json!([]);
            task
        }),
    );
    let ended = cloud.oxidag(&["run", "dag.json", "--format", "json"]).expect_status(0);
    assert_eq!(end_of(&ended, "sum")["result"], json!([{"s": 1}]));
}
