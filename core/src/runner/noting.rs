//! What follows in a run, as events and as lines of its log.

use std::sync::Arc;

use super::run::Run;
use crate::event::{AttemptEnd, Event, EventKind, Failure, FailureKind, TaskIdx, Timestamp};
use crate::scheduler::{Action, StopReason};
use crate::state::{RunState, TaskState};

impl Run {
    /// An action as the event that it is.
    pub(super) fn note(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::State { task, attempt, state } => {
                if let Some(rules) = &mut self.rules {
                    rules.changed(
                        task,
                        if self.scheduler.is_excluded(task) { TaskState::Success } else { state },
                    );
                }
                let end = self
                    .ends
                    .get(&task)
                    .filter(|_| state.is_terminal() || state == TaskState::UpForRetry)
                    .cloned();
                let end = match end {
                    None if state == TaskState::Failed => self.failed_within(task),
                    end => end,
                };
                if let Some(failure) = end.as_ref().and_then(|end| end.error.as_ref()) {
                    self.note_failure(task, attempt, state, failure, now);
                }
                self.events.push(Event { ts: now, kind: EventKind::TaskState { task, attempt, state, end } });
            }
            Action::Abandon { task, .. } => {
                let what =
                    "the engine did not stop in time and was abandoned; what it started may still be running";
                let message = match self.scheduler.stop_reason(task) {
                    Some(StopReason::Deadline) => self.timed_out(task, what),
                    _ => what.to_owned(),
                };
                let error = Some(Failure { kind: FailureKind::Abandoned, message });
                self.ends.insert(task, Arc::new(AttemptEnd { error, ..AttemptEnd::default() }));
            }
            Action::Stopping(reason) => self.note_stopping(reason, now),
            Action::RunEnded(state) => {
                self.check_order();
                self.note_run(&format!("the run ends: {}", self.end(state).state), now);
                // If that cannot be written, the run has failed after all.
                let end = self.end(state);
                self.events.push(run_state(now, end.state, end.error));
            }
            Action::Start { .. } | Action::Evaluate { .. } | Action::Expand { .. } | Action::Stop { .. } => {}
        }
    }

    /// That the run is being stopped is stored, so that it still is after a crash.
    fn note_stopping(&mut self, reason: StopReason, now: Timestamp) {
        let failure = match reason {
            StopReason::RunDeadline => {
                let timeout = humantime::format_duration(self.prepared.dag.timeout.unwrap_or_default());
                let message = format!("the run was stopped after its timeout of {timeout}");
                let late = Failure { kind: FailureKind::TimedOut, message };
                self.late = Some(late.clone());
                late
            }
            // Nobody has cancelled it: should it come to no end now, it goes on when it is resumed.
            _ if let Some(fatal) = &self.fatal => fatal.clone(),
            _ => Failure { kind: FailureKind::Cancelled, message: "the run is being cancelled".to_owned() },
        };
        self.note_run(&failure.message, now);
        self.events.push(run_state(now, RunState::Running, Some(failure)));
    }

    fn note_failure(
        &mut self,
        task: TaskIdx,
        attempt: u32,
        state: TaskState,
        failure: &Failure,
        now: Timestamp,
    ) {
        let attempt = if attempt > 0 { format!(" attempt {attempt}") } else { String::new() };
        let text = format!("{}{attempt} {state}: {}", self.live.name(task), failure.message);
        self.note_run(&text, now);
    }

    /// A line in the run's own log.
    pub(super) fn note_run(&mut self, text: &str, now: Timestamp) {
        if let Err(error) = self.run_log.write(now, "info", text, &self.shared.masker) {
            self.fail(error.to_string());
        }
    }
}

pub(super) fn run_state(ts: Timestamp, state: RunState, error: Option<Failure>) -> Event {
    Event { ts, kind: EventKind::RunState { state, error: error.map(Arc::new) } }
}
