//! Who calls: from where identity tokens come, and what is said when there is none or it is not taken.

use std::fs;

use serde_json::{Value, json};

use super::fixture::Credentials;
use super::{CALL, cloud, deployed, end, message, plain, task};

#[test]
fn an_impersonated_account_gets_an_identity_token() {
    let cloud = cloud("cf-impersonated");
    let key: Value = serde_json::from_str(&fs::read_to_string(cloud.google().key_file()).unwrap()).unwrap();
    let url = format!(
        "{}/v1/projects/-/serviceAccounts/caller@cf.iam.gserviceaccount.com:generateAccessToken",
        cloud.google().url()
    );
    let credentials = json!({
        "type": "impersonated_service_account", "service_account_impersonation_url": url,
        "source_credentials": key, "delegates": [],
    });
    let file = cloud.sandbox().write("adc.json", &credentials.to_string());
    cloud.dag(&[task(&cloud, &json!({"day": 1}), &json!({}))]);
    let mut command = cloud.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]);
    command.env("GOOGLE_APPLICATION_CREDENTIALS", file);
    let ended = oxidag_tests::running::in_time(command).expect_status(0);
    assert_eq!(end(&ended, "success")["result"]["day"], 1);
    assert_eq!(cloud.requests(CALL)[0]["account"], "caller@cf.iam.gserviceaccount.com");
    cloud.no_secret(&[&ended], &[]);
}

#[test]
fn the_account_that_the_config_impersonates_is_the_one_that_calls() {
    let cloud = cloud("cf-impersonates");
    deployed(&cloud);
    let (iam, key) = (cloud.google().url(), cloud.google().key_file());
    let account = "runner@cf.iam.gserviceaccount.com";
    cloud.configure(
        &format!("region = 'europe-west1'\niam_endpoint = {iam:?}\nimpersonate = {account:?}"),
        &format!("[connections.GCP]\nservice-account = {{ file = {key:?} }}"),
    );
    cloud.dag(&[plain("work", &json!({"**GCP_service-account": "", "day": 1}), &json!({}))]);
    let ended = cloud.run().expect_status(0);
    assert_eq!(end(&ended, "success")["result"]["day"], 1);
    let of_run: Vec<Value> = [super::GET, CALL].map(|method| cloud.requests(method).pop().unwrap()).into();
    assert!(of_run.iter().all(|request| request["account"] == account), "{of_run:#?}");
    cloud.no_secret(&[&ended], &[]);
}

#[test]
fn a_token_for_somebody_else_is_refused_and_not_tried_again() {
    let cloud = cloud("cf-audience");
    deployed(&cloud);
    cloud.configure("region = 'europe-west1'\naudience = 'https://somebody.example'", "");
    cloud.dag(&[plain("work", &json!({}), &json!({"retries": 3, "retry_delay": 0}))]);
    let ended = cloud.run().expect_status(1);
    assert_eq!(end(&ended, "failed")["error"]["kind"], "invalid");
    assert!(message(&cloud).contains("the call was refused with 401"), "{}", message(&cloud));
    assert!(message(&cloud).contains("roles/run.invoker"), "{}", message(&cloud));
    // One of the deployment before, one of this run.
    assert_eq!(cloud.requests(CALL).len(), 2);
    cloud.no_secret(&[&ended], &[]);
}

#[test]
fn an_account_that_google_does_not_know_is_told() {
    let cloud = cloud("cf-unauthorized");
    cloud.fault("cloudfunctions.functions.get", "unauthorized", 1);
    cloud.dag(&[plain("work", &json!({}), &json!({"retries": 3, "retry_delay": 0}))]);
    assert_eq!(end(&cloud.run().expect_status(1), "failed")["error"]["kind"], "invalid");
    assert!(message(&cloud).contains("check the credentials"), "{}", message(&cloud));
}

#[test]
fn a_connection_that_is_no_key_is_told_without_what_it_holds() {
    let cloud = cloud("cf-bad-key");
    cloud.configure("region = 'r'", "[connections.GCP]\nservice-account = 'very-s3cret'");
    cloud.dag(&[plain("work", &json!({"**GCP_service-account": ""}), &json!({}))]);
    let ended = cloud.run().expect_status(1);
    assert_eq!(end(&ended, "failed")["error"]["kind"], "invalid");
    assert!(message(&cloud).contains("`**GCP_service-account`"), "{}", message(&cloud));
    cloud.no_secret(&[&ended], &["very-s3cret"]);
}

#[test]
fn without_credentials_nothing_is_called() {
    let cloud = cloud("cf-nobody").with_credentials(Credentials::None);
    let url = format!("{}/_functions/cf-nobody/r/work", cloud.google().url());
    cloud.dag(&[plain(&url, &json!({}), &json!({}))]);
    let mut run = cloud.start();
    let failed = run.until(|event| event["event"] == "task_state" && !event["error"].is_null());
    // The metadata server may come back.
    assert_eq!(failed["error"]["kind"], "transient", "{failed}");
    assert!(failed["error"]["message"].to_string().contains("there is no identity token"), "{failed}");
    run.signal("INT");
    run.end().expect_status(130);
    assert_eq!(cloud.ledger()["requests"], json!([]));
}
