//! Runs from start to end: what becomes of tasks that fail, hang, are cancelled or killed, and what is kept.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use oxidag_tests::{Ended, Sandbox, engine};
use serde_json::{Value, json};

/// A DAG in JSON of these tasks on the noop engine: id, parameters, dependencies, and more keys.
fn dag(tasks: &[(&str, Value, &[&str], Value)]) -> String {
    let task = |(id, params, upstream, more): &(&str, Value, &[&str], Value)| {
        let mut task = json!({
            "task_id": id, "script": {"engine": "noop", "inline": ""}, "params": params, "dependencies": upstream,
        });
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        task
    };
    json!({"dag_id": "d", "tasks": tasks.iter().map(task).collect::<Vec<_>>()}).to_string()
}

fn shown(sandbox: &Sandbox, run: &str) -> Value {
    sandbox.oxidag(&["runs", "show", run, "--json"]).expect_status(0).json()
}

fn states(sandbox: &Sandbox, run: &str) -> Value {
    let run = shown(sandbox, run);
    let task = |task: &Value| (task["task_id"].as_str().unwrap().to_owned(), task["state"].clone());
    run["tasks"].as_array().unwrap().iter().map(task).collect::<serde_json::Map<_, _>>().into()
}

/// A run on its way; it is killed when its test ends.
struct Running {
    child: Child,
    events: Option<Lines<BufReader<ChildStdout>>>,
    /// The event that was waited for.
    last: Value,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in a test that succeeds.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a run that shows its events, and waits for one of them.
    fn start(sandbox: &Sandbox, arguments: &[&str], until: impl Fn(&Value) -> bool) -> Self {
        let mut command = sandbox.command(&[&["run", "dag.json", "--format", "json"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Self { child, events: Some(events), last: Value::Null };
        while !until(&running.last) {
            running.last = running.event();
        }
        running
    }

    fn event(&mut self) -> Value {
        let line = self
            .events
            .as_mut()
            .and_then(Iterator::next)
            .unwrap_or_else(|| panic!("the run ended before what was waited for"));
        serde_json::from_str(&line.unwrap()).unwrap()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn ends(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// Whether a task has taken a state.
fn is(task: &'static str, state: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "task_state" && event["task_id"] == task && event["state"] == state
}

/// Whether a task has logged a line that holds this.
fn says(text: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "log" && event["line"].as_str().is_some_and(|line| line.contains(text))
}

#[test]
fn a_failing_task_fails_the_run_and_stops_only_its_descendants() {
    let sandbox = Sandbox::new();
    let tasks = dag(&[
        ("a", json!({"fail": true}), &[], json!({})),
        ("b", json!({}), &["a"], json!({})),
        ("c", json!({}), &["b"], json!({})),
        ("x", json!({}), &[], json!({})),
        ("y", json!({}), &["x"], json!({})),
    ]);
    sandbox.write("dag.json", &tasks);
    let ended = sandbox.oxidag(&["run", "dag.json", "--run-id", "r"]).expect_status(1);
    assert!(ended.stdout.contains("attempt 1 fails"), "{}", ended.stdout);
    let expected = json!({
        "a": "failed", "b": "upstream_failed", "c": "upstream_failed", "x": "success", "y": "success",
    });
    assert_eq!(states(&sandbox, "r"), expected);
}

#[test]
fn events_are_one_json_object_a_line() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.json",
        &dag(&[("a", json!({"fail": 1, "result": {"n": 1}}), &[], json!({"retries": 1, "retry_delay": 0}))]),
    );
    let ended = sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "json"]).expect_status(0);
    let events = ended.json_lines();
    assert_eq!(events.first().unwrap()["event"], "run_state");
    assert_eq!(events.last().unwrap()["state"], "success");
    assert!(events.iter().all(|e| e["run_id"] == "r" && e["ts"].as_str().unwrap().ends_with('Z')));
    let states: Vec<(u64, &str)> = (events.iter().filter(|e| e["event"] == "task_state"))
        .map(|e| (e["attempt"].as_u64().unwrap(), e["state"].as_str().unwrap()))
        .filter(|(_, state)| !["scheduled", "waiting"].contains(state))
        .collect();
    assert_eq!(states, [(1, "running"), (1, "up_for_retry"), (2, "running"), (2, "success")]);
}

#[test]
fn every_attempt_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.json",
        &dag(&[("a", json!({"fail": 2}), &[], json!({"retries": 3, "retry_delay": "10ms"}))]),
    );
    sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "quiet"]).expect_status(0);
    let run = shown(&sandbox, "r");
    let attempts = run["tasks"][0]["attempts"].as_array().unwrap();
    let states: Vec<&Value> = attempts.iter().map(|attempt| &attempt["state"]).collect();
    assert_eq!(states, ["failed", "failed", "success"]);
    assert!(attempts[0]["error"].to_string().contains("attempt 1 fails"));
    assert!(attempts.iter().all(|a| a["started_at"].as_str() <= a["finished_at"].as_str()));
}

