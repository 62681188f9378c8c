//! What a DAG file says of one task. Files of a million tasks are read, so what is most often the same is held once.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::dag::{Backoff, ForEach, List, Over, Script, TriggerRule, When};
use super::source::Span;

/// One task of a DAG file.
#[derive(Debug, Clone)]
pub struct Task {
    /// Letters, digits, `_`, `-`, `.`; at most 250 of them.
    pub task_id: Arc<str>,
    /// What to run; most often shared by tasks that run the same.
    pub script: Arc<Script>,
    /// As written, keys of connections (`**SECTION_key`) and variables (`*name`) included.
    pub params: Map<String, Value>,
    /// Upstream tasks by name, each with its place in the file.
    pub dependencies: Box<[Dependency]>,
    /// All that few tasks say: those that say nothing of it share what the DAG says. Read as the task's own.
    pub options: Arc<TaskOptions>,
    /// In what a rule adds: its place among all tasks that rules add. In a DAG that stands in another one: its place there.
    pub template: u32,
    /// Where the file gives the task its id.
    pub span: Span,
    /// Where the task's script reference stands in the file.
    pub script_span: Span,
}

/// What few tasks say of themselves.
#[derive(Debug, Clone)]
pub struct TaskOptions {
    /// What kind of work it is, for rules that look at all tasks of a kind.
    pub kind: Option<Arc<str>>,
    /// The DAG file that it stands for, by its path; its script is nothing then.
    pub dag: Option<Arc<str>>,
    /// How often the task is tried again after its first failed attempt.
    pub retries: u32,
    /// The wait before a retry.
    pub retry_delay: Duration,
    /// How the wait grows from one retry to the next.
    pub retry_backoff: Backoff,
    /// No wait before a retry is longer; `None` is the scheduler's own cap.
    pub max_retry_delay: Option<Duration>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// Which states of its dependencies let the task start.
    pub trigger_rule: TriggerRule,
    /// Evaluated once the trigger rule lets the task start; a false one skips it.
    pub when: Option<When>,
    /// What it is run for, once for each; a task with it stands for its instances.
    pub for_each: Option<ForEach>,
    /// At most this many of its instances run at once.
    pub max_active: Option<u32>,
    /// In what a rule adds: kinds of tasks all of which, as far as there are any, have to end before.
    pub after_types: Vec<Dependency>,
    /// The kinds of tasks that its engine may add to the graph while it runs.
    pub adds: Vec<Dependency>,
    /// Whether it takes down what its dependencies, its setups, have set up: it runs whatever happened.
    pub teardown: bool,
    /// Whether the run fails if this teardown does.
    pub on_failure_fail_dagrun: bool,
    /// The pool of which it needs a slot.
    pub pool: Option<Arc<str>>,
    /// Greater starts earlier; 0 unless said.
    pub priority: i32,
    /// How long the author expects the task to take.
    pub expected_duration: Option<Duration>,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            kind: None,
            dag: None,
            retries: 0,
            retry_delay: Duration::from_secs(1),
            retry_backoff: Backoff::default(),
            max_retry_delay: None,
            timeout: None,
            trigger_rule: TriggerRule::default(),
            when: None,
            for_each: None,
            max_active: None,
            after_types: Vec::new(),
            adds: Vec::new(),
            teardown: false,
            on_failure_fail_dagrun: false,
            pool: None,
            priority: 0,
            expected_duration: None,
        }
    }
}

impl Deref for Task {
    type Target = TaskOptions;

    fn deref(&self) -> &TaskOptions {
        &self.options
    }
}

impl DerefMut for Task {
    /// What is changed is this task's alone from then on.
    fn deref_mut(&mut self) -> &mut TaskOptions {
        Arc::make_mut(&mut self.options)
    }
}

impl Task {
    /// All that is evaluated before it starts: its condition, and what it is run for.
    pub fn expressions(&self) -> impl Iterator<Item = &When> {
        let lists = self.for_each.iter().flat_map(|for_each| for_each.over.lists());
        self.when.iter().chain(lists.filter_map(|list| match list {
            List::Literal(_) => None,
            List::Expression(expression) => Some(expression),
        }))
    }

    /// The task whose instances its own follow one by one.
    #[must_use]
    pub fn follows(&self) -> Option<&Dependency> {
        match self.for_each.as_ref().map(|for_each| &for_each.over) {
            Some(Over::InstancesOf(followed)) => Some(followed),
            _ => None,
        }
    }

    /// All tasks that have to come before it.
    pub fn upstream(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().chain(self.follows())
    }
}

/// A dependency and its place in the file.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The upstream task's id; shared with the task itself.
    pub task_id: Arc<str>,
    /// Where it is named.
    pub span: Span,
}
