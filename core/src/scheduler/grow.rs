//! Tasks that are added while the run goes on, and mapped tasks, which stand for those of them that are their instances.
//!
//! A mapped task waits for its dependencies as any task does. When it could start, its instances are asked for; once
//! they are added it waits for them, and ends when the last of them has. What depends on it sees their ends.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::limits::Place;
use super::rule::Counts;
use super::types::{Added, TaskInfo};
use super::{Action, Progress, Result, Scheduler};
use crate::event::TaskIdx;
use crate::graph::Graph;
use crate::state::TaskState;

/// All mapped tasks that have got their instances.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    tasks: HashMap<TaskIdx, Instances>,
    /// Those whose last instance has ended.
    full: Vec<TaskIdx>,
    /// By tasks with limits: instances that stand for DAGs, and wait until others have ended.
    waiting: HashMap<TaskIdx, VecDeque<TaskIdx>>,
    /// Instances of such tasks that are under way.
    entered: HashSet<TaskIdx>,
    /// Tasks with limits that have room again.
    freed: Vec<TaskIdx>,
}

/// The instances of one mapped task.
#[derive(Debug, Clone, Default)]
struct Instances {
    tasks: Vec<TaskIdx>,
    ends: Counts,
    cancelled: bool,
    /// All of them have been added.
    complete: bool,
}

impl Mapped {
    /// Where the graph has instances already.
    pub(super) fn new(infos: &[TaskInfo]) -> Self {
        let mut this = Self::default();
        for (info, number) in infos.iter().zip(0..) {
            if let Some(mapped) = info.instance_of {
                this.expect(mapped, TaskIdx(number));
            }
        }
        this
    }

    fn expect(&mut self, mapped: TaskIdx, instance: TaskIdx) {
        let instances = self.tasks.entry(mapped).or_default();
        instances.tasks.push(instance);
        instances.ends.expect_one();
    }

    /// The instances that a mapped task has.
    pub(super) fn instances(&self, mapped: TaskIdx) -> impl Iterator<Item = TaskIdx> + '_ {
        self.tasks.get(&mapped).into_iter().flat_map(|instances| &instances.tasks).copied()
    }

    /// How the instances ended, where the mapped task had got them.
    pub(super) fn ends(&self, mapped: TaskIdx) -> Option<Counts> {
        self.tasks.get(&mapped).filter(|instances| instances.complete).map(|instances| instances.ends)
    }

    pub(super) fn is_complete(&self, mapped: TaskIdx) -> bool {
        self.tasks.get(&mapped).is_some_and(|instances| instances.complete)
    }

    fn complete(&mut self, mapped: TaskIdx) {
        let instances = self.tasks.entry(mapped).or_default();
        instances.complete = true;
        if instances.ends.left() == 0 {
            self.full.push(mapped);
        }
    }

    /// One of the instances has ended.
    pub(super) fn note_closed(&mut self, mapped: TaskIdx, state: TaskState) {
        let instances = self.tasks.entry(mapped).or_default();
        instances.ends.count(state);
        instances.cancelled |= state == TaskState::Cancelled;
        if instances.complete && instances.ends.left() == 0 {
            self.full.push(mapped);
        }
    }

    /// An instance that stands for a DAG has ended; whether it was counted.
    pub(super) fn leave(&mut self, instance: TaskIdx, mapped: TaskIdx) -> bool {
        let counted = self.entered.remove(&instance);
        if counted {
            self.freed.push(mapped);
        }
        counted
    }

    /// How a mapped task ends with its instances: as badly as they did. Without any, there was nothing to do.
    fn end(&self, mapped: TaskIdx) -> TaskState {
        let Some(instances) = self.tasks.get(&mapped) else { return TaskState::Success };
        match instances.ends.any_failed_all_skipped() {
            (true, _) if instances.cancelled => TaskState::Cancelled,
            (true, _) => TaskState::Failed,
            (_, true) => TaskState::Skipped,
            _ => TaskState::Success,
        }
    }
}

