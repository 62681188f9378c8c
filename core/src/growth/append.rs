//! What engines add: checked as a DAG file is, and against the graph as it is.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::Growing;
use super::growing::mark;
use crate::event::TaskIdx;
use crate::spec::{Addition, Dag, Each, MATCHED, Rule, Task, parse_addition};

impl Addition {
    /// All tasks in it, those of its rules included.
    pub(crate) fn all_tasks(&self) -> Vec<&Arc<Task>> {
        let rules = self.rules.iter().flat_map(|rule| rule.with_nested());
        let mut all: Vec<&Arc<Task>> =
            self.tasks.iter().chain(rules.flat_map(|rule: &Rule| &rule.tasks)).collect();
        all.sort_by_key(|task| task.template);
        all
    }

    pub(super) fn templates(&self) -> u32 {
        u32::try_from(self.all_tasks().len()).unwrap_or(u32::MAX)
    }
}

impl Growing {
    /// Whether a task has added just this before: it is tried again, or goes on after a crash.
    #[must_use]
    pub fn has_appended(&self, task: TaskIdx, addition: &Value) -> bool {
        self.appended.contains(&(task, mark(addition)))
    }

    /// Reads an addition, and holds it against the graph.
    pub(super) fn checked(&self, dag: &Dag, by: TaskIdx, addition: &Value) -> Result<Addition, String> {
        let addition =
            parse_addition(addition.to_string(), self.templates).map_err(|mistakes| mistakes.to_string())?;
        let mut mistakes = Vec::new();
        self.check_names(&addition, &mut mistakes);
        self.check_kinds(&addition, &mut mistakes);
        self.check_mapped(dag, &addition, &mut mistakes);
        let task = match self.get(by) {
            Some(grown) => &*grown.template,
            None => &dag.tasks[by.get()],
        };
        let may_add = |kind: &str| task.adds.iter().any(|declared| *declared.task_id == *kind);
        let kinds: HashSet<&str> =
            addition.all_tasks().iter().filter_map(|task| task.kind.as_deref()).collect();
        let mut undeclared: Vec<&str> = kinds.into_iter().filter(|kind| !may_add(kind)).collect();
        undeclared.sort_unstable();
        mistakes.extend(undeclared.iter().map(|kind| {
            format!(
                "{} may not add tasks of the type `{kind}`; say so in the DAG: `adds: [{kind}]`",
                self.name(dag, by)
            )
        }));
        if mistakes.is_empty() { Ok(addition) } else { Err(mistakes.join("; ")) }
    }

    /// Names that are taken, and names of what is not there.
    fn check_names(&self, addition: &Addition, mistakes: &mut Vec<String>) {
        let mut known: HashSet<&str> = HashSet::new();
        for task in addition.all_tasks() {
            let name = &*task.task_id;
            if self.find(name).is_some() || self.reserved.contains(name) || !known.insert(name) {
                mistakes.push(format!("there is a task `{name}` already"));
            }
        }
        let is_there = |name: &str| name == MATCHED || known.contains(name) || self.find(name).is_some();
        for task in addition.all_tasks() {
            let named = task.upstream().map(|dependency| &*dependency.task_id);
            let looked_at = task.expressions().flat_map(|when| &when.condition.references().tasks);
            for name in named.chain(looked_at.map(|task| task.name.as_str())).filter(|name| !is_there(name)) {
                mistakes.push(format!("task `{}` names `{name}`, which is not there", task.task_id));
            }
            let mut named = HashSet::new();
            for dependency in task.upstream().filter(|dependency| !named.insert(&*dependency.task_id)) {
                let (id, name) = (&task.task_id, &dependency.task_id);
                mistakes.push(format!("task `{id}` names `{name}` more than once among its dependencies"));
            }
        }
        for rule in addition.rules.iter().flat_map(|rule| rule.with_nested()) {
            let references = rule.when.iter().map(|when| when.condition.references());
            let named = references.flat_map(|all| all.tasks.iter().chain(&all.groups));
            for task in named.filter(|task| !is_there(&task.name)) {
                mistakes.push(format!("rule {} looks at `{}`, which is not there", rule.name, task.name));
            }
        }
    }

    /// Types of which no task is, or ever could be.
    fn check_kinds(&self, addition: &Addition, mistakes: &mut Vec<String>) {
        let tasks = addition.all_tasks();
        let own = tasks.iter().flat_map(|task| {
            task.kind.as_deref().into_iter().chain(task.adds.iter().map(|kind| &*kind.task_id))
        });
        let own: HashSet<&str> = own.collect();
        let rules = addition.rules.iter().flat_map(|rule| rule.with_nested());
        let by_rules = rules.flat_map(|rule| {
            let each = match &rule.each {
                Some(Each::Type(kind)) => Some(&*kind.task_id),
                _ => None,
            };
            let references = rule.when.iter().map(|when| when.condition.references());
            let named = references.flat_map(|all| all.types.iter().chain(&all.closed));
            each.into_iter().chain(named.map(|kind| kind.name.as_str()))
        });
        let after = tasks.iter().flat_map(|task| &task.after_types).map(|kind| &*kind.task_id);
        let unknown = |kind: &&str| !own.contains(kind) && !self.types.contains(*kind);
        let unknown: BTreeSet<&str> = by_rules.chain(after).filter(unknown).collect();
        mistakes.extend(unknown.iter().map(|kind| format!("no task is of the type `{kind}`")));
    }

    /// Tasks at whose instances something looks, and which are not mapped.
    fn check_mapped(&self, dag: &Dag, addition: &Addition, mistakes: &mut Vec<String>) {
        let tasks = addition.all_tasks();
        let rules = addition.rules.iter().flat_map(|rule| rule.with_nested());
        let by_rules = rules.flat_map(|rule| {
            let each = match &rule.each {
                Some(Each::InstancesOf(mapped)) => Some(&*mapped.task_id),
                _ => None,
            };
            let references = rule.when.iter().map(|when| when.condition.references());
            each.into_iter().chain(references.flat_map(|all| &all.groups).map(|group| group.name.as_str()))
        });
        let followed = tasks.iter().filter_map(|task| task.follows()).map(|task| &*task.task_id);
        let is_mapped = |name: &str| match (tasks.iter().find(|task| *task.task_id == *name), self.find(name))
        {
            (Some(task), _) => task.for_each.is_some(),
            (None, Some(task)) => match self.get(task) {
                Some(grown) => !grown.is_instance && grown.template.for_each.is_some(),
                None => dag.tasks[task.get()].for_each.is_some(),
            },
            // That it is not there is told already.
            (None, None) => true,
        };
        let plain: BTreeSet<&str> = by_rules.chain(followed).filter(|name| !is_mapped(name)).collect();
        mistakes.extend(plain.iter().map(|name| format!("`{name}` is not mapped, and has no instances")));
    }
}
