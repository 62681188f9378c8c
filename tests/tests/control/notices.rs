//! Who is told how a run went: commands and webhooks, of the DAG and of the command line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use oxidag_tests::Sandbox;
use serde_json::{Value, json};

use super::{idle, noop, oxidag, r, run, sandbox, start, task, write_dag};

/// A server that takes notices.
struct Hook {
    address: SocketAddr,
    told: Receiver<Value>,
}

impl Hook {
    /// It answers with these, and then with the last of them; it lives until its test's process ends.
    fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = channel();
        let mut answers = answers.to_vec();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
                let body = read(BufReader::new(&stream));
                let end = "content-length: 0\r\nconnection: close\r\n\r\n";
                (&stream).write_all(format!("HTTP/1.1 {answer}\r\n{end}").as_bytes()).unwrap();
                // The test may have ended.
                let _ = tell.send(body);
            }
        });
        Self { address, told }
    }

    fn url(&self) -> String {
        format!("http://{}/hooks/sales?token=hush", self.address)
    }

    /// What it was told so far.
    fn told(&self) -> Vec<Value> {
        self.told.try_iter().collect()
    }

    fn events(&self) -> Vec<Value> {
        self.told().iter().map(|told| told["event"].clone()).collect()
    }
}

/// The JSON that is posted.
fn read(mut stream: impl BufRead) -> Value {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let head = head.to_lowercase();
    assert!(head.starts_with("post /hooks/sales?token=hush ") && head.contains("application/json"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// Notices of everything: to the webhook, and into the file `told`, a line each.
fn notify(hook: &Hook) -> Value {
    let on = json!(["success", "failure", "deadline"]);
    let command = "cat >> told; echo \" $OXIDAG_DAG_ID $OXIDAG_RUN_ID $OXIDAG_RUN_STATE\" >> told";
    json!([{"on": on, "webhook": hook.url()}, {"on": on, "command": command}])
}

/// What the command was told, with the words behind it.
fn told(sandbox: &Sandbox) -> Vec<(Value, String)> {
    let text = fs::read_to_string(sandbox.path().join("told")).unwrap();
    let line = |line: &str| {
        let (json, words) = line.split_at(line.rfind('}').unwrap() + 1);
        (serde_json::from_str(json).unwrap(), words.trim().to_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn a_command_and_a_webhook_are_told_of_success() {
    let (sandbox, hook) = (sandbox(), Hook::start(&["200 OK"]));
    write_dag(&sandbox, &[idle("a", &[], &json!({}))], &json!({"notify": notify(&hook)}));
    assert_eq!(run(&sandbox, &[]).expect_status(0).stderr, "");
    let run = r(&sandbox);
    let [told_hook] = &hook.told()[..] else { panic!("not told once") };
    let [(told_command, words)] = &told(&sandbox)[..] else { panic!("not told once") };
    assert_eq!(told_hook, told_command);
    assert_eq!(words, "d r success");
    assert_eq!(told_hook["event"], "run_success");
    for key in ["run_id", "dag_id", "state", "started_at", "finished_at"] {
        assert_eq!(told_hook[key], run[key], "{key}");
    }
    assert_eq!(told_hook["failed_tasks"], json!([]));
}

#[test]
fn a_command_and_a_webhook_are_told_of_failure_and_why() {
    let (sandbox, hook) = (sandbox(), Hook::start(&["204 No Content"]));
    let tasks = [noop("bad", &[], &json!({"fail": true}), &json!({})), idle("after", &["bad"], &json!({}))];
    write_dag(&sandbox, &tasks, &json!({"notify": notify(&hook)}));
    assert_eq!(run(&sandbox, &[]).expect_status(1).stderr, "");
    let [told_hook] = &hook.told()[..] else { panic!("not told once") };
    let [(told_command, words)] = &told(&sandbox)[..] else { panic!("not told once") };
    assert_eq!(told_hook, told_command);
    assert_eq!(words, "d r failed");
    assert_eq!((&told_hook["event"], &told_hook["state"]), (&json!("run_failure"), &json!("failed")));
    let [failed] = &told_hook["failed_tasks"].as_array().unwrap()[..] else { panic!("{told_hook:#}") };
    assert_eq!((&failed["task_id"], &failed["error"]["kind"]), (&json!("bad"), &json!("failed")));
}

#[test]
fn a_deadline_is_told_when_it_passes_and_the_failure_at_the_end() {
    let (sandbox, hook) = (sandbox(), Hook::start(&["200 OK"]));
    let tasks = [
        idle("setup", &[], &json!({})),
        noop("slow", &["setup"], &json!({"delay_ms": 600_000}), &json!({})),
        // The run ends only after the deadline was told.
        task(
            "shell",
            "until [ -s told ] || [ ! -e plugins.toml ]; do sleep 0.01; done",
            "teardown",
            &["setup"],
            &json!({}),
            &json!({"teardown": true}),
        ),
    ];
    write_dag(&sandbox, &tasks, &json!({"timeout": 1, "notify": notify(&hook)}));
    assert_eq!(run(&sandbox, &[]).expect_status(1).stderr, "");
    let [late, failed] = &hook.told()[..] else { panic!("not told twice") };
    assert_eq!((&late["event"], &late["state"]), (&json!("run_deadline"), &json!("running")));
    assert_eq!((&failed["event"], &failed["state"]), (&json!("run_failure"), &json!("failed")));
    assert_eq!((&late["finished_at"], &failed["finished_at"]), (&Value::Null, &r(&sandbox)["finished_at"]));
    let events: Vec<Value> = told(&sandbox).into_iter().map(|(told, _)| told["event"].clone()).collect();
    assert_eq!(events, ["run_deadline", "run_failure"]);
}

#[test]
fn nobody_is_told_of_what_they_do_not_want_to_know() {
    let (sandbox, [usual, good]) =
        (sandbox(), [&["200 OK"], &["200 OK"]].map(|answers| Hook::start(answers)));
    let notify = json!([{"webhook": usual.url()}, {"on": "success", "webhook": good.url()}]);
    write_dag(&sandbox, &[idle("a", &[], &json!({}))], &json!({"notify": notify}));
    run(&sandbox, &[]).expect_status(0);
    assert_eq!((usual.events(), good.events()), (vec![], vec![json!("run_success")]));
    write_dag(&sandbox, &[noop("a", &[], &json!({"fail": true}), &json!({}))], &json!({"notify": notify}));
    oxidag(&sandbox, &["run", "dag.json", "--format", "quiet"], 1);
    assert_eq!((usual.events(), good.events()), (vec![json!("run_failure")], vec![]));
}

#[test]
fn the_command_line_names_more_who_are_told() {
    let (sandbox, hook) = (sandbox(), Hook::start(&["200 OK"]));
    write_dag(&sandbox, &[idle("a", &[], &json!({}))], &json!({}));
    let on_success = format!("success={}", hook.url());
    let arguments =
        ["--notify", &on_success, "--notify", "success,failure=cat > told", "--notify", "cat > wrong"];
    run(&sandbox, &arguments).expect_status(0);
    assert_eq!(hook.events(), ["run_success"]);
    let told: Value =
        serde_json::from_str(&fs::read_to_string(sandbox.path().join("told")).unwrap()).unwrap();
    assert_eq!((&told["event"], &told["run_id"]), (&json!("run_success"), &json!("r")));
    assert!(!sandbox.path().join("wrong").exists(), "failure and deadline are the default");
}

#[test]
fn a_notice_that_fails_changes_nothing_but_is_remarked() {
    for (params, status, state) in [(json!({}), 0, "success"), (json!({"fail": true}), 1, "failed")] {
        let (sandbox, hook) = (sandbox(), Hook::start(&["403 Forbidden"]));
        let on = json!(["success", "failure"]);
        let notify = json!([
            {"on": on, "webhook": hook.url()},
            {"on": on, "command": ["./is-not-there", "hush"]},
            {"on": on, "command": "echo hush no mail today >&2; exit 3"},
            {"on": on, "command": "cat > told"},
        ]);
        write_dag(&sandbox, &[noop("a", &[], &params, &json!({}))], &json!({"notify": notify}));
        let ended = run(&sandbox, &[]).expect_status(status);
        assert_eq!(r(&sandbox)["state"], state);
        let said: Vec<&str> = ended.stderr.lines().collect();
        for (place, why) in [("notice 1", "403"), ("notice 2", "is-not-there"), ("notice 3", "no mail today")]
        {
            let lines: Vec<_> = said.iter().filter(|line| line.starts_with(place)).collect();
            assert!(lines.len() == 1 && lines[0].contains(why), "{place}: {}", ended.stderr);
        }
        assert_eq!(said.len(), 3, "{}", ended.stderr);
        assert!(!ended.stderr.contains("token"), "{}", ended.stderr);
        // The others are told all the same.
        assert!(sandbox.path().join("told").exists());
    }
}

#[test]
fn a_webhook_that_has_no_time_is_called_again() {
    let (sandbox, hook) = (sandbox(), Hook::start(&["503 Service Unavailable", "200 OK"]));
    let notify = json!([{"on": "success", "webhook": hook.url()}]);
    write_dag(&sandbox, &[idle("a", &[], &json!({}))], &json!({"notify": notify}));
    assert_eq!(run(&sandbox, &[]).expect_status(0).stderr, "");
    let told = hook.told();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1]);
}

#[test]
fn a_notice_does_not_hold_the_run() {
    let sandbox = sandbox();
    // While it is told, the run has ended for everybody else.
    let command = "echo > is_here; until [ -e go ] || [ ! -e plugins.toml ]; do sleep 0.01; done";
    let notify = json!([{"on": "success", "command": command}]);
    write_dag(&sandbox, &[idle("a", &[], &json!({}))], &json!({"notify": notify}));
    let mut run = start(&sandbox, &[]);
    run.until(|event| event["event"] == "run_state" && event["state"] == "success");
    while !sandbox.path().join("is_here").exists() {
        thread::yield_now();
    }
    assert_eq!(r(&sandbox)["state"], "success");
    sandbox.write("go", "");
    run.end().expect_status(0);
}

#[test]
fn a_signal_ends_the_waiting_for_notices_and_nothing_else() {
    let sandbox = sandbox();
    let slow = "success=echo $$ > told; sleep 1000";
    write_dag(&sandbox, &[idle("a", &[], &json!({}))], &json!({}));
    let mut run = start(&sandbox, &["--notify", slow]);
    run.until(|event| event["event"] == "run_state" && event["state"] == "success");
    while !sandbox.path().join("told").exists() {
        thread::yield_now();
    }
    run.signal("INT");
    let ended = run.end().expect_status(0);
    assert!(ended.stderr.contains("was given up"), "{}", ended.stderr);
    assert_eq!(r(&sandbox)["state"], "success");
}
