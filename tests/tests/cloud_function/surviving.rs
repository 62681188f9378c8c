//! A scheduler that is killed while a function runs or is being deployed.

use std::fs;

use oxidag_tests::servers::functions;
use serde_json::json;

use super::{CREATE, attempts, calls, cloud, end, function, held_call, held_call_with, keys, plain, task};

#[test]
fn a_call_is_not_made_again_after_a_crash() {
    let cloud = cloud("cf-killed");
    let run = held_call(&cloud, &json!({}));
    run.kill();
    cloud.hold(false);
    let ended = cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(1);
    let error = &end(&ended, "failed")["error"];
    assert_eq!(error["kind"], "failed", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("the scheduler stopped during the call"), "{message}");
    assert_eq!((calls(&cloud).len(), attempts(&cloud)), (1, 1));
}

#[test]
fn a_call_that_may_run_twice_is_made_again_with_its_key_after_a_crash() {
    let cloud = cloud("cf-killed-idempotent");
    let run = held_call_with(&cloud, &json!({"day": "today", "idempotent": true}), &json!({}));
    cloud.no_secret(&[], &[]);
    run.kill();
    cloud.hold(false);
    // As it was called, whatever the config says by now.
    cloud.configure("region = 'us-east1'", "");
    let ended = cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(0);
    assert_eq!(end(&ended, "success")["result"]["day"], "today");
    let keys = keys(&cloud);
    assert_eq!((keys.len(), attempts(&cloud)), (2, 1));
    assert_eq!(keys[0], keys[1], "a function can refuse the second");
    assert_eq!(function(&cloud)["deployed"], 1);
    assert!(cloud.log("f").contains("made again with the same idempotency key"), "{}", cloud.log("f"));
    cloud.no_secret(&[&ended], &[]);
}

#[test]
fn a_deployment_is_adopted_after_a_crash() {
    let cloud = cloud("cf-killed-deploying");
    cloud.hold("operations");
    cloud.dag(&[task(&cloud, &json!({"day": "today"}), &json!({}))]);
    let run = cloud.start();
    cloud.until("a deployment", |ledger| ledger["functions"]["work"]["state"] == "DEPLOYING");
    run.kill();
    cloud.hold(false);
    let ended = cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(0);
    assert_eq!(end(&ended, "success")["result"]["day"], "today");
    let function = function(&cloud);
    assert_eq!((&function["made"], &function["deployed"]), (&json!(1), &json!(1)), "{function}");
    assert_eq!(cloud.requests(CREATE).len(), 1);
    assert_eq!((attempts(&cloud), calls(&cloud).len()), (1, 1));
}

/// A function that keeps account of its calls, and answers once a file is there.
const GATE: &str = r#"
import os
import time

import functions_framework


@functions_framework.http
def wait(request):
    with open("FOLDER/keys", "a") as keys:
        keys.write(request.headers["Idempotency-Key"] + "\n")
    while not os.path.exists("FOLDER/go"):
        time.sleep(0.01)
    return "gone"
"#;

#[test]
fn a_call_of_a_url_is_made_again_after_a_crash() {
    let cloud = cloud("cf-killed-url");
    cloud.configure("auth = 'none'", "");
    let folder = cloud.sandbox().path().display().to_string();
    let source = cloud.sandbox().write("main.py", &GATE.replace("FOLDER", &folder));
    let served = functions::start(&source, "wait");
    cloud.dag(&[plain(&served.url(), &json!({"idempotent": true}), &json!({}))]);
    let run = cloud.start();
    let keys = || {
        let keys = fs::read_to_string(cloud.sandbox().path().join("keys")).unwrap_or_default();
        keys.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    cloud.until("a call", |_| keys().len() == 1);
    run.kill();
    cloud.sandbox().write("go", "");
    let ended = cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(0);
    assert_eq!(end(&ended, "success")["result"], "gone");
    let keys = keys();
    assert_eq!((keys.len(), attempts(&cloud)), (2, 1));
    assert_eq!(keys[0], keys[1]);
}
