//! `oxidag run` as it is seen without a terminal, in each of its formats.

use oxidag_tests::Sandbox;

const DAG: &str = "dag_id: nightly
tasks:
- {task_id: load, script: {engine: noop, inline: ''}}
- {task_id: count, script: {engine: noop, inline: ''}, dependencies: [load], retries: 1, retry_delay: 0, params: {fail: true}}
- {task_id: report, script: {engine: noop, inline: ''}, dependencies: [count]}
";

fn sandbox(dag: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("dag.yaml", dag);
    sandbox
}

#[test]
fn lines_tell_every_start_and_end_and_a_summary_ends_them() {
    let sandbox = sandbox(DAG);
    let ended = sandbox.oxidag(&["run", "dag.yaml", "--run-id", "r1", "--workers", "3"]).expect_status(1);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[0], "run r1 of nightly: 3 tasks, 3 workers");
    let said: Vec<String> = lines[1..8]
        .iter()
        .map(|line| line.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "running load",
        "success load",
        "running count",
        "up_for_retry count",
        "running count",
        "failed count",
        "upstream_failed report",
    ];
    assert_eq!(said, expected, "{}", ended.stdout);
    for part in [
        "count failed in attempt 2 after ",
        "  │ error  attempt 2 fails",
        "oxidag runs logs r1 count",
        "1 success, 1 failed, 1 upstream_failed",
        "oxidag runs show r1",
        "logs/nightly",
    ] {
        assert!(ended.stdout.contains(part), "{part:?} is not in:\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains('\x1b') && ended.stderr.is_empty(), "{}", ended.stderr);
}

#[test]
fn colours_can_be_forced() {
    let sandbox = sandbox(DAG);
    let mut command = sandbox.command(&["run", "dag.yaml"]);
    let output = command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1").output();
    assert!(output.is_ok_and(|output| output.stdout.contains(&b'\x1b')));
}

#[test]
fn quiet_says_nothing_but_why_it_failed() {
    let sandbox = sandbox(DAG);
    let ended = sandbox.oxidag(&["run", "dag.yaml", "--format", "quiet"]).expect_status(1);
    assert_eq!(ended.stdout, "");
    assert_eq!(
        ended.stderr,
        "error: task count failed in attempt 2: attempt 2 fails, as its parameter `fail` asks\n"
    );
    sandbox.write("dag.yaml", "tasks: [{task_id: a, script: {engine: noop, inline: ''}}]");
    let ended = sandbox.oxidag(&["run", "dag.yaml", "--format", "quiet"]).expect_status(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[test]
fn json_carries_results_errors_and_log_lines() {
    let sandbox = sandbox(
        "tasks:\n- {task_id: a, script: {engine: noop, inline: ''}, params: {result: {rows: 7}}}\n- {task_id: b, script: {engine: shell, inline: 'echo hello; exit 3'}}\n",
    );
    let ended = sandbox.oxidag(&["run", "dag.yaml", "--run-id", "r1", "--format", "json"]).expect_status(1);
    let events = ended.json_lines();
    assert!(
        events
            .iter()
            .all(|event| event["run_id"] == "r1" && event["ts"].as_str().is_some_and(|ts| ts.len() == 27))
    );
    let find = |task: &str, key: &str, value: &str| {
        events
            .iter()
            .find(|event| event["task_id"] == task && event[key] == value)
            .unwrap_or_else(|| panic!("{}", ended.stdout))
    };
    assert_eq!(find("a", "state", "success")["result"]["rows"], 7);
    assert_eq!(find("b", "state", "failed")["error"]["kind"], "failed");
    let log = find("b", "event", "log");
    assert_eq!((log["level"].as_str(), log["line"].as_str()), (Some("stdout"), Some("hello")));
    let states: Vec<_> =
        events.iter().filter(|e| e["event"] == "run_state").map(|e| e["state"].as_str()).collect();
    assert_eq!(states, [Some("running"), Some("failed")]);
}

#[test]
fn a_run_without_an_id_gets_one_that_sorts() {
    let sandbox = sandbox("tasks: [{task_id: a, script: {engine: noop, inline: ''}}]");
    for _ in 0..2 {
        let _ = sandbox.oxidag(&["run", "dag.yaml", "--format", "quiet"]).expect_status(0);
    }
    let list = sandbox.oxidag(&["runs", "list", "--json"]).expect_status(0).json();
    let id = |place: usize| list[place]["run_id"].as_str().map(str::to_owned);
    assert!(id(0) > id(1), "newest first: {list}");
    assert!(id(0).is_some_and(|id| id.len() == 25 && id.as_bytes()[8] == b'T'), "{list}");
}

#[test]
fn the_plugins_file_is_found_here_or_beside_the_dag() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(sandbox.path().join("plugins.toml")).unwrap_or_default();
    sandbox.write("dags/dag.yaml", "tasks: [{task_id: a, script: {engine: mine, inline: ''}}]");
    sandbox.write("dags/plugins.toml", &text.replace("engines.noop", "engines.mine"));
    let run = ["run", "dags/dag.yaml", "--format", "quiet"];
    let ended = sandbox.oxidag(&run).expect_status(2);
    assert!(ended.stderr.contains("unknown engine `mine`"), "the one here comes first: {}", ended.stderr);
    assert!(std::fs::remove_file(sandbox.path().join("plugins.toml")).is_ok());
    let _ = sandbox.oxidag(&run).expect_status(0);
    let asked = sandbox.command(&run).env("OXIDAG_PLUGINS", "nowhere.toml").output();
    assert!(asked.is_ok_and(|output| output.status.code() == Some(2)), "the variable comes before both");
}
