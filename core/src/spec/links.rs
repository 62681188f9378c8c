//! What holds between the tasks and rules of a file by their names: ids are unique, dependencies exist, and so does all
//! that conditions look at.
//!
//! Cycles are [`crate::graph`]'s; that a condition looks upstream is [`crate::prepare`]'s.

use std::collections::HashSet;

use super::dag::{Dag, Each, Rule, When};
use super::diagnostic::{Diagnostic, Mistakes, quote};
use super::names::Names;
use super::source::{SourceFile, Span};
use super::suggest;
use super::task::{Dependency, Task};
use crate::condition::Reference;

/// How many ids may be compared for suggestions, so that a file full of mistakes is still refused quickly.
const COMPARISONS: usize = 2_000_000;

const REMOVE: &str = "remove it from the dependencies";

/// What a dependency of a task that a rule adds may be called: the task to which the rule was applied.
pub(crate) const MATCHED: &str = "{task}";

/// `are_in_order`: of the tasks of the file this is known already.
pub(super) fn check(
    dag: &Dag,
    source: &SourceFile,
    names: &Names,
    are_in_order: bool,
    mistakes: &mut Mistakes,
) {
    if are_in_order && dag.rules.is_empty() {
        return;
    }
    let templates = dag.templates();
    let all: Vec<&Task> = dag.tasks.iter().chain(templates.into_iter().map(|task| &**task)).collect();
    if names.has_doubles() {
        doubles(&all, source, names, mistakes);
    }
    let file = dag.tasks.len();
    let named_by = vec![0; all.len()];
    let mut links = Links { all: &all, file, source, names, named_by, comparisons: COMPARISONS, mistakes };
    if !are_in_order {
        for (index, task) in (0..).zip(&dag.tasks) {
            links.task(index, task, false);
        }
    }
    for rule in &dag.rules {
        links.rule(rule, false);
    }
    if !has_subs(&all) {
        check_types(dag, source, mistakes);
    }
}

/// Whether any of these stands for another DAG file, whose types are not known before that is read.
fn has_subs(all: &[&Task]) -> bool {
    all.iter().any(|task| task.dag.is_some())
}

/// The types that rules and what they add look at are types of tasks, those of DAGs in this one included.
pub(super) fn check_types(dag: &Dag, source: &SourceFile, mistakes: &mut Mistakes) {
    let rules: Vec<&Rule> = dag.rules.iter().flat_map(|rule| rule.with_nested()).collect();
    let all = || dag.tasks.iter().chain(rules.iter().flat_map(|rule| &rule.tasks).map(|task| &**task));
    let of_subs: Vec<Dependency> = dag.subs.values().flat_map(|sub| sub.kinds()).collect();
    let added = all().flat_map(|task| &task.adds).chain(&of_subs).map(|kind| &*kind.task_id);
    let types: HashSet<&str> = all().filter_map(|task| task.kind.as_deref()).chain(added).collect();
    let mut named: Vec<(&str, Span)> = Vec::new();
    for rule in &rules {
        if let Some(Each::Type(kind)) = &rule.each {
            named.push((&kind.task_id, kind.span));
        }
        if let Some(when) = &rule.when {
            let references = when.condition.references();
            let all = references.types.iter().chain(&references.closed);
            named
                .extend(all.map(|kind| (&*kind.name, source.within(when.span, &when.text, kind.at.clone()))));
        }
    }
    named.extend(all().flat_map(|task| &task.after_types).map(|kind| (&*kind.task_id, kind.span)));
    for (name, span) in named.into_iter().filter(|(name, _)| !types.contains(name)) {
        let mistake = Diagnostic::new(span, format!("no task is of the type {}", quote(name)));
        mistakes.push(match suggest::nearest(name, types.iter().copied()) {
            Some(near) => mistake.with_help(format!("did you mean {}?", quote(near))),
            None => mistake.with_help("give `type` to a task, of the DAG or of what a rule adds"),
        });
    }
}

/// Ids that several tasks have.
fn doubles(all: &[&Task], source: &SourceFile, names: &Names, mistakes: &mut Mistakes) {
    for (index, task) in (0..).zip(all) {
        let Some(first) = names.place(&task.task_id).filter(|first| *first != index) else { continue };
        let line = all.get(first as usize).map_or(1, |first| source.line(first.span.start));
        let message = format!("duplicate task_id {}: the first is on line {line}", quote(&task.task_id));
        mistakes.push(Diagnostic::new(task.span, message).with_help("give each task an id of its own"));
    }
}

