//! What a run looks at: conditions of its tasks, and by what it grows.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::message::{Appended, Question};
use super::run::Run;
use crate::condition::{Around, BoundTask, TaskView};
use crate::event::{AttemptEnd, Event, EventKind, Failure, FailureKind, TaskIdx, Timestamp};
use crate::growth::Growth;
use crate::prepare::Look;
use crate::scheduler::{Input, Places};
use crate::state::TaskState;

impl Run {
    /// Evaluates a task's condition; what comes of it is an input of the next step.
    pub(super) fn evaluate(&mut self, task: TaskIdx) {
        let entry = self.live.entry(task);
        let met = match &entry.task.when {
            None => Ok(true),
            Some(when) => self.prepared.evaluate(&when.condition, entry.params, self.look(task)),
        };
        let met = met.map_err(|message| self.cannot_tell(task, message)).ok();
        self.conditions.push(Input::Condition { task, met });
    }

    /// Gives a mapped task its instances.
    pub(super) fn expand(&mut self, task: TaskIdx, now: Timestamp, places: &mut Places) {
        // It may have been stopped meanwhile.
        if self.scheduler.state(task) != TaskState::Running {
            return;
        }
        if self.live.is_sub(task) {
            let growth = self.live.expand_sub(task);
            return self.expanded(task, growth, now, places);
        }
        let items = self.live.items(task, self.look(task));
        let growth = items.and_then(|items| self.live.expand(task, items));
        self.expanded(task, growth, now, places);
    }

    fn expanded(
        &mut self,
        task: TaskIdx,
        growth: Result<Growth, String>,
        now: Timestamp,
        places: &mut Places,
    ) {
        let done = match growth {
            Ok(growth) => {
                self.note_run(&format!("{} is {} tasks", self.live.name(task), growth.tasks.len()), now);
                self.grow(growth, now);
                true
            }
            Err(message) => {
                self.cannot_tell(task, message);
                false
            }
        };
        self.input(Input::Expanded { task, done }, now, places);
    }

    /// The engine of a task adds something; whoever asked is answered once that is stored.
    pub(super) fn append(&mut self, (task, attempt): (TaskIdx, u32), asked: Appended, now: Timestamp) {
        let Appended { addition, ready, answer } = asked;
        let refused = match self.scheduler.is_current(task, attempt) {
            _ if self.scheduler.is_stopping() => Some("the run is being stopped".to_owned()),
            false => Some("the attempt is over".to_owned()),
            true => match self.live.append(task, Arc::new(addition)) {
                Ok(Some(growth)) => {
                    self.live.add_templates(ready);
                    let (name, tasks) = (self.live.name(task), growth.tasks.len());
                    self.note_run(
                        &format!("{name} adds {tasks} tasks and {} rules", growth.rules.len()),
                        now,
                    );
                    self.grow(growth, now);
                    self.answers.push(answer);
                    return;
                }
                Ok(None) => None,
                Err(why) => Some(why),
            },
        };
        // The engine may have gone meanwhile.
        let _ = answer.send(refused.map_or(Ok(()), Err));
    }

    /// What an engine wants to know of tasks.
    pub(super) fn query(&mut self, task: TaskIdx, question: &Question) -> Result<Value, String> {
        self.live.know_names();
        let find = |name: &String| {
            self.live.growing().find(name).ok_or_else(|| format!("there is no task `{name}`"))
        };
        let mut tasks = question.tasks.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if let Some(mapped) = &question.instances_of {
            tasks.extend(self.live.instances(find(mapped)?).into_iter().flatten());
        }
        if let Some(kind) = &question.kind {
            let is_of_kind = |task: &TaskIdx| self.live.entry(*task).task.kind.as_deref() == Some(kind);
            tasks.extend(self.scheduler.graph().tasks().filter(is_of_kind));
        }
        if question.tasks.is_empty() && question.kind.is_none() && question.instances_of.is_none() {
            tasks.push(task);
        }
        let answer: Vec<Value> = tasks.into_iter().map(|task| self.told(task)).collect();
        Ok(Value::Array(answer))
    }

    fn told(&self, task: TaskIdx) -> Value {
        let upstream: Vec<&str> =
            self.scheduler.graph().upstream(task).map(|task| self.live.name(task)).collect();
        json!({
            "task_id": self.live.name(task),
            "state": self.seen(task),
            "type": self.live.entry(task).task.kind.as_deref(),
            "result": self.result(task),
            "upstream": upstream,
        })
    }

    /// Adds tasks. It is stored in one piece with what follows from it, before any of that is done or told.
    pub(super) fn grow(&mut self, growth: Growth, now: Timestamp) {
        let added = self.live.commit(&growth);
        self.tell_rules(&growth);
        self.events.push(Event { ts: now, kind: EventKind::Grown(Arc::new(growth)) });
        let appended = self.scheduler.append(added, &mut self.actions);
        self.or_fatal(appended);
    }

