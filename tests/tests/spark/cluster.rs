//! Jobs on a cluster: what they are given, what they leave, and what becomes of them when their task ends first.

use oxidag_tests::cloud::Cloud;
use oxidag_tests::servers::google::Google;
use serde_json::{Value, json};

use super::support::*;

const SPARK_CONFIG: &str = "[engines.spark.config.spark-config]\n\
    \"spark.jars\" = \"gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar\"\n\
    \"spark.executor.cores\" = 2\n\
    temporaryGcsBucket = \"temporary\"\n";

fn the_request(cloud: &Cloud) -> Value {
    let ledger = cloud.google.ledger(&cloud.project);
    let requests = ledger["requests"].as_array().unwrap();
    requests.iter().find(|request| request["method"] == "dataproc.projects.regions.jobs.submit").unwrap()["body"]
        .clone()
}

#[test]
fn a_job_gets_what_pydags_convention_says_and_no_secret() {
    let key = Google::shared().key_file();
    let cloud = with_cluster(
        "spark-convention",
        SPARK_CONFIG,
        &format!("[connections.GCP]\nservice-account = {{ file = {key:?} }}"),
    );
    let params = json!({"project_name": "spark-convention", "region": REGION, "cluster_name": "c", "year": 2022,
        "**GCP_service-account": ""});
    write(&cloud, &task(&cloud, ECHO, params));
    // The connection is the account, not the machine's own credentials.
    let mut command = cloud.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]);
    command.env_remove("GOOGLE_APPLICATION_CREDENTIALS").env("GCE_METADATA_HOST", "127.0.0.1:1");
    let ended = oxidag_tests::running::in_time(command).expect_status(0);

    let printed = lines(&ended, "stdout");
    let params: Value = serde_json::from_str(printed[0].strip_prefix("--params ").unwrap()).unwrap();
    assert_eq!(
        params,
        json!({
            "id": "d_t", "project_name": "spark-convention", "region": REGION, "cluster_name": "c", "year": 2022,
            "spark.jars": "gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar", "spark.executor.cores": 2,
            "temporaryGcsBucket": "temporary", "temporarygcsbucket": "temporary",
        })
    );
    let job = the_request(&cloud)["job"].take();
    assert_eq!(job["pysparkJob"]["jarFileUris"], json!([params["spark.jars"]]));
    assert_eq!(job["pysparkJob"]["properties"], json!({"spark.executor.cores": "2"}));
    assert_eq!(job["labels"], json!({"oxidag-dag": "d", "oxidag-task": "t", "oxidag-run": "r"}));

    let end = end_of(&ended);
    assert_eq!(end["metrics"]["backend"], "dataproc");
    assert_eq!(end["metrics"]["cluster"], "c");
    assert_eq!(end["metrics"]["state"], "DONE");
    assert_eq!(end["metrics"]["job_id"], job["reference"]["jobId"]);
    assert!(
        end["metrics"]["link"]
            .as_str()
            .unwrap()
            .starts_with("https://console.cloud.google.com/dataproc/jobs/")
    );
    assert_eq!(made(&cloud, "jobs").len(), 1);
    cloud.assert_no_secret(&[&ended.stdout, &ended.stderr]);
}

#[test]
fn all_of_the_output_is_in_the_log_once_and_in_order() {
    let cloud = with_cluster("spark-output", "", "");
    // Several objects' worth.
    let script = "for n in range(400):\n    print(f'line {n} of a driver that has a lot to say')\n";
    write(&cloud, &task(&cloud, script, json!({})));
    let ended = cloud.run().expect_status(0);
    let expected: Vec<_> = (0..400).map(|n| format!("line {n} of a driver that has a lot to say")).collect();
    assert_eq!(lines(&ended, "stdout"), expected);
}

