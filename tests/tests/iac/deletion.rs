//! Clusters that are deleted, and those that are gone already.

use oxidag_tests::cloud::Cloud;

use super::{cloud, cluster, end_of, error_of, log_of, make, run_other, there};

#[test]
fn a_cluster_is_deleted() {
    let cloud = cloud("iac-deleted", &[make(), cluster("drop", &["make"], "delete", "")]);
    let ended = cloud.run().expect_status(0);
    assert_eq!(there(&cloud)["state"], "DELETED");
    assert_eq!(end_of(&ended, "drop")["metrics"]["state"], "DELETED");
}

#[test]
fn one_that_is_gone_is_well_gone_if_this_dag_had_made_it() {
    let cloud = cloud("iac-gone", &[make()]);
    cloud.run().expect_status(0);
    run_other(&cloud, "between", &[cluster("drop", &[], "delete", "")]).expect_status(0);
    assert_eq!(there(&cloud)["state"], "DELETED");
    super::write_dag(&cloud, &[cluster("drop", &[], "delete", "")]);
    cloud.oxidag(&["run", "dag.json", "--run-id", "later", "--format", "json"]).expect_status(0);
    assert!(log_of(&cloud, "d", "later", "drop").contains("is gone already; this DAG had made it"));
}

#[test]
fn one_that_is_gone_fails_loudly_if_it_was_anothers_or_never_there() {
    let cloud = cloud("iac-never", &[cluster("drop", &[], "delete", "")]);
    let (kind, message) = error_of(&cloud.run().expect_status(1), "drop");
    assert_eq!(kind, "failed");
    assert!(message.contains("no operation that Dataproc remembers has made it"), "{message}");
    run_other(&cloud, "between", &[make(), cluster("drop", &["make"], "delete", "")]).expect_status(0);
    let ended = cloud.oxidag(&["run", "dag.json", "--run-id", "later", "--format", "json"]).expect_status(1);
    let (_, message) = error_of(&ended, "drop");
    assert!(message.contains("had not been made by this DAG in this environment"), "{message}");
}

#[test]
fn the_same_dag_in_another_environment_is_another() {
    let cloud = Cloud::new("iac", "iac-environments", "environment = \"prod\"");
    super::write_dag(&cloud, &[make(), cluster("drop", &["make"], "delete", "")]);
    cloud.run().expect_status(0);
    super::write_dag(&cloud, &[cluster("drop", &[], "delete", "")]);
    cloud.oxidag(&["run", "dag.json", "--run-id", "r2", "--format", "json"]).expect_status(0);
    let plugins = std::fs::read_to_string(cloud.sandbox.path().join("plugins.toml")).unwrap();
    cloud.sandbox.write("plugins.toml", &plugins.replace("\"prod\"", "\"dev\""));
    let ended = cloud.oxidag(&["run", "dag.json", "--run-id", "r3", "--format", "json"]).expect_status(1);
    assert!(error_of(&ended, "drop").1.contains("had not been made by this DAG in this environment"));
}
