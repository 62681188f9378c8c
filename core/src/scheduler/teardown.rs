//! Teardowns: tasks that undo what their dependencies, their setups, have done.
//!
//! A teardown waits until everything has ended that may use what its setups made: whatever comes after a setup, except
//! what comes after the teardown itself. It then runs if any of its setups ran.

use std::collections::{HashMap, HashSet};

use super::{Action, Result, Scheduler, TaskInfo};
use crate::event::TaskIdx;
use crate::graph::Graph;
use crate::state::TaskState;

/// What teardowns wait for.
#[derive(Debug, Default)]
pub(super) struct Teardowns {
    /// The teardowns that wait for a task.
    waiting: HashMap<TaskIdx, Vec<TaskIdx>>,
    /// How many tasks each teardown still waits for.
    left: HashMap<TaskIdx, usize>,
    /// Those that wait for nothing more.
    due: Vec<TaskIdx>,
    /// What comes after a teardown: nothing that it waits for does.
    after: HashMap<TaskIdx, HashSet<TaskIdx>>,
}

impl Teardowns {
    pub(super) fn new(graph: &Graph, infos: &[TaskInfo]) -> Self {
        let mut this = Self::default();
        for (teardown, scope) in scopes(graph, |task| infos[task.get()].teardown) {
            this.left.insert(teardown, scope.len());
            if scope.is_empty() {
                this.due.push(teardown);
            }
            this.after.insert(teardown, after(graph, &HashMap::new(), [teardown]));
            for before in scope {
                this.waiting.entry(before).or_default().push(teardown);
            }
        }
        this
    }

    /// A task is added behind others: a teardown that has not begun waits for it as well, if it waits for any of those.
    pub(super) fn add(
        &mut self,
        task: TaskIdx,
        upstream: &[TaskIdx],
        instance_of: Option<TaskIdx>,
        has_ended: impl Fn(TaskIdx) -> bool,
    ) {
        for (&teardown, after) in &mut self.after {
            if upstream.iter().any(|before| *before == teardown || after.contains(before)) {
                after.insert(task);
            }
        }
        let mut teardowns: Vec<TaskIdx> = upstream
            .iter()
            .chain(&instance_of)
            .filter_map(|before| self.waiting.get(before))
            .flatten()
            .copied()
            .collect();
        teardowns.sort_unstable();
        teardowns.dedup();
        for teardown in teardowns {
            if has_ended(teardown) || self.after.get(&teardown).is_some_and(|after| after.contains(&task)) {
                continue;
            }
            *self.left.entry(teardown).or_default() += 1;
            self.waiting.entry(task).or_default().push(teardown);
        }
    }

    pub(super) fn note_closed(&mut self, task: TaskIdx) {
        for teardown in self.waiting.get(&task).into_iter().flatten() {
            let Some(left) = self.left.get_mut(teardown) else { continue };
            *left -= 1;
            if *left == 0 {
                self.due.push(*teardown);
            }
        }
    }

    /// A teardown that waits for nothing more.
    pub(super) fn next_due(&mut self) -> Option<TaskIdx> {
        // Since it was found due, something may have been added that it waits for as well: it is found due once more then.
        let waits = |task: &TaskIdx| self.left.get(task).is_some_and(|&left| left > 0);
        std::iter::from_fn(|| self.due.pop()).find(|task| !waits(task))
    }
}

impl Scheduler {
    /// Starts the teardowns for which nothing has to be waited any longer.
    pub(super) fn tear_down(&mut self, out: &mut Vec<Action>) -> Result {
        if self.teardowns_held && !self.cancelling {
            return Ok(());
        }
        while let Some(task) = self.teardowns.next_due() {
            if self.tasks[task.get()].state != TaskState::None {
                continue;
            }
            let ran = |setup: TaskIdx| !self.tasks[setup.get()].excluded && self.has_run(setup);
            // One whose setups are all left out was asked for alone.
            let is_alone = self.graph.upstream(task).all(|setup| self.tasks[setup.get()].excluded);
            if is_alone || self.graph.upstream(task).any(ran) {
                self.schedule(task, out)?;
            } else {
                self.end_with_dependents(task, TaskState::Skipped, out)?;
                self.close_mapped(out)?;
            }
        }
        Ok(())
    }

    /// Whether a task had an attempt, or any of its instances, or of a DAG's tasks.
    fn has_run(&self, task: TaskIdx) -> bool {
        let mut left = vec![task];
        while let Some(task) = left.pop() {
            if self.tasks[task.get()].attempt > 0 {
                return true;
            }
            left.extend(self.mapped.instances(task));
        }
        false
    }
}

/// Each teardown with what it waits for: its setups, what comes after them, and the teardowns of what was set up in
/// between; not what comes after the teardown itself.
#[must_use]
pub fn scopes(graph: &Graph, is_teardown: impl Fn(TaskIdx) -> bool) -> Vec<(TaskIdx, Vec<TaskIdx>)> {
    let mut scopes = Vec::new();
    // Beside the graph's own edges; without them, two teardowns could wait for what comes after each other.
    let mut waiting: HashMap<TaskIdx, Vec<TaskIdx>> = HashMap::new();
    for teardown in graph.tasks().filter(|&task| is_teardown(task)) {
        let setups: HashSet<TaskIdx> = graph.upstream(teardown).collect();
        let inside = after(graph, &HashMap::new(), setups.iter().copied());
        let outside = after(graph, &waiting, [teardown]);
        let is_inner = |task| graph.upstream(task).all(|setup| is_teardown(setup) || inside.contains(&setup));
        let uses = |task: &TaskIdx| inside.contains(task) && (!is_teardown(*task) || is_inner(*task));
        let waits_for = |task: &TaskIdx| setups.contains(task) || (uses(task) && !outside.contains(task));
        let scope: Vec<TaskIdx> = graph.tasks().filter(|task| *task != teardown && waits_for(task)).collect();
        for &before in &scope {
            waiting.entry(before).or_default().push(teardown);
        }
        scopes.push((teardown, scope));
    }
    scopes
}

/// Everything that comes after these tasks, by the graph's edges and by others.
fn after(
    graph: &Graph,
    others: &HashMap<TaskIdx, Vec<TaskIdx>>,
    tasks: impl IntoIterator<Item = TaskIdx>,
) -> HashSet<TaskIdx> {
    let mut found = HashSet::new();
    let mut open: Vec<TaskIdx> = tasks.into_iter().collect();
    while let Some(task) = open.pop() {
        let others = others.get(&task).into_iter().flatten().copied();
        open.extend(graph.downstream(task).chain(others).filter(|&next| found.insert(next)));
    }
    found
}
