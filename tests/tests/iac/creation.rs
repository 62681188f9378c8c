//! Clusters that are made, taken over, started and replaced.

use oxidag_tests::cloud::Cloud;
use oxidag_tests::root;
use serde_json::json;

use super::{CONFIG, cloud, cluster, end_of, error_of, log_of, make, run_other, there, write_dag};

#[test]
fn a_cluster_is_made_with_what_the_script_says_labels_and_an_end_to_its_idleness() {
    let cloud = cloud("iac-made", &[make()]);
    let ended = cloud.run().expect_status(0);
    let made = there(&cloud);
    assert_eq!((&made["state"], &made["made"], &made["workers"]), (&json!("RUNNING"), &json!(1), &json!(2)));
    assert_eq!(made["labels"]["oxidag-dag"], "d");
    assert_eq!(made["labels"]["oxidag-task"], "make");
    assert_eq!(made["labels"]["oxidag-run"], "r");
    let ledger = cloud.google.ledger("iac-made");
    let requests = ledger["requests"].as_array().unwrap();
    let create = requests.iter().find(|request| request["http"] == "POST").unwrap();
    let asked = &create["body"]["config"];
    assert_eq!(asked["masterConfig"]["machineTypeUri"], "custom-1-4096");
    assert_eq!(asked["softwareConfig"]["imageVersion"], "1.5-debian10");
    assert_eq!(asked["lifecycleConfig"]["idleDeleteTtl"], "1800s");
    let end = end_of(&ended, "make");
    let (metrics, link) =
        (&end["metrics"], "https://console.cloud.google.com/dataproc/clusters/c/monitoring");
    assert_eq!((&metrics["cluster"], &metrics["state"]), (&json!("c"), &json!("RUNNING")), "{end:#}");
    assert!(metrics["uuid"].as_str().is_some_and(|uuid| uuid.len() == 36), "{end:#}");
    assert!(metrics["link"].as_str().unwrap().starts_with(link), "{end:#}");
    assert!(!metrics["operation"].is_null(), "{end:#}");
    assert!(log_of(&cloud, "d", "r", "make").contains("asked to create cluster c in us-central1"));
}

#[test]
fn a_cluster_that_matches_is_taken_whoever_made_it() {
    let cloud = cloud("iac-taken", &[make()]);
    run_other(&cloud, "before", &[make()]).expect_status(0);
    cloud.run().expect_status(0);
    assert_eq!(there(&cloud)["made"], 1);
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.create"), 1);
}

#[test]
fn one_that_is_being_made_is_waited_for() {
    let cloud = cloud("iac-being-made", &[make()]);
    cloud.google.settings("iac-being-made", json!({"hold": "operations"}));
    cloud.sandbox.write("other.json", &json!({"dag_id": "other", "tasks": [make()]}).to_string());
    let mut other = oxidag_tests::running::Running::start(cloud.command(&[
        "run",
        "other.json",
        "--run-id",
        "before",
        "--format",
        "json",
    ]));
    cloud.until("a cluster", |ledger| ledger["clusters"]["c"]["state"] == "CREATING");
    let mut run = cloud.start();
    run.until(|event| event.to_string().contains("is CREATING"));
    cloud.google.settings("iac-being-made", json!({"hold": false}));
    run.end().expect_status(0);
    other.end().expect_status(0);
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.create"), 1);
}

#[test]
fn one_that_is_stopped_is_started() {
    let cloud = cloud("iac-stopped", &[make()]);
    run_other(&cloud, "before", &[make(), cluster("stop", &["make"], "stop", "")]).expect_status(0);
    assert_eq!(there(&cloud)["state"], "STOPPED");
    cloud.run().expect_status(0);
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["made"]), (&json!("RUNNING"), &json!(1)));
    assert_eq!(cloud.calls("dataproc.projects.regions.clusters.start"), 1);
}

#[test]
fn one_in_error_is_replaced_after_its_diagnosis_was_saved() {
    let cloud = cloud("iac-error", &[make()]);
    cloud.google.storage().make_bucket("dataproc-staging-us-central1-iac-error");
    cloud
        .google
        .fault("iac-error", json!({"method": "dataproc.clusters.create", "fault": "operation_error"}));
    run_other(&cloud, "before", &[make()]).expect_status(1);
    assert_eq!(there(&cloud)["state"], "ERROR");
    let ended = cloud.run().expect_status(0);
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["made"]), (&json!("RUNNING"), &json!(2)));
    let end = end_of(&ended, "make");
    let diagnosis = end["metrics"]["diagnosis"].as_str().unwrap();
    let object = diagnosis.strip_prefix("gs://dataproc-staging-us-central1-iac-error/").unwrap();
    let storage = cloud.google.storage();
    assert!(storage.get("dataproc-staging-us-central1-iac-error", object).is_some(), "{diagnosis}");
    assert!(log_of(&cloud, "d", "r", "make").contains(diagnosis));
}

