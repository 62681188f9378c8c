//! Random DAGs: tasks, rules, lists to map over, and what becomes of each task.

use std::time::Duration;

use oxidag_plugin_api::ErrorKind;
use serde_json::{Value, json};

use super::{Dice, number};

/// What is decided about a task before the run, and what its engine does.
pub(super) struct Fate {
    pub(super) blocking: bool,
    /// So many of its attempts fail, in this way.
    pub(super) failing: u32,
    pub(super) kind: ErrorKind,
    pub(super) duration: Duration,
    /// It does not listen when it is asked to stop.
    pub(super) deaf: bool,
    /// It adds a task of this number to the graph, in every attempt.
    pub(super) adds: Option<usize>,
}

/// A random DAG as its file; teardowns are called `d…`.
pub(super) fn dag(dice: &mut Dice) -> (String, Vec<Fate>, Vec<usize>) {
    let count = 2 + dice.roll(8) as usize;
    let mut names: Vec<String> = Vec::new();
    let (mut tasks, mut fates, mut mapped) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..count {
        let mut upstream: Vec<&String> = names.iter().filter(|_| dice.one_in(3)).collect();
        upstream.truncate(3);
        let is_teardown = !upstream.is_empty() && dice.one_in(6);
        let mut task = json!({
            "script": {"engine": "noop", "inline": ""},
            "dependencies": upstream,
            "retries": dice.roll(3),
            "retry_delay": dice.roll(3),
            "priority": dice.roll(3),
        });
        if dice.one_in(4) {
            task["pool"] = json!("p");
        }
        if dice.one_in(8) {
            task["timeout"] = json!(2 + dice.roll(5));
        }
        if is_teardown {
            task["teardown"] = json!(true);
        } else if !upstream.is_empty() {
            let rules = ["all_success", "all_success", "all_done", "one_failed", "none_failed"];
            task["trigger_rule"] = json!(rules[dice.roll(5) as usize]);
            // Behind a rule that does not wait for all, what is seen depends on the moment.
            if dice.one_in(5) && task["trigger_rule"] != "one_failed" {
                let upstream = upstream[0];
                task["when"] = json!(format!("tasks[\"{upstream}\"].state == \"success\""));
            }
        }
        if !is_teardown && dice.one_in(3) {
            let looked_at = upstream.first().filter(|_| task["trigger_rule"] != "one_failed");
            task["for_each"] = for_each(dice, looked_at.map(|name| name.as_str()), &mapped);
            if let Some(followed) = task["for_each"]["instances_of"].as_str().map(str::to_owned) {
                // It cannot wait for all of the one that it follows.
                let upstream = task["dependencies"].as_array_mut().unwrap();
                upstream.retain(|name| *name != followed);
            }
            if dice.one_in(2) {
                task["max_active_tis_per_dagrun"] = json!(1 + dice.roll(2));
            }
            mapped.push(i);
        }
        let name = format!("{}{i}", if is_teardown { 'd' } else { 't' });
        task["task_id"] = json!(name);
        tasks.push(task);
        names.push(name);
        fates.push(Fate {
            blocking: dice.one_in(2),
            failing: if dice.one_in(3) { 1 + dice.roll(3) as u32 } else { 0 },
            kind: [ErrorKind::Failed, ErrorKind::Transient, ErrorKind::Invalid][dice.roll(3) as usize],
            duration: Duration::from_millis(dice.roll(1500)),
            deaf: dice.one_in(20),
            adds: None,
        });
    }
    let adding = fates.len();
    for task in 0..adding {
        if dice.one_in(6) {
            fates[task].adds = Some(fates.len());
            let duration = Duration::from_millis(dice.roll(500));
            let kind = ErrorKind::Failed;
            fates.push(Fate { blocking: false, failing: 0, kind, duration, deaf: false, adds: None });
        }
    }
    let mut dag: Value = json!({"dag_id": "d", "pools": {"p": 1}});
    if dice.one_in(2) {
        dag["rules"] = rules(dice, &mut tasks, &mut fates, &mut mapped);
    }
    dag["tasks"] = tasks.into();
    if dice.one_in(2) {
        dag["processors"] = json!(1 + dice.roll(4));
    }
    (dag.to_string(), fates, mapped)
}

/// Rules of each sort: once a task has succeeded, for each task of a kind, once no more of a kind can come; and, of some DAGs,
/// once no more can come and one has failed, and for each instance of a mapped task.
fn rules(dice: &mut Dice, tasks: &mut [Value], fates: &mut Vec<Fate>, mapped: &mut Vec<usize>) -> Value {
    let mut rules = Vec::new();
    let of_file = mapped.first().copied();
    let mut added = |dice: &mut Dice, dependencies: Value| {
        let name = format!("t{}", fates.len());
        fates.push(Fate {
            blocking: dice.one_in(2),
            failing: if dice.one_in(4) { 1 } else { 0 },
            kind: ErrorKind::Failed,
            duration: Duration::from_millis(dice.roll(1500)),
            deaf: false,
            adds: None,
        });
        let script = json!({"engine": "noop", "inline": ""});
        json!({"task_id": name, "script": script, "dependencies": dependencies, "retries": dice.roll(2)})
    };
    let named = tasks[dice.roll(tasks.len() as u64) as usize]["task_id"].clone();
    let mut task = added(dice, json!([named]));
    task["type"] = json!("k");
    if dice.one_in(2) {
        task["for_each"] = Value::from((0..dice.roll(3)).collect::<Vec<_>>());
        mapped.push(number(task["task_id"].as_str().unwrap()));
    }
    let when = format!("tasks[{named}].state == \"success\"");
    let nested = json!({"when": format!("tasks[{}].state == \"success\"", task["task_id"]), "add": {"tasks": [added(dice, json!([task["task_id"]]))]}});
    rules.push(json!({"when": when, "add": {"tasks": [task], "rules": [nested]}}));
    for task in tasks.iter_mut() {
        if dice.one_in(3) {
            task["type"] = json!("k");
        }
    }
    let mut task = added(dice, json!(["{task}"]));
    task["type"] = json!("l");
    rules.push(json!({"rule_id": "each", "each": {"type": "k"}, "when": "task.state == \"success\"", "add": {"tasks": [task]}}));
    let task = added(dice, json!([{"type": "k"}, {"type": "l"}]));
    rules.push(
        json!({"rule_id": "closed", "when": "closed(\"l\") && closed(\"k\")", "add": {"tasks": [task]}}),
    );
    if dice.one_in(2) {
        let task = added(dice, json!([]));
        let when = "closed(\"k\") && types.k.states.failed > 0";
        rules.push(json!({"rule_id": "failed", "when": when, "add": {"tasks": [task]}}));
    }
    if let Some(of) = of_file {
        let task = added(dice, json!(["{task}"]));
        rules.push(json!({"rule_id": "instances", "each": {"instances_of": format!("t{of}")}, "when": "task.state == \"success\"", "add": {"tasks": [task]}}));
    }
    rules.into()
}

/// What a task is mapped over: a list, what an upstream task left, or what another task is mapped over.
fn for_each(dice: &mut Dice, upstream: Option<&str>, mapped: &[usize]) -> Value {
    match (dice.roll(3), upstream, mapped) {
        (0, Some(upstream), _) => json!(format!("[1, 2, 3].filter(x, x != tasks[\"{upstream}\"].result.n)")),
        (1, _, [.., last]) => json!({"instances_of": format!("t{last}")}),
        _ => Value::from((0..dice.roll(4)).collect::<Vec<_>>()),
    }
}
