//! The attempts of a task: one begins, is deferred and ends.

use super::limits::Place;
use super::timers::Alarm;
use super::{Action, Places, Result, Scheduler, StopReason, retry};
use crate::event::{FailureKind, TaskIdx, Timestamp};
use crate::state::TaskState;

impl Scheduler {
    /// A new attempt begins, or one that a scheduler had begun that died.
    pub(super) fn begin(
        &mut self,
        task: TaskIdx,
        now: Timestamp,
        places: &mut Places,
        out: &mut Vec<Action>,
    ) -> Result {
        let place = self.place(task);
        places.take(place);
        self.caps.take(place);
        let info = &self.infos[task.get()];
        self.in_flight += 1;
        self.workers_held += u32::from(info.blocking);
        let progress = &mut self.tasks[task.get()];
        progress.attempt += 1;
        progress.holds_worker = info.blocking;
        progress.stop = None;
        let attempt = progress.attempt;
        let again = std::mem::take(&mut progress.again);
        if let Some(timeout) = info.timeout {
            self.timers.set(now.after(timeout), task, attempt, Alarm::Deadline);
        }
        let doomed = progress.doomed.take();
        self.set(task, TaskState::Running, out)?;
        out.push(Action::Start { task, attempt, again, doomed: doomed.is_some() });
        if let Some(reason) = doomed {
            self.stop(task, reason, now, out);
        }
        Ok(())
    }

    pub(super) fn deferred(&mut self, task: TaskIdx, places: &mut Places, out: &mut Vec<Action>) -> Result {
        let progress = &mut self.tasks[task.get()];
        if std::mem::take(&mut progress.holds_worker) {
            places.release_worker();
            self.workers_held -= 1;
        }
        if progress.state == TaskState::Running { self.set(task, TaskState::Deferred, out) } else { Ok(()) }
    }

    pub(super) fn attempt_ended(
        &mut self,
        task: TaskIdx,
        failure: Option<FailureKind>,
        now: Timestamp,
        places: &mut Places,
        out: &mut Vec<Action>,
    ) -> Result {
        let place = self.place(task);
        let info = &self.infos[task.get()];
        let progress = &mut self.tasks[task.get()];
        let holds_worker = std::mem::take(&mut progress.holds_worker);
        places.release(Place { blocking: holds_worker, ..place });
        self.caps.release(place);
        self.in_flight -= 1;
        self.workers_held -= u32::from(holds_worker);
        let may_retry = !self.cancelling || info.teardown;
        match failure {
            None => self.end(task, TaskState::Success, out),
            Some(_) if matches!(progress.stop, Some(StopReason::Cancelled | StopReason::RunDeadline)) => {
                self.end(task, TaskState::Cancelled, out)
            }
            Some(kind) => match retry::delay(info, progress, kind, task, self.settings.seed) {
                Some(delay) if may_retry => self.retry_at(task, now.after(delay), out),
                _ => self.end(task, TaskState::Failed, out),
            },
        }
    }

    fn retry_at(&mut self, task: TaskIdx, due: Timestamp, out: &mut Vec<Action>) -> Result {
        self.set(task, TaskState::UpForRetry, out)?;
        let attempt = self.tasks[task.get()].attempt;
        self.timers.set(due, task, attempt, Alarm::Retry);
        Ok(())
    }
}
