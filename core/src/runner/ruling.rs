//! Rules of a run: looks at those that may have become true, and applies those that have.

use std::sync::Arc;

use serde_json::Map;

use super::run::Run;
use crate::condition::{Around, BoundTask, Summary, TaskView};
use crate::event::{TaskIdx, Timestamp};
use crate::growth::{Cause, Counts, Growth, NewTask, Rules};
use crate::prepare::Look;
use crate::spec::{Rule, When};
use crate::state::TaskState;

/// So many rules that were never applied are told of one by one.
const MOST_RULES: usize = 20;

impl Run {
    /// Takes up the rules of a run that begins or goes on; `ended` tells which tasks had ended before.
    pub(super) fn begin_rules(&mut self, growth: &[Growth], ended: impl Fn(TaskIdx) -> TaskState) {
        if self.live.growing().rules().is_empty() {
            return;
        }
        let mut rules = Rules::default();
        let graph = Arc::clone(self.scheduler.graph());
        for task in graph.tasks() {
            self.add_to(&mut rules, task, ended(task));
        }
        self.add_rules(&mut rules);
        for growth in growth {
            if let Cause::Rule { rule, task, .. } = growth.cause {
                rules.applied(rule, task);
            }
        }
        self.scheduler.hold();
        self.rules = Some(Box::new(rules));
    }

    /// An engine has added the first rules of a run with so many tasks.
    fn first_rules(&mut self, tasks: usize) {
        let mut rules = Rules::default();
        let known = self.scheduler.graph().len();
        for task in (0..u32::try_from(tasks).unwrap_or(u32::MAX)).map(TaskIdx) {
            let state = if task.get() < known { self.seen(task) } else { TaskState::None };
            self.add_to(&mut rules, task, state);
        }
        self.add_rules(&mut rules);
        self.scheduler.hold();
        self.rules = Some(Box::new(rules));
    }

    /// Rules learn of a task.
    fn add_to(&self, rules: &mut Rules, task: TaskIdx, state: TaskState) {
        let entry = self.live.entry(task);
        let grown = self.live.growing().get(task);
        let group = grown.and_then(|grown| grown.instance_of.filter(|_| grown.is_instance));
        let mapped = match grown {
            Some(grown) => grown.is_mapped(),
            None => entry.task.for_each.is_some() || entry.task.dag.is_some(),
        };
        let (kind, adds) = (entry.task.kind.as_ref(), &self.live.kinds_of(task)[..]);
        rules.add_task(NewTask { name: entry.task_id, kind, adds, group, mapped, state });
    }

    /// Rules learn of what was added, rules included.
    pub(super) fn tell_rules(&mut self, growth: &Growth) {
        let Some(mut rules) = self.rules.take() else {
            if !growth.rules.is_empty() {
                // The first rules of this run; the new tasks are not in the scheduler's graph yet.
                let graph = Arc::clone(self.scheduler.graph());
                self.first_rules(graph.len() + growth.tasks.len());
            }
            return;
        };
        for task in (growth.first.0..).take(growth.tasks.len()) {
            self.add_to(&mut rules, TaskIdx(task), TaskState::None);
        }
        if let Cause::Rule { rule, task, .. } = growth.cause {
            rules.applied(rule, task);
        }
        self.add_rules(&mut rules);
        self.rules = Some(rules);
    }

    /// The rules that are not there yet.
    fn add_rules(&self, rules: &mut Rules) {
        let (growing, subs) = (self.live.growing(), &self.prepared.dag.subs);
        for active in &growing.rules()[rules.count()..] {
            rules.add_rule(&active.rule, active.bound, subs, |name| growing.find(name));
        }
    }

    /// Looks at the rules, and applies them. Once nothing can be added any more, the run may end.
    pub(super) fn rule(&mut self, now: Timestamp) {
        if self.fatal.is_some() || self.scheduler.is_stopping() {
            self.rules = None;
            return self.scheduler.release();
        }
        self.apply_rules(now);
        let is_asked = !self.conditions.is_empty() || !self.expanding.is_empty();
        if !self.scheduler.is_still() || is_asked || !self.actions.is_empty() || self.fatal.is_some() {
            return;
        }
        match self.scheduler.release_teardowns(&mut self.actions) {
            // What they do may be looked at as well.
            Ok(true) if !self.actions.is_empty() => {}
            Ok(_) => self.end_rules(now),
            Err(error) => self.or_fatal(Err::<(), _>(error)),
        }
    }

