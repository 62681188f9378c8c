//! What holds between the tasks of a file by their names: ids are unique, dependencies exist.
//!
//! Cycles are [`crate::graph`]'s.

use std::collections::HashMap;

use super::dag::Task;
use super::diagnostic::{Diagnostic, Mistakes, quote};
use super::source::SourceFile;
use super::suggest;

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
    let mut known = ids(tasks, source, mistakes);
    let mut comparisons = COMPARISONS;
    for (index, task) in (0..).zip(tasks) {
        for dependency in &task.dependencies {
            let id = &dependency.task_id;
            let mistake = |message| Diagnostic::new(dependency.span, message);
            if !id.is_empty() && *id == task.task_id {
                let message = format!("task {} depends on itself", quote(id));
                mistakes.push(mistake(message).with_help(REMOVE));
            } else if let Some(upstream) = known.get_mut(&**id) {
                if upstream.named_by == index + 1 {
                    let message = format!("dependency {} is repeated", quote(id));
                    mistakes.push(mistake(message).with_help(REMOVE));
                }
                upstream.named_by = index + 1;
            } else {
                let missing = mistake(format!("there is no task {}", quote(id)));
                mistakes.push(match near(id, tasks, &mut comparisons) {
                    Some(near) => missing.with_help(format!("did you mean {}?", quote(near))),
                    None => missing,
                });
            }
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

fn near<'a>(id: &str, tasks: &'a [Task], comparisons: &mut usize) -> Option<&'a str> {
    *comparisons = comparisons.checked_sub(tasks.len())?;
    suggest::nearest(id, tasks.iter().map(|task| &*task.task_id))
}