#[test]
fn output_is_in_the_log_while_the_job_runs_and_no_secret_anywhere() {
    let key = Google::shared().key_file();
    let connection = format!("[connections.GCP]\nservice-account = {{ file = {key:?} }}");
    let cloud = with_cluster("spark-stream", "", &connection);
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('half way')\n", json!({"**GCP_service-account": ""})));
    let mut run = cloud.start();
    until_logged(&mut run, "half way");
    assert_eq!(cloud.until_job("RUNNING").1["state"], "RUNNING");
    cloud.assert_no_secret(&[]);
    hold(&cloud, false);
    let ended = run.end().expect_status(0);
    cloud.assert_no_secret(&[&ended.stdout, &ended.stderr]);
}

#[test]
fn jars_and_sql_scripts_are_jobs_of_their_own_kind() {
    let cloud = with_cluster("spark-kinds", "", "");
    let storage = cloud.google.storage();
    storage.put(&cloud.project, "f/job.jar", "a jar");
    storage.put(&cloud.project, "f/query.sql", "select ${year}");
    let script = |name: &str| json!({"location": "gcs", "bucket": cloud.project, "folder": "f", "engine": "spark", "name": name});
    let tasks = [
        json!({"task_id": "jar", "script": script("job.jar"), "params": {"main_class": "a.B"}}),
        json!({"task_id": "sql", "script": script("query.sql"), "params": {"year": 2022}}),
    ];
    cloud.sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
    cloud.run().expect_status(0);
    let ledger = cloud.google.ledger(&cloud.project);
    let submitted = |key: &str| {
        let mut requests = ledger["requests"].as_array().unwrap().iter();
        requests.find_map(|request| request["body"]["job"].get(key)).unwrap().clone()
    };
    assert_eq!(submitted("sparkJob")["mainClass"], "a.B");
    assert_eq!(submitted("sparkJob")["jarFileUris"], json!(["gs://spark-kinds/f/job.jar"]));
    assert_eq!(submitted("sparkSqlJob")["queryFileUri"], "gs://spark-kinds/f/query.sql");
    assert_eq!(submitted("sparkSqlJob")["scriptVariables"]["year"], "2022");
    assert_eq!(made(&cloud, "jobs").len(), 2);
}

#[test]
fn a_script_that_the_service_cannot_read_is_copied_to_where_it_can() {
    let cloud = with_cluster("spark-staging", "staging = \"gs://spark-staging/scripts\"", "");
    cloud.sandbox.write("b/f/my script.py", ECHO);
    let local =
        json!({"location": "local", "bucket": "b", "folder": "f", "engine": "spark", "name": "my script"});
    let tasks = [
        json!({"task_id": "inline", "script": {"engine": "spark", "inline": "print({'a': 1}['a'], '{braces}')"}}),
        json!({"task_id": "local", "script": local}),
    ];
    cloud.sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
    let ended = cloud.run().expect_status(0);
    assert!(lines(&ended, "stdout").contains(&"1 {braces}".to_owned()), "{}", ended.stdout);
    assert_eq!(cloud.google.storage().list("spark-staging", "scripts/oxidag-").len(), 2);
}

#[test]
fn a_script_that_fails_says_why_and_where_to_look() {
    let cloud = with_cluster("spark-fails", "", "");
    write(&cloud, &task(&cloud, FAILS, json!({})));
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended);
    assert_eq!(kind, "failed");
    assert!(message.contains("the end of its output:\nreading\nTraceback"), "{message}");
    assert!(message.ends_with("ValueError: no such column"), "{message}");
    assert!(message.contains("see https://console.cloud.google.com/dataproc/jobs/oxidag-"), "{message}");
    assert_eq!(end_of(&ended)["metrics"]["state"], "ERROR");
    let jobs = made(&cloud, "jobs");
    assert_eq!((jobs.len(), jobs[0]["state"].as_str()), (1, Some("ERROR")));
}

