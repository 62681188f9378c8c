//! One task of a run, of the DAG file or added to it since, and what its expressions see.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::places::info;
use super::{Prepared, PreparedTask, conditions, subs};
use crate::condition::{Around, Condition, Scope, TaskView};
use crate::event::TaskIdx;
use crate::growth::Grown;
use crate::growth::Items;
use crate::params::{self, Connections};
use crate::scheduler::TaskInfo;
use crate::spec::{ForEach, List, Over, Task};
use crate::state::TaskState;
use crate::store::Durations;

/// A task with all that it needs to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Its name.
    pub(crate) task_id: &'a str,
    /// What the DAG file says of it, or of all tasks of its kind.
    pub(crate) task: &'a Task,
    /// Its own parameters.
    pub(crate) params: &'a Map<String, Value>,
    pub(crate) ready: &'a PreparedTask,
}

impl<'a> Entry<'a> {
    /// A task that was added.
    pub(crate) fn grown(grown: &'a Grown, ready: &'a PreparedTask) -> Self {
        Self { task_id: &grown.task_id, task: &grown.template, params: &grown.params, ready }
    }

    /// Whether an attempt needs a worker.
    pub(crate) fn blocks(&self) -> bool {
        self.ready.blocking
    }
}

/// What an expression may look at.
#[derive(Default)]
pub(crate) struct Look<'a> {
    /// The tasks, each with its name, its state and what it left.
    pub(crate) tasks: Vec<(&'a str, TaskState, Option<Value>)>,
    /// What rules see besides.
    pub(crate) around: Around<'a>,
}

impl Prepared {
    /// A task of the DAG file.
    pub(crate) fn entry(&self, task: TaskIdx) -> Entry<'_> {
        let entry = &self.dag.tasks[task.get()];
        let ready = &self.tasks[task.get()];
        Entry { task_id: &entry.task_id, task: entry, params: &entry.params, ready }
    }

    /// How many tasks the rules of the DAG file add.
    pub(crate) fn count_templates(&self) -> usize {
        self.templates.len()
    }

    /// What a task needs to run that was added, but for instances.
    pub(crate) fn of_sub(&self, grown: &Grown) -> Option<&PreparedTask> {
        let sub = grown.home.as_ref()?;
        self.subs.get(&subs::address(sub))?.get(grown.template.template as usize)
    }

    /// What a task of a rule needs to run.
    pub(crate) fn template(&self, template: u32) -> &PreparedTask {
        &self.templates[template as usize]
    }

    /// An instance of a task, with parameters of its own.
    pub(crate) fn instance(&self, of: &PreparedTask, params: &Map<String, Value>) -> PreparedTask {
        let mut ready = of.clone();
        if let Some(engine) = self.engines.get(of.engine as usize) {
            let params = params::effective(&self.dag.params, params, &self.overrides, &self.connections);
            ready.blocking = engine.blocks(&params);
        }
        ready
    }

    /// What the scheduler needs to know of a task, but for its place in the graph.
    pub(crate) fn info_of(&self, entry: Entry<'_>, history: &Durations) -> TaskInfo {
        let PreparedTask { engine, blocking, .. } = *entry.ready;
        info((entry.task_id, entry.task), engine, blocking, &self.pools, history)
    }

    /// The tasks that the expressions of a task of the DAG file look at.
    pub(crate) fn watched(&self, task: TaskIdx) -> Cow<'_, [TaskIdx]> {
        match self.watched.get(&task) {
            Some(named) => Cow::Borrowed(named),
            None => Cow::Owned(conditions::upstream(&self.graph, task)),
        }
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub(crate) fn evaluate(
        &self,
        condition: &Condition,
        params: &Map<String, Value>,
        look: Look<'_>,
    ) -> Result<bool, String> {
        self.in_scope(params, look, |scope| condition.evaluate(scope))
    }

    /// What a mapped task is run for; `None` where that is what another one is run for.
    ///
    /// # Errors
    ///
    /// Why that cannot be told.
    pub(crate) fn items(&self, entry: Entry<'_>, look: Look<'_>) -> Result<Option<Items>, String> {
        let Some(for_each) = &entry.task.for_each else { return Ok(Some(Items::default())) };
        self.in_scope(entry.params, look, |scope| items_of(for_each, scope, self.dag.max_tasks))
    }

    /// Without connections: a secret could get out by a message, or by what runs and what does not.
    fn in_scope<T>(
        &self,
        params: &Map<String, Value>,
        look: Look<'_>,
        work: impl FnOnce(&Scope<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let params = params::effective(&self.dag.params, params, &self.overrides, &Connections::new());
        let view = |(task_id, state, result)| TaskView { task_id, state, result };
        let tasks = look.tasks.into_iter().map(view).collect();
        let scope = Scope { tasks, params: &params, around: look.around };
        work(&scope).map_err(|message| self.masker.mask(&message).into_owned())
    }
}

/// What a task is run for; `None` where that is what another one is run for. No more than so many.
pub(super) fn items_of(for_each: &ForEach, scope: &Scope<'_>, most: u32) -> Result<Option<Items>, String> {
    let list = |list: &List| match list {
        List::Literal(value) => Ok(Value::clone(value)),
        List::Expression(expression) => expression.condition.items(scope),
    };
    let named = |(name, from): &(String, List)| match list(from)? {
        Value::Array(list) => Ok((name.clone(), list)),
        _ => Err(format!("`{name}` is an object; `zip` and `cross` take lists")),
    };
    let all = |lists: &[(String, List)]| lists.iter().map(named).collect::<Result<Vec<_>, String>>();
    Ok(Some(match &for_each.over {
        Over::List(from) => Items::of(list(from)?).unwrap_or_default(),
        Over::Zip(lists) => Items::zip(all(lists)?)?,
        Over::Cross(lists) => Items::cross(all(lists)?, most)?,
        Over::InstancesOf(_) => return Ok(None),
    }))
}
