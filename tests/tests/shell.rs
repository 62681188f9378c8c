//! Scripts on the `shell` engine, as a run shows them.

use oxidag_tests::{Ended, Sandbox};
use serde_json::json;

/// A DAG of one script, which gets a secret as `$API_token`.
fn dag(sandbox: &Sandbox, secret: &str, inline: &str) {
    sandbox.write("secret.txt", secret);
    sandbox.write(
        "plugins.toml",
        "[engines.shell]\npath = \"oxidag_engine_shell\"\n[connections.API]\ntoken = { file = \"secret.txt\" }\n",
    );
    let script = json!({"engine": "shell", "inline": inline});
    let task = json!({"task_id": "t", "script": script, "params": {"**API_token": ""}});
    sandbox.write("d.json", &json!({"dag_id": "d", "tasks": [task]}).to_string());
}

#[test]
fn a_secret_that_is_too_long_for_an_error_is_not_in_it_in_part() {
    let sandbox = Sandbox::new();
    let secret = "correct-horse-battery-staple-".repeat(20);
    dag(&sandbox, &secret, "echo \"bad token: $API_token\" >&2; exit 1");
    let ended = sandbox.oxidag(&["run", "d.json"]).expect_status(1);
    let shown = sandbox.oxidag(&["runs", "show", "latest", "--json"]).expect_status(0).stdout;
    let log = sandbox.oxidag(&["runs", "logs", "latest", "t"]).expect_status(0).stdout;
    for text in [ended.stdout, ended.stderr, shown, log] {
        assert!(!text.contains("correct"), "{text}");
    }
}

#[test]
fn how_a_script_ended_is_known_though_whoever_started_oxidag_ignores_children() {
    let sandbox = Sandbox::new();
    dag(&sandbox, "s3cret", "echo ran >> ran");
    let mut command = sandbox.command_below(&["env", "--ignore-signal=CHLD"], &["run", "d.json"]);
    let ended = command.output().unwrap_or_else(|e| panic!("cannot start env: {e}"));
    Ended::from(ended).expect_status(0);
    let ran = std::fs::read_to_string(sandbox.path().join("ran"));
    assert_eq!(ran.ok().as_deref(), Some("ran\n"), "it ran once");
}
