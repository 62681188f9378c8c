//! The rules by which events make rows, told once more in the plainest way: one event after the other, nothing merged.

use super::*;
use crate::store::{AttemptDetails, TaskDetails};

pub(super) struct Retelling {
    pub(super) state: RunState,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) tasks: Vec<TaskDetails>,
}

impl Retelling {
    pub(super) fn new(tasks: u32) -> Self {
        let task = |task| TaskDetails {
            task_id: format!("t{task}"),
            grown_from: None,
            engine: "noop".into(),
            state: TaskState::None,
            scheduled_at: None,
            started_at: None,
            finished_at: None,
            error: None,
            result: None,
            attempts: Vec::new(),
        };
        Self { state: RunState::Running, finished_at: None, tasks: (0..tasks).map(task).collect() }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        let ts = event.ts;
        match &event.kind {
            EventKind::RunState { state, .. } => {
                self.state = *state;
                self.finished_at = (*state != RunState::Running).then_some(ts);
            }
            EventKind::TaskState { task, attempt, state, end } => {
                let end = end.as_deref().cloned().unwrap_or_default();
                let task = &mut self.tasks[task.get()];
                if *state == TaskState::Scheduled {
                    task.scheduled_at = Some(ts);
                }
                tell_attempt(task, *attempt, *state, ts, &end);
                if *state == TaskState::Running && task.started_at.is_none() {
                    task.started_at = Some(ts);
                }
                task.state = *state;
                task.finished_at = state.is_terminal().then_some(ts);
                task.error = end.error;
                task.result = end.result;
            }
            EventKind::Checkpoint { task, attempt, checkpoint } => {
                let mut attempts = self.tasks[task.get()].attempts.iter_mut();
                if let Some(found) = attempts.find(|found| found.attempt == *attempt) {
                    found.checkpoint = Some((**checkpoint).clone());
                }
            }
            EventKind::Grown(_) | EventKind::Log { .. } | EventKind::Progress { .. } => {}
        }
    }
}

fn tell_attempt(task: &mut TaskDetails, attempt: u32, state: TaskState, ts: Timestamp, end: &AttemptEnd) {
    use TaskState as S;
    let attempts = &mut task.attempts;
    let opens = matches!(state, S::Running | S::Deferred) && attempt > 0;
    if opens && attempts.iter().all(|found| found.attempt != attempt) {
        attempts.push(AttemptDetails {
            attempt,
            state,
            scheduled_at: task.scheduled_at,
            started_at: ts,
            deferred_at: None,
            finished_at: None,
            error: None,
            metrics: None,
            checkpoint: None,
        });
        attempts.sort_by_key(|found| found.attempt);
    }
    let mut attempts = attempts.iter_mut();
    let found = attempts.find(|found| found.attempt == attempt && found.finished_at.is_none());
    let Some(found) = found else { return };
    if state == S::Deferred {
        found.deferred_at = found.deferred_at.or(Some(ts));
    }
    match state {
        S::Running | S::Deferred => found.state = state,
        S::UpForRetry | S::Success | S::Failed | S::Skipped | S::Cancelled => {
            found.state = if state == S::UpForRetry { S::Failed } else { state };
            found.finished_at = Some(ts);
            found.error = end.error.clone();
            found.metrics = end.metrics.clone();
        }
        S::None | S::Scheduled | S::Waiting | S::UpstreamFailed => {}
    }
}
