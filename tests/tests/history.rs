//! What is told of runs that are over, what is removed of them, and what a run would do: from the built program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use oxidag_tests::{Sandbox, built};
use serde_json::{Value, json};

/// A DAG in JSON of these tasks on the noop engine: id, parameters, dependencies, and more keys.
fn noop_dag(dag_id: &str, tasks: &[(&str, Value, Value)]) -> String {
    let task = |(id, params, more): &(&str, Value, Value)| {
        let mut task = json!({"task_id": id, "script": {"engine": "noop", "inline": ""}, "params": params});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        task
    };
    json!({"dag_id": dag_id, "tasks": tasks.iter().map(task).collect::<Vec<_>>()}).to_string()
}

/// Runs `dag.json` to its end under this id.
fn run(sandbox: &Sandbox, run_id: &str, arguments: &[&str], status: i32) {
    let always = ["run", "dag.json", "--format", "quiet", "--run-id", run_id];
    drop(sandbox.oxidag(&[&always, arguments].concat()).expect_status(status));
}

fn ids(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let list = sandbox.oxidag(&[&["runs", "list", "--json"], arguments].concat()).expect_status(0).json();
    let id = |run: &Value| run["run_id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(id).collect()
}

fn attempts(sandbox: &Sandbox, run_id: &str, task: usize) -> Vec<Value> {
    let run = sandbox.oxidag(&["runs", "show", run_id, "--json"]).expect_status(0).json();
    run["tasks"][task]["attempts"].as_array().unwrap().clone()
}

/// A run on its way; it is killed when its test ends, if not before.
struct Running {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts a run, and waits until one of its tasks runs.
    fn start(sandbox: &Sandbox, run_id: &str) -> Self {
        let mut command = sandbox.command(&["run", "dag.json", "--format", "json", "--run-id", run_id]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Self { child, events };
        let runs = |line: String| {
            let event: Value = serde_json::from_str(&line).unwrap();
            event["event"] == "task_state" && event["state"] == "running"
        };
        assert!(running.events.by_ref().map_while(Result::ok).any(runs), "the run ended before its task ran");
        running
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        assert!(self.events.by_ref().all(|line| line.is_ok()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn waiting_running_and_being_deferred_are_stored_apart() {
    let sandbox = Sandbox::new();
    let tasks = [
        ("first", json!({"delay_ms": 100}), json!({"priority": 1})),
        ("second", json!({"fail": 1}), json!({"retries": 1, "retry_delay": 0})),
        ("remote", json!({"delay_ms": 1000, "async": true}), json!({})),
    ];
    sandbox.write("dag.json", &noop_dag("d", &tasks));
    run(&sandbox, "r", &["--workers", "1"], 0);
    let time = |attempt: &Value, key: &str| attempt[key].as_str().map(str::to_owned);
    let first = &attempts(&sandbox, "r", 0)[0];
    let second = attempts(&sandbox, "r", 1);
    // Both became ready at once; there was a place for one.
    assert_eq!(first["scheduled_at"], second[0]["scheduled_at"]);
    assert!(time(&second[0], "started_at") >= time(first, "finished_at"));
    assert!(time(&second[1], "scheduled_at") >= time(&second[0], "finished_at"));
    assert!(time(&second[1], "scheduled_at") <= time(&second[1], "started_at"));
    assert_eq!((&first["deferred_at"], &second[0]["deferred_at"]), (&Value::Null, &Value::Null));
    let remote = &attempts(&sandbox, "r", 2)[0];
    assert!(time(remote, "started_at") <= time(remote, "deferred_at"));
    assert!(
        time(remote, "deferred_at").is_some() && time(remote, "deferred_at") < time(remote, "finished_at")
    );
}

#[test]
fn every_attempt_is_shown_and_drawn_with_what_it_did() {
    let sandbox = Sandbox::new();
    let tasks = [
        ("long", json!({"delay_ms": 400}), json!({"priority": 1})),
        ("tried", json!({"fail": 1, "delay_ms": 200}), json!({"retries": 1, "retry_delay": 0})),
        ("remote", json!({"delay_ms": 400, "async": true}), json!({})),
    ];
    sandbox.write("dag.json", &noop_dag("d", &tasks));
    run(&sandbox, "r", &["--workers", "1"], 0);
    let shown = sandbox.oxidag(&["runs", "show", "r"]).expect_status(0).stdout;
    let row = |name: &str| {
        let row = shown.lines().find(|line| line.trim_start().starts_with(name));
        row.unwrap_or_else(|| panic!("{name} is not in:\n{shown}"))
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row("TASK"), ["TASK", "ENGINE", "STATE", "START", "END", "WAITED", "RAN", "DEFERRED"]);
    assert_eq!(row("attempt 1")[2], "failed");
    assert_eq!(row("attempt 2")[2], "success");
    assert_eq!(row("tried").len(), 7, "it was not deferred: {shown}");
    assert_eq!(row("remote").len(), 8, "{shown}");
    assert!(shown.contains("\ntried attempt 1 failed: "), "{shown}");

    let drawn = sandbox.oxidag(&["runs", "gantt", "r"]).expect_status(0).stdout;
    let row = |name: &str| drawn.lines().find(|line| line.starts_with(name)).unwrap();
    // Between the two attempts there is as much as the machine took for it.
    let (failed, good) = row("tried").split_once('x').unwrap();
    assert!(failed.contains("░█") && good.contains('█'), "{drawn}");
    assert!(row("remote").contains('▒') && !row("long").contains('▒'), "{drawn}");
    assert!(drawn.ends_with("░ waiting  █ running  ▒ deferred  x failed\n"), "{drawn}");

    let svg = sandbox.oxidag(&["runs", "gantt", "r", "--svg", "-"]).expect_status(0).stdout;
    for what in [
        "tried, attempt 1: waiting ",
        "tried, attempt 1: running ",
        "tried, attempt 2: running ",
        "remote, attempt 1: deferred ",
        ">failed</text>",
    ] {
        assert!(svg.contains(what), "{what} is not in:\n{svg}");
    }
}

#[test]
fn runs_are_listed_since_a_time() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.json", &noop_dag("d", &[("a", json!({}), json!({}))]));
    run(&sandbox, "r", &[], 0);
    for since in ["1h", "7d", "2000-01-01", "2000-01-01T00:00:00+02:00"] {
        assert_eq!(ids(&sandbox, &["--since", since]), ["r"], "{since}");
    }
    for since in ["2999-01-01", "2999-01-01T12:00:00Z"] {
        assert_eq!(ids(&sandbox, &["--since", since]), [""; 0], "{since}");
    }
    assert_eq!(ids(&sandbox, &["--since", "1h", "--dag", "d", "--state", "success"]), ["r"]);
    assert_eq!(ids(&sandbox, &["--since", "1h", "--state", "failed"]), [""; 0]);
    for since in ["yesterday", "12", "2026-02-30"] {
        let ended = sandbox.oxidag(&["runs", "list", "--since", since]).expect_status(2);
        assert!(ended.stdout.is_empty() && ended.stderr.contains("a date such as"), "{}", ended.stderr);
    }
}

/// Files below the logs' folder, and folders in which nothing is.
fn logs(sandbox: &Sandbox) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let entries: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        if entries.is_empty() {
            found.push(folder.to_owned());
        }
        for path in entries {
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    let root = sandbox.home().join("logs");
    walk(&root, &mut found);
    let mut found: Vec<String> =
        found.iter().map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect();
    found.sort();
    found
}

#[test]
fn old_runs_are_removed_with_their_logs() {
    let sandbox = Sandbox::new();
    let script = json!({"engine": "shell", "inline": "echo hello"});
    let dag = json!({"dag_id": "d", "tasks": [{"task_id": "a", "script": script}]});
    sandbox.write("dag.json", &dag.to_string());
    for run_id in ["r1", "r2", "r3"] {
        run(&sandbox, run_id, &[], 0);
    }
    let prune = |arguments: &[&str], status| {
        sandbox.oxidag(&[&["runs", "prune"], arguments].concat()).expect_status(status)
    };
    let would = prune(&["--keep", "1", "--dry-run", "--json"], 0).json();
    assert_eq!((&would["dry_run"], &would["log_files"]), (&json!(true), &json!(4)));
    let of = |pruned: &Value| -> Vec<Value> {
        pruned["runs"].as_array().unwrap().iter().map(|run| run["run_id"].clone()).collect()
    };
    assert_eq!(of(&would), ["r1", "r2"]);
    let said = prune(&["--keep", "1", "--dry-run"], 0).stdout;
    assert!(said.contains("would remove 2 runs and 4 log files"), "{said}");
    assert_eq!(ids(&sandbox, &[]), ["r3", "r2", "r1"]);

    assert_eq!(prune(&["--older-than", "1h"], 0).stdout, "there is no run to remove\n");
    let said = prune(&["--keep", "1"], 0).stdout;
    assert!(said.starts_with("removed 2 runs and 4 log files ("), "{said}");
    assert_eq!(ids(&sandbox, &[]), ["r3"]);
    assert_eq!(logs(&sandbox), ["d/a/r3.1.log", "d/r3.log"]);
    let pruned = prune(&["--older-than", "0s", "--json"], 0).json();
    assert_eq!((of(&pruned), &pruned["dry_run"]), (vec![json!("r3")], &json!(false)));
    assert_eq!(logs(&sandbox), [""]);
    // An id that is free again can be used again.
    run(&sandbox, "r1", &[], 0);
}

#[test]
fn runs_that_live_or_could_be_resumed_are_not_removed() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.json", &noop_dag("d", &[("a", json!({"delay_ms": 600_000}), json!({}))]));
    Running::start(&sandbox, "dead").kill();
    let _living = Running::start(&sandbox, "living");
    let ended = sandbox.oxidag(&["runs", "prune", "--keep", "0"]).expect_status(0);
    assert_eq!(ended.stdout, "there is no run to remove\n");
    assert!(ended.stderr.contains("kept 1 interrupted run, which can still be resumed"), "{}", ended.stderr);
    assert!(ended.stderr.contains("kept 1 run that a process owns"), "{}", ended.stderr);
    let ended = sandbox.oxidag(&["runs", "prune", "--keep", "0", "--interrupted"]).expect_status(0);
    assert!(ended.stdout.starts_with("removed 1 run and "), "{}", ended.stdout);
    assert_eq!(ids(&sandbox, &[]), ["living"]);
}

#[test]
fn pruning_says_what_it_does_not_understand() {
    let sandbox = Sandbox::new();
    let refused = |arguments: &[&str]| {
        let ended = sandbox.oxidag(&[&["runs", "prune"], arguments].concat()).expect_status(2);
        assert_eq!(ended.stdout, "");
        ended.stderr
    };
    assert!(refused(&[]).contains("<--keep <N>|--older-than <DURATION>>"), "{}", refused(&[]));
    assert!(refused(&["--older-than", "30"]).contains("write a number with its unit"));
    assert!(refused(&["--keep", "-1"]).contains("--keep"));
    let unknown = "error: there is no run of the DAG `x`; `oxidag runs list` shows those there are\n";
    assert_eq!(refused(&["--keep", "1", "--dag", "x"]), unknown);
    assert!(!sandbox.home().exists(), "nothing is made for that");
    sandbox.write("dag.json", &noop_dag("d", &[("a", json!({}), json!({}))]));
    run(&sandbox, "r", &[], 0);
    assert_eq!(refused(&["--keep", "1", "--dag", "x"]), unknown);
}

/// The program as somebody who may not write where the runs are. Root may write anywhere, so it becomes another user.
fn as_reader(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let program = sandbox.path().join("oxidag");
    if !program.exists() {
        let copied = Command::new("cp").arg(built().join("oxidag")).arg(&program).status().unwrap();
        assert!(copied.success());
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(sandbox.path()).env("OXIDAG_HOME", sandbox.home());
    if fs::metadata(sandbox.home()).unwrap().uid() == 0 {
        command.uid(65_534).gid(65_534);
    }
    command
}

fn protect(folder: &Path, folders: u32, files: u32) {
    fs::set_permissions(folder, Permissions::from_mode(folders | 0o700)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            protect(&path, folders, files);
        } else {
            fs::set_permissions(path, Permissions::from_mode(files)).unwrap();
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(folders)).unwrap();
}

#[test]
fn a_reader_sees_a_dead_run_to_its_last_event_or_is_told_that_there_is_more() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.json", &noop_dag("d", &[("a", json!({"delay_ms": 600_000}), json!({}))]));
    Running::start(&sandbox, "dead").kill();
    fs::set_permissions(sandbox.path(), Permissions::from_mode(0o755)).unwrap();
    // Whether its last events were in the database yet is chance; this one is in the journal alone.
    protect(&sandbox.home(), 0o555, 0o444);
    let show = |arguments: &[&str]| {
        let output = as_reader(&sandbox, &[&["runs"], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (shown, said) = show(&["show", "dead", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["tasks"][0]["state"], &shown["interrupted"]), (&json!("running"), &json!(true)));
    assert_eq!(said, "");

    let journal = sandbox.home().join("journal/dead.journal");
    fs::set_permissions(&journal, Permissions::from_mode(0o000)).unwrap();
    for arguments in [&["show", "dead"][..], &["list"], &["gantt", "dead"]] {
        let said = show(arguments).1;
        let expected = format!(
            "the last events of the run dead are in its journal, which cannot be brought into the database: {}: \
             Permission denied (os error 13)\n",
            journal.display()
        );
        assert_eq!(said, expected, "{arguments:?}");
    }
    protect(&sandbox.home(), 0o755, 0o644);
}

/// A DAG of shell scripts: id, script, dependencies.
fn shell_dag(tasks: &[(&str, &str, &[&str])]) -> String {
    let task = |(id, script, upstream): &(&str, &str, &[&str])| json!({"task_id": id, "script": {"engine": "shell", "inline": script}, "dependencies": upstream});
    json!({"dag_id": "d", "tasks": tasks.iter().map(task).collect::<Vec<_>>()}).to_string()
}

#[test]
fn a_dry_run_finds_what_would_fail_and_runs_nothing() {
    let sandbox = Sandbox::new();
    let scripts: [(&str, &str, &[&str]); 3] = [
        ("last", "touch ran", &["good", "bad"]),
        ("bad", "#!/bin/bash\ntouch ran\nif true; fi\n", &[]),
        ("good", "touch ran\r\n", &[]),
    ];
    sandbox.write("dag.json", &shell_dag(&scripts));
    let ended = sandbox.oxidag(&["run", "dag.json", "--dry-run"]).expect_status(2);
    assert_eq!(ended.stdout, "");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with("inline:3: error: ") && lines[0].ends_with(" (task `bad`)"), "{lines:?}");
    assert!(lines[1].starts_with("inline:1: warning: ") && lines[1].ends_with(" (task `good`)"), "{lines:?}");
    assert_eq!(lines[2..], ["d: 1 error; nothing ran"]);

    let found = sandbox.oxidag(&["run", "dag.json", "--dry-run", "--json"]).expect_status(2).json();
    let found = &found[0];
    assert_eq!((&found["errors"], &found["warnings"]), (&json!(1), &json!(1)));
    assert_eq!(found["order"][2], "last");
    let ids: Vec<&Value> = found["tasks"].as_array().unwrap().iter().map(|task| &task["task_id"]).collect();
    assert_eq!(ids, ["last", "bad", "good"]);
    let finding = &found["tasks"][1]["findings"][0];
    assert_eq!((&finding["severity"], &finding["line"]), (&json!("error"), &json!(3)));
    assert!(!sandbox.path().join("ran").exists() && !sandbox.home().exists());
}

#[test]
fn a_dry_run_lists_what_would_run_in_order() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.json", &shell_dag(&[("b", "true", &["a"]), ("a", "true", &[])]));
    let ended = sandbox.oxidag(&["run", "dag.json", "--dry-run", "--workers", "2"]).expect_status(0);
    let expected = "d would run 2 tasks in this order:
   TASK  ENGINE  SCRIPT
1  a     shell   inline
2  b     shell   inline
no mistake was found; nothing ran
";
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (expected, ""));
    assert!(!sandbox.home().exists());
}

#[test]
fn a_dry_run_of_many_tasks_keeps_their_order() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..40).map(|i| format!("t{i}")).collect();
    let broken = |i: usize| if i.is_multiple_of(7) { "if\n" } else { "true\n" };
    let tasks: Vec<(&str, &str, &[&str])> =
        names.iter().enumerate().map(|(i, name)| (name.as_str(), broken(i), &[] as &[&str])).collect();
    sandbox.write("dag.json", &shell_dag(&tasks));
    let found =
        sandbox.oxidag(&["run", "dag.json", "--dry-run", "--json", "--workers", "8"]).expect_status(2).json();
    let found = &found[0];
    for (i, task) in found["tasks"].as_array().unwrap().iter().enumerate() {
        assert_eq!(task["task_id"], *names[i]);
        assert_eq!(task["findings"].as_array().unwrap().is_empty(), !i.is_multiple_of(7), "{task}");
    }
    assert_eq!(found["errors"], 6);
}

#[test]
fn a_dry_run_of_a_part_looks_at_that_part_and_says_what_is_left_out() {
    let sandbox = Sandbox::new();
    let scripts: [(&str, &str, &[&str]); 3] =
        [("bad", "if", &[]), ("a", "true", &["bad"]), ("b", "true", &["a"])];
    sandbox.write("dag.json", &shell_dag(&scripts));
    let found = |arguments: &[&str], status| {
        let ended = sandbox.oxidag(&[&["run", "dag.json", "--dry-run", "--json"], arguments].concat());
        let ended = ended.expect_status(status);
        (ended.json()[0]["order"].clone(), ended.stderr)
    };
    assert_eq!(found(&[], 2), (json!(["bad", "a", "b"]), String::new()));
    let said = "left out: 1 task: bad\n".to_owned();
    assert_eq!(found(&["--from", "a"], 0), (json!(["a", "b"]), said));
    let said = "left out: 2 tasks: bad, a\n".to_owned();
    assert_eq!(found(&["--only", "b"], 0), (json!(["b"]), said));
}

#[test]
fn a_dry_run_of_several_dags_looks_at_all_of_them() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.json", &shell_dag(&[("good", "true", &[])]));
    sandbox.write("bad.json", &shell_dag(&[("bad", "if", &[])]).replace("\"d\"", "\"e\""));
    let ended = sandbox.oxidag(&["run", "bad.json", "dag.json", "--dry-run", "--json"]).expect_status(2);
    let errors: Vec<Value> =
        ended.json().as_array().unwrap().iter().map(|dag| dag["errors"].clone()).collect();
    assert_eq!(errors, [1, 0]);
    let ended = sandbox.oxidag(&["run", "dag.json", "bad.json", "--dry-run"]).expect_status(2);
    assert_eq!(ended.stdout, "", "one of them would not run");
    assert!(ended.stderr.ends_with("e: 1 error; nothing ran\n"), "{}", ended.stderr);
}

#[test]
fn a_dry_run_tells_no_secret() {
    let sandbox = Sandbox::new();
    let plugins = fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap();
    sandbox.write("plugins.toml", &format!("{plugins}[connections.PG]\npassword = \"open_sesame\"\n"));
    let script = json!({"engine": "shell", "inline": "#!/bin/bash\ncase x in x) ;; esac {PG_password}\n"});
    let task = json!({"task_id": "a", "script": script, "params": {"**PG_password": ""}});
    sandbox.write("dag.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
    for arguments in [&["--json"][..], &[]] {
        let ended = sandbox.oxidag(&[&["run", "dag.json", "--dry-run"], arguments].concat()).expect_status(2);
        let told = ended.stdout + &ended.stderr;
        assert!(told.contains("***") && !told.contains("sesame"), "{told}");
    }
}

#[test]
fn a_dry_run_refuses_what_a_run_refuses_and_what_makes_no_sense() {
    let sandbox = Sandbox::new();
    sandbox.write("dag.json", &shell_dag(&[("a", "echo {missing}", &[])]));
    let run = sandbox.oxidag(&["run", "dag.json"]).expect_status(2).stderr;
    assert_eq!(sandbox.oxidag(&["run", "dag.json", "--dry-run"]).expect_status(2).stderr, run);
    for arguments in [
        &["--dry-run", "--run-id", "r"][..],
        &["--dry-run", "--format", "json"],
        &["--dry-run", "--resume"],
        &["--json"],
    ] {
        let ended = sandbox.oxidag(&[&["run", "dag.json"], arguments].concat()).expect_status(2);
        assert!(ended.stderr.contains("--dry-run"), "{}", ended.stderr);
    }
}

/// How long the successful attempts of a task took in these runs, in microseconds.
fn took(sandbox: &Sandbox, runs: &[&str], task: usize) -> Vec<u128> {
    let of = |run: &&str| {
        let attempt = attempts(sandbox, run, task).pop().unwrap();
        let at = |key: &str| humantime::parse_rfc3339(attempt[key].as_str().unwrap()).unwrap();
        at("finished_at").duration_since(at("started_at")).unwrap().as_micros()
    };
    runs.iter().map(of).collect()
}

#[test]
fn what_ran_is_planned_and_ordered_by_the_medians_of_past_runs() {
    let sandbox = Sandbox::new();
    let said = json!({"expected_duration": "3s"});
    let tasks = [
        ("short", json!({"delay_ms": 1}), json!({})),
        ("long", json!({"delay_ms": 60}), json!({})),
        ("said", json!({"delay_ms": 20}), said),
    ];
    sandbox.write("dag.json", &noop_dag("d", &tasks));
    let plan = || sandbox.oxidag(&["plan", "dag.json", "--workers", "1", "--json"]).expect_status(0).json();
    let planned = |plan: &Value, key: &str| -> Vec<Value> {
        plan["tasks"].as_array().unwrap().iter().map(|task| task[key].clone()).collect()
    };
    // Nothing is known: the file's word, then the file's order.
    let first = plan();
    assert_eq!(planned(&first, "task_id"), ["said", "short", "long"]);
    assert_eq!(planned(&first, "expected_from"), ["file", "default", "default"]);
    assert_eq!(planned(&first, "expected"), [3.0, 1.0, 1.0]);

    run(&sandbox, "r1", &["--workers", "1"], 0);
    run(&sandbox, "r2", &["--workers", "1"], 0);
    let second = plan();
    assert_eq!(planned(&second, "expected_from"), ["history", "history", "history"]);
    let mut expected: Vec<(u128, &str)> = Vec::new();
    for (name, number) in [("short", 0), ("long", 1), ("said", 2)] {
        // The median of two is their mean.
        let micros = took(&sandbox, &["r1", "r2"], number).iter().sum::<u128>() / 2;
        let all = second["tasks"].as_array().unwrap();
        let planned = all.iter().find(|task| task["task_id"] == name).unwrap();
        let planned = planned["expected"].as_f64().unwrap();
        assert!((planned * 1e6 - micros as f64).abs() < 1.0, "{name}: {planned} is not {micros} us");
        expected.push((micros, name));
    }
    expected.sort_unstable();
    let longest_first: Vec<&str> = expected.iter().rev().map(|(_, name)| *name).collect();
    assert_eq!(planned(&second, "task_id"), longest_first);

    // A run takes the order of its plan.
    run(&sandbox, "r3", &["--workers", "1"], 0);
    let shown = sandbox.oxidag(&["runs", "show", "r3", "--json"]).expect_status(0).json();
    let mut started: Vec<&Value> = shown["tasks"].as_array().unwrap().iter().collect();
    started.sort_by_key(|task| task["started_at"].as_str().map(str::to_owned));
    let started: Vec<Value> = started.iter().map(|task| task["task_id"].clone()).collect();
    assert_eq!(started, planned(&second, "task_id"));

    // A task that has never run is taken for one of its engine's.
    let tasks = [tasks.as_slice(), &[("new", json!({}), json!({}))]].concat();
    sandbox.write("dag.json", &noop_dag("d", &tasks));
    let third = plan();
    let all = third["tasks"].as_array().unwrap();
    let new = all.iter().find(|task| task["task_id"] == "new").unwrap();
    assert_eq!(new["expected_from"], "engine");
    let text = sandbox.oxidag(&["plan", "dag.json", "--workers", "1"]).expect_status(0).stdout;
    assert!(
        text.contains("durations: 3 from past runs (past), 1 from other tasks of the engine (engine)\n"),
        "{text}"
    );
    assert!(text.lines().any(|line| line.starts_with("new ") && line.contains(" engine")), "{text}");
    let longest = third["critical_path"][0].as_str().unwrap();
    let is_longest = |line: &str| line.starts_with(longest) && line.ends_with(" past   *");
    assert!(text.lines().any(is_longest), "{text}");
}

#[test]
fn plans_for_several_numbers_of_workers_are_compared() {
    let sandbox = Sandbox::new();
    let second = json!({"expected_duration": 1});
    let after = json!({"expected_duration": 1, "dependencies": ["c"]});
    let tasks = [
        ("a", json!({}), second.clone()),
        ("b", json!({}), second.clone()),
        ("c", json!({}), second),
        ("d", json!({}), after),
    ];
    sandbox.write("dag.json", &noop_dag("d", &tasks));
    let plan = |more: &[&str]| {
        sandbox.oxidag(&[&["plan", "dag.json", "--workers", "1,2,4,8"], more].concat()).expect_status(0)
    };
    let compared = plan(&["--json"]).json();
    let of = |key: &str| -> Vec<Value> {
        compared["plans"].as_array().unwrap().iter().map(|plan| plan[key].clone()).collect()
    };
    assert_eq!(of("workers"), [1, 2, 4, 8]);
    assert_eq!(of("makespan"), [4.0, 2.0, 2.0, 2.0]);
    assert_eq!(of("lower_bound"), [4.0, 2.0, 2.0, 2.0]);
    assert_eq!(of("fifo_makespan"), [4.0, 3.0, 2.0, 2.0]);
    assert_eq!(of("utilisation"), [1.0, 1.0, 0.5, 0.25]);
    assert_eq!((&compared["enough_workers"], &compared["critical_path"]), (&json!(2), &json!(["c", "d"])));
    let text = plan(&[]).stdout;
    let row = text.lines().find(|line| line.starts_with("2 ")).unwrap();
    assert!(row.contains("33.3 %") && row.ends_with("enough"), "{text}");
    assert!(text.contains("critical path: c → d\n"), "{text}");

    // For one number there is one plan, as ever.
    let one = sandbox.oxidag(&["plan", "dag.json", "--workers", "2", "--json"]).expect_status(0).json();
    assert_eq!(
        (&one["makespan"], &one["lower_bound"], &one["workers"]),
        (&json!(2.0), &json!(2.0), &json!(2))
    );
    assert_eq!(
        one["tasks"][0],
        json!({
            "task_id": "c", "start": 0.0, "finish": 1.0, "expected": 1.0, "expected_from": "file", "critical": true,
        })
    );
    let wrong = sandbox.oxidag(&["plan", "dag.json", "--workers", "2,0"]).expect_status(2);
    assert!(wrong.stdout.is_empty(), "{}", wrong.stdout);
}
