//! Livy's batches.

use std::thread;
use std::time::{Duration, Instant};

use oxidag_tests::cloud::Cloud;
use oxidag_tests::servers::livy::Livy;
use serde_json::{Value, json};

use super::support::*;

const USER: &str = "etl:pa55word";

/// One whose name is a part of the server's address, so that the host masks that in what it stores.
const IN_ADDRESS: &str = "127:pa55word";

/// So long nothing takes that a test waits for, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn on(livy: &Livy, project: &str) -> Cloud {
    on_as(livy, project, USER)
}

fn on_as(livy: &Livy, project: &str, user: &str) -> Cloud {
    let (user, password) = user.split_once(':').unwrap();
    let sections = format!(
        "[engines.spark.config.livy]\nurl = {:?}\n[connections.LIVY]\nuser = {user:?}\npassword = {password:?}\n",
        livy.url()
    );
    cloud(project, "backend = \"livy\"", &sections)
}

/// With the user that the server asks for.
fn as_user(more: Value) -> Value {
    let mut params = json!({"**LIVY_user": "", "**LIVY_password": ""});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

/// How often batches were made, and asked for.
fn made(livy: &Livy) -> (usize, usize) {
    let ledger = livy.ledger();
    let requests = ledger["requests"].as_array().unwrap();
    let posts = requests.iter().filter(|request| request["method"] == "POST /batches").count();
    (ledger["made"].as_array().unwrap().len(), posts)
}

#[track_caller]
fn until_state(livy: &Livy, state: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ledger = livy.ledger();
        if ledger["batches"].as_object().unwrap().values().any(|found| found == state) {
            return;
        }
        assert!(Instant::now() < deadline, "no batch is {state}: {ledger:#}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_batch_runs_as_the_connections_user_and_its_log_is_logged() {
    let livy = Livy::start(Some(USER));
    let cloud = on(&livy, "spark-livy");
    write(&cloud, &task(&cloud, ECHO, as_user(json!({"year": 2022, "spark.x": 1}))));
    let ended = cloud.run().expect_status(0);
    let printed = lines(&ended, "stdout");
    assert_eq!(printed, [r#"--params {"id": "d_t", "spark.x": 1, "year": 2022}"#]);
    let end = end_of(&ended);
    assert_eq!(end["metrics"]["backend"], "livy");
    assert_eq!(end["metrics"]["state"], "success");
    assert!(end["metrics"]["application_id"].is_string(), "{end}");
    let asked: Value = livy.ledger()["requests"][0]["body"]
        .as_str()
        .map(|body| serde_json::from_str(body).unwrap())
        .unwrap();
    let tags = "oxidag-dag=d,oxidag-run=r,oxidag-task=t";
    assert_eq!(asked["conf"], json!({"spark.x": "1", "spark.yarn.tags": tags}));
    for text in [&ended.stdout, &ended.stderr, &livy.ledger().to_string()] {
        assert!(!text.contains("pa55word"), "{text}");
    }
}

#[test]
fn a_script_that_fails_says_why() {
    let livy = Livy::start(None);
    let cloud = on(&livy, "spark-livy-fails");
    write(&cloud, &task(&cloud, FAILS, json!({})));
    let (kind, message) = error_of(&cloud.run().expect_status(1));
    assert_eq!(kind, "failed");
    assert!(message.contains("failed: its state is `dead`"), "{message}");
    assert!(message.ends_with("ValueError: no such column"), "{message}");
}

#[test]
fn who_is_refused_is_told_what_to_check() {
    let livy = Livy::start(Some("etl:another"));
    let cloud = on(&livy, "spark-livy-user");
    write(&cloud, &task(&cloud, ECHO, as_user(json!({}))));
    let ended = cloud.run().expect_status(1);
    let (kind, message) = error_of(&ended);
    assert_eq!(kind, "invalid");
    assert!(message.contains("(401); check the connections"), "{message}");
    assert!(!(ended.stdout + &ended.stderr).contains("pa55word"));
    assert_eq!(made(&livy), (0, 1));
}

#[test]
fn bad_parameters_are_refused_and_nothing_is_asked_of_livy() {
    let livy = Livy::start(None);
    let cloud = on(&livy, "spark-livy-bad");
    for (params, said) in [
        (json!({"spark.jars": 7}), "`spark.jars` must be text"),
        (json!({"**LIVY_user": ""}), "`**LIVY_user` and `**LIVY_password`: one of them is missing"),
    ] {
        write(&cloud, &task(&cloud, ECHO, params));
        let (kind, message) = error_of(&cloud.run().expect_status(1));
        assert_eq!(kind, "invalid", "{message}");
        assert!(message.contains(said), "{message}");
        std::fs::remove_dir_all(cloud.sandbox.home()).unwrap();
    }
    assert_eq!(made(&livy), (0, 0));
}

#[test]
fn faults_are_sat_out_and_a_lost_reply_makes_no_second_batch() {
    let livy = Livy::start(None);
    let cloud = on(&livy, "spark-livy-faults");
    for (method, fault) in [
        ("POST /batches", "503"),
        ("POST /batches", "reset"),
        ("POST /batches", "lost_reply"),
        ("GET /batches", "429"),
        ("GET /batches/ID", "503"),
        ("GET /batches/ID/log", "reset"),
    ] {
        livy.fault(method, fault, 1);
    }
    write(&cloud, &task(&cloud, ECHO, json!({})));
    let ended = cloud.run().expect_status(0);
    assert_eq!(end_of(&ended)["attempt"], 1);
    assert_eq!(made(&livy), (1, 3));
    assert_eq!(lines(&ended, "stdout").len(), 1);
}

#[test]
fn cancelling_the_run_or_its_deadline_ends_the_batch() {
    let livy = Livy::start(None);
    livy.hold(true);
    let cloud = on(&livy, "spark-livy-cancel");
    write(&cloud, &task(&cloud, "print('here')\n", json!({})));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    cloud.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    let (kind, message) = error_of(&run.end());
    assert_eq!(kind, "cancelled");
    assert!(message.ends_with("of Livy was ended"), "{message}");
    assert_eq!(livy.ledger()["batches"], json!({}));

    let mut late = task(&cloud, ECHO, json!({}));
    late["timeout"] = "5s".into();
    write(&cloud, &late);
    let ended = cloud.oxidag(&["run", "dag.json", "--run-id", "late", "--format", "json"]).expect_status(1);
    assert_eq!(end_of(&ended)["state"], "failed");
    assert_eq!((livy.ledger()["batches"].clone(), made(&livy).0), (json!({}), 2));
}

#[test]
fn a_resumed_run_adopts_the_batch() {
    let livy = Livy::start(Some(IN_ADDRESS));
    livy.hold(true);
    let cloud = on_as(&livy, "spark-livy-crash", IN_ADDRESS);
    write(&cloud, &task(&cloud, "print('here')\n", as_user(json!({}))));
    let mut run = cloud.start();
    until_logged(&mut run, "here");
    run.kill();
    livy.hold(false);
    until_state(&livy, "success");
    let stored = cloud.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).stdout;
    assert!(stored.contains("http://***"), "{stored}");
    let ended = cloud.oxidag(&["resume", "r", "--format", "json"]).expect_status(0);
    assert_eq!(lines(&ended, "stdout"), ["here"]);
    assert_eq!(made(&livy), (1, 1));
}

#[test]
fn a_scheduler_that_dies_before_the_answer_leaves_one_batch() {
    let livy = Livy::start(None);
    livy.hold(true);
    livy.fault("POST /batches", "lost_reply", 1);
    // While it is looked for, so that its id is not known yet.
    livy.fault("GET /batches", "503", 1000);
    let cloud = on(&livy, "spark-livy-early");
    write(&cloud, &task(&cloud, ECHO, json!({})));
    let run = cloud.start();
    until_state(&livy, "running");
    run.kill();
    livy.hold(false);
    livy.mend();
    cloud.oxidag(&["resume", "r"]).expect_status(0);
    assert_eq!(made(&livy), (1, 1));
}
