//! The scheduler: an event goes in, actions come out.
//!
//! Pure: no I/O, no clock (time is an argument), no thread. A test drives it without a sleep. It decides
//! what starts, what is stopped and when the run has ended; [`crate::runner`] carries it out.

mod limits;
mod ready;
mod rule;
#[cfg(test)]
mod tests;
mod timers;

use std::sync::Arc;
use std::time::Duration;

pub use limits::Limits;
use limits::Usage;
use ready::{Rank, ReadyQueue};
use rule::{Counts, Decision};
use timers::{Alarm, Timers};

use crate::event::{FailureKind, TaskIdx, Timestamp};
use crate::graph::Graph;
use crate::spec::{Backoff, TriggerRule};
use crate::state::{IllegalTransition, RunState, TaskState};

/// What the scheduler knows of a task beyond its edges.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskInfo {
    /// Greater starts earlier.
    pub priority: i32,
    /// The expected duration in seconds, for the b-level.
    pub expected: f64,
    /// Which states of its dependencies let it start.
    pub rule: TriggerRule,
    /// How often it is tried again after a failed attempt.
    pub retries: u32,
    /// The wait before a retry.
    pub retry_delay: Duration,
    /// How that wait grows.
    pub backoff: Backoff,
    /// How long an attempt may take.
    pub timeout: Option<Duration>,
    /// Its engine: an index into [`Limits::engines`].
    pub engine: u32,
    /// Whether an attempt needs a worker.
    pub blocking: bool,
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
    /// The run is to stop.
    Cancel,
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
}

/// How often an attempt that failed for the service's fault is repeated, beside the task's own retries.
pub const TRANSIENT_RETRIES: u32 = 5;
/// The wait before the first of those; it doubles.
pub const TRANSIENT_DELAY: Duration = Duration::from_secs(1);
/// No wait before a retry grows beyond this.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(3600);

/// What changes about a task while it runs.
#[derive(Debug, Clone, Default)]
struct Progress {
    state: TaskState,
    attempt: u32,
    failures: u32,
    transient_failures: u32,
    upstream: Counts,
    holds_worker: bool,
    stop: Option<StopReason>,
}

/// One run's scheduler.
#[derive(Debug)]
pub struct Scheduler {
    graph: Arc<Graph>,
    infos: Vec<TaskInfo>,
    levels: Vec<f64>,
    tasks: Vec<Progress>,
    ready: ReadyQueue,
    usage: Usage,
    timers: Timers,
    /// How long an attempt that is asked to stop has for it.
    grace: Duration,
    /// Tasks that became ready since the last dispatch.
    fresh: Vec<TaskIdx>,
    unended: usize,
    failed: bool,
    cancelling: bool,
    ended: bool,
}

type Result<T = ()> = std::result::Result<T, IllegalTransition>;

impl Scheduler {
    /// The scheduler of a new run; `infos` by [`TaskIdx`].
    #[must_use]
    pub fn new(graph: Arc<Graph>, infos: Vec<TaskInfo>, limits: Limits, grace: Duration) -> Self {
        let expected: Vec<f64> = infos.iter().map(|info| info.expected).collect();
        let mut tasks = vec![Progress::default(); graph.len()];
        for task in graph.tasks() {
            for downstream in graph.downstream(task) {
                tasks[downstream.get()].upstream.expect_one();
            }
        }
        Self {
            levels: graph.b_levels(&expected),
            unended: graph.len(),
            ready: ReadyQueue::default(),
            usage: Usage::new(limits),
            timers: Timers::default(),
            fresh: Vec::new(),
            failed: false,
            cancelling: false,
            ended: false,
            graph,
            infos,
            tasks,
            grace,
        }
    }

