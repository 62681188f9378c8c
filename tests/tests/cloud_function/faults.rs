//! Services that fail: what is tried again within an attempt, and that nothing is made twice.

use serde_json::json;

use super::{CALL, CREATE, attempts, calls, cloud, deployed, end, function, keys, plain, task};

#[test]
fn a_call_that_is_turned_away_is_made_again_with_its_key() {
    for (fault, idempotent) in [("429", false), ("503", true), ("reset", true)] {
        let cloud = cloud(&format!("cf-call-{fault}"));
        deployed(&cloud);
        cloud.fault(CALL, fault, 2);
        cloud.dag(&[plain("work", &json!({"day": 1, "idempotent": idempotent}), &json!({}))]);
        let end = end(&cloud.run().expect_status(0), "success");
        assert_eq!(end["metrics"]["calls"], 3, "{fault}");
        // And the one of the deployment.
        assert_eq!(cloud.requests(CALL).len(), 4, "{fault}");
        assert_eq!((attempts(&cloud), calls(&cloud).len()), (1, 1), "{fault}");
    }
}

#[test]
fn a_call_that_may_have_run_is_not_made_again() {
    for fault in ["503", "reset", "lost_reply"] {
        let cloud = cloud(&format!("cf-once-{}", fault.replace('_', "-")));
        deployed(&cloud);
        let before = cloud.requests(CALL).len();
        cloud.fault(CALL, fault, 1);
        cloud.dag(&[plain("work", &json!({"day": 1}), &json!({}))]);
        let error = &end(&cloud.run().expect_status(1), "failed")["error"];
        assert_eq!(error["kind"], "failed", "{fault}: {error}");
        assert!(error["message"].as_str().unwrap().contains("the function may have run"), "{fault}: {error}");
        assert_eq!((cloud.requests(CALL).len() - before, attempts(&cloud)), (1, 1), "{fault}");
        assert_eq!(calls(&cloud).len(), usize::from(fault == "lost_reply"), "{fault}");
    }
}

#[test]
fn a_call_that_may_have_run_is_made_anew_by_the_tasks_retries() {
    let cloud = cloud("cf-once-retried");
    deployed(&cloud);
    cloud.fault(CALL, "lost_reply", 1);
    cloud.dag(&[plain("work", &json!({"day": 1}), &json!({"retries": 1, "retry_delay": 0}))]);
    cloud.run().expect_status(0);
    let keys = keys(&cloud);
    assert_eq!((keys.len(), attempts(&cloud)), (2, 2));
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_reply_that_is_lost_is_asked_for_again_where_the_function_may_run_twice() {
    let cloud = cloud("cf-call-lost");
    deployed(&cloud);
    cloud.fault(CALL, "lost_reply", 1);
    cloud.dag(&[plain("work", &json!({"day": 1, "idempotent": true}), &json!({}))]);
    cloud.run().expect_status(0);
    let keys = keys(&cloud);
    assert_eq!((keys.len(), attempts(&cloud)), (2, 1));
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn a_service_that_stays_away_is_left_to_the_retries_of_the_host() {
    let cloud = cloud("cf-call-away");
    deployed(&cloud);
    cloud.fault(CALL, "429", 6);
    cloud.dag(&[plain("work", &json!({}), &json!({}))]);
    cloud.run().expect_status(0);
    let task = cloud.task("f");
    let first = &task["attempts"][0]["error"];
    assert_eq!(first["kind"], "transient", "{task:#}");
    assert!(first["message"].as_str().unwrap().contains("turned away with 429"), "{first}");
    assert_eq!((attempts(&cloud), calls(&cloud).len()), (2, 1));
}

#[test]
fn faults_of_googles_service_are_borne() {
    for fault in ["429", "500", "503", "reset"] {
        let cloud = cloud(&format!("cf-api-{fault}"));
        for method in ["get", "create", "generateUploadUrl"] {
            cloud.fault(&format!("cloudfunctions.functions.{method}"), fault, 1);
        }
        cloud.fault("cloudfunctions.operations.get", fault, 1);
        cloud.dag(&[task(&cloud, &json!({}), &json!({}))]);
        cloud.run().expect_status(0);
        assert_eq!(cloud.ledger()["faults_left"], 0, "{fault}");
        assert_eq!((attempts(&cloud), function(&cloud)["deployed"].clone()), (1, json!(1)), "{fault}");
    }
}

#[test]
fn a_deployment_whose_reply_is_lost_is_adopted() {
    let cloud = cloud("cf-lost");
    cloud.fault("cloudfunctions.functions.create", "lost_reply", 1);
    cloud.dag(&[task(&cloud, &json!({}), &json!({}))]);
    cloud.run().expect_status(0);
    let function = function(&cloud);
    assert_eq!((&function["made"], &function["deployed"]), (&json!(1), &json!(1)), "{function}");
    assert_eq!(cloud.requests(CREATE).len(), 1);
    assert_eq!((attempts(&cloud), calls(&cloud).len()), (1, 1));
}

#[test]
fn an_update_whose_reply_is_lost_is_adopted() {
    let cloud = cloud("cf-update-lost");
    deployed(&cloud);
    cloud
        .sandbox()
        .write("functions/demo/work.py", &super::SOURCE.replace("\"version\": 1", "\"version\": 2"));
    cloud.fault("cloudfunctions.functions.patch", "lost_reply", 1);
    cloud.dag(&[task(&cloud, &json!({}), &json!({}))]);
    assert_eq!(end(&cloud.run().expect_status(0), "success")["result"]["version"], 2);
    assert_eq!(function(&cloud)["deployed"], 2);
    assert_eq!(cloud.requests(super::PATCH).len(), 1);
}

#[test]
fn nobody_at_the_url_is_a_fault_that_may_pass() {
    let cloud = cloud("cf-nobody-there");
    cloud.configure("auth = 'none'", "");
    // Nobody listens on the port of `tcpmux`.
    cloud.dag(&[plain("http://127.0.0.1:1/f?key=very-s3cret", &json!({}), &json!({"timeout": "90s"}))]);
    let mut run = cloud.start();
    let failed = run.until(|event| event["event"] == "task_state" && !event["error"].is_null());
    assert_eq!(failed["error"]["kind"], "transient", "{failed}");
    let told = failed["error"]["message"].as_str().unwrap();
    assert!(told.contains("http://127.0.0.1:1/f cannot be called") && !told.contains("s3cret"), "{told}");
    run.signal("INT");
    run.end().expect_status(130);
    // What may be a key in the task's URL is not kept with the attempt.
    let task = cloud.task("f");
    assert!(
        task["attempts"][0]["checkpoint"].is_object() && !task.to_string().contains("s3cret"),
        "{task:#}"
    );
}
