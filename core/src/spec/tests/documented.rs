//! The examples of `docs/dag-file.md` are right.

use super::{Dag, accepted};

const MANUAL: &str = include_str!("../../../../docs/dag-file.md");

/// A DAG out of an example: a file, some keys of a DAG, or keys of a task, one a line.
fn dag(example: &str) -> Vec<Dag> {
    let task = "- {task_id: x, script: local.b.f.sql.n}\n";
    let of_task = |line: &str| {
        let upstream = ["check.source", "list_files"];
        let tasks: String = upstream.iter().map(|id| task.replace("x,", &format!("{id},"))).collect();
        let script = if line.starts_with("script:") { "" } else { "  script: local.b.f.sql.n\n" };
        format!("tasks:\n{tasks}- task_id: x\n  dependencies: [check.source, list_files]\n{script}  {line}\n")
    };
    let files = if example.contains("tasks:\n") {
        vec![example.to_owned()]
    } else if example.starts_with("script:") || example.starts_with("when:") {
        example.lines().map(of_task).collect()
    } else {
        vec![format!("{example}tasks:\n{task}")]
    };
    files.iter().map(|file| accepted("dag.yaml", file)).collect()
}

#[test]
fn every_example_of_the_manual_is_read() {
    let blocks = MANUAL.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let dags: Vec<Dag> = blocks.flat_map(dag).collect();
    let has = |what: fn(&Dag) -> bool| dags.iter().any(what);
    assert!(has(|dag| !dag.pools.is_empty()) && has(|dag| !dag.notify.is_empty()));
    assert!(has(|dag| dag.tasks.iter().any(|task| task.teardown)));
    assert!(dags.iter().flat_map(|dag| &dag.tasks).filter(|task| task.when.is_some()).count() >= 6);
}
