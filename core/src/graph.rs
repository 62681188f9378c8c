//! The graph of a DAG: dense task ids, edges, order. A [`Graph`] exists only if it is valid.
//!
//! No I/O, no clock. Names and dependencies are checked in [`crate::spec`]; what needs the whole graph, that
//! it has no cycle, is checked here.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use petgraph::Direction;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::event::TaskIdx;
use crate::spec::source::Span;
use crate::spec::{Dag, Diagnostic, Task};

/// Tasks by dense ids, and the dependencies between them; acyclic.
#[derive(Debug, Clone)]
pub struct Graph {
    names: Names,
    edges: DiGraph<(), (), u32>,
    order: Vec<TaskIdx>,
}

/// The tasks' names, one behind the other.
#[derive(Debug, Clone, Default)]
struct Names {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Names {
    fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    fn get(&self, place: usize) -> &str {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[place]]
    }
}

impl<'a> FromIterator<&'a str> for Names {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.push(name));
        all.text.shrink_to_fit();
        all.ends.shrink_to_fit();
        all
    }
}

/// A cycle in a DAG file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// The tasks of one shortest cycle, each upstream of the next; the first one is repeated at the end.
    pub path: Vec<String>,
    /// Where the first of them names the dependency that closes the cycle.
    pub span: Span,
}

impl Cycle {
    /// The cycle as a mistake in its DAG file.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::new(self.span, self.to_string()).with_help("take one of these dependencies out")
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tasks depend on each other in a cycle: {}", self.path.join(" → "))
    }
}

impl Graph {
    /// The graph of a DAG whose dependencies all exist.
    ///
    /// # Errors
    ///
    /// One shortest cycle for each group of tasks that depend on each other.
    pub fn new(dag: &Dag) -> Result<Self, Vec<Cycle>> {
        let count: usize = dag.tasks.iter().map(|task| task.upstream().count()).sum();
        let mut edges = DiGraph::with_capacity(dag.tasks.len(), count);
        for _ in &dag.tasks {
            edges.add_node(());
        }
        if dag.links.len() != count || !add_linked(dag, &mut edges) {
            edges.clear_edges();
            add_named(dag, &mut edges);
        }
        let Ok(order) = toposort(&edges, None) else {
            return Err(cycles(dag, &edges));
        };
        Ok(Self {
            names: dag.tasks.iter().map(|task| &*task.task_id).collect(),
            order: order.into_iter().map(idx).collect(),
            edges,
        })
    }

    /// A graph of these tasks and edges, each from one place to another; `None` where they make a cycle.
    pub(crate) fn with_edges(names: Vec<Box<str>>, from_to: &[(usize, usize)]) -> Option<Self> {
        let mut edges = DiGraph::with_capacity(names.len(), from_to.len());
        let nodes: Vec<NodeIndex<u32>> = names.iter().map(|_| edges.add_node(())).collect();
        for &(from, to) in from_to {
            edges.add_edge(nodes[from], nodes[to], ());
        }
        let order = toposort(&edges, None).ok()?.into_iter().map(idx).collect();
        Some(Self { names: names.iter().map(|name| &**name).collect(), edges, order })
    }

    /// How many tasks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.ends.len()
    }

    /// Whether there is no task at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.ends.is_empty()
    }

    /// All tasks, in the DAG file's order.
    pub fn tasks(&self) -> impl Iterator<Item = TaskIdx> + use<> {
        (0..).map(TaskIdx).take(self.len())
    }

    /// A task's name.
    #[must_use]
    pub fn name(&self, task: TaskIdx) -> &str {
        self.names.get(task.get())
    }

    /// Adds a task behind tasks that there are; so no cycle can come of it.
    pub fn append(&mut self, name: &str, upstream: &[TaskIdx]) -> TaskIdx {
        let task = idx(self.edges.add_node(()));
        for &upstream in upstream {
            self.edges.add_edge(node(upstream), node(task), ());
        }
        self.names.push(name);
        self.order.push(task);
        task
    }

    #[cfg(test)]
    pub(crate) fn find(&self, name: &str) -> Option<TaskIdx> {
        self.tasks().find(|&task| self.name(task) == name)
    }

    /// The tasks that depend on this one.
    pub fn downstream(&self, task: TaskIdx) -> impl Iterator<Item = TaskIdx> + '_ {
        self.edges.neighbors_directed(node(task), Direction::Outgoing).map(idx)
    }

    /// The tasks that this one depends on.
    pub fn upstream(&self, task: TaskIdx) -> impl Iterator<Item = TaskIdx> + '_ {
        self.edges.neighbors_directed(node(task), Direction::Incoming).map(idx)
    }

    /// All tasks, each after those that it depends on.
    #[must_use]
    pub fn topological_order(&self) -> &[TaskIdx] {
        &self.order
    }

    /// Each task's b-level: the greatest sum of durations on a path from it to a task that nothing depends
    /// on, its own included. Durations and levels are in the same unit, by [`TaskIdx`].
    ///
    /// Ordering ready tasks by b-level is the classic heuristic of list scheduling (T. C. Hu, "Parallel
    /// Sequencing and Assembly Line Problems", Operations Research 9(6), 1961).
    #[must_use]
    pub fn b_levels(&self, durations: &[f64]) -> Vec<f64> {
        let mut levels = vec![0.0; self.len()];
        for &task in self.order.iter().rev() {
            let longest = self.downstream(task).map(|t| levels[t.get()]).fold(0.0, f64::max);
            levels[task.get()] = longest + durations[task.get()];
        }
        levels
    }

    /// A path whose durations sum up to the greatest b-level, from its first task on.
    #[must_use]
    pub fn critical_path(&self, levels: &[f64]) -> Vec<TaskIdx> {
        let greatest = |a: &TaskIdx, b: &TaskIdx| levels[a.get()].total_cmp(&levels[b.get()]).then(b.cmp(a));
        let mut next = self.tasks().max_by(greatest);
        let mut path = Vec::new();
        while let Some(task) = next {
            path.push(task);
            next = self.downstream(task).max_by(greatest);
        }
        path
    }
}

