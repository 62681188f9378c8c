//! What a run's graph has grown by, and what a cause adds to it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::fill::fill_all;
use super::{Cause, Grown, Growth, Items};
use crate::event::TaskIdx;
use crate::spec::{Dag, Task};

/// The tasks that were added to a DAG since its run began.
#[derive(Debug, Default)]
pub struct Growing {
    /// How many tasks the DAG file has.
    base: u32,
    grown: Vec<Arc<Grown>>,
    /// The mapped tasks that have their instances.
    mapped: HashMap<TaskIdx, Instances>,
}

/// The instances of a mapped task: one for each item, in order.
#[derive(Debug, Clone)]
struct Instances {
    first: TaskIdx,
    items: Arc<Items>,
}

impl Growing {
    /// Nothing has been added yet.
    #[must_use]
    pub fn new(dag: &Dag) -> Self {
        // Tasks are numbered by `u32` in the graph.
        Self { base: u32::try_from(dag.tasks.len()).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// A task that was added; `None` for one of the DAG file.
    #[must_use]
    pub fn get(&self, task: TaskIdx) -> Option<&Arc<Grown>> {
        self.grown.get(task.0.checked_sub(self.base)? as usize)
    }

    /// The tasks that were added, in order.
    #[must_use]
    pub fn grown(&self) -> &[Arc<Grown>] {
        &self.grown
    }

    /// The instances of a mapped task that has them.
    pub fn instances(&self, task: TaskIdx) -> Option<impl Iterator<Item = TaskIdx> + use<>> {
        let instances = self.mapped.get(&task)?;
        let count = u32::try_from(instances.items.len()).unwrap_or(u32::MAX);
        Some((instances.first.0..instances.first.0 + count).map(TaskIdx))
    }

    /// What this adds to the graph. Nothing is added before [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// Why nothing can be added, for people.
    pub fn derive(&self, dag: &Dag, cause: Cause) -> Result<Growth, String> {
        let tasks = match &cause {
            Cause::Mapped { task, items } => self.instances_of(dag, *task, items.as_ref())?,
        };
        let count = self.base as usize + self.grown.len() + tasks.len();
        if count > dag.max_tasks as usize {
            return Err(format!(
                "the graph would grow to {count} tasks, and `max_tasks` is {}; raise it in the DAG if that is meant",
                dag.max_tasks
            ));
        }
        let first = TaskIdx(self.base + u32::try_from(self.grown.len()).unwrap_or(u32::MAX));
        Ok(Growth { cause, first, tasks: tasks.into_iter().map(Arc::new).collect() })
    }

    /// Takes note of what was added.
    pub fn commit(&mut self, dag: &Dag, growth: &Growth) {
        match &growth.cause {
            Cause::Mapped { task, items } => {
                if let Some(items) = items.as_ref().or_else(|| self.followed(dag, *task).map(|f| &f.items)) {
                    let instances = Instances { first: growth.first, items: Arc::clone(items) };
                    self.mapped.insert(*task, instances);
                }
            }
        }
        self.grown.extend(growth.tasks.iter().cloned());
    }

    fn instances_of(
        &self,
        dag: &Dag,
        task: TaskIdx,
        items: Option<&Arc<Items>>,
    ) -> Result<Vec<Grown>, String> {
        let followed = self.followed(dag, task);
        let items = items.or(followed.map(|followed| &followed.items));
        let items = items.ok_or("the task that it follows has no instances")?;
        let grown = self.get(task);
        let template = match grown {
            Some(grown) => Arc::clone(&grown.template),
            None => Arc::new(self.of_file(dag, task)?.clone()),
        };
        let (name, params) = match grown {
            Some(grown) => (&*grown.task_id, &grown.params),
            None => (&*template.task_id, &template.params),
        };
        let mut instances = Vec::with_capacity(items.len());
        for ((key, item), index) in items.iter().zip(0_u32..) {
            let (index_value, key_value) = (Value::from(index), Value::from(key));
            let bindings = [("item", item), ("index", &index_value), ("key", &key_value)];
            let params = fill_all(params, &bindings).map_err(|why| format!("instance [{key}]: {why}"))?;
            let upstream = followed.iter().map(|followed| TaskIdx(followed.first.0 + index)).collect();
            instances.push(Grown {
                task_id: format!("{name}[{key}]").into(),
                template: Arc::clone(&template),
                params,
                upstream,
                instance_of: Some(task),
                from: Some(task),
            });
        }
        Ok(instances)
    }

    /// The instances that those of a task follow one by one.
    fn followed(&self, dag: &Dag, task: TaskIdx) -> Option<&Instances> {
        self.mapped.get(&self.follows(dag, task)?)
    }

    /// The mapped task that a mapped task follows.
    #[must_use]
    pub fn follows(&self, dag: &Dag, task: TaskIdx) -> Option<TaskIdx> {
        let name = &dag.tasks.get(task.get())?.follows()?.task_id;
        let place = dag.tasks.iter().position(|task| task.task_id == *name)?;
        u32::try_from(place).ok().map(TaskIdx)
    }

    fn of_file<'d>(&self, dag: &'d Dag, task: TaskIdx) -> Result<&'d Task, String> {
        dag.tasks.get(task.get()).ok_or_else(|| format!("there is no task number {}", task.0))
    }
}
