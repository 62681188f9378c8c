//! Clusters that are started, stopped and scaled.

use serde_json::json;

use super::{cloud, cluster, end_of, error_of, make, there};

#[test]
fn a_cluster_is_stopped_started_and_scaled() {
    let tasks = [
        make(),
        cluster("stop", &["make"], "stop", ""),
        cluster("stop_again", &["stop"], "stop", ""),
        cluster("start", &["stop_again"], "start", ""),
        cluster("scale", &["start"], "scale", "workers: 5\ngraceful_decommission_timeout: 10m\n"),
    ];
    let cloud = cloud("iac-changes", &tasks);
    let ended = cloud.run().expect_status(0);
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["workers"]), (&json!("RUNNING"), &json!(5)));
    assert_eq!(end_of(&ended, "stop_again")["metrics"]["state"], "STOPPED");
    assert_eq!(end_of(&ended, "scale")["metrics"]["workers"], 5);
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.stop"), 1);
    let ledger = cloud.google.ledger("iac-changes");
    let requests = ledger["requests"].as_array().unwrap();
    let patch = requests.iter().find(|request| request["http"] == "PATCH").unwrap();
    assert!(patch["query"].to_string().contains("updateMask=config.workerConfig.numInstances"), "{patch:#}");
    assert!(patch["query"].to_string().contains("gracefulDecommissionTimeout=600s"), "{patch:#}");
}

#[test]
fn what_is_not_there_or_stopped_is_not_changed() {
    let tasks = [cluster("start", &[], "start", "")];
    let cloud = cloud("iac-unchanged", &tasks);
    let (kind, message) = error_of(&cloud.run().expect_status(1), "start");
    assert_eq!(kind, "failed");
    assert!(message.contains("is not there; `action: create` makes it"), "{message}");
    let tasks = [
        make(),
        cluster("stop", &["make"], "stop", ""),
        cluster("scale", &["stop"], "scale", "workers: 3\n"),
    ];
    super::write_dag(&cloud, &tasks);
    let ended = cloud.oxidag(&["run", "dag.json", "--run-id", "r2", "--format", "json"]).expect_status(1);
    assert!(error_of(&ended, "scale").1.contains("which is STOPPED"));
}