    /// Why a task failed that stands for others: they did.
    pub(super) fn failed_within(&self, task: TaskIdx) -> Option<Arc<AttemptEnd>> {
        let bad = |task: &TaskIdx| {
            matches!(self.scheduler.state(*task), TaskState::Failed | TaskState::UpstreamFailed)
        };
        let first = self.scheduler.within(task).find(bad)?;
        let failed = self.scheduler.within(task).filter(bad).count();
        let all = self.scheduler.within(task).count();
        let what = if self.live.is_sub(task) { "tasks" } else { "instances" };
        let message = format!("{failed} of {all} {what} failed, the first of them {}", self.live.name(first));
        let error = Some(Failure { kind: FailureKind::Failed, message });
        Some(Arc::new(AttemptEnd { error, ..AttemptEnd::default() }))
    }

    /// A task ends without an attempt, for this reason.
    fn cannot_tell(&mut self, task: TaskIdx, message: String) {
        let message = self.shared.masker.mask(&message).into_owned();
        let error = Some(Failure { kind: FailureKind::Invalid, message });
        self.ends.insert(task, Arc::new(AttemptEnd { error, ..AttemptEnd::default() }));
    }

    /// What the expressions of a task see.
    fn look(&self, task: TaskIdx) -> Look<'_> {
        let entry = self.live.entry(task);
        if entry.task.expressions().next().is_none() {
            return Look::default();
        }
        let grown = self.live.growing().get(task);
        let watched = match grown {
            None => self.prepared.watched(task),
            Some(_) if self.looks_anywhere(task) => self.upstream_of(task).into(),
            Some(_) => {
                let references = entry.task.expressions().map(|when| when.condition.references());
                let names = references.flat_map(|references| &references.tasks);
                names.filter_map(|named| self.find(task, &named.name)).collect()
            }
        };
        let scope = self.scope(task).map_or(0, |scope| scope.len() + 1);
        let view = |&task: &TaskIdx| (&self.live.name(task)[scope..], self.seen(task), self.result(task));
        let bound = grown.and_then(|grown| grown.matched).map(|matched| BoundTask {
            view: TaskView {
                task_id: self.live.name(matched),
                state: self.seen(matched),
                result: self.result(matched),
            },
            kind: self.live.entry(matched).task.kind.as_deref(),
        });
        let around = Around { task: bound, ..Around::default() };
        Look { tasks: watched.iter().map(view).collect(), around }
    }

    /// Whether an expression of a task looks at tasks that it does not name.
    fn looks_anywhere(&self, task: TaskIdx) -> bool {
        self.live.entry(task).task.expressions().any(|when| when.condition.references().any_task)
    }

    /// All tasks that come before one, in the DAG in which it is.
    fn upstream_of(&self, task: TaskIdx) -> Vec<TaskIdx> {
        let graph = self.scheduler.graph();
        let (mut found, mut open) = (BTreeSet::new(), vec![task]);
        while let Some(task) = open.pop() {
            open.extend(graph.upstream(task).filter(|&task| found.insert(task)));
        }
        let scope = self.scope(task);
        found.into_iter().filter(|&other| self.scope(other) == scope).collect()
    }

    /// The task that stands for the DAG in which a task is.
    fn scope(&self, task: TaskIdx) -> Option<&str> {
        let grown = self.live.growing().get(task).filter(|grown| grown.home.is_some())?;
        Some(grown.task_id.rsplit_once('/')?.0)
    }

    /// A task by the name that it has for another one.
    fn find(&self, by: TaskIdx, name: &str) -> Option<TaskIdx> {
        match self.scope(by) {
            None => self.live.growing().find(name),
            Some(scope) => self.live.growing().find(&format!("{scope}/{name}")),
        }
    }

    /// A task's state; what is left out counts as done.
    pub(super) fn seen(&self, task: TaskIdx) -> TaskState {
        match self.scheduler.is_excluded(task) {
            true => TaskState::Success,
            false => self.scheduler.state(task),
        }
    }

    /// What a task left; of a mapped one, what its instances left, in their order.
    pub(super) fn result(&self, task: TaskIdx) -> Option<Value> {
        match self.live.instances(task) {
            None => self.results.get(&task).cloned(),
            Some(instances) => {
                let results = instances.map(|task| self.results.get(&task).cloned().unwrap_or_default());
                Some(Value::Array(results.collect()))
            }
        }
    }

    /// Once the run is over: whether everything went in the order that the graph asks for.
    pub(super) fn check_order(&mut self) {
        if let Some((task, upstream)) = self.scheduler.out_of_order() {
            let (task, upstream) = (self.live.name(task), self.live.name(upstream));
            self.fail(format!("a bug in the scheduler: {task} began before {upstream} had ended"));
        }
    }
}
