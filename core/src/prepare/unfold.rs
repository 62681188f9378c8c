//! A DAG as far as its growth is known before it runs: mapped tasks whose items no other task decides, and DAGs in it.
//!
//! For a plan. What is added is told by [`crate::growth`] as it is in a run; here it becomes an ordinary graph.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::entry::items_of;
use super::places::info;
use super::{Checked, subs};
use crate::condition::{Around, Scope};
use crate::event::TaskIdx;
use crate::graph::Graph;
use crate::growth::{Cause, Growing, Grown};
use crate::params::{self, Connections};
use crate::scheduler::TaskInfo;
use crate::spec::{Dag, ForEach, List, Over, Task, TriggerRule};
use crate::store::Durations;

/// A DAG with all of its tasks that are known before it runs.
#[derive(Debug)]
pub struct Unfolded {
    /// Its graph. Nodes without a name do nothing, but for waiting for what another one stands for.
    pub graph: Arc<Graph>,
    /// What the scheduler needs to know of every task, in the graph's order.
    pub infos: Vec<TaskInfo>,
    /// Each task that takes time, with what its file says of it.
    pub tasks: Vec<(String, Arc<Task>)>,
    /// Mapped tasks of which only the run tells how many instances they have; they stand there as one task each.
    pub unknown: Vec<String>,
}

struct Unfolding<'a> {
    checked: &'a Checked,
    dag: &'a Dag,
    history: &'a Durations,
    overrides: &'a Map<String, Value>,
    growing: Growing,
    infos: Vec<TaskInfo>,
    /// Each task's engine, and whether it needs a worker.
    engines: Vec<(u32, bool)>,
    /// What tasks stand for that is known.
    within: HashMap<TaskIdx, Vec<TaskIdx>>,
    unknown: Vec<String>,
}

impl Checked {
    /// The DAG with all of its tasks that are known before it runs.
    #[must_use]
    pub fn unfolded(&self, dag: &Dag, history: &Durations, overrides: &Map<String, Value>) -> Unfolded {
        let infos = self.infos(dag, history);
        let mut unfolding = Unfolding {
            checked: self,
            dag,
            history,
            overrides,
            growing: Growing::new(dag),
            engines: infos.iter().map(|info| (info.engine, info.blocking)).collect(),
            infos,
            within: HashMap::new(),
            unknown: Vec::new(),
        };
        unfolding.grow();
        unfolding.finish()
    }

    /// The place of an engine that is not there, and has no limit.
    fn spare(&self) -> u32 {
        u32::try_from(self.engines.len()).unwrap_or(u32::MAX)
    }
}