#[test]
fn one_in_error_is_replaced_though_it_cannot_be_diagnosed() {
    let cloud = cloud("iac-undiagnosed", &[make()]);
    cloud
        .google
        .fault("iac-undiagnosed", json!({"method": "dataproc.clusters.create", "fault": "operation_error"}));
    cloud.google.fault(
        "iac-undiagnosed",
        json!({"method": "dataproc.clusters.diagnose", "fault": "operation_error", "message": "no agent"}),
    );
    run_other(&cloud, "before", &[make()]).expect_status(1);
    cloud.run().expect_status(0);
    assert_eq!(there(&cloud)["made"], 2);
    let log = log_of(&cloud, "d", "r", "make");
    assert!(log.contains("no agent") && log.contains("replaced without its diagnosis"), "{log}");
}

#[test]
fn one_that_differs_is_left_alone_and_the_differences_are_told() {
    let wanted = CONFIG.replace("num_instances: 2", "num_instances: 4").replace("1.5-debian10", "'2.2'");
    let cloud = cloud("iac-differs", &[cluster("make", &[], "create", &wanted)]);
    run_other(&cloud, "before", &[make()]).expect_status(0);
    let (kind, message) = error_of(&cloud.run().expect_status(1), "make");
    assert_eq!(kind, "failed");
    assert!(message.contains("`workerConfig.numInstances` is 2, asked for 4"), "{message}");
    assert!(
        message.contains("`softwareConfig.imageVersion` is `1.5-debian10`, asked for `2.2`"),
        "{message}"
    );
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["made"]), (&json!("RUNNING"), &json!(1)));
}

#[test]
fn pydags_cluster_is_made_and_deleted_by_the_scripts_that_come_with_oxidag() {
    let task = |id: &str, upstream: &[&str]| {
        json!({
            "task_id": id, "dependencies": upstream, "script": format!("local.project-pydag.iac_scripts.iac.{id}"),
            "params": "{'cluster_name':'c', 'project_name':'iac-pydag', 'region':'us-central1'}",
        })
    };
    let tasks =
        [task("dataproc_create_cluster", &[]), task("dataproc_delete_cluster", &["dataproc_create_cluster"])];
    let cloud = cloud("iac-pydag", &tasks);
    for name in ["dataproc_create_cluster.iac", "dataproc_delete_cluster.iac"] {
        let script = std::fs::read_to_string(root().join("dags/pydag/iac_scripts").join(name)).unwrap();
        cloud.sandbox.write(&format!("project-pydag/iac_scripts/{name}"), &script);
    }
    let ended = cloud.run().expect_status(0);
    assert_eq!(end_of(&ended, "dataproc_create_cluster")["metrics"]["workers"], 2);
    assert_eq!((&there(&cloud)["state"], &there(&cloud)["made"]), (&json!("DELETED"), &json!(1)));
    let ledger = cloud.google.ledger("iac-pydag");
    let requests = ledger["requests"].as_array().unwrap();
    let config = &requests.iter().find(|request| request["http"] == "POST").unwrap()["body"]["config"];
    let group = |count: u32| {
        json!({
            "numInstances": count, "machineTypeUri": "custom-1-4096",
            "diskConfig": {"bootDiskType": "pd-standard", "bootDiskSizeGb": 100, "numLocalSsds": 1},
        })
    };
    for (key, wanted) in [
        ("masterConfig", group(1)),
        ("workerConfig", group(2)),
        ("softwareConfig", json!({"imageVersion": "1.5-debian10"})),
    ] {
        assert_eq!(config[key], wanted, "{config:#}");
    }
}

#[test]
fn a_cluster_is_made_by_the_account_that_the_config_impersonates() {
    let runner = "runner@project.iam.gserviceaccount.com";
    let iam = oxidag_tests::servers::google::Google::shared().url();
    let config = format!("iam_endpoint = {iam:?}\nimpersonate = {runner:?}");
    let cloud = Cloud::new("iac", "iac-impersonates", &config);
    write_dag(&cloud, &[make()]);
    let ended = cloud.run().expect_status(0);
    let ledger = cloud.google.ledger(&cloud.project);
    let requests = ledger["requests"].as_array().unwrap();
    assert!(!requests.is_empty());
    assert!(requests.iter().all(|request| request["account"] == runner), "{ledger:#}");
    cloud.assert_no_secret(&[&ended.stdout, &ended.stderr]);
}
