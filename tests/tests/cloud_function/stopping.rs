//! Calls and deployments that are cancelled or take too long: Google can stop neither, and that is said.

use serde_json::json;

use super::{CALL, attempts, calls, cloud, function, held_call, message, task};

#[test]
fn a_cancelled_call_says_that_the_function_may_go_on() {
    let cloud = cloud("cf-cancel");
    let mut run = held_call(&cloud, &json!({"retries": 3, "retry_delay": 0}));
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    run.end().expect_status(130);
    assert_eq!(cloud.task("f")["state"], "cancelled");
    let url = format!("{}/_functions/cf-cancel/europe-west1/work", cloud.google().url());
    for told in [message(&cloud), cloud.log("f")] {
        assert!(told.contains(&format!("the connection to {url} was closed")), "{told}");
        assert!(told.contains("the function may still run"), "{told}");
        assert!(told.contains("/functions/details/europe-west1/work?project=cf-cancel"), "{told}");
    }
    assert_eq!((attempts(&cloud), calls(&cloud).len()), (1, 1));
    cloud.hold(false);
}

#[test]
fn a_cancelled_deployment_says_that_it_goes_on() {
    let cloud = cloud("cf-cancel-deploy");
    cloud.hold("operations");
    cloud.dag(&[task(&cloud, &json!({}), &json!({}))]);
    let mut run = cloud.start();
    cloud.until("a deployment", |ledger| ledger["functions"]["work"]["state"] == "DEPLOYING");
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    run.end().expect_status(130);
    assert!(message(&cloud).contains("a deployment cannot be cancelled"), "{}", message(&cloud));
    cloud.hold(false);
    cloud.until("its end", |ledger| ledger["functions"]["work"]["state"] == "ACTIVE");
    assert_eq!(cloud.requests(CALL).len(), 0);
}

#[test]
fn a_call_past_the_tasks_timeout_ends_the_attempt() {
    let cloud = cloud("cf-deadline");
    let mut run = held_call(&cloud, &json!({"timeout": "10s"}));
    run.end().expect_status(1);
    let task = cloud.task("f");
    assert_eq!((&task["state"], &task["error"]["kind"]), (&json!("failed"), &json!("timed_out")));
    assert!(message(&cloud).contains("timeout of 10s"), "{}", message(&cloud));
    assert!(cloud.log("f").contains("the function may still run"), "{}", cloud.log("f"));
    cloud.hold(false);
}

#[test]
fn a_call_past_the_engines_timeout_is_the_functions_fault() {
    let cloud = cloud("cf-timeout");
    super::deployed(&cloud);
    cloud.configure("region = 'europe-west1'\ntimeout = '500ms'", "");
    cloud.hold("jobs");
    cloud.dag(&[task(&cloud, &json!({}), &json!({}))]);
    cloud.run().expect_status(1);
    assert_eq!(cloud.task("f")["error"]["kind"], "failed");
    assert!(message(&cloud).contains("did not answer within 500ms"), "{}", message(&cloud));
    assert_eq!((attempts(&cloud), function(&cloud)["deployed"].clone()), (1, json!(1)));
    cloud.hold(false);
}