    fn apply_rules(&mut self, now: Timestamp) {
        while let Some((number, task)) = self.rules.as_mut().and_then(|rules| rules.next_look()) {
            let rule = Arc::clone(&self.live.growing().rules()[number as usize].rule);
            match self.holds(&rule, task) {
                Ok(false) => {
                    if let Some(rules) = &mut self.rules {
                        rules.not_yet(number);
                    }
                }
                Ok(true) => {
                    let result = task.and_then(|task| self.result(task));
                    match self.live.apply(number, task, result) {
                        Ok(growth) => {
                            let (name, count) = (&rule.name, growth.tasks.len());
                            let to =
                                task.map(|task| format!(" to {}", self.live.name(task))).unwrap_or_default();
                            self.note_run(
                                &format!("rule {name} is applied{to}: {count} tasks are added"),
                                now,
                            );
                            self.grow(growth, now);
                        }
                        Err(why) => return self.fail(self.wrong_rule(&rule, None, &why)),
                    }
                }
                Err(why) => return self.fail(self.wrong_rule(&rule, rule.when.as_ref(), &why)),
            }
        }
    }

    /// A rule that cannot be evaluated or applied, with its place in the file.
    fn wrong_rule(&self, rule: &Rule, when: Option<&When>, why: &str) -> String {
        let source = &self.prepared.source;
        let span = when.map_or(rule.span, |when| when.span);
        let (line, column) = source.line_column(span.start);
        format!("{}:{line}:{column}: rule {}: {why}", source.path().display(), rule.name)
    }

    /// Whether a rule's condition is true.
    fn holds(&self, rule: &Rule, task: Option<TaskIdx>) -> Result<bool, String> {
        let (Some(when), Some(rules)) = (&rule.when, &self.rules) else { return Ok(true) };
        let references = when.condition.references();
        let find = |name: &str| self.live.growing().find(name);
        let named = references.tasks.iter().map(|named| match find(&named.name) {
            Some(task) => (self.live.name(task), self.seen(task), self.result(task)),
            None => (&*named.name, TaskState::None, None),
        });
        let table = |(counts, tasks): (Counts, &[TaskIdx])| {
            let tasks = if references.lists { tasks } else { &[] };
            Summary { counts, tasks: tasks.iter().map(|&task| self.view(task)).collect() }
        };
        let types = references.types.iter().map(|kind| (&*kind.name, table(rules.of_kind(&kind.name))));
        let groups = references.groups.iter().map(|group| {
            let of_group = find(&group.name).map(|mapped| rules.of_group(mapped)).unwrap_or_default();
            (&*group.name, table(of_group))
        });
        let closed = references.closed.iter().map(|kind| &*kind.name).filter(|kind| rules.is_closed(kind));
        let bound =
            task.map(|task| BoundTask { view: self.view(task), kind: rules.kind(task).map(|kind| &**kind) });
        let around = Around {
            task: bound,
            types: types.collect(),
            groups: groups.collect(),
            closed: closed.collect(),
        };
        self.prepared.evaluate(&when.condition, &Map::new(), Look { tasks: named.collect(), around })
    }

    fn view(&self, task: TaskIdx) -> TaskView<'_> {
        TaskView { task_id: self.live.name(task), state: self.seen(task), result: self.result(task) }
    }

    /// Nothing will come of the rules any more: those that were never applied are told of.
    fn end_rules(&mut self, now: Timestamp) {
        let Some(rules) = self.rules.take() else { return };
        self.scheduler.release();
        let source = &self.prepared.source;
        let told = |rule: &Arc<Rule>| {
            let (line, column) = source.line_column(rule.span.start);
            let why = match (&rule.each, &rule.when) {
                (Some(_), None) => "there was no task for it",
                (Some(_), Some(_)) => "its condition was true of no task",
                (None, _) => "its condition stayed false, and nothing that it looks at can change any more",
            };
            format!(
                "rule {} ({}:{line}:{column}) was never applied: {why}",
                rule.name,
                source.path().display()
            )
        };
        let mut left: Vec<String> = rules.left().take(MOST_RULES).map(told).collect();
        let more = rules.left().count() - left.len();
        if more > 0 {
            left.push(format!("and so {more} more rules were never applied"));
        }
        for text in &left {
            self.note_run(text, now);
        }
        self.left_rules = left;
    }
}
