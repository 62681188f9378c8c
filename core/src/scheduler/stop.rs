//! What ends before its time: cancellation, deadlines, and the alarms of both.

use super::timers::Alarm;
use super::{Action, Places, Result, Scheduler, StopReason};
use crate::event::{FailureKind, TaskIdx, Timestamp};
use crate::state::TaskState;

impl Scheduler {
    pub(super) fn cancel(&mut self, reason: StopReason, now: Timestamp, out: &mut Vec<Action>) -> Result {
        if self.ended || std::mem::replace(&mut self.cancelling, true) {
            return Ok(());
        }
        self.late = reason == StopReason::RunDeadline;
        out.push(Action::Stopping(reason));
        for task in self.graph.tasks().filter(|task| !self.infos[task.get()].teardown).collect::<Vec<_>>() {
            self.stop_or_close(task, reason, now, out)?;
        }
        self.close_mapped(out)?;
        self.tear_down(out)
    }

    pub(super) fn cancel_task(&mut self, task: TaskIdx, now: Timestamp, out: &mut Vec<Action>) -> Result {
        if self.is_expanding(task) {
            if !self.mapped.is_complete(task) {
                return self.end(task, TaskState::Cancelled, out);
            }
            for instance in self.mapped.instances(task).collect::<Vec<_>>() {
                self.cancel_task(instance, now, out)?;
            }
            return Ok(());
        }
        match self.tasks[task.get()].state {
            state if state.is_in_flight() => self.stop(task, StopReason::Cancelled, now, out),
            state if state.is_terminal() => {}
            _ if self.tasks[task.get()].again => self.tasks[task.get()].doomed = Some(StopReason::Cancelled),
            _ => self.end(task, TaskState::Cancelled, out)?,
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, now: Timestamp, places: &mut Places, out: &mut Vec<Action>) -> Result {
        self.cancelling = true;
        for task in self.graph.tasks() {
            self.tasks[task.get()].again = false;
            self.stop_or_close(task, StopReason::Cancelled, now, out)?;
        }
        self.close_mapped(out)?;
        for task in self.graph.tasks() {
            let progress = &self.tasks[task.get()];
            if self.is_in_flight(task) {
                out.push(Action::Abandon { task, attempt: progress.attempt });
                self.attempt_ended(task, Some(FailureKind::Abandoned), now, places, out)?;
            }
        }
        Ok(())
    }

    fn stop_or_close(
        &mut self,
        task: TaskIdx,
        reason: StopReason,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) -> Result {
        match self.tasks[task.get()].state {
            TaskState::Running if self.infos[task.get()].mapped => self.stop_mapped(task, out),
            state if state.is_in_flight() => {
                self.stop(task, reason, now, out);
                Ok(())
            }
            state if state.is_terminal() => Ok(()),
            _ if self.tasks[task.get()].again => {
                self.tasks[task.get()].doomed = Some(reason);
                Ok(())
            }
            _ => self.close(task, TaskState::Cancelled, out),
        }
    }

    pub(super) fn stop(&mut self, task: TaskIdx, reason: StopReason, now: Timestamp, out: &mut Vec<Action>) {
        let progress = &mut self.tasks[task.get()];
        let attempt = progress.attempt;
        if progress.stop.replace(reason).is_none() {
            self.timers.set(now.after(self.settings.grace), task, attempt, Alarm::Grace);
            out.push(Action::Stop { task, attempt, reason });
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp, places: &mut Places, out: &mut Vec<Action>) -> Result {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.cancel(StopReason::RunDeadline, now, out)?;
        }
        while let Some((task, attempt, alarm)) = self.timers.due(now) {
            let progress = &self.tasks[task.get()];
            let current = self.is_current(task, attempt);
            match alarm {
                Alarm::Retry if progress.state == TaskState::UpForRetry && progress.attempt == attempt => {
                    self.schedule(task, out)?;
                }
                Alarm::Deadline if current && progress.stop.is_none() => {
                    self.stop(task, StopReason::Deadline, now, out);
                }
                Alarm::Grace if current => {
                    out.push(Action::Abandon { task, attempt });
                    self.attempt_ended(task, Some(FailureKind::Abandoned), now, places, out)?;
                }
                Alarm::Retry | Alarm::Deadline | Alarm::Grace => {}
            }
        }
        Ok(())
    }
}