#[test]
fn a_task_past_its_timeout_is_stopped() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.json",
        &dag(&[
            ("blocking", json!({"delay_ms": 600_000}), &[], json!({"timeout": "50ms"})),
            ("waiting", json!({"delay_ms": 600_000, "async": true}), &[], json!({"timeout": "50ms"})),
        ]),
    );
    sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "quiet"]).expect_status(1);
    let run = shown(&sandbox, "r");
    for task in run["tasks"].as_array().unwrap() {
        assert!(task["error"].to_string().contains("timeout of 50ms"), "{task}");
    }
}

#[test]
fn a_panicking_engine_costs_one_task() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "dag.json",
        &dag(&[("a", json!({"panic": true}), &[], json!({})), ("b", json!({}), &[], json!({}))]),
    );
    let ended = sandbox.oxidag(&["run", "dag.json", "--run-id", "r"]).expect_status(1);
    assert!(ended.stdout.contains("the engine panicked at"), "{}", ended.stdout);
    assert_eq!(states(&sandbox, "r"), json!({"a": "failed", "b": "success"}));
}

#[test]
fn ctrl_c_cancels_what_runs_and_keeps_it() {
    for (name, params) in
        [("INT", json!({"delay_ms": 600_000})), ("TERM", json!({"delay_ms": 600_000, "async": true}))]
    {
        let sandbox = Sandbox::new();
        sandbox
            .write("dag.json", &dag(&[("a", params, &[], json!({})), ("b", json!({}), &["a"], json!({}))]));
        let mut run = Running::start(&sandbox, &["--run-id", "r"], is("a", "running"));
        run.signal(&format!("-{name}"));
        assert_eq!(run.ends(), Some(130));
        let run = shown(&sandbox, "r");
        assert_eq!(run["state"], "cancelled");
        assert_eq!(states(&sandbox, "r"), json!({"a": "cancelled", "b": "cancelled"}));
    }
}

/// A run of an engine that does not listen; it goes on until the file `until` exists.
fn deaf() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("plugins.toml", &format!("[engines.rogue]\npath = {:?}\n", engine("rogue")));
    let script = json!({"engine": "rogue", "inline": "ignore cancellation"});
    let until = sandbox.path().join("until");
    let dag =
        json!({"dag_id": "d", "tasks": [{"task_id": "a", "script": script, "params": {"until": until}}]});
    sandbox.write("dag.json", &dag.to_string());
    sandbox
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let sandbox = deaf();
    let mut run = Running::start(&sandbox, &["--run-id", "r"], says("deaf"));
    run.signal("-INT");
    let mut message = String::new();
    BufReader::new(run.child.stderr.take().unwrap()).read_line(&mut message).unwrap();
    assert!(message.contains("cancel"), "{message}");
    run.signal("-INT");
    assert_eq!(run.ends(), Some(130));
    assert_eq!(states(&sandbox, "r"), json!({"a": "cancelled"}));
    let run = shown(&sandbox, "r");
    assert!(run["tasks"][0]["error"].to_string().contains("may still be running"), "{run}");
}

#[test]
fn a_run_is_cancelled_from_another_terminal() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.json", &dag(&[("a", json!({"delay_ms": 600_000}), &[], json!({}))]));
    let mut run = Running::start(&sandbox, &["--run-id", "r"], is("a", "running"));
    sandbox.oxidag(&["runs", "cancel", "r"]).expect_status(0);
    assert_eq!(run.ends(), Some(130));
    assert_eq!(states(&sandbox, "r"), json!({"a": "cancelled"}));
}

