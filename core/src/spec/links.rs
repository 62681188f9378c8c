//! What holds between the tasks of a file by their names: ids are unique, dependencies exist, and so do the
//! tasks that conditions look at.
//!
//! Cycles are [`crate::graph`]'s; that a condition looks upstream is [`crate::prepare`]'s.

use std::collections::HashMap;

use super::dag::{Dependency, Task, When};
use super::diagnostic::{Diagnostic, Mistakes, quote};
use super::source::SourceFile;
use super::suggest;
use crate::condition::Reference;

/// A task by its id.
struct Known {
    /// Its place among the tasks.
    index: u32,
    /// The place of the task that named it last, plus one.
    named_by: u32,
}

/// How many ids may be compared for suggestions, so that a file full of mistakes is still refused quickly.
const COMPARISONS: usize = 2_000_000;

const REMOVE: &str = "remove it from the dependencies";

pub(super) fn check(tasks: &[Task], source: &SourceFile, mistakes: &mut Mistakes) {
    let known = ids(tasks, source, mistakes);
    let mut links = Links { tasks, source, known, comparisons: COMPARISONS, mistakes };
    for (index, task) in (0..).zip(tasks) {
        links.dependencies(index, task);
        for expression in task.expressions() {
            links.condition(task, expression);
        }
    }
}

/// Every id with its first task; others of the same id are mistakes.
fn ids<'a>(tasks: &'a [Task], source: &SourceFile, mistakes: &mut Mistakes) -> HashMap<&'a str, Known> {
    let mut known: HashMap<&str, Known> = HashMap::with_capacity(tasks.len());
    // An id is empty where it is missing or wrong, which is reported already.
    for (index, task) in (0..).zip(tasks).filter(|(_, task)| !task.task_id.is_empty()) {
        let first = known.entry(&task.task_id).or_insert(Known { index, named_by: 0 });
        if first.index != index {
            let line = source.line(tasks[first.index as usize].span.start);
            let message = format!("duplicate task_id {}: the first is on line {line}", quote(&task.task_id));
            mistakes.push(Diagnostic::new(task.span, message).with_help("give each task an id of its own"));
        }
    }
    known
}

struct Links<'a> {
    tasks: &'a [Task],
    source: &'a SourceFile,
    known: HashMap<&'a str, Known>,
    /// How many ids may still be compared.
    comparisons: usize,
    mistakes: &'a mut Mistakes,
}

impl<'a> Links<'a> {
    fn dependencies(&mut self, index: u32, task: &Task) {
        if let Some(followed) = task.follows() {
            self.followed(task, followed);
        }
        for dependency in task.upstream() {
            let id = &dependency.task_id;
            let mistake = |message| Diagnostic::new(dependency.span, message);
            if !id.is_empty() && *id == task.task_id {
                let message = format!("task {} depends on itself", quote(id));
                self.mistakes.push(mistake(message).with_help(REMOVE));
            } else if let Some(upstream) = self.known.get_mut(&**id) {
                if upstream.named_by == index + 1 {
                    let message = format!("dependency {} is repeated", quote(id));
                    self.mistakes.push(mistake(message).with_help(REMOVE));
                }
                upstream.named_by = index + 1;
            } else {
                let missing = mistake(format!("there is no task {}", quote(id)));
                self.missing(missing, id);
            }
        }
    }

    /// Only a mapped task has instances that can be followed.
    fn followed(&mut self, task: &Task, followed: &Dependency) {
        let id = &followed.task_id;
        let Some(known) = self.known.get(&**id) else { return };
        let is_itself = *id == task.task_id;
        if self.tasks[known.index as usize].for_each.is_none() && !is_itself {
            let message = format!("`instances_of` names {}, which is not mapped", quote(id));
            let help = "name a task with `for_each`, or give this one a list of its own";
            self.mistakes.push(Diagnostic::new(followed.span, message).with_help(help));
        }
    }

    fn condition(&mut self, task: &Task, when: &When) {
        for Reference { name, at } in &when.condition.references().tasks {
            let span = self.source.within(when.span, &when.text, at.clone());
            if *name == task.task_id {
                let message = format!("the condition of task {} looks at the task itself", quote(name));
                let help = "it is evaluated before the task runs, and can look at what is upstream";
                self.mistakes.push(Diagnostic::new(span, message).with_help(help));
            } else if !self.known.contains_key(&**name) {
                let missing = Diagnostic::new(span, format!("there is no task {}", quote(name)));
                self.missing(missing, name);
            }
        }
    }

    fn missing(&mut self, mistake: Diagnostic, id: &str) {
        let near = self.near(id);
        self.mistakes.push(match near {
            Some(near) => mistake.with_help(format!("did you mean {}?", quote(near))),
            None => mistake,
        });
    }

    fn near(&mut self, id: &str) -> Option<&'a str> {
        self.comparisons = self.comparisons.checked_sub(self.tasks.len())?;
        suggest::nearest(id, self.tasks.iter().map(|task| &*task.task_id))
    }
}
