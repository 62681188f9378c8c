//! Commands that look at files and run nothing: `validate`, `plan`, `graph`, `schema`, `completions`, and usage.

use std::fs::read_to_string;

use oxidag_tests::{Sandbox, root};
use serde_json::{Value, from_str, json};

const DAG: &str = "dag_id: nightly
tasks:
- {task_id: load, script: {engine: noop, inline: ''}, expected_duration: 2s}
- {task_id: clean, script: {engine: noop, inline: ''}, expected_duration: 3s, dependencies: [load]}
- {task_id: count, script: {engine: noop, inline: ''}, expected_duration: 1s, dependencies: [load]}
- {task_id: end, script: {engine: noop, inline: ''}, expected_duration: 4s, dependencies: [clean, count]}
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("dag.yaml", DAG);
    sandbox
}

/// The DAG of pyDag, whose engines and scripts are not here.
fn pydag() -> String {
    example("pydag_example.json")
}

fn example(name: &str) -> String {
    root().join("dags").join(name).display().to_string()
}

#[test]
fn a_valid_dag_is_said_to_be_valid() {
    let ended = sandbox().oxidag(&["validate", "dag.yaml"]).expect_status(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("dag.yaml: valid, 4 tasks\n", ""));
}

#[test]
fn all_mistakes_of_all_files_are_told_and_standard_output_stays_empty() {
    let sandbox = sandbox();
    sandbox.write("a.yaml", "tasks:\n- {task_id: a, script: {engine: cobol, inline: ''}}\n- {task_id: b, script: {engine: noop, inline: '{x}'}}\n");
    let ended = sandbox.oxidag(&["validate", "dag.yaml", "a.yaml", "nowhere.yaml"]).expect_status(2);
    assert_eq!(ended.stdout, "");
    for part in ["a.yaml:2:", "`cobol`", "a.yaml:3:", "{x}", "nowhere.yaml: error: there is no such file"] {
        assert!(ended.stderr.contains(part), "{part:?} is not in:\n{}", ended.stderr);
    }
}

#[test]
fn a_placeholder_may_get_its_value_from_the_command_line() {
    let sandbox = Sandbox::new();
    sandbox.write("a.yaml", "tasks: [{task_id: b, script: {engine: noop, inline: '{x}'}}]");
    let _ = sandbox.oxidag(&["validate", "a.yaml"]).expect_status(2);
    let _ = sandbox.oxidag(&["validate", "a.yaml", "-p", "x=1"]).expect_status(0);
}

#[test]
fn what_the_environment_lacks_is_a_warning() {
    for (file, tasks) in [("pydag_example.json", 8), ("pydag_example_with_teardown.json", 10)] {
        let ended = Sandbox::new().oxidag(&["validate", &example(file)]).expect_status(0);
        assert!(ended.stdout.ends_with(&format!("{file}: valid, {tasks} tasks\n")), "{}", ended.stdout);
        let bq = "engine `bq` is not in this environment";
        let gcs = format!(
            "`gcs` are not looked at here; `oxidag run --dry-run` fetches them (and in {} more places)",
            tasks - 1
        );
        assert!(ended.stderr.contains(bq) && ended.stderr.contains(&gcs), "{}", ended.stderr);
        assert!(ended.stderr.lines().all(|line| line.starts_with("warning: ") || line.starts_with("  ")));
    }
}

#[test]
fn pydags_example_with_teardown_is_pydags_and_deletes_what_it_has_made_at_the_end() {
    let read = |name: &str| -> Value { from_str(&read_to_string(example(name)).unwrap()).unwrap() };
    let (original, mut extended) = (read("pydag_example.json"), read("pydag_example_with_teardown.json"));
    let tasks = extended["dag"]["tasks"].as_array_mut().unwrap();
    let added: Vec<Value> = tasks.drain(8..).collect();
    assert_eq!(extended, original);
    assert!(added.iter().all(|task| task["teardown"] == true), "{added:?}");

    let plan = ["plan", &example("pydag_example_with_teardown.json"), "--json"];
    let plan = Sandbox::new().oxidag(&plan).expect_status(0).json();
    let planned = plan["tasks"].as_array().unwrap();
    let ids: Vec<&str> = planned.iter().map(|task| task["task_id"].as_str().unwrap()).collect();
    assert_eq!(&ids[7..], ["insert_to_fact", "shutdown_dataproc_1", "drop_tables_stg"]);
    let fact_ends = planned[7]["finish"].as_f64().unwrap();
    assert!(planned[8..].iter().all(|task| task["start"].as_f64().unwrap() >= fact_ends), "{plan}");
}

#[test]
fn validate_answers_in_json_for_every_file() {
    let sandbox = sandbox();
    sandbox.write("a.yaml", "tasks: []\n");
    let ended =
        sandbox.oxidag(&["validate", "--json", "dag.yaml", "a.yaml", &pydag(), "no.yaml"]).expect_status(2);
    let answers = ended.json();
    assert_eq!(
        answers[0],
        json!({"path": "dag.yaml", "dag_id": "nightly", "valid": true, "mistakes": [], "missing": []})
    );
    assert_eq!((&answers[1]["valid"], &answers[1]["mistakes"][0]["line"]), (&json!(false), &json!(1)));
    assert_eq!(answers[2]["valid"], true);
    assert!(answers[2]["missing"].as_array().is_some_and(|missing| missing.len() > 8), "{}", answers[2]);
    assert_eq!(answers[3]["mistakes"][0]["line"], json!(null));
}

