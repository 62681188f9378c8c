//! The tasks of a run: those of its DAG file, and those that were added since.
//!
//! What is added is decided in [`crate::growth`]; here it gets what it needs to run.

use std::sync::Arc;

use serde_json::Value;

use crate::event::TaskIdx;
use crate::growth::{Cause, Growing, Grown, Growth, Items};
use crate::prepare::{Entry, Look, Prepared, PreparedTask};
use crate::scheduler::{Added, TaskInfo};
use crate::spec::{Dependency, TriggerRule};
use crate::store::Durations;

use super::demand::Numbers;

/// All tasks of a run that goes on.
pub(super) struct Live {
    prepared: Arc<Prepared>,
    growing: Growing,
    /// What was added, in order.
    added: Vec<Arc<LiveTask>>,
    /// What engines may come to need, behind the templates of the DAG file.
    templates: Vec<PreparedTask>,
    history: Durations,
    numbers: Numbers,
}

/// A task that was added, with what it needs to run.
#[derive(Debug)]
pub(super) struct LiveTask {
    grown: Arc<Grown>,
    ready: PreparedTask,
}

impl LiveTask {
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry::grown(&self.grown, &self.ready)
    }
}

impl Live {
    pub(super) fn new(prepared: Arc<Prepared>, history: Durations, numbers: Numbers) -> Self {
        let growing = Growing::new(&prepared.dag);
        Self { prepared, growing, added: Vec::new(), templates: Vec::new(), history, numbers }
    }

    /// What the scheduler needs to know of the tasks of the DAG file.
    pub(super) fn infos(&self) -> Vec<TaskInfo> {
        let infos = self.prepared.infos(&self.history);
        infos.into_iter().map(|info| self.numbers.placed(info)).collect()
    }

    /// A task that was added; `None` for one of the DAG file.
    pub(super) fn get(&self, task: TaskIdx) -> Option<&Arc<LiveTask>> {
        self.added.get(task.get().checked_sub(self.prepared.graph.len())?)
    }