#[test]
fn faults_of_the_service_are_sat_out() {
    let cloud = with_cluster("spark-faults", "", "");
    for method in ["dataproc.jobs.submit", "dataproc.jobs.get"] {
        for kind in ["429", "503", "reset"] {
            fault(&cloud, method, kind, 1);
        }
    }
    write(&cloud, &task(&cloud, ECHO, json!({})));
    let ended = cloud.run().expect_status(0);
    assert_eq!(end_of(&ended)["attempt"], 1);
    assert_eq!(made(&cloud, "jobs").len(), 1);
    assert_eq!(cloud.google.ledger(&cloud.project)["faults_left"], 0);
}

#[test]
fn a_lost_reply_makes_no_second_job() {
    let cloud = with_cluster("spark-lost", "", "");
    fault(&cloud, "dataproc.jobs.submit", "lost_reply", 2);
    write(&cloud, &task(&cloud, ECHO, json!({})));
    let ended = cloud.run().expect_status(0);
    assert_eq!(end_of(&ended)["attempt"], 1);
    assert_eq!(made(&cloud, "jobs").len(), 1);
    assert!(cloud.calls("dataproc.projects.regions.jobs.submit") >= 2);
}

#[test]
fn a_job_that_the_service_lost_is_tried_again_as_a_new_one() {
    let cloud = with_cluster("spark-unacquired", "", "");
    let told =
        json!({"method": "dataproc.jobs.submit", "fault": "job_error", "message": "Task was not acquired"});
    cloud.google.fault(&cloud.project, told);
    write(&cloud, &task(&cloud, ECHO, json!({})));
    cloud.run().expect_status(0);
    assert_eq!(made(&cloud, "jobs").len(), 2);
}

#[test]
fn cancelling_the_run_cancels_the_job() {
    let cloud = with_cluster("spark-cancel", "", "");
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    let ended = run.end();
    let (kind, message) = error_of(&ended);
    assert_eq!(kind, "cancelled");
    assert!(message.starts_with("cancelled: the job oxidag-") && message.ends_with("was ended"), "{message}");
    assert_eq!(made(&cloud, "jobs")[0]["state"], "CANCELLED");
}

#[test]
fn a_deadline_cancels_the_job() {
    let cloud = with_cluster("spark-deadline", "", "");
    hold(&cloud, true);
    let mut task = task(&cloud, ECHO, json!({}));
    task["timeout"] = "5s".into();
    write(&cloud, &task);
    let ended = cloud.run().expect_status(1);
    assert_eq!(end_of(&ended)["state"], "failed");
    assert_eq!(made(&cloud, "jobs")[0]["state"], "CANCELLED");
}

#[test]
fn a_job_that_cannot_be_cancelled_is_said_to_run_on() {
    let cloud = with_cluster("spark-uncancelled", "", "");
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    fault(&cloud, "dataproc.jobs.cancel", "503", 1000);
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    let (kind, message) = error_of(&run.end());
    assert_eq!(kind, "cancelled");
    assert!(message.contains("may still run and be billed"), "{message}");
    assert!(message.contains("cancel it at https://console.cloud.google.com/"), "{message}");
    assert_eq!(made(&cloud, "jobs")[0]["state"], "RUNNING");
}

#[test]
fn a_job_is_that_of_the_account_that_the_config_impersonates() {
    let runner = "runner@project.iam.gserviceaccount.com";
    let iam = oxidag_tests::servers::google::Google::shared().url();
    let cloud =
        with_cluster("spark-impersonates", &format!("iam_endpoint = {iam:?}\nimpersonate = {runner:?}"), "");
    write(&cloud, &task(&cloud, ECHO, json!({})));
    let ended = cloud.run().expect_status(0);
    let ledger = cloud.google.ledger(&cloud.project);
    let requests = ledger["requests"].as_array().unwrap();
    let of_jobs: Vec<_> =
        requests.iter().filter(|request| request["method"].as_str().unwrap().contains("jobs")).collect();
    assert!(of_jobs.len() > 1, "{ledger:#}");
    assert!(of_jobs.iter().all(|request| request["account"] == runner), "{ledger:#}");
    cloud.assert_no_secret(&[&ended.stdout, &ended.stderr]);
}
