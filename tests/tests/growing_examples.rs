//! The examples of `dags/growing`: what each grows to, and what it says.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use oxidag_tests::{Sandbox, root};

/// Runs an example; gives `name state` of each of its tasks, sorted.
#[track_caller]
fn example(sandbox: &Sandbox, name: &str, more: &[&str]) -> Vec<String> {
    let dag = root().join("dags/growing").join(format!("{name}.yaml"));
    let work = sandbox.path().join("work").display().to_string();
    let folders = ["-p", &format!("work={work}"), "-p", &format!("bucket={work}")].map(str::to_owned);
    let mut arguments = vec!["run", dag.to_str().unwrap(), "--run-id", "r", "--format", "quiet"];
    arguments.extend(folders.iter().map(String::as_str));
    arguments.extend(["--plugins", "plugins.toml"]);
    arguments.extend(more);
    let _ = sandbox.oxidag(&arguments).expect_status(0);
    let shown = sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let tasks = shown["tasks"].as_array().unwrap().iter();
    let mut states: Vec<String> =
        tasks.map(|task| format!("{} {}", word(&task["task_id"]), word(&task["state"]))).collect();
    states.sort();
    assert!(states.iter().all(|state| state.ends_with(" success")), "{states:?}");
    states.iter().map(|state| state.replace(" success", "")).collect()
}

/// What a task printed.
fn printed(sandbox: &Sandbox, task: &str) -> Vec<String> {
    let log = sandbox.oxidag(&["runs", "logs", "r", task]).expect_status(0).stdout;
    log.lines().filter_map(|line| line.split_once(" stdout ")).map(|(_, text)| text.to_owned()).collect()
}

#[test]
fn each_file_is_counted_and_the_counts_are_added_up() {
    let sandbox = Sandbox::new();
    let tasks = example(&sandbox, "map_reduce", &[]);
    let folder = root().join("dags/quickstart/sql");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let names =
        files.iter().map(|file| format!("count_lines[{}]", file.file_name().unwrap().to_str().unwrap()));
    let mut expected: Vec<String> = ["count_lines", "list_files", "sum"].map(str::to_owned).into();
    expected.extend(names);
    expected.sort();
    assert_eq!(tasks, expected);
    let lines: usize = files.iter().map(|file| std::fs::read_to_string(file).unwrap().lines().count()).sum();
    assert_eq!(printed(&sandbox, "sum"), [format!("{lines} lines")]);
}

#[test]
fn the_merge_comes_after_every_page_that_could_come() {
    let sandbox = Sandbox::new();
    let tasks = example(&sandbox, "late_merge", &[]);
    assert_eq!(
        tasks,
        [
            "chapter_1",
            "chapter_2",
            "cover",
            "merge",
            "page[chapter_1]",
            "page[chapter_1][1.1]",
            "page[chapter_1][1.2]",
            "page[chapter_2]",
            "page[chapter_2][2.1]",
        ]
    );
    let merged = printed(&sandbox, "merge");
    assert_eq!(
        merged,
        ["cover", "section 1.1 of chapter_1", "section 1.2 of chapter_1", "section 2.1 of chapter_2"]
    );
}

#[test]
fn only_the_task_that_is_wanted_is_added() {
    for (rows, taken) in [(5000, "load_in_parts"), (3, "load_at_once")] {
        let sandbox = Sandbox::new();
        assert_eq!(example(&sandbox, "if_else", &["-p", &format!("rows={rows}")]), ["count", taken]);
    }
}

#[test]
fn rules_add_rules() {
    let sandbox = Sandbox::new();
    assert_eq!(example(&sandbox, "rules_in_rules", &[]), ["first", "second", "start", "third"]);
    assert_eq!(printed(&sandbox, "third"), ["third"]);
}

#[test]
fn what_comes_after_a_set_of_tasks_is_said_by_one_of_them() {
    let sandbox = Sandbox::new();
    let tasks = example(&sandbox, "callback", &[]);
    assert_eq!(tasks, ["greet", "greet[0]", "greet[1]", "tone", "words"]);
    assert_eq!(printed(&sandbox, "greet[1]"), ["there, loud"]);
}

#[test]
fn every_partition_is_loaded_and_one_of_them_twice() {
    let sandbox = Sandbox::new();
    let tasks = example(&sandbox, "partitions", &[]);
    assert_eq!(
        tasks,
        [
            "list",
            "load",
            "load[month=2024-01]",
            "load[month=2024-02]",
            "load[month=2024-03]",
            "make_bucket",
            "merge",
            "remove_bucket",
        ]
    );
    assert_eq!(printed(&sandbox, "merge"), ["2024-01,1", "2024-02,1", "2024-03,1"]);
    let shown = sandbox.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json();
    let load = |name: &str| {
        shown["tasks"].as_array().unwrap().iter().find(|t| t["task_id"] == name).unwrap().clone()
    };
    assert_eq!(load("load[month=2024-02]")["attempts"][0]["state"], "failed");
    assert_eq!(load("load[month=2024-02]")["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(load("load[month=2024-01]")["attempts"].as_array().unwrap().len(), 1);
}