/// Adds all edges, by the places that were seen as the file was read; whether those still are where they were.
fn add_linked(dag: &Dag, edges: &mut DiGraph<(), (), u32>) -> bool {
    let mut links = dag.links.iter();
    for (task, id) in dag.tasks.iter().zip(0..) {
        for (dependency, &place) in task.upstream().zip(links.by_ref()) {
            // The name is one allocation, that of the task itself.
            let is_there = |named: &Task| Arc::ptr_eq(&named.task_id, &dependency.task_id);
            if !dag.tasks.get(place as usize).is_some_and(is_there) {
                return false;
            }
            edges.add_edge(NodeIndex::from(place), NodeIndex::from(id), ());
        }
    }
    true
}

/// Adds all edges, by the names of the tasks.
fn add_named(dag: &Dag, edges: &mut DiGraph<(), (), u32>) {
    let ids: HashMap<&str, u32, RandomState> = dag.tasks.iter().map(|task| &*task.task_id).zip(0..).collect();
    for (task, id) in dag.tasks.iter().zip(0..) {
        for upstream in task.upstream().filter_map(|d| ids.get(&*d.task_id)) {
            edges.add_edge(NodeIndex::from(*upstream), NodeIndex::from(id), ());
        }
    }
}

fn node(task: TaskIdx) -> NodeIndex<u32> {
    NodeIndex::from(task.0)
}

fn idx(node: NodeIndex<u32>) -> TaskIdx {
    // Nodes are indexed by `u32`, so nothing is cut off.
    TaskIdx(node.index() as u32)
}

fn cycles(dag: &Dag, edges: &DiGraph<(), (), u32>) -> Vec<Cycle> {
    // Tarjan's algorithm calls itself for each task of a path, and the stack is only so deep.
    let mut found: Vec<Vec<usize>> = kosaraju_scc(edges)
        .into_iter()
        .filter(|group| group.len() > 1 || edges.contains_edge(group[0], group[0]))
        .map(|group| shortest_cycle(edges, &group))
        .collect();
    found.sort();
    found.into_iter().map(|path| cycle(dag, &path)).collect()
}

/// A shortest cycle through the group's first task in file order, as indices; the first is not repeated.
fn shortest_cycle(edges: &DiGraph<(), (), u32>, group: &[NodeIndex<u32>]) -> Vec<usize> {
    let Some(&start) = group.iter().min() else { return Vec::new() };
    let mut from: HashMap<NodeIndex<u32>, NodeIndex<u32>> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in edges.neighbors_directed(at, Direction::Outgoing) {
            if next == start {
                return path_back(&from, at);
            }
            from.entry(next).or_insert_with(|| {
                queue.push_back(next);
                at
            });
        }
    }
    vec![start.index()]
}

fn path_back(from: &HashMap<NodeIndex<u32>, NodeIndex<u32>>, last: NodeIndex<u32>) -> Vec<usize> {
    let mut path: Vec<usize> =
        std::iter::successors(Some(last), |at| from.get(at).copied()).map(NodeIndex::index).collect();
    path.reverse();
    path
}

