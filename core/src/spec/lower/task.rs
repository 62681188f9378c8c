//! One task of a DAG file.

use std::time::Duration;

use serde_json::Map;

use super::super::dag::{Backoff, Dependency, Script, ScriptSource, Task, TriggerRule};
use super::super::keys::TaskKey;
use super::super::tree::{Node, Value};
use super::{Found, Lower};

/// What the DAG says for tasks that do not.
pub(super) struct Defaults {
    pub(super) retries: u32,
    pub(super) retry_delay: Duration,
    pub(super) retry_backoff: Backoff,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { retries: 0, retry_delay: Duration::from_secs(1), retry_backoff: Backoff::default() }
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
        let mut task = Task {
            task_id: String::new(),
            script: Script { engine: "".into(), source: ScriptSource::Inline("".into()) },
            params: Map::new(),
            dependencies: Vec::new(),
            retries: defaults.retries,
            retry_delay: defaults.retry_delay,
            retry_backoff: defaults.retry_backoff,
            timeout: None,
            trigger_rule: TriggerRule::default(),
            priority: 0,
            expected_duration: None,
            span,
            script_span: span,
        };
        let mut found = Found::none();
        for entry in entries {
            let Some(key) = self.key::<TaskKey>(&entry) else {
                continue;
            };
            found.add(key);
            self.task_value(&mut task, key, &entry.key, entry.value);
        }
        self.require(&found, span);
        Some(task)
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
            TaskKey::Params => task.params = self.params(name, node),
            TaskKey::Dependencies => task.dependencies = self.dependencies(name, node),
            TaskKey::Retries => {
                task.retries = self.count(name, &node, 0).unwrap_or_default();
            }
            TaskKey::RetryDelay => {
                task.retry_delay = self.duration(name, &node).unwrap_or_default();
            }
            TaskKey::RetryBackoff => {
                task.retry_backoff = self.choice(name, node, &Backoff::NAMES).unwrap_or_default();
            }
            TaskKey::Timeout => task.timeout = self.timeout(name, &node),
            TaskKey::TriggerRule => {
                task.trigger_rule = self.choice(name, node, &TriggerRule::NAMES).unwrap_or_default();
            }
            TaskKey::Priority => task.priority = self.priority(name, &node).unwrap_or_default(),
            TaskKey::ExpectedDuration => task.expected_duration = self.duration(name, &node),
        }
    }

    fn dependencies(&mut self, name: &str, node: Node<'_>) -> Vec<Dependency> {
        let ids = self.list(name, "a list of task ids", node);
        let mut dependencies = Vec::with_capacity(ids.len());
        for node in ids {
            let span = node.span;
            let id = self.text(name, node);
            dependencies.extend(id.map(|id| Dependency { task_id: id.into_owned(), span }));
        }
        dependencies
    }
}
