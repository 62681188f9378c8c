//! Taking up a run whose scheduler died, from what it had stored.

use std::sync::Arc;

use super::timers::Alarm;
use super::{Action, Progress, Result, Scheduler, StopReason, retry};
use crate::event::{FailureKind, TaskIdx, Timestamp};
use crate::state::TaskState;

/// Where a task had got to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Begun {
    /// Its last state that was stored.
    pub state: TaskState,
    /// Its last attempt; 0 where none was made.
    pub attempt: u32,
    /// Why its attempts failed, in order.
    pub failures: Vec<FailureKind>,
    /// When the last of them ended.
    pub ended_at: Option<Timestamp>,
    /// It was left out of the run.
    pub excluded: bool,
}

impl Scheduler {
    /// Goes on where another scheduler of the same run stopped; `tasks` by [`TaskIdx`]. In place of
    /// [`start`](Self::start).
    ///
    /// What had ended stays so. An attempt that was in flight is started again, before all others and with the same
    /// number; its timeout counts from then, and so does that of the run. Where the run was being stopped, it still is.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn resume(
        &mut self,
        tasks: &[Begun],
        stopping: Option<StopReason>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) -> Result {
        self.deadline = self.settings.timeout.map(|timeout| now.after(timeout));
        let graph = Arc::clone(&self.graph);
        for (task, begun) in graph.tasks().zip(tasks) {
            self.take_up(task, begun, now);
        }
        let ended: Vec<TaskIdx> = graph.tasks().filter(|&task| self.state(task).is_terminal()).collect();
        for &task in &ended {
            self.note_closed(task);
        }
        let under_way =
            |progress: &&Progress| progress.state != TaskState::None && !progress.state.is_terminal();
        self.active = u32::try_from(self.tasks.iter().filter(under_way).count()).unwrap_or(u32::MAX);
        self.take_up_mapped(out);
        for task in ended {
            if !self.is_excluded(task) {
                self.count_downstream(task);
            }
        }
        for task in graph.tasks() {
            if self.tasks[task.get()].again {
                self.schedule(task, out)?;
            }
        }
        self.reconsider_all(out)?;
        stopping.map_or(Ok(()), |reason| self.cancel(reason, now, out))
    }

    fn take_up(&mut self, task: TaskIdx, begun: &Begun, now: Timestamp) {
        let (info, seed) = (&self.infos[task.get()], self.settings.seed);
        let progress = &mut self.tasks[task.get()];
        progress.excluded = begun.excluded;
        progress.attempt = begun.attempt;
        let mut wait = None;
        for &kind in &begun.failures {
            wait = retry::delay(info, progress, kind, task, seed);
        }
        match begun.state {
            TaskState::Running if info.mapped => progress.state = TaskState::Running,
            TaskState::Running | TaskState::Deferred => {
                progress.again = true;
                // To begin it counts it once more.
                progress.attempt = begun.attempt.saturating_sub(1);
            }
            TaskState::UpForRetry => {
                progress.state = TaskState::UpForRetry;
                let due = begun.ended_at.unwrap_or(now).after(wait.unwrap_or_default());
                // A clock that was set back does not make it wait longer than it should.
                let due = due.min(now.after(wait.unwrap_or_default()));
                self.timers.set(due, task, begun.attempt, Alarm::Retry);
            }
            TaskState::None | TaskState::Scheduled | TaskState::Waiting => {}
            ended => progress.state = ended,
        }
    }
}
