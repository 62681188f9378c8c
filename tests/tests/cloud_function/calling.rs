//! Calls of functions: with what, and what comes of the reply.

use std::fs;

use oxidag_tests::servers::functions;
use serde_json::json;

use super::{CALL, GET, SOURCE, attempts, calls, cloud, deployed, end, message, plain, task};

#[test]
fn a_function_is_called_with_the_parameters_and_its_json_is_the_result() {
    let cloud = cloud("cf-calls");
    let f = task(&cloud, &json!({"day": "2026-01-01"}), &json!({}));
    let after = json!({
        "task_id": "after", "script": {"engine": "noop", "inline": ""}, "dependencies": ["f"],
        "when": "tasks[\"f\"].result.day == \"2026-01-01\"",
    });
    cloud.dag(&[f, after]);
    let ended = cloud.run().expect_status(0);
    let end = end(&ended, "success");
    assert_eq!(end["result"], json!({"version": 1, "day": "2026-01-01"}));
    assert_eq!(cloud.task("after")["state"], "success");
    let metrics = &end["metrics"];
    let url = format!("{}/_functions/cf-calls/europe-west1/work", cloud.google().url());
    assert_eq!(
        (&metrics["status"], &metrics["url"], &metrics["calls"]),
        (&json!(200), &json!(url), &json!(1))
    );
    assert!(metrics["duration_seconds"].is_f64() && metrics["response_bytes"].is_u64(), "{metrics}");

    let calls = calls(&cloud);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["params"], json!({"day": "2026-01-01"}));
    assert!(calls[0]["Idempotency-Key"].as_str().unwrap().starts_with("oxidag-"));
    let of = ["Dag", "Run", "Task", "Attempt"].map(|what| calls[0][format!("X-Oxidag-{what}")].clone());
    assert_eq!(of, ["d", "r", "f", "1"]);
    let requests = cloud.requests(CALL);
    assert_eq!(requests.len(), 1);
    assert!(requests[0]["account"].is_string(), "the fake has verified an identity token: {requests:?}");
    assert_eq!(cloud.ledger()["problems"], json!([]));
    cloud.no_secret(&[&ended], &[]);
}

#[test]
fn a_function_that_is_there_is_found_by_its_name() {
    let cloud = cloud("cf-named");
    deployed(&cloud);
    let before = cloud.requests(GET).len();
    cloud.dag(&[plain("work", &json!({"payload": {"day": 1}}), &json!({}))]);
    assert_eq!(end(&cloud.run().expect_status(0), "success")["result"]["day"], 1);
    assert_eq!(cloud.requests(GET).len(), before + 1);

    // With a template nobody has to be asked.
    let template = format!("{}/_functions/{{project}}/{{region}}/{{function}}", cloud.google().url());
    cloud.configure(&format!("region = 'europe-west1'\nurl = '{template}'"), "");
    cloud.oxidag(&["run", "dag.json", "--run-id", "again"]).expect_status(0);
    assert_eq!(cloud.requests(GET).len(), before + 1);
    assert_eq!(calls(&cloud).len(), 2);

    cloud.configure("region = 'europe-west1'", "");
    cloud.dag(&[plain("wrok", &json!({}), &json!({"retries": 2, "retry_delay": 0}))]);
    let wrong = end(&cloud.run_as("wrong").expect_status(1), "failed");
    let message = wrong["error"]["message"].as_str().unwrap();
    assert!(message.contains("there is no function `wrok` in europe-west1"), "{message}");
}

#[test]
fn a_public_function_needs_no_account_and_a_connection_is_never_sent() {
    let cloud = cloud("cf-public");
    let source = cloud.sandbox().write("main.py", SOURCE);
    let calls_file = cloud.sandbox().path().join("calls");
    // The framework passes its environment on, and tests of one process have one.
    let source_text =
        SOURCE.replace("os.environ[\"CALLS\"]", &format!("{:?}", calls_file.display().to_string()));
    fs::write(&source, source_text).unwrap();
    let served = functions::start(&source, "work");
    let key = cloud.google().key_file();
    cloud.configure(
        "auth = 'none'",
        &format!("[connections.GCP]\nservice-account = {{ file = {key:?} }}\npassword = 'very-s3cret'"),
    );
    let url = format!("{}/?x=1", served.url());
    let params = json!({"url": url, "**GCP_service-account": "", "**GCP_password": "", "day": 1});
    cloud.dag(&[plain("", &params, &json!({}))]);
    let ended = cloud.run().expect_status(0);
    assert_eq!(end(&ended, "success")["result"]["day"], 1);
    assert_eq!(calls(&cloud)[0]["params"], json!({"day": 1}));
    let sent = fs::read_to_string(calls_file).unwrap();
    assert!(!sent.contains("very-s3cret") && !sent.contains("PRIVATE KEY"), "{sent}");
    cloud.no_secret(&[&ended], &["very-s3cret"]);
}

