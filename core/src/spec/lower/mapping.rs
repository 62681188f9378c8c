//! What a mapped task is run for: a list, an object, an expression, several lists, or the instances of another task.

use std::sync::Arc;

use super::super::dag::{ForEach, List, Over};
use super::super::keys::{Keys as _, TaskKey};
use super::super::task::{Dependency, Task};
use super::super::tree::{Entry, Node, Value};
use super::task::Places;
use super::{Found, Lower};

/// The forms that are written as a mapping of one key.
const FORMS: [&str; 3] = ["zip", "cross", "instances_of"];

/// The longest id of a mapped task: those of its instances have the item's key behind it.
const LONGEST_MAPPED_ID: usize = 180;

impl Lower<'_> {
    /// A mapping with one of the keys of [`FORMS`] is such a form; any other one is an object with its items.
    pub(super) fn for_each(&mut self, name: &str, node: Node<'_>) -> Option<ForEach> {
        let span = node.span;
        let over = match node.value {
            Value::Map(entries) if entries.len() == 1 && FORMS.contains(&&*entries[0].key) => {
                let form = entries.into_iter().next()?;
                self.form(form)?
            }
            value => Over::List(self.items(name, Node { span, value })?),
        };
        Some(ForEach { over, span })
    }

    fn form(&mut self, Entry { key, value, .. }: Entry<'_>) -> Option<Over> {
        if key == "instances_of" {
            let span = value.span;
            let id = self.text(&key, value)?;
            let task_id = self.names.of_dependency(&id);
            return Some(Over::InstancesOf(Dependency { task_id, span }));
        }
        let Value::Map(entries) = value.value else {
            self.expected("a mapping of names to lists", &key, &value);
            return None;
        };
        if entries.is_empty() {
            self.mistake(value.span, format!("`{key}` has no list"));
        }
        let mut lists = Vec::with_capacity(entries.len());
        for entry in entries {
            if matches!(entry.value.value, Value::Map(_)) {
                self.expected("a list or an expression", &entry.key, &entry.value);
            } else if let Some(list) = self.items(&entry.key, entry.value) {
                lists.push((entry.key.into_owned(), list));
            }
        }
        Some(if key == "zip" { Over::Zip(lists) } else { Over::Cross(lists) })
    }

    fn items(&mut self, name: &str, node: Node<'_>) -> Option<List> {
        match &node.value {
            Value::List(_) | Value::Map(_) => Some(List::Literal(Arc::new(node.into_json()))),
            Value::Text(text) if !text.trim().is_empty() => {
                self.expression(text, node.span).map(List::Expression)
            }
            _ => {
                self.expected("a list, an object or an expression", name, &node);
                None
            }
        }
    }

    /// What cannot stand beside `for_each`, and what cannot stand without it.
    pub(super) fn check_mapping(&mut self, task: &Task, found: &Found<TaskKey>, places: &Places) {
        let place = |key: TaskKey| places[key.index()];
        if !found.has(TaskKey::ForEach) {
            if found.has(TaskKey::MaxActive) {
                let message = "`max_active_tis_per_dagrun` stands in a task that is not mapped";
                let help =
                    "it limits the instances of a task with `for_each`; `pool` limits several tasks together";
                self.mistake_with_help(place(TaskKey::MaxActive), message, help);
            }
            return;
        }
        if task.teardown {
            let help = "a teardown is run once; what it takes down can be listed in its script";
            self.mistake_with_help(place(TaskKey::ForEach), "a teardown cannot be mapped", help);
        }
        if task.task_id.len() > LONGEST_MAPPED_ID {
            let message = format!("the id of a mapped task is longer than {LONGEST_MAPPED_ID} characters");
            self.mistake_with_help(
                task.span,
                message,
                "the names of its instances have the item's key behind it",
            );
        }
    }
}
