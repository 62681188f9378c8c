//! What the tests of the engine share.

use oxidag_tests::Ended;
use oxidag_tests::cloud::Cloud;
use serde_json::{Value, json};

pub(super) const REGION: &str = "us-central1";

/// Prints its arguments: `--params` and an object, whose keys it sorts.
pub(super) const ECHO: &str =
    "import json, sys\nprint(sys.argv[1], json.dumps(json.loads(sys.argv[2]), sort_keys=True))\n";

/// Says something and fails.
pub(super) const FAILS: &str = "print('reading')\nraise ValueError('no such column')\n";

/// A sandbox whose tasks run on the cluster `c` of a project and a bucket of this name; more of the engine's config may
/// follow, and more of `plugins.toml`.
pub(super) fn cloud(project: &str, config: &str, plugins: &str) -> Cloud {
    let storage = oxidag_tests::servers::gcs::Gcs::shared();
    let config =
        format!("region = {REGION:?}\ncluster = \"c\"\nstorage_endpoint = {:?}\n{config}", storage.url());
    let cloud = Cloud::new("spark", project, &config);
    cloud.add_plugins(&format!(
        "[locations.gcs]\nendpoint = {:?}\nanonymous = true\n{plugins}",
        storage.url()
    ));
    storage.make_bucket(project);
    cloud
}

/// The same, with the cluster.
pub(super) fn with_cluster(project: &str, config: &str, plugins: &str) -> Cloud {
    let cloud = cloud(project, config, plugins);
    make_cluster(&cloud);
    cloud
}

/// Makes the cluster `c`, as another program would.
pub(super) fn make_cluster(cloud: &Cloud) {
    let url = cloud.google.url();
    let body = json!({"projectId": cloud.project, "clusterName": "c", "config": {}}).to_string();
    ureq::post(format!("{url}/v1/projects/{}/regions/{REGION}/clusters", cloud.project))
        .header("Authorization", bearer(cloud))
        .header("Content-Type", "application/json")
        .send(body)
        .unwrap();
    cloud.until("the cluster", |ledger| ledger["clusters"]["c"]["state"] == "RUNNING");
}

/// Deletes a job that has ended, as another program would.
pub(super) fn delete_job(cloud: &Cloud, id: &str) {
    let path = format!("v1/projects/{}/regions/{REGION}/jobs/{id}", cloud.project);
    let url = format!("{}/{path}", cloud.google.url());
    ureq::delete(url).header("Authorization", bearer(cloud)).call().unwrap();
}

/// Who another program is.
fn bearer(cloud: &Cloud) -> String {
    let path = "computeMetadata/v1/instance/service-accounts/default/token";
    let url = format!("{}/{path}", cloud.google.url());
    let token = ureq::get(url).header("Metadata-Flavor", "Google").call().unwrap();
    let token: Value = serde_json::from_str(&token.into_body().read_to_string().unwrap()).unwrap();
    format!("Bearer {}", token["access_token"].as_str().unwrap())
}

/// A task on a script that lies in the project's bucket.
pub(super) fn task(cloud: &Cloud, script: &str, params: Value) -> Value {
    cloud.google.storage().put(&cloud.project, "f/script.py", script);
    json!({"task_id": "t", "script": format!("gcs.{}.f.spark.script", cloud.project), "params": params})
}

/// Writes `dag.json` with this task.
pub(super) fn write(cloud: &Cloud, task: &Value) {
    cloud.sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
}

/// The last event about the task's state.
#[track_caller]
pub(super) fn end_of(ended: &Ended) -> Value {
    let of_task = |event: &Value| event["event"] == "task_state" && event["task_id"] == "t";
    ended.json_lines().into_iter().rfind(of_task).unwrap_or_else(|| panic!("no task: {ended:?}"))
}

/// The kind and the message of the error that the task ended with.
#[track_caller]
pub(super) fn error_of(ended: &Ended) -> (String, String) {
    let end = end_of(ended);
    let text = |key: &str| end["error"][key].as_str().unwrap_or_else(|| panic!("{end:#}")).to_owned();
    (text("kind"), text("message"))
}

/// The lines of the task's log of one level, in order.
pub(super) fn lines(ended: &Ended, level: &str) -> Vec<String> {
    let events = ended.json_lines();
    let logged = events.iter().filter(|event| event["event"] == "log" && event["level"] == level);
    logged.map(|event| event["line"].as_str().unwrap().to_owned()).collect()
}

/// The jobs (or `batches`) of the project, of which each was made once, and the fake found nothing wrong with itself.
#[track_caller]
pub(super) fn made(cloud: &Cloud, what: &str) -> Vec<Value> {
    let ledger = cloud.google.ledger(&cloud.project);
    assert_eq!(ledger["problems"], json!([]));
    let all: Vec<Value> = ledger[what].as_object().unwrap().values().cloned().collect();
    assert!(all.iter().all(|one| one["made"] == 1), "{all:?}");
    all
}

/// Has calls of a method fail.
#[track_caller]
pub(super) fn fault(cloud: &Cloud, method: &str, fault: &str, times: u32) {
    cloud.google.fault(&cloud.project, json!({"method": method, "fault": fault, "times": times}));
}

/// Whether remote work is held back from its end.
#[track_caller]
pub(super) fn hold(cloud: &Cloud, hold: bool) {
    cloud.google.settings(&cloud.project, json!({"hold": hold}));
}

/// Waits for a line in the task's log.
#[track_caller]
pub(super) fn until_logged(running: &mut oxidag_tests::running::Running, text: &str) {
    running.until(|event| {
        event["event"] == "log" && event["line"].as_str().is_some_and(|line| line.contains(text))
    });
}
