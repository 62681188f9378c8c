//! pyDag's example, unchanged, from its scripts in a bucket to its final table: a cluster is made, tables too, Spark
//! ingests a CSV, and SQL fills the table. Spark and the SQL run for real; Google is the fake in `tests/gcp`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::sync::{Mutex, Once, PoisonError};

use oxidag_tests::servers::google::Google;
use oxidag_tests::{Ended, Sandbox, engine, root};
use serde_json::{Value, json};

/// What the example itself names.
const PROJECT: &str = "atomic-key-348214";
const DATASET: &str = "datasettest";
const BUCKET: &str = "project-pydag";
const CLUSTER: &str = "cluster-dataproc-pydag-2022";

/// Both tests use the names that the example has.
static NAMES: Mutex<()> = Mutex::new(());
static BUCKET_IS_FILLED: Once = Once::new();

/// Rows for both years and both categories, and some that no query of the example selects.
const ROWS: &str = "\
col1,col2,col3
1,cars,2022-01-05
2,cars,2021-12-31
3,food,2021-06-30
4,food,2022-06-30
5,toys,2022-03-03
6,cars,2022-12-31
7,food,2021-01-01
8,cars,
";

/// What the example's queries select of them: cars of 2022, food of 2021.
fn selected() -> Value {
    json!([
        {"id": 1, "category": "cars", "lastdate": "2022-01-05"},
        {"id": 3, "category": "food", "lastdate": "2021-06-30"},
        {"id": 6, "category": "cars", "lastdate": "2022-12-31"},
        {"id": 7, "category": "food", "lastdate": "2021-01-01"},
    ])
}

#[test]
fn pydags_example_fills_its_final_table() {
    let _names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let google = Google::shared();
    let sandbox = environment(google);
    run(&sandbox, google, "pydag_example.json", "plain").expect_status(0);
    assert_eq!(states(&sandbox, "plain").as_object().unwrap().len(), 8);
    assert_eq!(rows(&sandbox, google, "mytable3"), selected());

    let ledger = google.ledger(PROJECT);
    assert_eq!(ledger["clusters"][CLUSTER]["state"], "RUNNING", "nobody was asked to delete it: {ledger}");
    keeps_its_secret(&sandbox, google);
}

#[test]
fn with_teardowns_nothing_is_left_but_the_final_table() {
    let _names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let google = Google::shared();
    let sandbox = environment(google);
    run(&sandbox, google, "pydag_example_with_teardown.json", "torn").expect_status(0);
    assert_eq!(rows(&sandbox, google, "mytable3"), selected());

    for table in ["mytable1", "mytable2", "table_stg"] {
        let query = format!("select count(*) as n from {PROJECT}.{DATASET}.{table}");
        let gone = query_dag(&sandbox, google, &query).expect_status(1);
        assert!(gone.stdout.contains("Not found"), "{}", gone.stdout);
    }
    let cluster = &google.ledger(PROJECT)["clusters"][CLUSTER];
    assert!(cluster.is_null() || cluster["state"] == "DELETED", "{cluster}");
}

/// The example's scripts in its bucket, and an environment whose Google is the fake.
fn environment(google: &Google) -> Sandbox {
    let (storage, sandbox) = (google.storage(), Sandbox::new());
    BUCKET_IS_FILLED.call_once(|| {
        storage.make_bucket(BUCKET);
        upload(google, &root().join("dags/pydag"), "");
        storage.put(BUCKET, "module_name/test.csv", ROWS);
    });
    google.make_dataset(PROJECT, DATASET);
    let url = google.url();
    let section = |name: &str, config: &str| {
        format!("[engines.{name}]\npath = {:?}\n[engines.{name}.config]\n{config}", engine(name))
    };
    let spark = format!(
        "endpoint = {url:?}\nstorage_endpoint = {:?}\n\
         [engines.spark.config.spark-config]\n\
         \"spark.jars\" = \"gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar\"\n\
         temporarygcsbucket = \"pydag-temporary-bucket\"\n",
        storage.url()
    );
    let plugins = [
        section("bq", &format!("endpoint = {url:?}\n")),
        section("spark", &spark),
        section("iac", &format!("endpoint = {url:?}\n")),
        format!("[connections.GCP]\nservice-account = {{ file = {:?} }}\n", google.key_file()),
        format!("[locations.gcs]\nendpoint = {:?}\n", storage.url()),
    ];
    sandbox.write("plugins.toml", &plugins.concat());
    sandbox
}

/// A folder's files as objects of the example's bucket.
fn upload(google: &Google, folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            upload(google, &entry.path(), &format!("{name}/"));
        } else {
            google.storage().put(BUCKET, &name, fs::read(entry.path()).unwrap());
        }
    }
}

fn run(sandbox: &Sandbox, google: &Google, dag: &str, run_id: &str) -> Ended {
    let dag = root().join("dags").join(dag);
    let plugins = sandbox.path().join("plugins.toml");
    let mut command = sandbox.command(&["run", dag.to_str().unwrap(), "--run-id", run_id, "--plugins"]);
    google.env(command.arg(plugins));
    command.output().unwrap().into()
}

fn states(sandbox: &Sandbox, run_id: &str) -> Value {
    let shown = sandbox.oxidag(&["runs", "show", run_id, "--json"]).expect_status(0).json();
    let tasks = shown["tasks"].as_array().unwrap().iter();
    tasks.map(|task| (task["task_id"].as_str().unwrap().to_owned(), task["state"].clone())).collect()
}

/// A table's rows, by a query that oxidag itself runs.
fn rows(sandbox: &Sandbox, google: &Google, table: &str) -> Value {
    let query = format!("select id, category, lastdate from {PROJECT}.{DATASET}.{table} order by id");
    let events = query_dag(sandbox, google, &query).expect_status(0).json_lines();
    let ended = events.iter().find(|event| event["task_id"] == "query" && event["state"] == "success");
    ended.unwrap()["result"].clone()
}

fn query_dag(sandbox: &Sandbox, google: &Google, query: &str) -> Ended {
    let dag = json!({"dag_id": "read", "tasks": [
        {"task_id": "query", "script": {"engine": "bq", "inline": query}, "params": {"project": PROJECT}},
    ]});
    let path = sandbox.write("read.json", &dag.to_string());
    let mut command = sandbox.command(&["run", path.to_str().unwrap(), "--format", "json"]);
    google.env(&mut command);
    command.output().unwrap().into()
}

/// The service account's key is nowhere in what the run left.
fn keeps_its_secret(sandbox: &Sandbox, google: &Google) {
    let key: Value = serde_json::from_slice(&fs::read(google.key_file()).unwrap()).unwrap();
    let key = key["private_key"].as_str().unwrap().lines().nth(1).unwrap().as_bytes();
    let mut folders = vec![sandbox.home()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                assert!(!content.windows(key.len()).any(|part| part == key), "{}", path.display());
            }
        }
    }
}
