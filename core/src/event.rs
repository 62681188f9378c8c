//! Events: the only contract between a run and whoever looks at it.
//!
//! Tasks are dense ids here; names live at the edges, in [`crate::graph::Graph`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::growth::Growth;
use crate::state::{RunState, TaskState};

/// Microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time plus a duration; never beyond what can be expressed.
    #[must_use]
    pub fn after(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// A task's place in its graph, from 0 in the DAG file's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskIdx(pub u32);

impl TaskIdx {
    /// For indexing.
    #[must_use]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// Why an attempt, a task or a run did not succeed. Secrets are already masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What to do about it follows from this.
    pub kind: FailureKind,
    /// For people: lower case, no full stop.
    pub message: String,
}

/// The kinds of failure; the first five are those an engine can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The request itself is wrong; never retried.
    Invalid,
    /// The script's fault; the task's retries apply.
    Failed,
    /// The service's fault; retried with backoff from a budget of its own.
    Transient,
    /// Stopped on request.
    Cancelled,
    /// The engine panicked or broke its contract.
    Panicked,
    /// The attempt took longer than its `timeout`.
    TimedOut,
    /// The engine did not stop within its grace period; what it started may still be running.
    Abandoned,
    /// Not a failure: the task was left out of the run on request.
    LeftOut,
}

/// Something that happened, with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub ts: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// What can happen in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// The run changed its state.
    RunState {
        /// The new state.
        state: RunState,
        /// Why the run itself could not go on, where that is the reason.
        error: Option<Arc<Failure>>,
    },
    /// A task changed its state.
    TaskState {
        /// Which task.
        task: TaskIdx,
        /// The attempt that this concerns, from 1; 0 where none was made yet.
        attempt: u32,
        /// The new state.
        state: TaskState,
        /// What came of the attempt, where one ended.
        end: Option<Arc<AttemptEnd>>,
    },
    /// The graph has grown: tasks were added to it.
    Grown(Arc<Growth>),
    /// An engine stored how to find its remote job again.
    Checkpoint {
        /// Which task.
        task: TaskIdx,
        /// Which attempt, from 1.
        attempt: u32,
        /// Secrets are already masked.
        checkpoint: Arc<Value>,
    },
    /// A line in a task's log. Not stored as an event: the log file holds it already.
    Log {
        /// Which task.
        task: TaskIdx,
        /// Which attempt, from 1.
        attempt: u32,
        /// `debug`, `info`, `warn`, `error`, or `stdout`, `stderr` for a script's own output.
        level: &'static str,
        /// One line, secrets masked.
        line: Arc<str>,
    },
    /// How far a task has come. Not stored.
    Progress {
        /// Which task.
        task: TaskIdx,
        /// Which attempt, from 1.
        attempt: u32,
        /// From 0 to 1, where the engine knows.
        fraction: Option<f64>,
        /// For people.
        message: Arc<str>,
    },
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// The task's small JSON result, for conditions and rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// What the engine measured: exit status, rows, bytes, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Value>,
}
