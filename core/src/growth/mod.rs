//! Graphs that grow while they run: what is added, and why.
//!
//! Pure: no I/O, no clock. A graph only ever grows, and an edge only ever leads from a task that there is to a new one.
//! What is added follows from a [`Cause`] and from what was there before, and from nothing else: so a cause that was
//! stored brings the same tasks back, under the same names and numbers, without asking anybody again.

mod append;
mod fill;
mod growing;
mod items;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use growing::{ActiveRule, Growing};
pub use items::Items;
pub use rules::{Counts, NewTask, Rules};

use crate::event::TaskIdx;
use crate::spec::{SubDag, Task};

/// No graph grows beyond this, unless its DAG says otherwise.
pub const MAX_TASKS: u32 = 1_000_000;

/// Why a graph grows, with all that what is added depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A mapped task gets its instances.
    Mapped {
        /// The mapped task.
        task: TaskIdx,
        /// What it is run for; `None` where that is what the task that it follows was run for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        items: Option<Arc<Items>>,
    },
    /// A task that stands for a DAG gets its tasks.
    SubDag {
        /// The task.
        task: TaskIdx,
    },
    /// The engine of a task adds something.
    Engine {
        /// The task.
        task: TaskIdx,
        /// What it adds, in the engine's words.
        addition: Arc<Value>,
    },
    /// A rule is applied.
    Rule {
        /// Its place among all rules of the run, those that were added to it included.
        rule: u32,
        /// What it is called.
        name: Arc<str>,
        /// The task to which it is applied, or to which the one that added it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskIdx>,
        /// What that task had left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Arc<Value>>,
    },
}

impl Cause {
    /// What the rule is called that is applied.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Rule { name, .. } => Some(name),
            Self::Mapped { .. } | Self::SubDag { .. } | Self::Engine { .. } => None,
        }
    }

    /// The task from which the new ones grow.
    #[must_use]
    pub fn task(&self) -> Option<TaskIdx> {
        match self {
            Self::Mapped { task, .. } | Self::SubDag { task } | Self::Engine { task, .. } => Some(*task),
            Self::Rule { task, .. } => *task,
        }
    }
}

/// What is added at once.
#[derive(Debug, Clone)]
pub struct Growth {
    /// Why.
    pub cause: Cause,
    /// The number of the first new task; the others follow.
    pub first: TaskIdx,
    /// The new tasks.
    pub tasks: Vec<Arc<Grown>>,
    /// The new rules.
    pub rules: Vec<ActiveRule>,
    /// How many templates of tasks came with them.
    pub templates: u32,
}

impl PartialEq for Growth {
    /// The same cause at the same place gives the same tasks.
    fn eq(&self, other: &Self) -> bool {
        (&self.cause, self.first, self.tasks.len()) == (&other.cause, other.first, other.tasks.len())
    }
}

/// A task that was added to a running DAG.
#[derive(Debug, Clone)]
pub struct Grown {
    /// Its name: that of its template, with a key in brackets where the template is used more than once.
    pub task_id: Arc<str>,
    /// Everything that it has in common with others of its kind.
    pub template: Arc<Task>,
    /// Its own parameters, filled in.
    pub params: Map<String, Value>,
    /// The tasks that come before it.
    pub upstream: Box<[TaskIdx]>,
    /// The task that stands for it: the mapped one of which it is an instance, or that of the DAG in which it is.
    pub instance_of: Option<TaskIdx>,
    /// It is an instance of a mapped task.
    pub is_instance: bool,
    /// The DAG in which it is, where that is not the outermost one.
    pub home: Option<Arc<SubDag>>,
    /// The task from which it grew.
    pub from: Option<TaskIdx>,
    /// The mapped task whose instances its own follow.
    pub follows: Option<TaskIdx>,
    /// The task to which the rule that added it was applied.
    pub matched: Option<TaskIdx>,
}

impl Grown {
    /// Whether it stands for instances that are added when it starts.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.template.dag.is_some() || (!self.is_instance && self.template.for_each.is_some())
    }

    /// Whether the tasks for which it stands are those of a DAG, rather than instances.
    #[must_use]
    pub fn is_sub(&self) -> bool {
        self.template.dag.is_some() && (self.is_instance || self.template.for_each.is_none())
    }
}
