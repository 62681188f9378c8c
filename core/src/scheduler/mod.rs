//! The scheduler: an event goes in, actions come out.
//!
//! Pure: no I/O, no clock (time is an argument), no thread. A test drives it without a sleep. It decides
//! what starts, what is stopped and when the run has ended; [`crate::runner`] carries it out.

mod attempt;
mod ending;
mod fleet;
mod grow;
mod infos;
mod limits;
mod list;
mod order;
mod ready;
mod resume;
mod retry;
mod rule;
mod stop;
mod teardown;
#[cfg(test)]
pub(crate) mod tests;
mod timers;
mod types;

use std::sync::Arc;

pub use fleet::next_to_start;
use grow::Mapped;
use infos::Infos;
use limits::Caps;
pub use limits::{Limits, Places};
pub(crate) use list::{Direction, Lister, Schedule};
use ready::{Rank, ReadyQueue};
pub use resume::Begun;
pub use retry::{MAX_RETRY_DELAY, TRANSIENT_DELAY, TRANSIENT_RETRIES};
use rule::{Counts, Decision};
use teardown::Teardowns;
pub use teardown::scopes;
use timers::Timers;
pub use types::{Action, Added, ExpectedFrom, Input, Settings, StopReason, TaskInfo};

use crate::event::{TaskIdx, Timestamp};
use crate::graph::Graph;
use crate::state::{IllegalTransition, RunState, TaskState};

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
    /// Its next attempt was begun by a scheduler that died,
    again: bool,
    /// and is to be stopped as soon as its engine has it again: it may have a job somewhere.
    doomed: Option<StopReason>,
    /// Its condition was asked for.
    asked: bool,
    /// It is left out of this run: what depends on it takes it for a success.
    excluded: bool,
    /// What those that depend on an excluded task have been told of it: nothing before its own dependencies have ended.
    passed: Option<TaskState>,
    /// When it first began and when it ended, counted in changes of state; 0 where that did not happen here.
    began: u32,
    ended: u32,
}

/// One run's scheduler.
#[derive(Debug)]
pub struct Scheduler {
    graph: Arc<Graph>,
    infos: Infos,
    settings: Settings,
    /// By these, ready tasks of one priority start in order.
    levels: Vec<f64>,
    /// Ready tasks start in the order in which they became ready, whatever else is known of them.
    by_arrival: bool,
    tasks: Vec<Progress>,
    teardowns: Teardowns,
    mapped: Mapped,
    caps: Caps,
    ready: ReadyQueue,
    in_flight: u32,
    workers_held: u32,
    timers: Timers,
    /// When the run has taken too long.
    deadline: Option<Timestamp>,
    /// Tasks that became ready since the last dispatch.
    fresh: Vec<TaskIdx>,
    /// How often places were given out.
    rounds: u32,
    unended: usize,
    /// How often a task has changed its state.
    changes: u32,
    /// How many tasks are neither at their beginning nor at their end.
    active: u32,
    /// More may be added: the run does not end before that is known,
    held: bool,
    /// and no teardown begins.
    teardowns_held: bool,
    failed: bool,
    late: bool,
    cancelling: bool,
    ended: bool,
}

type Result<T = ()> = std::result::Result<T, IllegalTransition>;

impl Scheduler {
    /// The scheduler of a run; `infos` by [`TaskIdx`].
    #[must_use]
    pub fn new(graph: Arc<Graph>, infos: Vec<TaskInfo>, settings: Settings) -> Self {
        let mut tasks = vec![Progress::default(); graph.len()];
        for task in graph.tasks() {
            for downstream in graph.downstream(task) {
                tasks[downstream.get()].upstream.expect_one();
            }
        }
        let (mapped, teardowns) = (Mapped::new(&infos), Teardowns::new(&graph, &infos));
        let infos = Infos::new(infos);
        let mut this = Self {
            mapped,
            caps: Caps::default(),
            changes: 0,
            levels: graph.b_levels(infos.expected()),
            by_arrival: false,
            rounds: 0,
            teardowns,
            unended: graph.len(),
            ready: ReadyQueue::default(),
            in_flight: 0,
            workers_held: 0,
            timers: Timers::default(),
            deadline: None,
            fresh: Vec::new(),
            active: 0,
            held: false,
            teardowns_held: false,
            failed: false,
            late: false,
            cancelling: false,
            ended: false,
            graph,
            infos,
            settings,
            tasks,
        };
        this.graph.tasks().for_each(|task| this.add_limit(task));
        this
    }

