//! A run that goes on: from what is stored of it to where its scheduler takes it up.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::event::{FailureKind, TaskIdx, Timestamp};
use crate::graph::Graph;
use crate::growth::{Cause, Growing, Growth};
use crate::prepare::{Prepared, PreparedTask};
use crate::scheduler::{Begun, StopReason};
use crate::spec::Dag;
use crate::state::TaskState;
use crate::store::{AttemptDetails, RunDetails, TaskDetails};

/// What a scheduler that died had stored of a run.
#[derive(Debug)]
pub struct Resumed {
    /// When the run began.
    pub(super) started_at: Timestamp,
    /// Why it was being stopped, if it was.
    pub(super) stopping: Option<StopReason>,
    /// The latest that is stored of it.
    pub(super) latest: Timestamp,
    /// The graph, with all that was added to it.
    pub(super) graph: Arc<Graph>,
    /// What was added to it, in order.
    pub(super) growth: Vec<Growth>,
    /// What the tasks need to run that engines had added.
    pub(super) templates: Vec<PreparedTask>,
    /// Where each task had got to, in the graph's order.
    pub(super) tasks: Vec<Begun>,
    /// What tasks left for conditions.
    pub(super) results: HashMap<TaskIdx, Value>,
    /// What the attempts that were in flight had stored.
    pub(super) checkpoints: HashMap<TaskIdx, Value>,
}

/// The stored run is one of another graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtherTasks {
    /// It does not have the tasks of the DAG.
    #[error("the run has other tasks than its DAG")]
    Different,
    /// What had made it grow does not give the same tasks again.
    #[error("the run had grown by tasks that its DAG does not add: {0}")]
    Grown(String),
}

/// The graph of a stored run, with all that was added to it: the same as when it ran, without anybody being asked.
///
/// # Errors
///
/// The DAG is not the run's.
pub fn grown(
    run: &RunDetails,
    dag: &Dag,
    graph: &Arc<Graph>,
) -> Result<(Arc<Graph>, Vec<Growth>), OtherTasks> {
    let mut graph = Arc::clone(graph);
    let mut growing = Growing::new(dag);
    let mut all = Vec::with_capacity(run.growth.len());
    for stored in &run.growth {
        let growth = growing.derive(dag, stored.cause.clone()).map_err(OtherTasks::Grown)?;
        let same = growth.first.0 == stored.first && growth.tasks.len() == stored.count as usize;
        if !same {
            return Err(OtherTasks::Different);
        }
        growing.commit(dag, &growth);
        if !growth.tasks.is_empty() {
            let grown = Arc::make_mut(&mut graph);
            for task in &growth.tasks {
                grown.append(&task.task_id, &task.upstream);
            }
        }
        all.push(growth);
    }
    let same = |(task, stored): (TaskIdx, &TaskDetails)| graph.name(task) == stored.task_id;
    if graph.len() != run.tasks.len() || !graph.tasks().zip(&run.tasks).all(same) {
        return Err(OtherTasks::Different);
    }
    Ok((graph, all))
}

impl Resumed {
    /// From a stored run of this DAG.
    ///
    /// # Errors
    ///
    /// The DAG has other tasks, has them in another order, or adds others.
    pub fn new(run: &RunDetails, prepared: &Prepared) -> Result<Self, OtherTasks> {
        let (graph, growth) = grown(run, &prepared.dag, &prepared.graph)?;
        let mut templates = Vec::new();
        for growth in &growth {
            if let Cause::Engine { addition, .. } = &growth.cause {
                templates.extend(prepared.extend(addition).map_err(OtherTasks::Grown)?);
            }
        }
        let attempts = run.tasks.iter().flat_map(|task| &task.attempts);
        let times = attempts.flat_map(|attempt| [Some(attempt.started_at), attempt.finished_at]);
        let latest = times.flatten().chain([run.head.started_at]).max().unwrap_or_default();
        let stopping = run.head.error.as_ref().and_then(|error| match error.kind {
            FailureKind::Cancelled => Some(StopReason::Cancelled),
            FailureKind::TimedOut => Some(StopReason::RunDeadline),
            _ => None,
        });
        let mut resumed = Self {
            started_at: run.head.started_at,
            stopping,
            latest,
            graph: Arc::clone(&graph),
            growth,
            templates,
            tasks: Vec::with_capacity(graph.len()),
            results: HashMap::new(),
            checkpoints: HashMap::new(),
        };
        for (task, stored) in graph.tasks().zip(&run.tasks) {
            resumed.results.extend(stored.result.clone().map(|result| (task, result)));
            resumed.checkpoints.extend(checkpoint(stored).map(|checkpoint| (task, checkpoint)));
            resumed.tasks.push(begun(stored));
        }
        Ok(resumed)
    }

    /// The graph, with all that was added to it.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Each task's state, in the graph's order.
    pub fn states(&self) -> impl Iterator<Item = TaskState> + '_ {
        self.tasks.iter().map(|task| task.state)
    }
}

fn begun(task: &TaskDetails) -> Begun {
    let left_out = task.error.as_ref().is_some_and(|error| error.kind == FailureKind::LeftOut);
    let failures = task.attempts.iter().filter_map(|attempt| attempt.error.as_ref()).map(|error| error.kind);
    let last = task.attempts.last();
    Begun {
        // A scheduler that took it up may have died before it had a place for the attempt: it is in flight all the same.
        state: if in_flight(task).is_some() { TaskState::Running } else { task.state },
        attempt: last.map_or(0, |attempt| attempt.attempt),
        failures: failures.collect(),
        ended_at: last.and_then(|attempt| attempt.finished_at),
        excluded: left_out && task.state == TaskState::Skipped,
    }
}

/// The attempt that no scheduler has seen the end of.
fn in_flight(task: &TaskDetails) -> Option<&AttemptDetails> {
    task.attempts.last().filter(|last| last.finished_at.is_none() && !task.state.is_terminal())
}

fn checkpoint(task: &TaskDetails) -> Option<Value> {
    in_flight(task)?.checkpoint.clone()
}