#[test]
fn a_text_is_a_result_and_what_is_too_long_is_in_the_log() {
    let cloud = cloud("cf-texts");
    deployed(&cloud);
    cloud.dag(&[plain("work", &json!({"text": "done"}), &json!({}))]);
    assert_eq!(end(&cloud.run().expect_status(0), "success")["result"], "done");
    cloud.dag(&[plain("work", &json!({"text": "long ", "times": 20_000}), &json!({}))]);
    let ended = cloud.run_as("long").expect_status(0);
    let end = end(&ended, "success");
    assert!(end["result"].is_null(), "{end}");
    assert_eq!(end["metrics"]["response_bytes"], 100_000);
    let log = cloud.oxidag(&["runs", "logs", "long", "f"]).expect_status(0).stdout;
    assert!(log.contains("long long") && log.contains("100000 bytes"), "{log}");
}

#[test]
fn a_function_that_fails_is_tried_again_as_the_task_says() {
    let cloud = cloud("cf-fails");
    deployed(&cloud);
    let params = json!({"status": 500, "says": "no such day"});
    cloud.dag(&[plain("work", &params, &json!({"retries": 1, "retry_delay": 0}))]);
    let ended = cloud.run().expect_status(1);
    let end = end(&ended, "failed");
    assert_eq!((&end["error"]["kind"], &end["metrics"]["status"]), (&json!("failed"), &json!(500)));
    assert!(message(&cloud).contains("the function answered 500"), "{}", message(&cloud));
    assert!(message(&cloud).ends_with(": no such day"), "{}", message(&cloud));
    assert_eq!(attempts(&cloud), 2);
    let calls = calls(&cloud);
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0]["Idempotency-Key"], calls[1]["Idempotency-Key"]);
}

#[test]
fn an_exception_in_a_function_is_its_own_fault() {
    let cloud = cloud("cf-crashes");
    deployed(&cloud);
    cloud.dag(&[plain("work", &json!({"crash": "boom"}), &json!({}))]);
    assert_eq!(end(&cloud.run().expect_status(1), "failed")["error"]["kind"], "failed");
    assert_eq!(calls(&cloud).len(), 1);
}

#[test]
fn what_a_function_refuses_is_not_asked_again() {
    let cloud = cloud("cf-refuses");
    deployed(&cloud);
    let params = json!({"status": 400, "says": "day must be a date"});
    cloud.dag(&[plain("work", &params, &json!({"retries": 3, "retry_delay": 0}))]);
    assert_eq!(end(&cloud.run().expect_status(1), "failed")["error"]["kind"], "invalid");
    assert!(message(&cloud).contains("400") && message(&cloud).ends_with(": day must be a date"));
    assert_eq!((attempts(&cloud), calls(&cloud).len()), (1, 1));
}

#[test]
fn parameters_that_cannot_be_meant_are_told_before_anything_is_called() {
    let cloud = cloud("cf-params");
    cloud.dag(&[task(&cloud, &json!({"deploy": {"runtme": "python312"}}), &json!({"retries": 3}))]);
    let dry = cloud.oxidag(&["run", "dag.json", "--dry-run"]).expect_status(2);
    assert!((dry.stderr + &dry.stdout).contains("unknown field `runtme`"));
    let ended = cloud.run().expect_status(1);
    assert_eq!(end(&ended, "failed")["error"]["kind"], "invalid");
    assert!(message(&cloud).contains("unknown field `runtme`"), "{}", message(&cloud));
    assert_eq!(attempts(&cloud), 1);
    cloud.configure("regoin = 'x'", "");
    let refused = cloud.run_as("config").expect_status(2);
    assert!(refused.stderr.contains("regoin"), "{}", refused.stderr);
    assert_eq!(cloud.ledger()["requests"], json!([]));
}
