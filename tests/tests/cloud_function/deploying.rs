//! Deployments: when, of what, and what is said when they fail.

use serde_json::json;

use super::{CALL, CREATE, PATCH, SOURCE, attempts, calls, cloud, end, function, message, task};

#[test]
fn a_source_is_deployed_when_it_has_changed_and_only_then() {
    let cloud = cloud("cf-changes");
    cloud.dag(&[task(&cloud, &json!({}), &json!({}))]);
    for run in ["first", "second"] {
        cloud.run_as(run).expect_status(0);
        assert_eq!(function(&cloud)["deployed"], 1, "after the {run} run");
    }
    let labels = &function(&cloud)["labels"];
    assert_eq!((&labels["oxidag-dag"], &labels["oxidag-task"]), (&json!("d"), &json!("f")));
    assert_eq!(labels["oxidag-run"], "first");
    assert_eq!(labels["oxidag-source"].as_str().unwrap().len(), 32);

    cloud.sandbox().write("functions/demo/work.py", &SOURCE.replace("\"version\": 1", "\"version\": 2"));
    let end = end(&cloud.run_as("third").expect_status(0), "success");
    assert_eq!(end["result"]["version"], 2);
    assert_eq!((cloud.requests(CREATE).len(), cloud.requests(PATCH).len()), (1, 1));
    assert_eq!(
        (function(&cloud)["made"].clone(), function(&cloud)["deployed"].clone()),
        (json!(1), json!(2))
    );
    assert_eq!(calls(&cloud).len(), 3);
    assert_eq!(cloud.ledger()["problems"], json!([]));
}

#[test]
fn tasks_that_deploy_one_source_wait_for_one_deployment() {
    let cloud = cloud("cf-together");
    let tasks: Vec<_> = (0..4)
        .map(|at| {
            let mut task = task(&cloud, &json!({"day": at}), &json!({}));
            task["task_id"] = json!(format!("f{at}"));
            task
        })
        .collect();
    cloud.dag(&tasks);
    cloud.run().expect_status(0);
    let function = function(&cloud);
    assert_eq!((&function["made"], &function["deployed"]), (&json!(1), &json!(1)), "{function}");
    assert_eq!(calls(&cloud).len(), 4);
}

#[test]
fn a_source_in_a_bucket_is_deployed_under_its_own_name() {
    let cloud = cloud("cf-bucket");
    let storage = cloud.google().storage();
    storage.make_bucket("cf-bucket");
    storage.put("cf-bucket", "demo/My_Work.py", SOURCE);
    let locations = format!("[locations.gcs]\nendpoint = {:?}\nanonymous = true", storage.url());
    cloud.configure("region = 'europe-west1'", &locations);
    let mut task = task(&cloud, &json!({"day": 1}), &json!({}));
    task["script"] = json!("gcs.cf-bucket.demo.cloud-function.My_Work");
    task["params"]["deploy"]["entry_point"] = json!("work");
    cloud.dag(&[task]);
    assert_eq!(end(&cloud.run().expect_status(0), "success")["result"]["day"], 1);
    assert_eq!(cloud.ledger()["functions"]["my-work"]["deployed"], 1);
}

#[test]
fn a_source_in_the_dag_is_deployed_under_the_name_that_a_parameter_gives() {
    let cloud = cloud("cf-inline");
    let mut task = task(&cloud, &json!({"function": "work", "day": 1}), &json!({}));
    task["script"] = json!({"engine": "cloud-function", "inline": SOURCE});
    cloud.dag(&[task]);
    assert_eq!(end(&cloud.run().expect_status(0), "success")["result"]["day"], 1);
}

#[test]
fn a_source_that_does_not_start_fails_with_what_google_says() {
    let cloud = cloud("cf-broken");
    cloud.sandbox().write("functions/demo/work.py", "import no_such_module\n");
    cloud.dag(&[task(&cloud, &json!({}), &json!({"retries": 1, "retry_delay": 0}))]);
    let ended = cloud.run().expect_status(1);
    assert_eq!(end(&ended, "failed")["error"]["kind"], "failed");
    let message = message(&cloud);
    assert!(message.contains("could not be deployed") && message.contains("no_such_module"), "{message}");
    assert!(message.contains("console.cloud.google.com"), "{message}");
    assert_eq!(attempts(&cloud), 2);
    // Once by each attempt.
    assert_eq!((cloud.requests(CREATE).len(), cloud.requests(PATCH).len()), (1, 1));
    assert_eq!(cloud.requests(CALL).len(), 0);

    // What is mended is deployed over it.
    cloud.sandbox().write("functions/demo/work.py", SOURCE);
    cloud.run_as("mended").expect_status(0);
}

#[test]
fn an_operation_that_fails_at_google_is_tried_by_another_attempt() {
    let cloud = cloud("cf-operation");
    cloud.fault("cloudfunctions.functions.create", "operation_error", 1);
    cloud.dag(&[task(&cloud, &json!({}), &json!({}))]);
    cloud.run().expect_status(0);
    assert_eq!(attempts(&cloud), 2);
    assert_eq!(function(&cloud)["deployed"], 1);
}
