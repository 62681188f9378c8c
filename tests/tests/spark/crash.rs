//! The scheduler is killed while a job is remote: the run that is resumed finds the job again and makes no second one.

use serde_json::json;

use super::support::*;

#[test]
fn a_resumed_run_adopts_the_job_on_the_cluster() {
    let cloud = with_cluster("spark-crash", "", "");
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    run.kill();
    hold(&cloud, false);
    // It ends while nobody looks.
    cloud.until_job("DONE");
    let ended = cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(0);
    assert!(lines(&ended, "stdout").contains(&"here".to_owned()), "{}", ended.stdout);
    assert!(
        lines(&ended, "info").iter().any(|line| line.starts_with("going on with the job oxidag-")),
        "{}",
        ended.stdout
    );
    assert_eq!(made(&cloud, "jobs").len(), 1);
    assert_eq!(cloud.calls("dataproc.projects.regions.jobs.submit"), 1);
}

#[test]
fn a_job_that_was_deleted_meanwhile_is_not_run_again() {
    let cloud = with_cluster("spark-crash-deleted", "", "");
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    run.kill();
    hold(&cloud, false);
    let (id, _) = cloud.until_job("DONE");
    delete_job(&cloud, &id);
    let (kind, message) = error_of(&cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(1));
    assert_eq!(kind, "failed");
    let said = format!("the job {id} on the cluster c failed: the service does not know it any more");
    assert!(message.starts_with(&said), "{message}");
    assert_eq!(cloud.calls("dataproc.projects.regions.jobs.submit"), 1);
}

#[test]
fn a_resumed_run_goes_on_where_the_job_is_though_the_config_has_changed() {
    let cloud = with_cluster("spark-moved", "", "");
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    run.kill();
    let plugins = cloud.sandbox.path().join("plugins.toml");
    let text = std::fs::read_to_string(plugins).unwrap();
    let moved = text.replace("cluster = \"c\"", "cluster = \"other\"").replace(REGION, "europe-west1");
    assert_ne!(text, moved);
    cloud.sandbox.write("plugins.toml", &moved);
    hold(&cloud, false);
    cloud.oxidag(&["resume", "r"]).expect_status(0);
    assert_eq!(made(&cloud, "jobs").len(), 1);
}

#[test]
fn a_job_that_a_resumed_run_cannot_look_at_is_said_to_go_on() {
    let cloud = with_cluster("spark-left", "", "");
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    run.kill();
    cloud.add_plugins("[engines.spark.config.spark-config]\n\"spark.jars\" = 7");
    let (kind, message) = error_of(&cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(1));
    assert_eq!(kind, "invalid");
    let (id, _) = cloud.until_job("RUNNING");
    assert!(message.contains("may still run and be billed") && message.contains(&id), "{message}");
    hold(&cloud, false);
}

#[test]
fn a_scheduler_that_dies_before_the_answer_leaves_one_job() {
    let cloud = with_cluster("spark-crash-early", "", "");
    hold(&cloud, true);
    fault(&cloud, "dataproc.jobs.submit", "lost_reply", 1000);
    write(&cloud, &task(&cloud, ECHO, json!({})));
    let run = cloud.start();
    cloud.until_job("RUNNING");
    run.kill();
    hold(&cloud, false);
    cloud.oxidag(&["resume", "r"]).expect_status(0);
    assert_eq!(made(&cloud, "jobs").len(), 1);
}

#[test]
fn a_resumed_run_adopts_the_batch() {
    let cloud = cloud("spark-batch-crash", "backend = \"dataproc-serverless\"", "");
    hold(&cloud, true);
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    run.kill();
    hold(&cloud, false);
    cloud.oxidag(&["resume", "r"]).expect_status(0);
    let batches = made(&cloud, "batches");
    assert_eq!((batches.len(), batches[0]["state"].as_str()), (1, Some("SUCCEEDED")));
    assert_eq!(cloud.calls("dataproc.projects.locations.batches.create"), 1);
}
