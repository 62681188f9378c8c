//! What the conditions of a DAG look at: tasks that are upstream, and parameters that are there.
//!
//! A task that is not upstream may not have ended when the condition is evaluated, so it cannot be looked at.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use crate::condition::Reference;
use crate::event::TaskIdx;
use crate::graph::Graph;
use crate::params::ConnectionKey;
use crate::spec::suggest;
use crate::spec::{Dag, Diagnostic, Task, When, quote};

/// The tasks that each condition names; those of one that looks at any task are not listed.
pub(super) type Watched = BTreeMap<TaskIdx, Vec<TaskIdx>>;

/// Finds what conditions look at; what is not upstream is a mistake.
pub(super) fn watched(dag: &Dag, graph: &Graph, mistakes: &mut Vec<Diagnostic>) -> Watched {
    let evaluated = || graph.tasks().zip(&dag.tasks).filter(|(_, task)| task.expressions().next().is_some());
    let mut watched = Watched::new();
    if evaluated().next().is_none() {
        return watched;
    }
    let ids: HashMap<&str, TaskIdx> = graph.tasks().map(|task| (graph.name(task), task)).collect();
    // By the task that is looked at: many conditions look at the same, and each asks for a way through the graph.
    let mut far: BTreeMap<TaskIdx, Vec<TaskIdx>> = BTreeMap::new();
    for (task, entry) in evaluated() {
        let upstream: HashSet<TaskIdx> = graph.upstream(task).collect();
        let references = || entry.expressions().map(|expression| expression.condition.references());
        let names = references().flat_map(|references| &references.tasks).map(|reference| &*reference.name);
        let mut named: Vec<TaskIdx> = names.filter_map(|name| ids.get(name).copied()).collect();
        named.sort_unstable();
        named.dedup();
        for named in named.iter().filter(|named| !upstream.contains(named)) {
            far.entry(*named).or_default().push(task);
        }
        if !references().any(|references| references.any_task) {
            watched.insert(task, named);
        }
    }
    for (named, by) in far {
        let reached = reached(named, |task| graph.downstream(task));
        let by = by.into_iter().filter(|task| !reached.contains(task));
        mistakes.extend(by.filter_map(|task| {
            let (task, named) = (&dag.tasks[task.get()], graph.name(named));
            let looks = |when: &&When| when.condition.references().tasks.iter().any(|r| r.name == named);
            Some(not_upstream(task, task.expressions().find(looks)?, named))
        }));
    }
    watched
}

/// All tasks upstream of this one, directly or not.
pub(super) fn upstream(graph: &Graph, task: TaskIdx) -> Vec<TaskIdx> {
    let mut found: Vec<TaskIdx> = reached(task, |task| graph.upstream(task)).into_iter().collect();
    found.sort_unstable();
    found
}

/// What can be reached from a task, without the task itself.
fn reached<I: Iterator<Item = TaskIdx>>(from: TaskIdx, next: impl Fn(TaskIdx) -> I) -> HashSet<TaskIdx> {
    let mut found = HashSet::new();
    let mut open = vec![from];
    while let Some(task) = open.pop() {
        open.extend(next(task).filter(|&task| found.insert(task)));
    }
    found
}

fn not_upstream(task: &Task, when: &When, named: &str) -> Diagnostic {
    let (id, named) = (quote(&task.task_id), quote(named));
    let message = format!("the condition of task {id} looks at {named}, which is not upstream of it");
    let help = format!("add {named} to the dependencies of {id}, so that it has ended before");
    Diagnostic::new(when.span, message).with_help(help)
}

/// A parameter that is nowhere given, or that is a secret.
pub(super) fn params(dag: &Dag, task: &Task, overrides: &Map<String, Value>, mistakes: &mut Vec<Diagnostic>) {
    let keys = || dag.params.keys().chain(task.params.keys());
    let visible = || keys().filter(|key| ConnectionKey::parse(key).is_none()).chain(overrides.keys());
    let mut told = HashSet::new();
    let looked_at =
        task.expressions().flat_map(|when| when.condition.references().params.iter().map(move |p| (when, p)));
    for (when, Reference { name, .. }) in looked_at {
        if visible().any(|known| known == name) || !told.insert(name) {
            continue;
        }
        let (id, quoted) = (quote(&task.task_id), quote(name));
        let mistake = |message| Diagnostic::new(when.span, message);
        let is_connection = keys().filter_map(|key| ConnectionKey::parse(key)).any(|c| c.name == name);
        mistakes.push(if is_connection {
            mistake(format!("the condition of task {id} looks at the connection {quoted}"))
                .with_help("connections are secrets, and no condition can see one")
        } else {
            let help = match suggest::nearest(name, visible().map(String::as_str)) {
                Some(near) => format!("did you mean {}?", quote(near)),
                None => format!(
                    "give it a value in the task's `params`, in the DAG's, or by -p NAME=VALUE; `has(params.{name})` asks if it has one"
                ),
            };
            mistake(format!("the condition of task {id} looks at the parameter {quoted}, which has no value"))
                .with_help(help)
        });
    }
}

/// Parameters that rules look at and that are nowhere given.
pub(super) fn rule_params(dag: &Dag, overrides: &Map<String, Value>, mistakes: &mut Vec<Diagnostic>) {
    let visible =
        || dag.params.keys().filter(|key| ConnectionKey::parse(key).is_none()).chain(overrides.keys());
    for rule in dag.rules.iter().flat_map(|rule| rule.with_nested()) {
        let Some(when) = &rule.when else { continue };
        for Reference { name, .. } in &when.condition.references().params {
            if !visible().any(|known| known == name) {
                let message = format!(
                    "rule {} looks at the parameter {}, which has no value",
                    quote(&rule.name),
                    quote(name)
                );
                let help = format!(
                    "give it a value in the DAG's `params` or by -p NAME=VALUE; `has(params.{name})` asks if it has one"
                );
                mistakes.push(Diagnostic::new(when.span, message).with_help(help));
            }
        }
    }
}