    /// Any task.
    pub(super) fn entry(&self, task: TaskIdx) -> Entry<'_> {
        self.get(task).map_or_else(|| self.prepared.entry(task), |added| added.entry())
    }

    pub(super) fn name(&self, task: TaskIdx) -> &str {
        self.entry(task).task_id
    }

    /// The instances of a mapped task that has them.
    pub(super) fn instances(&self, task: TaskIdx) -> Option<impl Iterator<Item = TaskIdx> + use<>> {
        self.growing.instances(task)
    }

    /// What a mapped task is run for.
    ///
    /// # Errors
    ///
    /// Why it cannot be told.
    pub(super) fn items(&self, task: TaskIdx, look: Look<'_>) -> Result<Option<Items>, String> {
        self.prepared.items(self.entry(task), look)
    }

    /// What a mapped task adds. Nothing is added before [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// Why it cannot be added.
    pub(super) fn expand(&mut self, task: TaskIdx, items: Option<Items>) -> Result<Growth, String> {
        self.growing.derive(&self.prepared.dag, Cause::Mapped { task, items: items.map(Arc::new) })
    }

    /// Whether a task stands for a DAG, now that it could start, rather than for instances.
    pub(super) fn is_sub(&self, task: TaskIdx) -> bool {
        match self.growing.get(task) {
            Some(grown) => grown.is_sub(),
            None => {
                let task = self.entry(task).task;
                task.dag.is_some() && task.for_each.is_none()
            }
        }
    }

    /// The tasks of the DAG that a task stands for.
    ///
    /// # Errors
    ///
    /// Why they cannot be added.
    pub(super) fn expand_sub(&mut self, task: TaskIdx) -> Result<Growth, String> {
        self.growing.derive(&self.prepared.dag, Cause::SubDag { task })
    }

    /// The types of the tasks that may come of a task, by its engine or by the DAG that it stands for.
    pub(super) fn kinds_of(&self, task: TaskIdx) -> Vec<Dependency> {
        let sub = self.growing.sub(&self.prepared.dag, task);
        let of_sub = sub.map(|sub| sub.kinds()).unwrap_or_default();
        self.entry(task).task.adds.iter().cloned().chain(of_sub).collect()
    }

    /// The limit that a DAG in another one has for its own tasks.
    fn processors(&self, grown: &Grown) -> Option<u32> {
        let subs = grown.home.as_ref().map_or(&self.prepared.dag.subs, |home| &home.dag.subs);
        subs.get(&**grown.template.dag.as_ref()?)?.dag.processors
    }

    /// What a rule adds.
    ///
    /// # Errors
    ///
    /// Why it cannot be added.
    pub(super) fn apply(
        &mut self,
        number: u32,
        task: Option<TaskIdx>,
        result: Option<Value>,
    ) -> Result<Growth, String> {
        let name = Arc::clone(&self.growing.rules()[number as usize].rule.name);
        let cause = Cause::Rule { rule: number, name, task, result: result.map(Arc::new) };
        self.growing.derive(&self.prepared.dag, cause)
    }

    fn template(&self, number: u32) -> &PreparedTask {
        let known = self.prepared.count_templates();
        match (number as usize).checked_sub(known) {
            None => self.prepared.template(number),
            Some(more) => &self.templates[more],
        }
    }

    /// What the engine of a task adds, made ready; `None` where it has added just that before.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn append(&mut self, task: TaskIdx, addition: Arc<Value>) -> Result<Option<Growth>, String> {
        if self.growing.has_appended(task, &addition) {
            return Ok(None);
        }
        self.growing.derive(&self.prepared.dag, Cause::Engine { task, addition }).map(Some)
    }

    /// What the tasks of an addition need to run; before these are.
    pub(super) fn add_templates(&mut self, ready: impl IntoIterator<Item = PreparedTask>) {
        self.templates.extend(ready);
    }

    /// From here on tasks are found by their names.
    pub(super) fn know_names(&mut self) {
        self.growing.know_names(&self.prepared.dag);
    }

    /// What was added since the run began.
    pub(super) fn growing(&self) -> &Growing {
        &self.growing
    }

    /// Adds tasks; the scheduler has to be told.
    pub(super) fn commit(&mut self, growth: &Growth) -> Vec<Added> {
        self.growing.commit(&self.prepared.dag, growth);
        growth.tasks.iter().map(|grown| self.add(grown)).collect()
    }

    fn add(&mut self, grown: &Arc<Grown>) -> Added {
        let ready = match (grown.instance_of.filter(|_| grown.is_instance), &grown.home) {
            (Some(mapped), _) => self.prepared.instance(self.entry(mapped).ready, &grown.params),
            (None, Some(_)) => match self.prepared.of_sub(grown) {
                Some(ready) => self.prepared.instance(ready, &grown.params),
                // Each task of a DAG was made ready with it.
                None => self.prepared.entry(TaskIdx(0)).ready.clone(),
            },
            (None, None) => self.prepared.instance(self.template(grown.template.template), &grown.params),
        };
        let task = LiveTask { grown: Arc::clone(grown), ready };
        let info = self.numbers.placed(self.prepared.info_of(task.entry(), &self.history));
        self.added.push(Arc::new(task));
        let info = TaskInfo {
            mapped: grown.is_mapped(),
            sub: grown.is_sub(),
            max_active: if grown.is_sub() {
                self.processors(grown)
            } else {
                info.max_active.filter(|_| !grown.is_instance)
            },
            // The condition of a mapped task was its own.
            conditional: info.conditional && !grown.is_instance,
            instance_of: grown.instance_of,
            follows: grown.follows,
            rule: if grown.follows.is_some() && !grown.is_instance {
                TriggerRule::AllSuccess
            } else {
                info.rule
            },
            ..info
        };
        Added { name: Arc::clone(&grown.task_id), info, upstream: grown.upstream.clone() }
    }
}
