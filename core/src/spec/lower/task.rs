//! One task of a DAG file.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use super::super::dag::{Backoff, Dependency, Script, ScriptSource, Task, TriggerRule, When};
use super::super::diagnostic::Diagnostic;
use super::super::keys::{Keys as _, TaskKey};
use super::super::source::Span;
use super::super::tree::{Node, Value};
use super::{Found, Lower};
use crate::condition::Condition;

/// Where a task has its keys, by [`TaskKey`].
pub(super) type Places = [Span; TaskKey::TABLE.len()];

/// What the DAG says for tasks that do not.
pub(super) struct Defaults {
    pub(super) retries: u32,
    pub(super) retry_delay: Duration,
    pub(super) retry_backoff: Backoff,
    pub(super) max_retry_delay: Option<Duration>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            retries: 0,
            retry_delay: Duration::from_secs(1),
            retry_backoff: Backoff::default(),
            max_retry_delay: None,
        }
    }
}

impl Defaults {
    /// A task that says nothing itself.
    fn task(&self, span: Span) -> Task {
        Task {
            task_id: String::new(),
            kind: None,
            dag: None,
            script: Script { engine: "".into(), source: ScriptSource::Inline("".into()) },
            params: Map::new(),
            dependencies: Vec::new(),
            retries: self.retries,
            retry_delay: self.retry_delay,
            retry_backoff: self.retry_backoff,
            max_retry_delay: self.max_retry_delay,
            timeout: None,
            trigger_rule: TriggerRule::default(),
            when: None,
            for_each: None,
            max_active: None,
            after_types: Vec::new(),
            adds: Vec::new(),
            template: 0,
            teardown: false,
            on_failure_fail_dagrun: false,
            pool: None,
            priority: 0,
            expected_duration: None,
            span,
            script_span: span,
        }
    }
}

impl Lower<'_> {
    /// A task; `None` when there is nothing that could be one.
    pub(super) fn task(&mut self, defaults: &Defaults, node: Node<'_>) -> Option<Task> {
        let span = node.span;
        let Value::Map(entries) = node.value else {
            self.expected("a mapping with the keys of a task", "tasks", &node);
            return None;
        };
        let mut task = defaults.task(span);
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
        Some(task)
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
                task.task_id = self.id(name, node).unwrap_or_default();
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
                task.script.engine = "dag".into();
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
            self.id(name, node).map(|task_id| Dependency { task_id, span })
        });
        types.collect()
    }

    fn dependencies(&mut self, task: &mut Task, name: &str, node: Node<'_>) {
        let ids = self.list(name, "a list of task ids", node);
        task.dependencies.reserve_exact(ids.len());
        for node in ids {
            let span = node.span;
            if self.is_addition() && matches!(node.value, Value::Map(_)) {
                let after = self.task_type(node);
                task.after_types.extend(after);
                continue;
            }
            let id = self.text(name, node);
            task.dependencies.extend(id.map(|id| Dependency { task_id: id.into_owned(), span }));
        }
    }
}
