//! States of tasks and runs, and the one function that changes a task's state.
//!
//! No I/O, no clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a task in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum TaskState {
    /// Its dependencies have not ended yet.
    #[default]
    None,
    /// Its dependencies allow it to start.
    Scheduled,
    /// It could start, but every worker is busy or a limit is reached.
    Waiting,
    /// An engine has it.
    Running,
    /// An engine waits for a remote job; no worker is held.
    Deferred,
    /// The last attempt failed; another one follows.
    UpForRetry,
    /// Ended well.
    Success,
    /// Ended badly, and no attempt is left.
    Failed,
    /// Did not have to run.
    Skipped,
    /// Could not run, since something upstream failed.
    UpstreamFailed,
    /// Stopped on request, or never started because the run was.
    Cancelled,
}

impl TaskState {
    /// All states, in the order in which summaries list them.
    pub const ALL: [TaskState; 11] = [
        TaskState::None,
        TaskState::Scheduled,
        TaskState::Waiting,
        TaskState::Running,
        TaskState::Deferred,
        TaskState::UpForRetry,
        TaskState::Success,
        TaskState::Failed,
        TaskState::Skipped,
        TaskState::UpstreamFailed,
        TaskState::Cancelled,
    ];

    /// The name in events, tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TaskState::None => "none",
            TaskState::Scheduled => "scheduled",
            TaskState::Waiting => "waiting",
            TaskState::Running => "running",
            TaskState::Deferred => "deferred",
            TaskState::UpForRetry => "up_for_retry",
            TaskState::Success => "success",
            TaskState::Failed => "failed",
            TaskState::Skipped => "skipped",
            TaskState::UpstreamFailed => "upstream_failed",
            TaskState::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<TaskState> {
        TaskState::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Whether the task has ended: no state follows.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            TaskState::Success
                | TaskState::Failed
                | TaskState::Skipped
                | TaskState::UpstreamFailed
                | TaskState::Cancelled
        )
    }

    /// Whether an engine has the task.
    #[must_use]
    pub fn is_in_flight(self) -> bool {
        matches!(self, TaskState::Running | TaskState::Deferred)
    }

    /// The state after this change, if the change is allowed.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] when the task may not go from this state to `next`; nothing else changes a state.
    pub fn transition(self, next: TaskState) -> Result<TaskState, IllegalTransition> {
        use TaskState as S;
        let allowed = match self {
            S::None => {
                matches!(next, S::Scheduled | S::Skipped | S::Failed | S::UpstreamFailed | S::Cancelled)
            }
            S::Scheduled => matches!(next, S::Waiting | S::Running | S::Cancelled),
            S::Waiting => matches!(next, S::Running | S::Cancelled),
            // Skipped: a mapped task whose instances all were.
            S::Running => matches!(
                next,
                S::Deferred | S::UpForRetry | S::Success | S::Failed | S::Skipped | S::Cancelled
            ),
            S::Deferred => matches!(next, S::UpForRetry | S::Success | S::Failed | S::Cancelled),
            S::UpForRetry => matches!(next, S::Scheduled | S::Cancelled),
            S::Success | S::Failed | S::Skipped | S::UpstreamFailed | S::Cancelled => false,
        };
        if allowed { Ok(next) } else { Err(IllegalTransition { from: self, to: next }) }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A change of state that the table does not allow: a bug of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task may not go from {from} to {to}")]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: TaskState,
    /// The state it was to take.
    pub to: TaskState,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RunState {
    /// Some task has not ended.
    Running,
    /// Every task that had to run succeeded.
    Success,
    /// Some task failed, or the run itself could not go on.
    Failed,
    /// Stopped on request.
    Cancelled,
}

impl RunState {
    /// All states.
    pub const ALL: [RunState; 4] =
        [RunState::Running, RunState::Success, RunState::Failed, RunState::Cancelled];

    /// The name in events, tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Success => "success",
            RunState::Failed => "failed",
            RunState::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<RunState> {
        RunState::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_state_has_no_successor() {
        for from in TaskState::ALL.into_iter().filter(|s| s.is_terminal()) {
            for to in TaskState::ALL {
                assert!(from.transition(to).is_err(), "{from} to {to}");
            }
        }
    }

    #[test]
    fn every_state_can_be_reached_from_none() {
        let mut reached = vec![TaskState::None];
        let mut next = 0;
        while next < reached.len() {
            for to in TaskState::ALL {
                if reached[next].transition(to).is_ok() && !reached.contains(&to) {
                    reached.push(to);
                }
            }
            next += 1;
        }
        assert_eq!(reached.len(), TaskState::ALL.len());
    }

    #[test]
    fn a_task_runs_only_once_it_was_scheduled() {
        assert!(TaskState::None.transition(TaskState::Running).is_err());
        assert!(TaskState::UpForRetry.transition(TaskState::Running).is_err());
    }

    #[test]
    fn names_read_back() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_name(state.name()), Some(state));
        }
        for state in RunState::ALL {
            assert_eq!(RunState::from_name(state.name()), Some(state));
        }
    }
}