    /// Orders ready tasks by these instead of b-levels; by [`TaskIdx`], in seconds that are left when the task starts. Call
    /// it before [`start`](Self::start).
    pub fn set_levels(&mut self, levels: Vec<f64>) {
        self.levels = levels;
    }

    /// First come, first served: tasks start in the order in which they became ready, without regard to priorities and
    /// levels. To compare with.
    pub fn serve_by_arrival(&mut self) {
        self.by_arrival = true;
    }

    /// Makes every task ready that waits for nothing. Call it once, then [`dispatch`](Self::dispatch).
    ///
    /// Tasks that are `skipped` are so as if by their conditions. Those that are `excluded` are skipped too, but what
    /// depends on them takes them for successes as soon as their own dependencies have succeeded.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] here and below is a bug in the scheduler; the run cannot go on.
    pub fn start(
        &mut self,
        excluded: &[TaskIdx],
        skipped: &[TaskIdx],
        now: Timestamp,
        out: &mut Vec<Action>,
    ) -> Result {
        self.deadline = self.settings.timeout.map(|timeout| now.after(timeout));
        for &task in excluded {
            self.tasks[task.get()].excluded = true;
            self.close(task, TaskState::Skipped, out)?;
        }
        for &task in skipped {
            self.close(task, TaskState::Skipped, out)?;
        }
        for &task in skipped {
            self.count_downstream(task);
        }
        self.reconsider_all(out)
    }

