//! The graph of a run, as it had grown by a moment of it.
//!
//! What grew from a task is tied to it by a line of its own. What waits for a mapped task is drawn behind its instances.

use std::collections::HashMap;

use oxidag_core::event::{TaskIdx, Timestamp};
use oxidag_core::graph::Graph;
use oxidag_core::growth::Growth;
use oxidag_core::state::TaskState;
use oxidag_core::store::{RunDetails, TaskDetails};

use super::{Drawing, Edge, Node};
use crate::args::GraphFormat;

/// A run with its whole graph.
pub(crate) struct Grown<'a> {
    pub(crate) run: &'a RunDetails,
    pub(crate) graph: &'a Graph,
    pub(crate) growth: &'a [Growth],
}

/// A moment of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// How many tasks there were.
    pub(crate) tasks: usize,
    /// When it was; `None` for as late as is known.
    pub(crate) at: Option<Timestamp>,
}

impl Grown<'_> {
    /// As late as is known.
    pub(crate) fn now(&self) -> Moment {
        Moment { tasks: self.run.tasks.len(), at: None }
    }

    /// Before anything was added, after each time that something was, and at the end.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        let grown = self
            .run
            .growth
            .iter()
            .map(|growth| Moment { tasks: (growth.first + growth.count) as usize, at: Some(growth.ts) });
        let base = self.run.growth.first().map_or(self.run.tasks.len(), |growth| growth.first as usize);
        let first = Moment { tasks: base, at: Some(self.run.head.started_at) };
        std::iter::once(first).chain(grown).chain([self.now()]).collect()
    }

    /// Draws the run as it was then.
    pub(crate) fn draw(&self, moment: Moment, format: GraphFormat) -> String {
        let nodes = self.run.tasks.iter().take(moment.tasks).map(|task| Node {
            id: task.task_id.clone(),
            engine: task.engine.clone(),
            state: Some(state(task, moment.at)),
        });
        let edges =
            self.edges().into_iter().filter(|edge| edge.to < moment.tasks && edge.from < moment.tasks);
        let title = &self.run.head.dag_id;
        Drawing { title, nodes: nodes.collect(), edges: edges.collect() }.in_format(format)
    }

    fn edges(&self) -> Vec<Edge> {
        let mut instances: HashMap<TaskIdx, Vec<usize>> = HashMap::new();
        let mut grew = Vec::new();
        for growth in self.growth {
            for (task, number) in growth.tasks.iter().zip(growth.first.get()..) {
                if let Some(mapped) = task.instance_of {
                    instances.entry(mapped).or_default().push(number);
                }
                // What waits for the task from which it grew is tied to it already.
                let from = task.from.filter(|from| !task.upstream.contains(from));
                grew.extend(from.map(|from| Edge { from: from.get(), to: number, grew: true }));
            }
        }
        let mut edges = Vec::new();
        for task in self.graph.tasks() {
            let mut upstream: Vec<TaskIdx> = self.graph.upstream(task).collect();
            upstream.sort_unstable();
            for from in upstream {
                let to = task.get();
                match instances.get(&from).filter(|_| !instances.contains_key(&task)) {
                    Some(instances) => {
                        edges.extend(instances.iter().map(|&from| Edge { from, to, grew: false }));
                    }
                    None => edges.push(Edge { from: from.get(), to, grew: false }),
                }
            }
        }
        edges.append(&mut grew);
        edges
    }
}

/// The state a task was in, as far as its times tell.
fn state(task: &TaskDetails, at: Option<Timestamp>) -> TaskState {
    let Some(at) = at else { return task.state };
    if task.finished_at.is_some_and(|end| end <= at) {
        task.state
    } else if task.started_at.is_some_and(|start| start <= at) {
        TaskState::Running
    } else {
        TaskState::None
    }
}