#[test]
fn a_killed_run_keeps_what_it_told() {
    let sandbox = Sandbox::new();
    let quick: Vec<String> = (0..200).map(|i| format!("t{i}")).collect();
    let mut tasks: Vec<(&str, Value, &[&str], Value)> =
        quick.iter().map(|id| (id.as_str(), json!({}), &[] as &[&str], json!({}))).collect();
    tasks.push(("slow", json!({"delay_ms": 600_000}), &[], json!({"priority": 1})));
    sandbox.write("dag.json", &dag(&tasks));
    let mut run =
        Running::start(&sandbox, &["--run-id", "r", "--workers", "2"], |event| event["state"] == "success");
    run.signal("-KILL");
    run.ends();
    let told: Vec<String> = run.events.take().into_iter().flatten().map_while(Result::ok).collect();
    let kept = states(&sandbox, "r");
    for event in told.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let task = event["task_id"].as_str().unwrap_or_default();
        if event["state"] == "success" && event["event"] == "task_state" {
            assert_eq!(kept[task], "success", "{task} was told as a success");
        }
    }
    assert_eq!(kept["slow"], "running");
    let list = sandbox.oxidag(&["runs", "list"]).expect_status(0);
    assert!(list.stdout.contains("interrupted"), "{}", list.stdout);
}

#[test]
fn a_run_has_one_owner() {
    let sandbox = deaf();
    let mut run = Running::start(&sandbox, &["--run-id", "r"], says("deaf"));
    let second = sandbox.oxidag(&["run", "dag.json", "--run-id", "r"]).expect_status(2);
    assert!(second.stderr.contains(&run.child.id().to_string()), "{}", second.stderr);
    sandbox.write("until", "");
    assert_eq!(run.ends(), Some(0));
}

#[test]
fn ten_thousand_asynchronous_tasks_wait_at_once_on_two_workers() {
    let sandbox = Sandbox::new();
    let ids: Vec<String> = (0..10_000).map(|i| format!("t{i}")).collect();
    let waiting = json!({"async": true, "delay_ms": 2000});
    let tasks: Vec<_> =
        ids.iter().map(|id| (id.as_str(), waiting.clone(), &[] as &[&str], json!({}))).collect();
    sandbox.write("dag.json", &dag(&tasks));
    sandbox
        .oxidag(&["run", "dag.json", "--run-id", "r", "--workers", "2", "--format", "quiet"])
        .expect_status(0);
    let run = shown(&sandbox, "r");
    let tasks = run["tasks"].as_array().unwrap();
    let last_start = tasks.iter().map(|t| t["started_at"].as_str().unwrap()).max();
    let first_finish = tasks.iter().map(|t| t["finished_at"].as_str().unwrap()).min();
    assert!(last_start < first_finish, "not all at once: {last_start:?} {first_finish:?}");
}

#[test]
fn the_processors_of_a_dag_limit_its_tasks_in_flight() {
    let sandbox = Sandbox::new();
    let waiting = |async_: bool| json!({"delay_ms": 20, "async": async_});
    let text = dag(&[
        ("a", waiting(true), &[], json!({})),
        ("b", waiting(true), &[], json!({})),
        ("c", waiting(false), &[], json!({})),
        ("d", waiting(false), &[], json!({})),
    ]);
    let mut dag: Value = serde_json::from_str(&text).unwrap();
    dag["processors"] = json!(1);
    sandbox.write("dag.json", &dag.to_string());
    sandbox.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "quiet"]).expect_status(0);
    let run = shown(&sandbox, "r");
    let time = |task: &Value, key: &str| task[key].as_str().unwrap().to_owned();
    let mut spans: Vec<_> = (run["tasks"].as_array().unwrap().iter())
        .map(|t| (time(t, "started_at"), time(t, "finished_at")))
        .collect();
    spans.sort();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{spans:?}");
}

