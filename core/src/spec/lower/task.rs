//! One task of a DAG file.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use super::super::dag::{Backoff, Script, ScriptSource, TriggerRule, When};
use super::super::diagnostic::Diagnostic;
use super::super::keys::{Keys as _, TaskKey};
use super::super::source::Span;
use super::super::task::{Dependency, Task, TaskOptions};
use super::super::tree::{Node, Value};
use super::{Found, Lower};
use crate::condition::Condition;

/// Where a task has its keys, by [`TaskKey`].
pub(super) type Places = [Span; TaskKey::TABLE.len()];

/// What the DAG says for tasks that do not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Defaults {
    pub(super) retries: u32,
    pub(super) retry_delay: Duration,
    pub(super) retry_backoff: Backoff,
    pub(super) max_retry_delay: Option<Duration>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self::of(&TaskOptions::default())
    }
}

impl Defaults {
    fn of(options: &TaskOptions) -> Self {
        let TaskOptions { retries, retry_delay, retry_backoff, max_retry_delay, .. } = *options;
        Self { retries, retry_delay, retry_backoff, max_retry_delay }
    }

    /// The same for a task, but for what it has said itself.
    fn fill(&self, options: &mut TaskOptions, said: impl Fn(TaskKey) -> bool) {
        if !said(TaskKey::Retries) {
            options.retries = self.retries;
        }
        if !said(TaskKey::RetryDelay) {
            options.retry_delay = self.retry_delay;
        }
        if !said(TaskKey::RetryBackoff) {
            options.retry_backoff = self.retry_backoff;
        }
        if !said(TaskKey::MaxRetryDelay) {
            options.max_retry_delay = self.max_retry_delay;
        }
    }
}

/// A task that says nothing itself, which others share as far as they say nothing.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    name: Arc<str>,
    script: Arc<Script>,
    options: Arc<TaskOptions>,
}

impl Plain {
    pub(super) fn new(defaults: &Defaults) -> Self {
        let mut options = TaskOptions::default();
        defaults.fill(&mut options, |_| false);
        Self { name: "".into(), script: nothing(""), options: options.into() }
    }

    fn task(&self, span: Span) -> Task {
        Task {
            task_id: Arc::clone(&self.name),
            script: Arc::clone(&self.script),
            params: Map::new(),
            dependencies: Box::default(),
            options: Arc::clone(&self.options),
            template: 0,
            span,
            script_span: span,
        }
    }
}

/// What is run where a task has no script.
fn nothing(engine: &str) -> Arc<Script> {
    Arc::new(Script { engine: engine.into(), source: ScriptSource::Inline("".into()) })
}

/// The tasks of a file that were lowered before it was known what the DAG says for all of them.
#[derive(Debug)]
pub(super) struct Early {
    plain: Plain,
    tasks: Vec<Task>,
    /// The places of those that say something themselves, and which keys they have.
    own: Vec<(usize, Found<TaskKey>)>,
}

impl Early {
    pub(super) fn new() -> Self {
        Self { plain: Plain::new(&Defaults::default()), tasks: Vec::new(), own: Vec::new() }
    }

    /// All of them, now that it is known.
    pub(super) fn with(self, defaults: &Defaults) -> Vec<Task> {
        let Self { plain, mut tasks, own } = self;
        if *defaults != Defaults::default() {
            let said = Plain::new(defaults);
            for task in tasks.iter_mut().filter(|task| Arc::ptr_eq(&task.options, &plain.options)) {
                task.options = Arc::clone(&said.options);
            }
            for (place, found) in own {
                defaults.fill(&mut tasks[place], |key| found.has(key));
            }
        }
        tasks.shrink_to_fit();
        tasks
    }
}

