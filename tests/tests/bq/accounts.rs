//! As whom jobs are submitted.

use oxidag_tests::cloud::Cloud;
use oxidag_tests::servers::google::Google;
use serde_json::json;

use super::{bq, write_dag};

const RUNNER: &str = "runner@project.iam.gserviceaccount.com";

#[test]
fn a_job_is_that_of_the_account_that_the_config_impersonates() {
    for (project, params) in
        [("bq-impersonates", json!({})), ("bq-impersonates-by-key", json!({"**GCP_service-account": ""}))]
    {
        let iam = Google::shared().url();
        let cloud = Cloud::new("bq", project, &format!("iam_endpoint = {iam:?}\nimpersonate = {RUNNER:?}"));
        let key = cloud.google.key_file();
        cloud.add_plugins(&format!("[connections.GCP]\nservice-account = {{ file = {key:?} }}"));
        write_dag(&cloud, &[bq("q", &[], "select 1", &params)]);
        let _ = cloud.run().expect_status(0);
        let ledger = cloud.google.ledger(project);
        let requests = ledger["requests"].as_array().unwrap();
        assert!(!requests.is_empty());
        for request in requests {
            assert_eq!(request["account"], RUNNER, "{request}");
        }
    }
}