#[test]
fn a_plan_is_a_public_shape() {
    let plan = sandbox().oxidag(&["plan", "dag.yaml", "--workers", "2", "--json"]).expect_status(0).json();
    let task = |id: &str, start: f64, finish: f64| {
        json!({
            "task_id": id, "start": start, "finish": finish,
            "expected": finish - start, "expected_from": "file", "critical": id != "count",
        })
    };
    assert_eq!(
        plan,
        json!({
            "critical_path": ["load", "clean", "end"],
            "lower_bound": 9.0,
            "makespan": 9.0,
            "workers": 2,
            "fifo_makespan": 9.0,
            "gain": 0.0,
            "utilisation": 10.0 / 18.0,
            "tasks": [task("load", 0.0, 2.0), task("clean", 2.0, 5.0), task("count", 2.0, 3.0), task("end", 5.0, 9.0)],
        })
    );
}

#[test]
fn a_plan_is_drawn_with_its_critical_path() {
    let ended = sandbox().oxidag(&["plan", "dag.yaml", "--workers", "1"]).expect_status(0);
    assert!(
        ended.stdout.starts_with("nightly: 4 tasks on 1 worker, 10.0s (no schedule takes less than 10.0s)\n")
    );
    assert!(ended.stdout.contains("critical path: load → clean → end\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("4 from expected_duration"), "{}", ended.stdout);
}

#[test]
fn a_plan_learns_from_past_runs() {
    let sandbox = sandbox();
    let _ = sandbox.oxidag(&["run", "dag.yaml", "--format", "quiet"]).expect_status(0);
    let plan = sandbox.oxidag(&["plan", "dag.yaml", "--json"]).expect_status(0).json();
    assert!(plan["makespan"].as_f64().is_some_and(|seconds| seconds < 9.0), "{plan}");
}

#[test]
fn a_dag_whose_engines_are_not_here_has_a_plan_and_a_graph() {
    let sandbox = Sandbox::new();
    let plan = sandbox.oxidag(&["plan", &pydag(), "--json"]).expect_status(0).json();
    assert_eq!(plan["tasks"].as_array().map(Vec::len), Some(8));
    let graph = sandbox.oxidag(&["graph", &pydag()]).expect_status(0);
    assert_eq!(graph.stdout.matches("[label=").count(), 8);
    assert!(!sandbox.home().exists(), "looking makes no state");
}

#[test]
fn a_graph_is_drawn_in_three_languages() {
    let sandbox = sandbox();
    let draw = |format| sandbox.oxidag(&["graph", "dag.yaml", "--format", format]).expect_status(0).stdout;
    assert!(draw("dot").contains("\"clean\" -> \"end\";"));
    assert!(draw("mermaid").contains("t1 --> t3"), "a task may be called `end`");
    assert_eq!(draw("svg").matches("<g><title>").count(), 4);
}

#[test]
fn a_graph_of_thousands_of_tasks_is_drawn() {
    let sandbox = Sandbox::new();
    let upstream =
        |task: usize| (1..=3).filter_map(move |back| task.checked_sub(back * 7)).map(|t| format!("t{t}"));
    let tasks: Vec<_> = (0..3000)
        .map(|task| {
            let dependencies: Vec<String> = upstream(task).collect();
            json!({"task_id": format!("t{task}"), "dependencies": dependencies, "script": {"engine": "noop", "inline": ""}})
        })
        .collect();
    sandbox.write("dag.json", &json!({"tasks": tasks}).to_string());
    let svg = sandbox.oxidag(&["graph", "dag.json", "--format", "svg"]).expect_status(0).stdout;
    assert_eq!(svg.matches("<g><title>").count(), 3000);
}

#[test]
fn a_cycle_is_refused_by_every_command() {
    let sandbox = Sandbox::new();
    let text = "tasks:\n- {task_id: a, dependencies: [b], script: {engine: noop, inline: ''}}\n- {task_id: b, dependencies: [a], script: {engine: noop, inline: ''}}\n";
    sandbox.write("dag.yaml", text);
    for command in ["run", "validate", "plan", "graph"] {
        let ended = sandbox.oxidag(&[command, "dag.yaml"]).expect_status(2);
        assert!(ended.stdout.is_empty() && ended.stderr.contains("a → b → a"), "{command}: {}", ended.stderr);
    }
}

#[test]
fn schemas_and_completions_are_printed() {
    let sandbox = Sandbox::new();
    for file in ["dag", "plugins"] {
        let schema = sandbox.oxidag(&["schema", file]).expect_status(0).json();
        assert!(schema["$schema"].is_string(), "{file}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.oxidag(&["completions", shell]).expect_status(0).stdout;
        assert!(script.contains("validate") && script.contains("gantt"), "{shell}");
    }
}

#[test]
fn wrong_usage_is_refused_with_a_suggestion() {
    let sandbox = Sandbox::new();
    let ended = sandbox.oxidag(&["validte", "dag.yaml"]).expect_status(2);
    assert!(ended.stdout.is_empty() && ended.stderr.contains("'validate'"), "{}", ended.stderr);
    let _ = sandbox.oxidag(&[]).expect_status(2);
    let help = sandbox.oxidag(&["run", "--help"]).expect_status(0);
    assert!(help.stdout.contains("Examples:"), "{}", help.stdout);
}