impl Scheduler {
    /// Adds tasks to the graph; each starts as soon as what comes before it allows. While the run is being stopped
    /// nothing is started any more.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn append(&mut self, added: Vec<Added>, out: &mut Vec<Action>) -> Result {
        let first = self.tasks.len();
        for Added { name, info, upstream } in added {
            let task = Arc::make_mut(&mut self.graph).append(&name, &upstream);
            if let Some(mapped) = info.instance_of {
                self.mapped.expect(mapped, task);
            }
            self.teardowns
                .add(task, &upstream, info.instance_of, |task| self.tasks[task.get()].state.is_terminal());
            let mut counts = Counts::default();
            for &upstream in &upstream {
                counts.expect_one();
                if info.follows == Some(upstream) && self.mapped.is_complete(upstream) {
                    counts.count(TaskState::Success);
                } else {
                    self.count_ended(upstream, &mut counts);
                }
            }
            self.tasks.push(Progress { upstream: counts, ..Progress::default() });
            self.infos.push(info);
            self.add_limit(task);
            self.unended += 1;
        }
        self.add_levels(first);
        for task in (first..self.tasks.len()).map(idx) {
            if self.tasks[task.get()].state != TaskState::None {
                continue;
            }
            if self.cancelling {
                self.close(task, TaskState::Cancelled, out)?;
            } else if self.tasks[task.get()].upstream.is_empty() {
                self.admit(task, out)?;
            } else {
                self.reconsider(task, out)?;
            }
        }
        self.close_mapped(out)?;
        self.tear_down(out)
    }

    /// More may be added at any time: until it is said that nothing will be, the run does not end and no teardown begins.
    pub fn hold(&mut self) {
        self.held = true;
        self.teardowns_held = true;
    }

    /// Nothing will be added any more.
    pub fn release(&mut self) {
        self.held = false;
    }

    /// Teardowns may begin; whether they had to wait.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn release_teardowns(&mut self, out: &mut Vec<Action>) -> Result<bool> {
        let held = std::mem::replace(&mut self.teardowns_held, false);
        self.tear_down(out)?;
        Ok(held)
    }

    /// Whether no task is under way: all have ended, or wait for teardowns.
    #[must_use]
    pub fn is_still(&self) -> bool {
        self.active == 0
    }

    /// The tasks for which a task stands, as far as they have been added, in order.
    pub fn within(&self, task: TaskIdx) -> impl Iterator<Item = TaskIdx> + '_ {
        self.mapped.instances(task)
    }

    /// Whether the run is being stopped.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.cancelling
    }

    /// The graph as it is now.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Whether those that depend on the task are told how each of its instances ended. A DAG that a task stands for is told of
    /// as a whole: what was skipped in there is its own affair.
    pub(super) fn counts_by_instances(&self, task: TaskIdx) -> bool {
        let info = &self.infos[task.get()];
        info.mapped && !info.sub
    }

    /// What a new task is told of one that comes before it, if that has ended.
    fn count_ended(&self, upstream: TaskIdx, counts: &mut Counts) {
        let progress = &self.tasks[upstream.get()];
        let state = if progress.excluded { progress.passed } else { Some(progress.state) };
        let Some(state) = state.filter(|state| state.is_terminal()) else { return };
        let instances = if self.counts_by_instances(upstream) { self.mapped.ends(upstream) } else { None };
        match instances.filter(|ends| !ends.is_empty()) {
            Some(ends) => counts.count_all(ends),
            None => counts.count(state),
        }
    }

    /// The b-levels of new tasks. Those of tasks that there were stay: they have mostly started.
    fn add_levels(&mut self, first: usize) {
        self.levels.resize(self.tasks.len(), 0.0);
        for task in (first..self.tasks.len()).rev().map(idx) {
            let expected = self.infos.expected();
            let after = |mapped: TaskIdx| self.levels[mapped.get()] - expected[mapped.get()];
            let after = self.infos[task.get()].instance_of.map_or(0.0, after);
            let longest = self.graph.downstream(task).map(|t| self.levels[t.get()]).fold(after, f64::max);
            self.levels[task.get()] = longest + expected[task.get()];
        }
    }

    /// Takes note of the limit that a task has for those that it stands for.
    pub(super) fn add_limit(&mut self, task: TaskIdx) {
        if let Some(most) = self.infos[task.get()].max_active {
            self.caps.limit(task, most, self.limited_dag(task));
        }
    }

    /// The innermost DAG with a limit of its own in which a task is.
    fn limited_dag(&self, task: TaskIdx) -> Option<TaskIdx> {
        let around = |task: &TaskIdx| self.infos[task.get()].instance_of;
        let mut all = std::iter::successors(around(&task), around);
        all.find(|task| self.infos[task.get()].sub && self.caps.has_limit(*task))
    }

    /// What a task takes while it is in flight.
    pub(super) fn place(&self, task: TaskIdx) -> Place {
        let info = &self.infos[task.get()];
        let cap = match info.instance_of {
            Some(mapped) if self.caps.has_limit(mapped) => Some(mapped),
            _ => self.limited_dag(task),
        };
        info.place(cap)
    }

    /// The mapped task with a limit for its instances, where one of them stands for a DAG.
    fn gate(&self, task: TaskIdx) -> Option<TaskIdx> {
        let mapped = self.infos[task.get()].instance_of?;
        (self.infos[task.get()].mapped && !self.infos[mapped.get()].sub && self.caps.has_limit(mapped))
            .then_some(mapped)
    }

    /// A task that stands for others could start; if it is one of several of which only so many may, it waits for its turn.
    pub(super) fn expand_or_wait(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        match self.gate(task) {
            Some(mapped) if !self.caps.has_room(mapped) => {
                self.mapped.waiting.entry(mapped).or_default().push_back(task);
                self.fresh.push(task);
                Ok(())
            }
            Some(mapped) => self.enter(task, mapped, out),
            None => self.expand(task, out),
        }
    }

    fn enter(&mut self, task: TaskIdx, mapped: TaskIdx, out: &mut Vec<Action>) -> Result {
        self.caps.count(mapped, 1);
        self.mapped.entered.insert(task);
        self.expand(task, out)
    }

    /// Lets those go on that have waited for their turn.
    fn enter_waiting(&mut self, out: &mut Vec<Action>) -> Result {
        while let Some(mapped) = self.mapped.freed.pop() {
            while self.caps.has_room(mapped)
                && let Some(task) = self.mapped.waiting.get_mut(&mapped).and_then(VecDeque::pop_front)
            {
                // It may have been stopped meanwhile.
                if !self.tasks[task.get()].state.is_terminal() {
                    self.enter(task, mapped, out)?;
                }
            }
        }
        Ok(())
    }

    /// A mapped task could start: its instances are asked for.
    fn expand(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        self.set(task, TaskState::Running, out)?;
        out.push(Action::Expand { task });
        Ok(())
    }

    /// A mapped task has got its instances, or never will.
    pub(super) fn expanded(&mut self, task: TaskIdx, done: bool, out: &mut Vec<Action>) -> Result {
        if self.tasks[task.get()].state != TaskState::Running {
            return Ok(());
        }
        if !done {
            return self.end(task, TaskState::Failed, out);
        }
        self.mapped.complete(task);
        for follower in self.tell_followers(task) {
            if self.tasks[follower.get()].state == TaskState::None {
                self.reconsider(follower, out)?;
            }
        }
        self.close_mapped(out)?;
        self.tear_down(out)
    }

    /// Tasks whose instances follow those of a mapped task need not wait any longer.
    fn tell_followers(&mut self, task: TaskIdx) -> Vec<TaskIdx> {
        let follows = |downstream: &TaskIdx| self.infos[downstream.get()].follows == Some(task);
        let followers: Vec<TaskIdx> = self.graph.downstream(task).filter(follows).collect();
        for follower in &followers {
            self.tasks[follower.get()].upstream.count(TaskState::Success);
        }
        followers
    }

    /// Ends the mapped tasks whose last instance has ended.
    pub(super) fn close_mapped(&mut self, out: &mut Vec<Action>) -> Result {
        while let Some(task) = self.mapped.full.pop() {
            if self.tasks[task.get()].state == TaskState::Running {
                self.end_with_dependents(task, self.mapped.end(task), out)?;
            }
        }
        self.enter_waiting(out)
    }

    /// Whether the task stands for instances.
    #[cfg(test)]
    pub(crate) fn is_mapped(&self, task: TaskIdx) -> bool {
        self.infos[task.get()].mapped
    }

    /// Whether an engine has the task. None ever has a mapped one.
    pub(super) fn is_in_flight(&self, task: TaskIdx) -> bool {
        self.tasks[task.get()].state.is_in_flight() && !self.infos[task.get()].mapped
    }

    /// A mapped task that waits for its instances, or for being told what they are.
    pub(super) fn is_expanding(&self, task: TaskIdx) -> bool {
        self.infos[task.get()].mapped && self.tasks[task.get()].state == TaskState::Running
    }

    /// Stops what a mapped task that is under way stands for: its instances are stopped by themselves.
    pub(super) fn stop_mapped(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        if self.mapped.is_complete(task) { Ok(()) } else { self.close(task, TaskState::Cancelled, out) }
    }

    /// Goes on with mapped tasks that another scheduler had under way.
    pub(super) fn take_up_mapped(&mut self, out: &mut Vec<Action>) {
        for task in
            (0..self.tasks.len()).map(idx).filter(|task| self.infos[task.get()].mapped).collect::<Vec<_>>()
        {
            let (state, has_any) =
                (self.tasks[task.get()].state, self.mapped.instances(task).next().is_some());
            if has_any || state == TaskState::Success {
                self.mapped.complete(task);
                self.tell_followers(task);
            } else if state == TaskState::Running {
                out.push(Action::Expand { task });
            }
            if state == TaskState::Running
                && let Some(mapped) = self.gate(task)
            {
                self.caps.count(mapped, 1);
                self.mapped.entered.insert(task);
            }
        }
    }
}

fn idx(place: usize) -> TaskIdx {
    // The graph numbers tasks by `u32`.
    TaskIdx(u32::try_from(place).unwrap_or(u32::MAX))
}