fn cycle(dag: &Dag, path: &[usize]) -> Cycle {
    let name = |&task: &usize| dag.tasks[task].task_id.to_string();
    let closing = path.last().map(|&last| &dag.tasks[last].task_id);
    let first = &dag.tasks[path[0]];
    let span = first.upstream().find(|d| Some(&d.task_id) == closing).map_or(first.span, |d| d.span);
    Cycle { path: path.iter().chain(path.first()).map(name).collect(), span }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use std::collections::BTreeMap;
    use std::time::Duration;

    use crate::spec::{Dependency, Script, ScriptSource, SourceFile, TaskOptions, parse};

    /// A DAG of inline scripts: each task's name and what it depends on.
    pub(crate) fn dag(tasks: &[(&str, &[&str])]) -> Dag {
        let script = Script { engine: Arc::from("noop"), source: ScriptSource::Inline(Arc::from("")) };
        let script = Arc::new(script);
        let options = Arc::new(TaskOptions { retry_delay: Duration::ZERO, ..TaskOptions::default() });
        let dependency = |d: &&str| Dependency { task_id: Arc::from(*d), span: Span::default() };
        let task = |(id, dependencies): &(&str, &[&str])| Task {
            task_id: Arc::from(*id),
            script: Arc::clone(&script),
            params: serde_json::Map::new(),
            dependencies: dependencies.iter().map(dependency).collect(),
            options: Arc::clone(&options),
            template: 0,
            span: Span::default(),
            script_span: Span::default(),
        };
        Dag {
            dag_id: "test".to_owned(),
            description: None,
            owner: None,
            tags: Vec::new(),
            schedule_interval: None,
            start_date: None,
            processors: None,
            timeout: None,
            pools: BTreeMap::new(),
            notify: Vec::new(),
            script_cache: false,
            expire_cache: None,
            params: serde_json::Map::new(),
            max_tasks: u32::MAX,
            subs: BTreeMap::new(),
            rules: Vec::new(),
            tasks: tasks.iter().map(task).collect(),
            links: Box::default(),
        }
    }

    /// A DAG file in which each task depends on these.
    fn of_file(tasks: &[(&str, &[&str])]) -> Dag {
        let task = |(id, dependencies): &(&str, &[&str])| {
            let script = serde_json::json!({"engine": "noop", "inline": ""});
            serde_json::json!({"task_id": id, "script": script, "dependencies": dependencies})
        };
        let tasks: Vec<_> = tasks.iter().map(task).collect();
        parse(SourceFile::new("a.json".into(), serde_json::json!({"tasks": tasks}).to_string())).unwrap().0
    }

    fn edges(graph: &Graph) -> Vec<(&str, &str)> {
        let of = |task| graph.upstream(task).map(move |up| (graph.name(up), graph.name(task)));
        let mut edges: Vec<(&str, &str)> = graph.tasks().flat_map(of).collect();
        edges.sort_unstable();
        edges
    }

    #[test]
    fn edges_follow_the_names_whatever_order_the_tasks_are_brought_into() {
        let tasks: [(&str, &[&str]); 4] = [("a", &[]), ("b", &["a"]), ("c", &["a", "b"]), ("d", &["c"])];
        let expected = [("a", "b"), ("a", "c"), ("b", "c"), ("c", "d")];
        let mut dag = of_file(&tasks);
        assert_eq!(dag.links.len(), 4, "all of them were seen as the file was read");
        assert_eq!(edges(&Graph::new(&dag).unwrap()), expected);
        dag.tasks.reverse();
        assert_eq!(edges(&Graph::new(&dag).unwrap()), expected);
        dag.tasks.retain(|task| &*task.task_id != "a");
        assert_eq!(edges(&Graph::new(&dag).unwrap()), [("b", "c"), ("c", "d")]);
        let forward = of_file(&[("b", &["a"]), ("a", &[])]);
        assert!(forward.links.is_empty(), "it names a task that stands below");
        assert_eq!(edges(&Graph::new(&forward).unwrap()), [("a", "b")]);
    }

    #[test]
    fn a_cycle_is_shown_as_its_path() {
        let dag = dag(&[
            ("a", &["c"]),
            ("b", &["a"]),
            ("c", &["b", "d"]),
            ("d", &[]),
            ("x", &["y"]),
            ("y", &["x"]),
        ]);
        let cycles = Graph::new(&dag).unwrap_err();
        let paths: Vec<String> = cycles.iter().map(|c| c.path.join(" ")).collect();
        assert_eq!(paths, ["a b c a", "x y x"]);
    }

    #[test]
    fn a_cycle_may_be_longer_than_the_stack_is_deep() {
        const TASKS: usize = 100_000;
        let names: Vec<String> = (0..TASKS).map(|i| format!("t{i}")).collect();
        let before: Vec<[&str; 1]> = (0..TASKS).map(|i| [&*names[(i + TASKS - 1) % TASKS]]).collect();
        let tasks: Vec<(&str, &[&str])> =
            names.iter().zip(&before).map(|(name, before)| (&**name, before.as_slice())).collect();
        assert_eq!(Graph::new(&dag(&tasks)).unwrap_err()[0].path.len(), TASKS + 1);
    }

    #[test]
    fn every_task_comes_after_what_it_depends_on() {
        let graph =
            Graph::new(&dag(&[("d", &["b", "c"]), ("b", &["a"]), ("c", &["a"]), ("a", &[])])).unwrap();
        let place = |name| graph.topological_order().iter().position(|&t| graph.name(t) == name);
        assert!(place("a") < place("b") && place("b") < place("d") && place("c") < place("d"));
    }

    #[test]
    fn the_b_level_is_the_longest_path_to_the_end() {
        let graph =
            Graph::new(&dag(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])])).unwrap();
        let levels = graph.b_levels(&[1.0, 5.0, 2.0, 1.0]);
        assert_eq!(levels, [7.0, 6.0, 3.0, 1.0]);
        let path: Vec<&str> = graph.critical_path(&levels).into_iter().map(|t| graph.name(t)).collect();
        assert_eq!(path, ["a", "b", "d"]);
    }
}
