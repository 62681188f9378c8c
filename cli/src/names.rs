//! What the tasks of a run are called, those that are added to it included.

use std::sync::Arc;

use oxidag_core::event::TaskIdx;
use oxidag_core::graph::Graph;
use oxidag_core::growth::Growth;

/// The names of a run's tasks.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The graph with which the run begins or goes on.
    pub(crate) graph: Arc<Graph>,
    /// What was added since.
    grown: Vec<Arc<str>>,
}

impl Names {
    pub(crate) fn new(graph: Arc<Graph>) -> Self {
        Self { graph, grown: Vec::new() }
    }

    /// What a task is called.
    pub(crate) fn get(&self, task: TaskIdx) -> &str {
        match task.get().checked_sub(self.graph.len()) {
            None => self.graph.name(task),
            Some(grown) => &self.grown[grown],
        }
    }

    /// Takes note of tasks that were added.
    pub(crate) fn grow(&mut self, growth: &Growth) {
        self.grown.extend(growth.tasks.iter().map(|task| Arc::clone(&task.task_id)));
    }
}