    /// Takes one input. What can start now is told by the next [`dispatch`](Self::dispatch).
    ///
    /// An input about an attempt that is over already changes nothing: engines may report late.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn handle(
        &mut self,
        input: Input,
        now: Timestamp,
        places: &mut Places,
        out: &mut Vec<Action>,
    ) -> Result {
        match input {
            Input::Ended { task, attempt, failure } if self.is_current(task, attempt) => {
                self.attempt_ended(task, failure, now, places, out)
            }
            Input::Deferred { task, attempt } if self.is_current(task, attempt) => {
                self.deferred(task, places, out)
            }
            Input::Ended { .. } | Input::Deferred { .. } => Ok(()),
            Input::Condition { task, met } => self.condition(task, met, out),
            Input::Expanded { task, done } => self.expanded(task, done, out),
            Input::Cancel => self.cancel(StopReason::Cancelled, now, out),
            Input::Kill => self.kill(now, places, out),
            Input::CancelTask(task) => self.cancel_task(task, now, out),
            Input::Tick => self.tick(now, places, out),
        }
    }

    /// Starts whatever the limits allow, the most urgent first, and tells when the run has ended.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn dispatch(&mut self, now: Timestamp, places: &mut Places, out: &mut Vec<Action>) -> Result {
        while self.can_start(places) {
            self.start_next(now, places, out)?;
        }
        self.settle(out)
    }

    /// Whether a ready task has a place.
    #[must_use]
    pub fn can_start(&self, places: &Places) -> bool {
        self.settings.processors.is_none_or(|limit| self.in_flight < limit)
            && self.ready.has_place(places, &self.caps)
    }

    /// Starts the most urgent of the tasks that have a place.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn start_next(&mut self, now: Timestamp, places: &mut Places, out: &mut Vec<Action>) -> Result {
        match self.ready.pop(places, &self.caps) {
            // What was cancelled while it waited is still in the queue.
            Some(task) if self.tasks[task.get()].state.is_terminal() => Ok(()),
            Some(task) => self.begin(task, now, places, out),
            None => Ok(()),
        }
    }

    /// After the last [`start_next`](Self::start_next): tells what waits now, and when the run has ended.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub fn settle(&mut self, out: &mut Vec<Action>) -> Result {
        self.rounds = self.rounds.saturating_add(1);
        let mut fresh = std::mem::take(&mut self.fresh);
        for task in fresh.drain(..) {
            if self.tasks[task.get()].state == TaskState::Scheduled {
                self.set(task, TaskState::Waiting, out)?;
            }
        }
        self.fresh = fresh;
        if self.unended == 0 && !self.ended && !self.held {
            self.ended = true;
            out.push(Action::RunEnded(self.run_state()));
        }
        Ok(())
    }

    /// When [`Input::Tick`] is due, if ever.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.timers.next().into_iter().chain(self.deadline.filter(|_| !self.ended)).min()
    }

    /// A task's state.
    #[must_use]
    pub fn state(&self, task: TaskIdx) -> TaskState {
        self.tasks[task.get()].state
    }

    /// Whether the task is left out of this run.
    #[must_use]
    pub fn is_excluded(&self, task: TaskIdx) -> bool {
        self.tasks[task.get()].excluded
    }

    /// Why the task's attempt was asked to stop, if it was.
    #[must_use]
    pub fn stop_reason(&self, task: TaskIdx) -> Option<StopReason> {
        self.tasks[task.get()].stop
    }

    #[cfg(test)]
    fn levels(&self) -> &[f64] {
        &self.levels
    }

    fn run_state(&self) -> RunState {
        if self.late {
            RunState::Failed
        } else if self.cancelling && self.tasks.iter().any(|t| t.state == TaskState::Cancelled) {
            RunState::Cancelled
        } else if self.failed {
            RunState::Failed
        } else {
            RunState::Success
        }
    }

    /// Whether this attempt is under way.
    pub(crate) fn is_current(&self, task: TaskIdx, attempt: u32) -> bool {
        let progress = &self.tasks[task.get()];
        progress.attempt == attempt && progress.state.is_in_flight()
    }

    /// The only place that changes a state.
    fn set(&mut self, task: TaskIdx, state: TaskState, out: &mut Vec<Action>) -> Result {
        let progress = &mut self.tasks[task.get()];
        let before = progress.state;
        progress.state = before.transition(state)?;
        match (before == TaskState::None, state.is_terminal()) {
            (true, false) => self.active += 1,
            (false, true) => self.active -= 1,
            _ => {}
        }
        self.changes = self.changes.saturating_add(1);
        if state == TaskState::Running && progress.began == 0 {
            progress.began = self.changes;
        } else if state.is_terminal() {
            progress.ended = self.changes;
        }
        out.push(Action::State { task, attempt: progress.attempt, state });
        Ok(())
    }

    /// Decides about every task that waits for its dependencies.
    fn reconsider_all(&mut self, out: &mut Vec<Action>) -> Result {
        let graph = Arc::clone(&self.graph);
        for &task in graph.topological_order() {
            if self.passes(task) {
                self.spread(task, out)?;
                continue;
            }
            let progress = &self.tasks[task.get()];
            if progress.state != TaskState::None || self.infos[task.get()].teardown {
                continue;
            }
            if progress.upstream.is_empty() {
                self.admit(task, out)?;
            } else {
                self.reconsider(task, out)?;
            }
        }
        self.close_mapped(out)?;
        self.tear_down(out)
    }

    /// Decides about a task that has dependencies and waits for them.
    fn reconsider(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        match rule::decide(self.infos[task.get()].rule, self.tasks[task.get()].upstream) {
            Decision::Wait => Ok(()),
            Decision::Run => self.admit(task, out),
            Decision::End(state) => self.end(task, state, out),
        }
    }

    /// The task's dependencies let it start; its condition has the last word.
    fn admit(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        if !self.infos[task.get()].conditional {
            return self.schedule(task, out);
        }
        if !std::mem::replace(&mut self.tasks[task.get()].asked, true) {
            out.push(Action::Evaluate { task });
        }
        Ok(())
    }

    fn condition(&mut self, task: TaskIdx, met: Option<bool>, out: &mut Vec<Action>) -> Result {
        match met {
            _ if self.tasks[task.get()].state != TaskState::None => Ok(()),
            Some(true) => self.schedule(task, out),
            Some(false) => self.end(task, TaskState::Skipped, out),
            None => self.end(task, TaskState::Failed, out),
        }
    }

    /// The task waits for nothing but a free place.
    fn schedule(&mut self, task: TaskIdx, out: &mut Vec<Action>) -> Result {
        self.set(task, TaskState::Scheduled, out)?;
        if self.infos[task.get()].mapped {
            return self.expand_or_wait(task, out);
        }
        let info = &self.infos[task.get()];
        let successors = self.graph.downstream(task).count();
        let again = self.tasks[task.get()].again;
        let rank = if self.by_arrival {
            Rank::new(again, 0, f64::from(u32::MAX - self.rounds), 0, task)
        } else {
            Rank::new(again, info.priority, self.levels[task.get()], successors, task)
        };
        self.ready.push(self.place(task), rank);
        self.fresh.push(task);
        Ok(())
    }
}