impl Lower<'_> {
    /// A task; `None` when there is nothing that could be one.
    pub(super) fn task(&mut self, plain: &Plain, node: Node<'_>) -> Option<Task> {
        self.task_and_keys(plain, node).map(|(task, _)| task)
    }

    /// A task before the defaults of the DAG are known.
    pub(super) fn early_task(&mut self, early: &mut Early, node: Node<'_>) {
        if let Some((task, found)) = self.task_and_keys(&early.plain, node) {
            if !Arc::ptr_eq(&task.options, &early.plain.options) {
                early.own.push((early.tasks.len(), found));
            }
            early.tasks.push(task);
        }
    }

    fn task_and_keys(&mut self, plain: &Plain, node: Node<'_>) -> Option<(Task, Found<TaskKey>)> {
        let span = node.span;
        let Value::Map(entries) = node.value else {
            self.expected("a mapping with the keys of a task", "tasks", &node);
            return None;
        };
        let mut task = plain.task(span);
        let mut found = Found::none();
        let mut places: Places = [span; _];
        for entry in entries {
            let Some(key) = self.key::<TaskKey>(&entry) else {
                continue;
            };
            found.add(key);
            places[key.index()] = entry.key_span;
            self.task_value(&mut task, key, &entry.key, entry.value);
        }
        self.require(&found, span);
        self.check_teardown(&task, &found, &places);
        self.check_mapping(&task, &found, &places);
        self.check_sub(&found, span, &places);
        self.names.end_task(!found.has(TaskKey::When) && !found.has(TaskKey::ForEach));
        Some((task, found))
    }

    /// A task has a script or stands for a DAG, whose tasks have their own of what else a task may have.
    fn check_sub(&mut self, found: &Found<TaskKey>, span: Span, places: &Places) {
        if !found.has(TaskKey::Dag) {
            if !found.has(TaskKey::Script) {
                let start = Span { end: span.end.min(span.start.saturating_add(1)), ..span };
                self.mistake(start, "`script` is missing in a task");
            }
            return;
        }
        use TaskKey as K;
        let others = [
            K::Script,
            K::Retries,
            K::RetryDelay,
            K::RetryBackoff,
            K::MaxRetryDelay,
            K::Timeout,
            K::Adds,
            K::Teardown,
            K::Pool,
            K::Priority,
            K::ExpectedDuration,
        ];
        for key in others.into_iter().filter(|key| found.has(*key)) {
            let message = format!("`{}` stands beside `dag`", K::TABLE[key.index()].name);
            self.mistake_with_help(
                places[key.index()],
                message,
                "it belongs to the tasks of that DAG; take it out",
            );
        }
    }

    /// What a teardown must have and must not have, and what only a teardown has.
    fn check_teardown(&mut self, task: &Task, found: &Found<TaskKey>, places: &Places) {
        let place = |key: TaskKey| places[key.index()];
        if !task.teardown {
            if found.has(TaskKey::OnFailureFailDagrun) {
                let message = "`on_failure_fail_dagrun` stands in a task that is no teardown";
                let help = "the run fails with any other task; take it out, or add `teardown: true`";
                self.mistake_with_help(place(TaskKey::OnFailureFailDagrun), message, help);
            }
            return;
        }
        if task.dependencies.is_empty() {
            let help = "its setups are its dependencies; name the tasks whose work it takes down";
            self.mistake_with_help(place(TaskKey::Teardown), "a teardown has at least one dependency", help);
        }
        for (key, help) in [
            (TaskKey::TriggerRule, "a teardown has a rule of its own: it runs if one of its setups ran"),
            (TaskKey::When, "a teardown runs whenever one of its setups ran"),
        ] {
            if found.has(key) {
                let message = format!("`{}` stands beside `teardown`", TaskKey::TABLE[key.index()].name);
                self.mistake_with_help(place(key), message, format!("{help}; take it out"));
            }
        }
    }

    fn task_value(&mut self, task: &mut Task, key: TaskKey, name: &str, node: Node<'_>) {
        match key {
            TaskKey::TaskId => {
                task.span = node.span;
                if let Some(id) = self.text(name, node) {
                    self.check_id(name, &id, task.span);
                    task.task_id = self.names.of_task(&id);
                }
            }
            TaskKey::Script => {
                task.script_span = node.span;
                if let Some(script) = self.script(name, node) {
                    task.script = script;
                }
            }
            TaskKey::Type => task.kind = self.id(name, node).map(Into::into),
            TaskKey::Dag => {
                task.script_span = node.span;
                task.dag = self.text_or_none(name, node).map(Into::into);
                task.script = nothing("dag");
            }
            TaskKey::Params => task.params = self.params(name, node),
            TaskKey::Dependencies => self.dependencies(task, name, node),
            TaskKey::Retries => {
                task.retries = self.count(name, &node, 0).unwrap_or_default();
            }
            TaskKey::RetryDelay => {
                task.retry_delay = self.duration(name, &node).unwrap_or_default();
            }
            TaskKey::RetryBackoff => {
                task.retry_backoff = self.choice(name, node, &Backoff::NAMES).unwrap_or_default();
            }
            TaskKey::MaxRetryDelay => task.max_retry_delay = self.max_delay(name, &node),
            TaskKey::Timeout => task.timeout = self.timeout(name, &node),
            TaskKey::TriggerRule => {
                task.trigger_rule = self.choice(name, node, &TriggerRule::NAMES).unwrap_or_default();
            }
            TaskKey::When => task.when = self.when(name, node),
            TaskKey::ForEach => task.for_each = self.for_each(name, node),
            TaskKey::MaxActive => task.max_active = self.count(name, &node, 1),
            TaskKey::Adds => task.adds = self.types(name, node),
            TaskKey::Teardown => task.teardown = self.flag(name, &node).unwrap_or_default(),
            TaskKey::OnFailureFailDagrun => {
                task.on_failure_fail_dagrun = self.flag(name, &node).unwrap_or_default();
            }
            TaskKey::Pool => task.pool = self.id(name, node).map(Into::into),
            TaskKey::Priority => task.priority = self.priority(name, &node).unwrap_or_default(),
            TaskKey::ExpectedDuration => task.expected_duration = self.duration(name, &node),
        }
    }

    pub(super) fn when(&mut self, name: &str, node: Node<'_>) -> Option<When> {
        let span = node.span;
        let text = self.text(name, node)?;
        if text.trim().is_empty() {
            self.mistake_with_help(span, format!("`{name}` is empty"), "for no condition, leave the key out");
            return None;
        }
        self.expression(&text, span)
    }

    /// A condition, or what gives a list.
    pub(super) fn expression(&mut self, text: &str, span: Span) -> Option<When> {
        let place = (Arc::from(text), self.vocabulary);
        let known = self.conditions.get(&place).cloned();
        let compiled = known.unwrap_or_else(|| {
            let compiled = Condition::compile_with(text, place.1).map(Arc::new);
            self.conditions.insert(place, compiled.clone());
            compiled
        });
        match compiled {
            Ok(condition) => Some(When { text: Arc::clone(condition.text()), condition, span }),
            Err(error) => {
                let mut mistake = Diagnostic::new(self.within(span, text, error.at), error.message);
                mistake.help = error.help;
                self.mistakes.push(mistake);
                None
            }
        }
    }

    fn types(&mut self, name: &str, node: Node<'_>) -> Vec<Dependency> {
        let list = self.list(name, "a list of types", node);
        let types = list.filter_map(|node| {
            let span = node.span;
            self.id(name, node).map(|id| Dependency { task_id: id.into(), span })
        });
        types.collect()
    }

    fn dependencies(&mut self, task: &mut Task, name: &str, node: Node<'_>) {
        let ids = self.list(name, "a list of task ids", node);
        let mut dependencies = Vec::with_capacity(ids.len());
        for node in ids {
            let span = node.span;
            if self.is_addition() && matches!(node.value, Value::Map(_)) {
                let after = self.task_type(node);
                task.after_types.extend(after);
                continue;
            }
            let id = self.text(name, node);
            dependencies.extend(id.map(|id| Dependency { task_id: self.names.of_dependency(&id), span }));
        }
        task.dependencies = dependencies.into();
    }
}
