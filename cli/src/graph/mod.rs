//! A DAG's graph in other languages: DOT, Mermaid and SVG. Pure: text out, nothing read or written.

mod dot;
mod layout;
mod mermaid;
mod picture;

use oxidag_core::graph::Graph;
use oxidag_core::spec::Dag;

use crate::args::GraphFormat;

/// Draws a DAG.
pub(crate) fn draw(dag: &Dag, graph: &Graph, format: GraphFormat) -> String {
    let drawing = Drawing { dag, graph };
    match format {
        GraphFormat::Dot => drawing.dot(),
        GraphFormat::Mermaid => drawing.mermaid(),
        GraphFormat::Svg => drawing.svg(),
    }
}

/// What is drawn.
struct Drawing<'a> {
    dag: &'a Dag,
    graph: &'a Graph,
}

impl Drawing<'_> {
    /// Every dependency as upstream and downstream task, in the graph's order.
    fn edges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let upstream = |task| {
            self.graph.upstream(task).map(move |from| (from.get(), oxidag_core::event::TaskIdx::get(task)))
        };
        self.graph.tasks().flat_map(move |task| {
            let mut edges: Vec<(usize, usize)> = upstream(task).collect();
            edges.sort_unstable();
            edges
        })
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
