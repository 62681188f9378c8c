//! `run --only`, `--from` and `--failed`: which tasks of a DAG run, and which are left out.

use std::collections::{HashMap, HashSet};

use anyhow::{bail, ensure};
use oxidag_core::event::{FailureKind, TaskIdx};
use oxidag_core::graph::Graph;
use oxidag_core::prepare::Prepared;
use oxidag_core::runner::Start;
use oxidag_core::scheduler::scopes;
use oxidag_core::spec::suggest;
use oxidag_core::state::TaskState;
use oxidag_core::store::{RunDetails, TaskDetails};
use serde_json::Value;

use crate::args::PartArgs;
use crate::format::count;
use crate::output;

/// So many tasks that are left out are named.
const MOST_NAMES: usize = 20;

/// Where the run begins. What is left out is said first.
pub(super) fn start(
    prepared: &Prepared,
    part: &PartArgs,
    repeated: Option<&RunDetails>,
) -> anyhow::Result<Start> {
    if part.is_whole() {
        return Ok(Start::whole());
    }
    let graph = &prepared.graph;
    let mut chosen = HashSet::new();
    for name in &part.only {
        chosen.insert(find(graph, name)?);
    }
    let mut first: Vec<TaskIdx> = part.from.iter().map(|name| find(graph, name)).collect::<Result<_, _>>()?;
    let mut results = HashMap::new();
    if let Some(run) = repeated {
        ensure!(
            run.head.dag_id == prepared.dag.dag_id,
            "the run {} is one of the DAG {}, not of {}",
            run.head.run_id,
            run.head.dag_id,
            prepared.dag.dag_id
        );
        ensure!(run.head.owner.is_none(), "the run {} has not ended yet", run.head.run_id);
        ensure!(
            !run.head.interrupted,
            "the run {} was interrupted; `oxidag resume {}` goes on with it",
            run.head.run_id,
            run.head.run_id
        );
        first.extend(unsuccessful(graph, run));
        first.extend(origins(graph, run));
        results = results_of(graph, run);
        if first.is_empty() && added_in_vain(graph, run).next().is_none() {
            bail!(
                "every task of the run {} succeeded or was skipped: there is nothing to repeat",
                run.head.run_id
            );
        }
    }
    add_with_what_follows(graph, first, &mut chosen);
    add_setups_and_teardowns(prepared, &mut chosen);
    let left_out: Vec<TaskIdx> = graph.tasks().filter(|task| !chosen.contains(task)).collect();
    say(graph, &left_out);
    results.retain(|task, _| !chosen.contains(task));
    let skipped = skipped_in(graph, repeated);
    let (skipped, left_out) = left_out.into_iter().partition(|task| skipped.contains(task));
    Ok(Start::New { left_out, skipped, results })
}

fn find(graph: &Graph, name: &str) -> anyhow::Result<TaskIdx> {
    if let Some(task) = graph.tasks().find(|&task| graph.name(task) == name) {
        return Ok(task);
    }
    match suggest::nearest(name, graph.tasks().map(|task| graph.name(task))) {
        Some(near) => bail!("there is no task `{name}`; did you mean `{near}`?"),
        None => bail!("there is no task `{name}`; `oxidag graph` shows which there are"),
    }
}

/// The tasks that did not do what they had to in that run, new ones included.
fn unsuccessful(graph: &Graph, run: &RunDetails) -> Vec<TaskIdx> {
    let done = |state| matches!(state, TaskState::Success | TaskState::Skipped);
    let done: HashSet<&str> =
        run.tasks.iter().filter(|task| done(task.state)).map(|task| task.task_id.as_str()).collect();
    graph.tasks().filter(|&task| !done.contains(graph.name(task))).collect()
}

/// The tasks that were added to that run and did not do what they had to. Rules add theirs again.
fn added_in_vain<'r>(graph: &'r Graph, run: &'r RunDetails) -> impl Iterator<Item = &'r TaskDetails> {
    let done = |state| matches!(state, TaskState::Success | TaskState::Skipped);
    run.tasks.iter().skip(graph.len()).filter(move |task| !done(task.state))
}

/// The tasks of the DAG from which those had grown.
fn origins(graph: &Graph, run: &RunDetails) -> Vec<TaskIdx> {
    let from: HashMap<&str, &str> = run
        .tasks
        .iter()
        .filter_map(|task| Some((task.task_id.as_str(), task.grown_from.as_deref()?)))
        .collect();
    let origin = |task: &TaskDetails| {
        let mut name = task.task_id.as_str();
        while let Some(before) = from.get(name) {
            name = before;
        }
        graph.tasks().find(|&task| graph.name(task) == name)
    };
    added_in_vain(graph, run).filter_map(origin).collect()
}

/// The tasks that were skipped for a reason of their own; what depends on them sees that again.
fn skipped_in(graph: &Graph, run: Option<&RunDetails>) -> HashSet<TaskIdx> {
    let left_out = |task: &TaskDetails| task.error.as_ref().is_some_and(|e| e.kind == FailureKind::LeftOut);
    let tasks = run.into_iter().flat_map(|run| &run.tasks);
    let skipped = tasks.filter(|task| task.state == TaskState::Skipped && !left_out(task));
    let names: HashSet<&str> = skipped.map(|task| task.task_id.as_str()).collect();
    graph.tasks().filter(|&task| names.contains(graph.name(task))).collect()
}

fn results_of(graph: &Graph, run: &RunDetails) -> HashMap<TaskIdx, Value> {
    let by_name: HashMap<&str, &Value> =
        run.tasks.iter().filter_map(|task| Some((task.task_id.as_str(), task.result.as_ref()?))).collect();
    graph.tasks().filter_map(|task| Some((task, (*by_name.get(graph.name(task))?).clone()))).collect()
}

fn add_with_what_follows(graph: &Graph, mut open: Vec<TaskIdx>, chosen: &mut HashSet<TaskIdx>) {
    let mut seen: HashSet<TaskIdx> = open.iter().copied().collect();
    while let Some(task) = open.pop() {
        chosen.insert(task);
        open.extend(graph.downstream(task).filter(|&next| seen.insert(next)));
    }
}

/// A task that works on what a setup makes needs that setup again, and then its teardown. A teardown that is asked for
/// alone takes down what is there.
fn add_setups_and_teardowns(prepared: &Prepared, chosen: &mut HashSet<TaskIdx>) {
    let graph = &prepared.graph;
    let scopes = scopes(graph, |task| prepared.task(task).teardown);
    loop {
        let before = chosen.len();
        for (teardown, scope) in &scopes {
            if scope.iter().any(|task| chosen.contains(task)) {
                chosen.insert(*teardown);
                chosen.extend(graph.upstream(*teardown));
            }
        }
        // Instances follow those of the same run.
        for task in graph.tasks().filter(|task| chosen.contains(task)).collect::<Vec<_>>() {
            let followed = prepared.task(task).follows().map(|followed| &*followed.task_id);
            chosen.extend(graph.upstream(task).filter(|&upstream| Some(graph.name(upstream)) == followed));
        }
        if chosen.len() == before {
            return;
        }
    }
}

fn say(graph: &Graph, left_out: &[TaskIdx]) {
    if left_out.is_empty() {
        return;
    }
    let names: Vec<&str> = left_out.iter().take(MOST_NAMES).map(|&task| graph.name(task)).collect();
    let more = left_out.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    output::remark(format_args!("left out: {}: {}{more}", count(left_out.len(), "task"), names.join(", ")));
}
