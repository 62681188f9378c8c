//! What follows from a task's end, for the tasks behind it.

use std::sync::Arc;

use super::rule::{self, Decision};
use super::{Action, Result, Scheduler};
use crate::event::TaskIdx;
use crate::spec::TriggerRule;
use crate::state::TaskState;

impl Scheduler {
    /// The task has ended; what follows from it is decided at once.
    pub(super) fn end(&mut self, task: TaskIdx, state: TaskState, out: &mut Vec<Action>) -> Result {
        self.end_with_dependents(task, state, out)?;
        self.close_mapped(out)?;
        self.tear_down(out)
    }

    /// Without recursion: a chain may be long.
    pub(super) fn end_with_dependents(
        &mut self,
        task: TaskIdx,
        state: TaskState,
        out: &mut Vec<Action>,
    ) -> Result {
        self.close(task, state, out)?;
        self.spread(task, out)
    }

    /// Tells those that depend on a closed task, and decides about them.
    pub(super) fn spread(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        let (mut next, mut closed) = (Some(task), Vec::new());
        let graph = Arc::clone(&self.graph);
        while let Some(task) = next.take().or_else(|| closed.pop()) {
            self.count_downstream(task);
            for downstream in graph.downstream(task) {
                if self.passes(downstream) {
                    closed.push(downstream);
                    continue;
                }
                let progress = &self.tasks[downstream.get()];
                let info = &self.infos[downstream.get()];
                if progress.state != TaskState::None || info.teardown {
                    continue;
                }
                match rule::decide(info.rule, progress.upstream) {
                    Decision::Wait => {}
                    Decision::Run => self.admit(downstream, out)?,
                    Decision::End(state) => {
                        self.close(downstream, state, out)?;
                        closed.push(downstream);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether this is the moment at which an excluded task lets those that depend on it see how it stands: as its own
    /// dependencies do.
    pub(super) fn passes(&mut self, task: TaskIdx) -> bool {
        let progress = &mut self.tasks[task.get()];
        if !progress.excluded || progress.passed.is_some() {
            return false;
        }
        progress.passed = match rule::decide(TriggerRule::AllSuccess, progress.upstream) {
            Decision::Wait => None,
            Decision::Run => Some(TaskState::Success),
            Decision::End(state) => Some(state),
        };
        progress.passed.is_some()
    }

    /// Tells the task's dependents how it ended.
    pub(super) fn count_downstream(&mut self, task: TaskIdx) {
        let progress = &self.tasks[task.get()];
        let state = progress.passed.unwrap_or(progress.state);
        let instances = self.counts_by_instances(task).then(|| self.mapped.ends(task)).flatten();
        for downstream in self.graph.downstream(task) {
            let counts = &mut self.tasks[downstream.get()].upstream;
            match instances {
                None => counts.count(state),
                Some(_) if self.infos[downstream.get()].follows == Some(task) => {}
                Some(ends) if ends.is_empty() => counts.count(state),
                Some(ends) => counts.count_all(ends),
            }
        }
    }

    /// The task takes a state that no other follows.
    pub(super) fn close(&mut self, task: TaskIdx, state: TaskState, out: &mut Vec<Action>) -> Result {
        self.set(task, state, out)?;
        self.note_closed(task);
        Ok(())
    }

    pub(super) fn note_closed(&mut self, task: TaskIdx) {
        let state = self.tasks[task.get()].state;
        self.unended -= 1;
        let bad = matches!(state, TaskState::Failed | TaskState::UpstreamFailed | TaskState::Cancelled);
        self.failed |= bad && self.infos[task.get()].fails_run;
        self.teardowns.note_closed(task);
        if let Some(mapped) = self.infos[task.get()].instance_of {
            self.mapped.note_closed(mapped, state);
            if self.mapped.leave(task, mapped) {
                self.caps.count(mapped, -1);
            }
        }
    }
}