impl Unfolding<'_> {
    fn grow(&mut self) {
        // What a task follows comes before it.
        let mut next: VecDeque<TaskIdx> = self.checked.graph.topological_order().iter().copied().collect();
        while let Some(task) = next.pop_front() {
            if !self.infos[task.get()].mapped {
                continue;
            }
            let growth = self.cause(task).and_then(|cause| self.growing.derive(self.dag, cause).ok());
            let Some(growth) = growth else {
                self.unknown.push(self.name(task).to_owned());
                continue;
            };
            self.growing.commit(self.dag, &growth);
            let added: Vec<TaskIdx> = (growth.first.0..).take(growth.tasks.len()).map(TaskIdx).collect();
            for (grown, &number) in growth.tasks.iter().zip(&added) {
                self.add(grown, number);
            }
            next.extend(&added);
            self.within.insert(task, added);
            let info = &mut self.infos[task.get()];
            (info.expected, info.blocking, info.engine, info.pool) = (0.0, false, self.checked.spare(), None);
        }
    }

    fn name(&self, task: TaskIdx) -> &str {
        self.growing.get(task).map_or_else(|| self.checked.graph.name(task), |grown| &grown.task_id)
    }

    /// Why a task that stands for others gets them, if that is known.
    fn cause(&self, task: TaskIdx) -> Option<Cause> {
        if self.infos[task.get()].sub {
            return Some(Cause::SubDag { task });
        }
        let (of, params) = match self.growing.get(task) {
            Some(grown) => (&*grown.template, &grown.params),
            None => (&self.dag.tasks[task.get()], &self.dag.tasks[task.get()].params),
        };
        let for_each = of.for_each.as_ref()?;
        let items = match &for_each.over {
            Over::InstancesOf(_) => None,
            _ if is_known(for_each) => {
                let params = params::effective(&self.dag.params, params, self.overrides, &Connections::new());
                let scope = Scope { tasks: Vec::new(), params: &params, around: Around::default() };
                items_of(for_each, &scope, self.dag.max_tasks).ok()?
            }
            _ => return None,
        };
        Some(Cause::Mapped { task, items: items.map(Arc::new) })
    }

    fn add(&mut self, grown: &Grown, number: TaskIdx) {
        let parent = grown.instance_of.filter(|_| grown.is_instance);
        let of_sub = grown.home.as_ref().and_then(|home| self.checked.subs.get(&subs::address(home)));
        let ready = of_sub.and_then(|tasks| tasks.get(grown.template.template as usize)?.as_ref());
        let (engine, blocking) = match (parent, ready) {
            (Some(parent), _) => self.engines[parent.get()],
            (None, Some(ready)) => (ready.engine, ready.blocking),
            (None, None) => (self.checked.spare(), true),
        };
        let of = (&*grown.task_id, &*grown.template);
        let info = info(of, engine, blocking, &self.checked.pools, self.history);
        let processors = self.growing.sub(self.dag, number).and_then(|sub| sub.dag.processors);
        // The rule of a task that follows another one is about that; any other instance waits for nothing.
        let waits = !grown.upstream.is_empty();
        self.engines.push((engine, blocking));
        self.infos.push(TaskInfo {
            mapped: grown.is_mapped(),
            sub: grown.is_sub(),
            max_active: if grown.is_sub() {
                processors
            } else {
                info.max_active.filter(|_| !grown.is_instance)
            },
            conditional: info.conditional && !grown.is_instance,
            instance_of: grown.instance_of,
            rule: if waits { info.rule } else { TriggerRule::AllSuccess },
            ..info
        });
    }

    fn finish(self) -> Unfolded {
        let Self { checked, dag, growing, mut infos, mut within, unknown, .. } = self;
        let count = infos.len();
        within.retain(|_, tasks| !tasks.is_empty());
        let mut standing: Vec<TaskIdx> = within.keys().copied().collect();
        standing.sort_unstable();
        // By each task that stands for others, what waits for all of those.
        let ends: HashMap<TaskIdx, usize> = standing.iter().copied().zip(count..).collect();
        let end = |task: TaskIdx| ends.get(&task).copied().unwrap_or(task.get());
        let mut edges: Vec<(usize, usize)> = Vec::new();
        let mut names: Vec<Box<str>> = Vec::with_capacity(count + ends.len());
        for task in checked.graph.tasks() {
            names.push(checked.graph.name(task).into());
            let follows = infos[task.get()].follows;
            let before = |upstream: TaskIdx| {
                if follows == Some(upstream) { upstream.get() } else { end(upstream) }
            };
            edges.extend(checked.graph.upstream(task).map(|upstream| (before(upstream), task.get())));
        }
        for (grown, task) in growing.grown().iter().zip(names.len()..) {
            names.push((&*grown.task_id).into());
            let before = |up: TaskIdx| {
                if grown.follows == Some(up) && !grown.is_instance { up.get() } else { end(up) }
            };
            edges.extend(grown.upstream.iter().map(|&upstream| (before(upstream), task)));
            let parent = grown.instance_of.filter(|_| grown.is_instance || grown.upstream.is_empty());
            edges.extend(parent.map(|parent| (parent.get(), task)));
        }
        for (task, number) in standing.iter().zip(count..) {
            names.push("".into());
            edges.extend(within[task].iter().map(|&one| (end(one), number)));
            infos.push(waiting(&infos[task.get()]));
        }
        let file = dag.tasks.iter().map(|task| Arc::new(task.clone()));
        let all = file.chain(growing.grown().iter().map(|grown| Arc::clone(&grown.template)));
        let known = (0..).map(TaskIdx).zip(&names).zip(all);
        let tasks = known.filter(|((task, _), _)| !ends.contains_key(task));
        let tasks = tasks.map(|((_, name), task)| (name.to_string(), task)).collect();
        // What grows never closes a cycle.
        let graph = Graph::with_edges(names, &edges).map_or_else(|| Arc::clone(&checked.graph), Arc::new);
        Unfolded { graph, infos, tasks, unknown }
    }
}

/// What takes no time, and ends when all before it have ended.
fn waiting(of: &TaskInfo) -> TaskInfo {
    TaskInfo {
        rule: TriggerRule::AllDone,
        conditional: false,
        teardown: false,
        mapped: false,
        sub: false,
        max_active: None,
        follows: None,
        instance_of: None,
        ..of.clone()
    }
}

/// Whether no task decides about the items.
fn is_known(for_each: &ForEach) -> bool {
    for_each.over.lists().all(|list| match list {
        List::Literal(_) => true,
        List::Expression(expression) => {
            let references = expression.condition.references();
            references.tasks.is_empty() && !references.any_task
        }
    })
}