struct Links<'a> {
    /// The tasks of the file, then those that rules add.
    all: &'a [&'a Task],
    /// How many of them are the file's.
    file: usize,
    source: &'a SourceFile,
    names: &'a Names,
    /// For each task, the place of the one that named it last, plus one.
    named_by: Vec<u32>,
    /// How many ids may still be compared.
    comparisons: usize,
    mistakes: &'a mut Mistakes,
}

impl<'a> Links<'a> {
    fn task(&mut self, index: u32, task: &Task, bound: bool) {
        self.dependencies(index, task, bound);
        for expression in task.expressions() {
            self.condition(Some(task), expression);
        }
    }

    fn rule(&mut self, rule: &Rule, bound: bool) {
        let bound = bound || rule.each.is_some();
        if let Some(Each::InstancesOf(mapped)) = &rule.each {
            self.mapped(mapped, "each");
        }
        if let Some(when) = &rule.when {
            self.condition(None, when);
            for Reference { name, at } in &when.condition.references().groups {
                let span = self.source.within(when.span, &when.text, at.clone());
                self.mapped(&Dependency { task_id: name.as_str().into(), span }, "groups");
            }
        }
        for task in &rule.tasks {
            // Behind all tasks of the file: no place is taken twice.
            let index = self.file + task.template as usize;
            self.task(u32::try_from(index).unwrap_or(u32::MAX), task, bound);
        }
        for nested in &rule.rules {
            self.rule(nested, bound);
        }
    }

    fn dependencies(&mut self, index: u32, task: &Task, bound: bool) {
        if let Some(followed) = task.follows() {
            self.followed(task, followed);
        }
        for dependency in task.upstream() {
            let id = &dependency.task_id;
            let mistake = |message| Diagnostic::new(dependency.span, message);
            if bound && **id == *MATCHED {
                continue;
            }
            if !id.is_empty() && *id == task.task_id {
                let message = format!("task {} depends on itself", quote(id));
                self.mistakes.push(mistake(message).with_help(REMOVE));
            } else if let Some(upstream) = self.before(index, id) {
                if std::mem::replace(&mut self.named_by[upstream], index + 1) == index + 1 {
                    let message = format!("dependency {} is repeated", quote(id));
                    self.mistakes.push(mistake(message).with_help(REMOVE));
                }
            } else {
                let missing = mistake(format!("there is no task {}", quote(id)));
                self.missing(missing, id);
            }
        }
    }

    /// The place of a task. Where a file is wrong there may be names of what is left out.
    fn find(&self, id: &str) -> Option<usize> {
        self.names.place(id).map(|place| place as usize).filter(|&place| place < self.all.len())
    }

    /// A task that may come before another one: one of the file cannot wait for what a rule adds.
    fn before(&self, index: u32, id: &str) -> Option<usize> {
        let is_of_file = (index as usize) < self.file;
        self.find(id).filter(|&upstream| !is_of_file || upstream < self.file)
    }

    /// Only a mapped task has instances that can be followed.
    fn followed(&mut self, task: &Task, followed: &Dependency) {
        if followed.task_id != task.task_id && self.find(&followed.task_id).is_some() {
            self.mapped(followed, "instances_of");
        }
    }

    fn mapped(&mut self, named: &Dependency, by: &str) {
        let id = &named.task_id;
        match self.find(id) {
            None => {
                let missing = Diagnostic::new(named.span, format!("there is no task {}", quote(id)));
                self.missing(missing, id);
            }
            Some(known) if self.all[known].for_each.is_none() => {
                let message = format!("`{by}` names {}, which is not mapped", quote(id));
                let help = "name a task with `for_each`";
                self.mistakes.push(Diagnostic::new(named.span, message).with_help(help));
            }
            Some(_) => {}
        }
    }

    fn condition(&mut self, task: Option<&Task>, when: &When) {
        for Reference { name, at } in &when.condition.references().tasks {
            let span = self.source.within(when.span, &when.text, at.clone());
            if task.is_some_and(|task| **name == *task.task_id) {
                let message = format!("the condition of task {} looks at the task itself", quote(name));
                let help = "it is evaluated before the task runs, and can look at what is upstream";
                self.mistakes.push(Diagnostic::new(span, message).with_help(help));
            } else if self.find(name).is_none() {
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
        self.comparisons = self.comparisons.checked_sub(self.all.len())?;
        suggest::nearest(id, self.all.iter().map(|task| &*task.task_id))
    }
}
