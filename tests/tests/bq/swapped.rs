//! The same DAG on BigQuery and, in another environment, on a laptop's stand-in.

use oxidag_tests::{Ended, built, engine};
use serde_json::{Value, json};

use super::{bq, cloud, end_of, submissions};

#[test]
fn one_dag_runs_on_bigquery_and_on_a_stand_in() {
    let fill = "create or replace table d.t as select n, n * n as square from unnest([1, 2, 3]) as n";
    let read = "select n, square, safe_divide(square, 0) as nothing from d.t where n > 1 order by n";
    let tasks = [bq("fill", &[], fill, &json!({})), bq("read", &["fill"], read, &json!({}))];
    let cloud = cloud("bq-swapped", &tasks);
    let mapped = |library: &str| format!("[engines.bq]\npath = {:?}\n", engine(library));
    cloud.sandbox.write("plugins.dev.toml", &mapped("duckdb"));
    cloud.sandbox.write("plugins.prod.toml", &(mapped("bq") + "[engines.bq.config]\npriority = 'batch'\n"));
    let run = |id: &str, environment: &[&str]| -> Value {
        let arguments = [&["run", "dag.json", "--format", "json", "--run-id", id], environment].concat();
        let mut command = cloud.command(&arguments);
        let programs = built().parent().unwrap().join("python/bin");
        let ended: Ended = command.env("PATH", programs).output().unwrap().into();
        end_of(&ended.expect_status(0), "read")["result"].clone()
    };
    let expected = json!([{"n": 2, "square": 4, "nothing": null}, {"n": 3, "square": 9, "nothing": null}]);
    assert_eq!(run("bigquery", &["--env", "prod"]), expected);
    assert_eq!(submissions(&cloud), 2);
    assert_eq!(run("laptop", &["--env", "dev"]), expected);
    assert_eq!(submissions(&cloud), 2, "BigQuery was asked");
}
