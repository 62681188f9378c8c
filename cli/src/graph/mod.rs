//! A DAG's graph in other languages: DOT, Mermaid and SVG. Pure: text out, nothing read or written.

mod dot;
mod layout;
mod mermaid;
mod picture;

mod run;

use oxidag_core::graph::Graph;
use oxidag_core::spec::Dag;
use oxidag_core::state::TaskState;

use crate::args::GraphFormat;

pub(crate) use run::Grown;

/// Draws a DAG.
pub(crate) fn draw(dag: &Dag, graph: &Graph, format: GraphFormat) -> String {
    let node = |task: &'_ oxidag_core::spec::Task| Node {
        id: task.task_id.to_string(),
        engine: task.script.engine.to_string(),
        state: None,
    };
    let edges = graph.tasks().flat_map(|task| {
        let mut upstream: Vec<usize> = graph.upstream(task).map(|from| from.get()).collect();
        upstream.sort_unstable();
        upstream.into_iter().map(move |from| Edge { from, to: task.get(), grew: false })
    });
    let edges = edges.collect();
    Drawing { title: &dag.dag_id, nodes: dag.tasks.iter().map(node).collect(), edges }.in_format(format)
}

/// What is drawn.
struct Drawing<'a> {
    title: &'a str,
    nodes: Vec<Node>,
    /// No cycle comes of them.
    edges: Vec<Edge>,
}

/// A task.
struct Node {
    id: String,
    engine: String,
    /// In a run, the state it is in.
    state: Option<TaskState>,
}

/// A line between two tasks, by their numbers.
struct Edge {
    from: usize,
    to: usize,
    /// The second grew from the first, and does not wait for it.
    grew: bool,
}

impl Drawing<'_> {
    fn in_format(&self, format: GraphFormat) -> String {
        match format {
            GraphFormat::Dot => self.dot(),
            GraphFormat::Mermaid => self.mermaid(),
            GraphFormat::Svg => self.svg(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxidag_core::spec::{SourceFile, parse};

    /// The DAG of these tasks with what they depend on.
    pub(super) fn dag(tasks: &[(&str, &[&str])]) -> (Dag, Graph) {
        let task = |(id, dependencies): &(&str, &[&str])| serde_json::json!({"task_id": id, "dependencies": dependencies, "script": {"engine": "noop", "inline": ""}});
        let tasks: Vec<_> = tasks.iter().map(task).collect();
        let text = serde_json::json!({"dag_id": "nightly", "tasks": tasks}).to_string();
        let (dag, _) = parse(SourceFile::new("dag.json".into(), text)).unwrap();
        let graph = Graph::new(&dag).unwrap();
        (dag, graph)
    }

    pub(super) fn drawn(tasks: &[(&str, &[&str])], format: GraphFormat) -> String {
        let (dag, graph) = dag(tasks);
        draw(&dag, &graph, format)
    }
}