    /// Makes every task ready that waits for nothing. Call it once, then [`dispatch`](Self::dispatch).
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] here and below is a bug in the scheduler; the run cannot go on.
    pub fn start(&mut self, out: &mut Vec<Action>) -> Result {
        for task in self.graph.tasks() {
            let upstream = self.tasks[task.get()].upstream;
            if upstream.is_empty() || self.infos[task.get()].rule == TriggerRule::Always {
                self.schedule(task, out)?;
            }
        }
        Ok(())
    }

    /// Takes one input. What can start now is told by the next [`dispatch`](Self::dispatch).
    ///
    /// An input about an attempt that is over already changes nothing: engines may report late.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn handle(&mut self, input: Input, now: Timestamp, out: &mut Vec<Action>) -> Result {
        match input {
            Input::Ended { task, attempt, failure } if self.is_current(task, attempt) => {
                self.attempt_ended(task, failure, now, out)
            }
            Input::Deferred { task, attempt } if self.is_current(task, attempt) => self.deferred(task, out),
            Input::Ended { .. } | Input::Deferred { .. } => Ok(()),
            Input::Cancel => self.cancel(now, out),
            Input::Tick => self.tick(now, out),
        }
    }

    /// Starts whatever the limits allow, the most urgent first, and tells when the run has ended.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn dispatch(&mut self, now: Timestamp, out: &mut Vec<Action>) -> Result {
        while let Some(task) = self.ready.pop(&self.usage) {
            if self.tasks[task.get()].state.is_terminal() {
                continue;
            }
            self.begin(task, now, out)?;
        }
        for task in std::mem::take(&mut self.fresh) {
            if self.tasks[task.get()].state == TaskState::Scheduled {
                self.set(task, TaskState::Waiting, out)?;
            }
        }
        if self.unended == 0 && !self.ended {
            self.ended = true;
            out.push(Action::RunEnded(self.run_state()));
        }
        Ok(())
    }

    /// When [`Input::Tick`] is due, if ever.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    #[cfg(test)]
    fn state(&self, task: TaskIdx) -> TaskState {
        self.tasks[task.get()].state
    }

    /// Why the task's attempt was asked to stop, if it was.
    #[must_use]
    pub fn stop_reason(&self, task: TaskIdx) -> Option<StopReason> {
        self.tasks[task.get()].stop
    }

    /// The b-levels by [`TaskIdx`], in seconds.
    #[must_use]
    pub fn b_levels(&self) -> &[f64] {
        &self.levels
    }

    fn run_state(&self) -> RunState {
        if self.cancelling && self.tasks.iter().any(|t| t.state == TaskState::Cancelled) {
            RunState::Cancelled
        } else if self.failed {
            RunState::Failed
        } else {
            RunState::Success
        }
    }

    fn is_current(&self, task: TaskIdx, attempt: u32) -> bool {
        let progress = &self.tasks[task.get()];
        progress.attempt == attempt && progress.state.is_in_flight()
    }

    /// The only place that changes a state.
    fn set(&mut self, task: TaskIdx, state: TaskState, out: &mut Vec<Action>) -> Result {
        let progress = &mut self.tasks[task.get()];
        progress.state = progress.state.transition(state)?;
        out.push(Action::State { task, attempt: progress.attempt, state });
        Ok(())
    }

    /// The task waits for nothing but a free place.
    fn schedule(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        self.set(task, TaskState::Scheduled, out)?;
        let info = &self.infos[task.get()];
        let successors = self.graph.downstream(task).count();
        let rank = Rank::new(info.priority, self.levels[task.get()], successors, task);
        self.ready.push(info.engine, info.blocking, rank);
        self.fresh.push(task);
        Ok(())
    }

    /// A new attempt begins.
    fn begin(&mut self, task: TaskIdx, now: Timestamp, out: &mut Vec<Action>) -> Result {
        let info = &self.infos[task.get()];
        self.usage.take(info.engine, info.blocking);
        let progress = &mut self.tasks[task.get()];
        progress.attempt += 1;
        progress.holds_worker = info.blocking;
        progress.stop = None;
        let attempt = progress.attempt;
        if let Some(timeout) = info.timeout {
            self.timers.set(now.after(timeout), task, attempt, Alarm::Deadline);
        }
        self.set(task, TaskState::Running, out)?;
        out.push(Action::Start { task, attempt });
        Ok(())
    }

    fn deferred(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        let progress = &mut self.tasks[task.get()];
        if std::mem::take(&mut progress.holds_worker) {
            self.usage.release_worker();
        }
        if progress.state == TaskState::Running { self.set(task, TaskState::Deferred, out) } else { Ok(()) }
    }

    fn attempt_ended(
        &mut self,
        task: TaskIdx,
        failure: Option<FailureKind>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) -> Result {
        let progress = &mut self.tasks[task.get()];
        let holds_worker = std::mem::take(&mut progress.holds_worker);
        let stop = progress.stop;
        self.usage.release(self.infos[task.get()].engine, holds_worker);
        match failure {
            None => self.end(task, TaskState::Success, out),
            Some(_) if stop == Some(StopReason::Cancelled) => self.end(task, TaskState::Cancelled, out),
            Some(kind) => match self.retry_delay(task, kind) {
                Some(delay) if !self.cancelling => self.retry_after(task, delay, now, out),
                _ => self.end(task, TaskState::Failed, out),
            },
        }
    }

    /// How long to wait before the next attempt, if there is one; counts the failure.
    fn retry_delay(&mut self, task: TaskIdx, kind: FailureKind) -> Option<Duration> {
        let (info, progress) = (&self.infos[task.get()], &mut self.tasks[task.get()]);
        match kind {
            FailureKind::Invalid | FailureKind::Abandoned => None,
            FailureKind::Transient if progress.transient_failures < TRANSIENT_RETRIES => {
                progress.transient_failures += 1;
                Some(grown(TRANSIENT_DELAY, Backoff::Exponential, progress.transient_failures))
            }
            FailureKind::Transient
            | FailureKind::Failed
            | FailureKind::Panicked
            | FailureKind::Cancelled
            | FailureKind::TimedOut => {
                progress.failures += 1;
                (progress.failures <= info.retries)
                    .then(|| grown(info.retry_delay, info.backoff, progress.failures))
            }
        }
    }

    fn retry_after(
        &mut self,
        task: TaskIdx,
        delay: Duration,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) -> Result {
        self.set(task, TaskState::UpForRetry, out)?;
        let attempt = self.tasks[task.get()].attempt;
        self.timers.set(now.after(delay), task, attempt, Alarm::Retry);
        Ok(())
    }

    /// The task has ended; what follows from it is decided at once, without recursion.
    fn end(&mut self, task: TaskIdx, state: TaskState, out: &mut Vec<Action>) -> Result {
        self.close(task, state, out)?;
        let graph = Arc::clone(&self.graph);
        let mut closed = vec![task];
        while let Some(task) = closed.pop() {
            let state = self.tasks[task.get()].state;
            for downstream in graph.downstream(task) {
                let progress = &mut self.tasks[downstream.get()];
                progress.upstream.count(state);
                if progress.state != TaskState::None {
                    continue;
                }
                match rule::decide(self.infos[downstream.get()].rule, progress.upstream) {
                    Decision::Wait => {}
                    Decision::Run => self.schedule(downstream, out)?,
                    Decision::End(state) => {
                        self.close(downstream, state, out)?;
                        closed.push(downstream);
                    }
                }
            }
        }
        Ok(())
    }

    /// The task takes a state that no other follows.
    fn close(&mut self, task: TaskIdx, state: TaskState, out: &mut Vec<Action>) -> Result {
        self.set(task, state, out)?;
        self.unended -= 1;
        self.failed |= matches!(state, TaskState::Failed | TaskState::UpstreamFailed);
        Ok(())
    }

    fn cancel(&mut self, now: Timestamp, out: &mut Vec<Action>) -> Result {
        if std::mem::replace(&mut self.cancelling, true) {
            return Ok(());
        }
        for task in self.graph.tasks() {
            match self.tasks[task.get()].state {
                TaskState::None | TaskState::Scheduled | TaskState::Waiting | TaskState::UpForRetry => {
                    self.close(task, TaskState::Cancelled, out)?;
                }
                TaskState::Running | TaskState::Deferred => {
                    self.stop(task, StopReason::Cancelled, now, out);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn stop(&mut self, task: TaskIdx, reason: StopReason, now: Timestamp, out: &mut Vec<Action>) {
        let progress = &mut self.tasks[task.get()];
        let attempt = progress.attempt;
        if progress.stop.replace(reason).is_none() {
            self.timers.set(now.after(self.grace), task, attempt, Alarm::Grace);
            out.push(Action::Stop { task, attempt, reason });
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut Vec<Action>) -> Result {
        while let Some((task, attempt, alarm)) = self.timers.due(now) {
            let progress = &self.tasks[task.get()];
            let current = self.is_current(task, attempt);
            match alarm {
                Alarm::Retry if progress.state == TaskState::UpForRetry => self.schedule(task, out)?,
                Alarm::Deadline if current && progress.stop.is_none() => {
                    self.stop(task, StopReason::Deadline, now, out);
                }
                Alarm::Grace if current => {
                    out.push(Action::Abandon { task, attempt });
                    self.attempt_ended(task, Some(FailureKind::Abandoned), now, out)?;
                }
                Alarm::Retry | Alarm::Deadline | Alarm::Grace => {}
            }
        }
        Ok(())
    }
}

/// The wait before the `n`th retry, from 1.
fn grown(delay: Duration, backoff: Backoff, n: u32) -> Duration {
    let factor = match backoff {
        Backoff::Fixed => 1,
        Backoff::Exponential => 2_u32.saturating_pow(n.saturating_sub(1)),
    };
    delay.saturating_mul(factor).min(MAX_RETRY_DELAY.max(delay))
}
