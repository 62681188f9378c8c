//! What goes into the scheduler and what comes out.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::limits::Place;
use crate::event::{FailureKind, TaskIdx};
use crate::spec::{Backoff, TriggerRule};
use crate::state::{RunState, TaskState};

/// What the scheduler knows of a task beyond its edges.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskInfo {
    /// Greater starts earlier.
    pub priority: i32,
    /// The expected duration in seconds, for the b-level.
    pub expected: f64,
    /// Where that is from.
    pub expected_from: ExpectedFrom,
    /// Which states of its dependencies let it start.
    pub rule: TriggerRule,
    /// How often it is tried again after a failed attempt.
    pub retries: u32,
    /// The wait before a retry.
    pub retry_delay: Duration,
    /// How that wait grows.
    pub backoff: Backoff,
    /// No wait before a retry is longer.
    pub max_retry_delay: Duration,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// Its engine: an index into [`super::Limits::engines`].
    pub engine: u32,
    /// Its pool: an index into [`super::Limits::pools`].
    pub pool: Option<u32>,
    /// Whether an attempt needs a worker.
    pub blocking: bool,
    /// Whether a condition decides, after the rule.
    pub conditional: bool,
    /// Whether it undoes what its dependencies, its setups, have done.
    pub teardown: bool,
    /// Whether the run fails with it: true of all but teardowns.
    pub fails_run: bool,
    /// Whether it stands for instances, which are added when it starts.
    pub mapped: bool,
    /// Whether it stands for the tasks of a DAG, rather than for instances.
    pub sub: bool,
    /// At most this many of its instances, or of the tasks of its DAG, in flight.
    pub max_active: Option<u32>,
    /// The mapped task whose instances its own follow one by one: it waits until that one has them.
    pub follows: Option<TaskIdx>,
    /// The mapped task of which it is an instance, or the task that stands for its DAG.
    pub instance_of: Option<TaskIdx>,
}

/// Where a task's expected duration is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedFrom {
    /// The task's successful attempts in past runs: their median.
    History,
    /// Its `expected_duration` in the DAG file.
    File,
    /// The DAG's tasks of the same engine in past runs: the median of their successful attempts.
    Engine,
    /// Nothing is known.
    Default,
}

/// A task that is added while the run goes on.
#[derive(Debug, Clone)]
pub struct Added {
    /// Its name.
    pub name: Arc<str>,
    /// What the scheduler knows of it.
    pub info: TaskInfo,
    /// What comes before it: tasks that there are, or that are added before it.
    pub upstream: Box<[TaskIdx]>,
}

impl TaskInfo {
    /// `cap` is the innermost task with a limit that stands for it.
    pub(super) fn place(&self, cap: Option<TaskIdx>) -> Place {
        Place { engine: self.engine, blocking: self.blocking, pool: self.pool, cap }
    }
}

/// What holds for a run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// At most so many of its tasks in flight, deferred ones included.
    pub processors: Option<u32>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// How long an attempt that is asked to stop has for it.
    pub grace: Duration,
    /// Makes the waits before retries differ from those of other runs.
    pub seed: u64,
}

/// Something that the scheduler has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// An attempt ended. Without a kind of failure, it succeeded.
    Ended {
        /// Which task.
        task: TaskIdx,
        /// Which attempt.
        attempt: u32,
        /// Why it did not succeed.
        failure: Option<FailureKind>,
    },
    /// An attempt goes on without a worker.
    Deferred {
        /// Which task.
        task: TaskIdx,
        /// Which attempt.
        attempt: u32,
    },
    /// Whether a task's condition is met; `None` where it could not be evaluated.
    Condition {
        /// Which task.
        task: TaskIdx,
        /// What came of it.
        met: Option<bool>,
    },
    /// The instances of a mapped task were added; or it cannot be told what they are.
    Expanded {
        /// Which task.
        task: TaskIdx,
        /// Whether they were added.
        done: bool,
    },
    /// The run is to stop; teardowns whose setups ran still run.
    Cancel,
    /// The run is to stop at once, and nothing is waited for.
    Kill,
    /// One task is to stop.
    CancelTask(TaskIdx),
    /// Time has passed.
    Tick,
}

/// Something that the scheduler wants done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A task took a state. An attempt of 0 means that none was made.
    State {
        /// Which task.
        task: TaskIdx,
        /// Its attempt.
        attempt: u32,
        /// The new state.
        state: TaskState,
    },
    /// Hand the attempt to its engine.
    Start {
        /// Which task.
        task: TaskIdx,
        /// Which attempt.
        attempt: u32,
        /// A scheduler that died had begun it.
        again: bool,
        /// It is to be stopped from its beginning: its engine looks for what it left, and begins nothing.
        doomed: bool,
    },
    /// Evaluate the task's condition and answer with [`Input::Condition`].
    Evaluate {
        /// Which task.
        task: TaskIdx,
    },
    /// Add the mapped task's instances by [`super::Scheduler::append`], and answer with [`Input::Expanded`].
    Expand {
        /// Which task.
        task: TaskIdx,
    },
    /// Ask the engine to stop the attempt.
    Stop {
        /// Which task.
        task: TaskIdx,
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: StopReason,
    },
    /// The engine did not stop: the attempt is not waited for any longer.
    Abandon {
        /// Which task.
        task: TaskIdx,
        /// Which attempt.
        attempt: u32,
    },
    /// The run as a whole is being stopped.
    Stopping(StopReason),
    /// Every task has ended.
    RunEnded(RunState),
}

/// Why an attempt is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The run is cancelled.
    Cancelled,
    /// The attempt took longer than its timeout.
    Deadline,
    /// The run took longer than its timeout.
    RunDeadline,
}