#[test]
fn no_secret_reaches_a_log_an_event_the_store_or_a_message() {
    const SECRET: &str = "correct horse \"battery\" staple";
    for (script, status) in [("tell everything", 0), ("fail with everything", 1)] {
        let sandbox = Sandbox::new();
        let plugins = format!(
            "[engines.rogue]\npath = {:?}\n[connections.PG]\nurl = {{ file = 'secret.txt' }}\n",
            engine("rogue")
        );
        sandbox.write("plugins.toml", &plugins);
        sandbox.write("secret.txt", SECRET);
        let task = json!({"task_id": "a", "script": {"engine": "rogue", "inline": script}, "params": {"**PG_url": "", "open": "visible"}});
        sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
        let mut shown = String::new();
        for (id, format) in [("r1", "json"), ("r2", "human"), ("r3", "quiet")] {
            let ended = sandbox
                .oxidag(&["run", "dag.json", "--run-id", id, "--format", format])
                .expect_status(status);
            shown += &format!("{}{}", ended.stdout, ended.stderr);
        }
        shown += &sandbox.oxidag(&["runs", "show", "r1", "--json"]).expect_status(0).stdout;
        shown += &sandbox.oxidag(&["runs", "logs", "r1", "a"]).expect_status(0).stdout;
        assert!(shown.contains("***") && shown.contains("visible"), "{shown}");
        let found = |text: &str| ["correct horse", "battery"].iter().any(|part| text.contains(part));
        assert!(!found(&shown), "{shown}");
        for file in files(&sandbox.home()) {
            assert!(!found(&String::from_utf8_lossy(&fs::read(&file).unwrap())), "{}", file.display());
        }
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_result_that_is_too_large_fails_its_task() {
    let sandbox = Sandbox::new();
    sandbox.write("plugins.toml", &format!("[engines.rogue]\npath = {:?}\n", engine("rogue")));
    let task = json!({"task_id": "a", "script": {"engine": "rogue", "inline": "large result"}});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    let ended: Ended = sandbox.oxidag(&["run", "dag.json"]).expect_status(1);
    assert!(ended.stdout.contains("65536"), "{}", ended.stdout);
}

#[test]
fn an_environment_swaps_the_engine_of_the_same_dag() {
    let sandbox = Sandbox::new();
    sandbox.write("plugins.toml", &format!("[engines.work]\npath = {:?}\n", engine("noop")));
    sandbox.write(
        "plugins.prod.toml",
        &format!("[engines.work]\npath = {:?}\nconfig = {{number = 7}}\n", engine("rogue")),
    );
    let task = json!({"task_id": "a", "script": {"engine": "work", "inline": ""}});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    let metrics = |arguments: &[&str]| {
        sandbox.oxidag(&[&["run", "dag.json", "--format", "quiet"], arguments].concat()).expect_status(0);
        sandbox.oxidag(&["runs", "show", "latest", "--json"]).expect_status(0).json()["tasks"][0]["attempts"]
            [0]["metrics"]
            .clone()
    };
    assert_eq!(metrics(&[]), Value::Null);
    assert_eq!(metrics(&["--env", "prod"]), json!({"number": 7}));
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_run() {
    let sandbox = Sandbox::new();
    let ids: Vec<String> = (0..2000).map(|i| format!("t{i}")).collect();
    let tasks: Vec<_> = ids.iter().map(|id| (id.as_str(), json!({}), &[] as &[&str], json!({}))).collect();
    sandbox.write("dag.json", &dag(&tasks));
    let mut run = Running::start(&sandbox, &["--run-id", "r"], |event| event["state"] == "running");
    run.events = None;
    assert_eq!(run.ends(), Some(0));
    let run = shown(&sandbox, "r");
    assert_eq!(run["state"], "success");
}

#[test]
fn the_command_line_gives_placeholders_their_values() {
    let sandbox = Sandbox::new();
    let script = json!({"engine": "shell", "inline": "#!/bin/sh\necho 'a={a} b={b} c={c} {{}}'\n"});
    let task = json!({"task_id": "t", "script": script, "params": {"a": 1, "b": "two"}});
    sandbox.write(
        "dag.json",
        &json!({"dag_id": "d", "params": {"a": 0, "c": [3]}, "tasks": [task]}).to_string(),
    );
    sandbox.oxidag(&["run", "dag.json", "-p", "b=2", "--run-id", "r", "--format", "quiet"]).expect_status(0);
    let log = sandbox.oxidag(&["runs", "logs", "r", "t"]).expect_status(0).stdout;
    assert!(log.contains("a=1 b=2 c=[3] {}"), "{log}");
}

#[test]
fn a_slow_task_does_not_hold_back_others() {
    let sandbox = Sandbox::new();
    let text = dag(&[
        ("slow", json!({"delay_ms": 600_000}), &[], json!({"priority": 1})),
        ("a", json!({}), &[], json!({})),
        ("b", json!({}), &["a"], json!({})),
        ("c", json!({}), &["b"], json!({})),
    ]);
    sandbox.write("dag.json", &text);
    let mut run = Running::start(&sandbox, &["--workers", "2"], is("c", "success"));
    run.signal("-INT");
    assert_eq!(run.ends(), Some(130));
}

#[test]
fn a_shell_task_is_cancelled_with_its_children() {
    let sandbox = Sandbox::new();
    let script = json!({"engine": "shell", "inline": "sleep 600 & echo child $! ; wait\n"});
    sandbox.write(
        "dag.json",
        &json!({"dag_id": "d", "tasks": [{"task_id": "t", "script": script}]}).to_string(),
    );
    let mut run = Running::start(&sandbox, &["--run-id", "r"], says("child "));
    let pid = run.last["line"].as_str().unwrap().trim_start_matches("child ").to_owned();
    assert!(fs::exists(format!("/proc/{pid}")).unwrap());
    run.signal("-INT");
    assert_eq!(run.ends(), Some(130));
    // Whoever adopts the grandchild reaps it in its own time; until then it is a zombie.
    let ended = || !fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !ended() {
        assert!(std::time::Instant::now() < deadline, "the script's child lives on");
        thread::yield_now();
    }
}

#[test]
fn every_line_of_a_log_is_told_before_its_task_ends() {
    let sandbox = Sandbox::new();
    let script = json!({"engine": "shell", "inline": "seq 1 20000\n"});
    sandbox.write(
        "dag.json",
        &json!({"dag_id": "d", "tasks": [{"task_id": "t", "script": script}]}).to_string(),
    );
    let events = sandbox.oxidag(&["run", "dag.json", "--format", "json"]).expect_status(0).json_lines();
    let end = events.iter().position(|event| is("t", "success")(event)).unwrap();
    let numbers: Vec<&str> = (events[..end].iter())
        .filter(|event| event["level"] == "stdout")
        .map(|event| event["line"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = (1..=20_000).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_slow_reader_delays_lines_and_loses_none() {
    let sandbox = Sandbox::new();
    let script = json!({"engine": "shell", "inline": "echo first; seq 1 60000\n"});
    sandbox.write(
        "dag.json",
        &json!({"dag_id": "d", "tasks": [{"task_id": "t", "script": script}]}).to_string(),
    );
    let mut run = Running::start(&sandbox, &["--run-id", "r"], says("first"));
    // So many lines are more than the reporter may be behind: from here on, lines have to wait.
    let log = sandbox.home().join("logs/d/t/r.1.log");
    while fs::read_to_string(&log).unwrap().lines().count() < 16 * 1024 {
        thread::yield_now();
    }
    let mut lines = 0;
    while !is("t", "success")(&run.last) {
        run.last = run.event();
        lines += usize::from(run.last["level"] == "stdout");
    }
    assert_eq!(lines, 60_000);
    assert_eq!(run.ends(), Some(0));
}

#[test]
fn an_unwritable_log_folder_fails_the_run_and_the_state_stays_readable() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.json", &dag(&[("a", json!({}), &[], json!({}))]));
    // A file where a folder should be stops root as well.
    sandbox.write(".oxidag/logs/d", "");
    let ended = sandbox.oxidag(&["run", "dag.json", "--run-id", "r"]).expect_status(1);
    assert!(ended.stdout.contains("cannot write the log"), "{}", ended.stdout);
    assert_eq!(shown(&sandbox, "r")["state"], "failed");
    assert_eq!(states(&sandbox, "r"), json!({"a": "cancelled"}));
}
