//! A run on its way, and what one turn does: take what happened, let the scheduler decide, store what follows,
//! do it, tell it. Whoever holds the lock around a [`Run`] has the turn.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, never};

use super::call::{Call, Shared};
use super::message::Message;
use super::report::Reports;
use super::request::RunEnd;
use super::workers::{Job, Threads, Workers};
use super::{BATCH, GRACE, LINES};
use crate::event::{AttemptEnd, Event, EventKind, Failure, FailureKind, TaskIdx, Timestamp};
use crate::logs::{LogFile, RunLogs};
use crate::prepare::Prepared;
use crate::scheduler::{Action, Input, Scheduler, StopReason};
use crate::state::{RunState, TaskState};
use crate::store::RunJournal;

/// A run on its way.
pub(super) struct Run {
    prepared: Arc<Prepared>,
    scheduler: Scheduler,
    /// Until the run is finished.
    pub(super) journal: Option<RunJournal>,
    pub(super) workers: Workers,
    pub(super) reports: Option<Reports>,
    lines: Receiver<Event>,
    shared: Arc<Shared>,
    logs: RunLogs,
    run_log: LogFile,
    /// The attempts that engines have.
    calls: HashMap<TaskIdx, Arc<Call>>,
    /// How attempts ended whose tasks' states change in this turn.
    ends: HashMap<TaskIdx, Arc<AttemptEnd>>,
    actions: Vec<Action>,
    /// What happened in this turn.
    events: Vec<Event>,
    /// Until when the loop rests, if nothing wakes it.
    alarm: Option<Timestamp>,
    /// Why the run itself cannot go on.
    fatal: Option<Failure>,
    ended: Option<RunState>,
}

/// How the loop waits for its next turn.
pub(super) struct Rest {
    /// When the scheduler wants a turn.
    pub(super) alarm: Option<Timestamp>,
    /// The reporter is behind.
    pub(super) without_lines: bool,
}

impl Run {
    pub(super) fn new(
        prepared: Arc<Prepared>,
        scheduler: Scheduler,
        workers: Workers,
        shared: Arc<Shared>,
        lines: Receiver<Event>,
        logs: RunLogs,
        run_log: LogFile,
    ) -> Self {
        Self {
            prepared,
            scheduler,
            journal: None,
            workers,
            reports: None,
            lines,
            shared,
            logs,
            run_log,
            calls: HashMap::new(),
            ends: HashMap::new(),
            actions: Vec::new(),
            events: Vec::new(),
            alarm: None,
            fatal: None,
            ended: None,
        }
    }
}

impl Run {
    /// The first turn.
    pub(super) fn begin(&mut self, run_id: &str) -> Option<Rest> {
        let now = self.shared.clock.now();
        self.events.push(run_state(now, RunState::Running, None));
        let (dag, tasks) = (&self.prepared.dag.dag_id, self.prepared.graph.len());
        self.note_run(&format!("run {run_id} of {dag} begins: {tasks} tasks"), now);
        if self.fatal.is_none() {
            let started = self.scheduler.start(&mut self.actions);
            self.or_fatal(started);
        }
        self.turn_of_loop()
    }

    /// A turn of the loop, after it took what happened; `None` when the run has ended.
    pub(super) fn turn_of_loop(&mut self) -> Option<Rest> {
        self.take_posted();
        let without_lines = self.reports.as_ref().is_some_and(|reports| !reports.keeps_up());
        if !without_lines {
            self.events.extend(self.lines.try_iter().take(BATCH));
        }
        let now = self.shared.clock.now();
        if self.scheduler.next_tick().is_some_and(|tick| tick <= now) {
            self.input(Input::Tick, now);
        }
        self.settle();
        self.workers.send_all();
        self.alarm = self.scheduler.next_tick();
        self.ended.is_none().then_some(Rest { alarm: self.alarm, without_lines })
    }

    /// A turn of a worker that has posted how its attempt went; gives the worker its next job, if there is one.
    pub(super) fn turn_of_worker(&mut self) -> Option<Job> {
        // Somebody else's turn may have taken it, or the run be over.
        if self.ended.is_some() || !self.take_posted() {
            return None;
        }
        self.settle();
        let job = self.workers.take_one();
        self.workers.send_all();
        let alarm = self.scheduler.next_tick();
        let earlier = alarm.is_some_and(|alarm| self.alarm.is_none_or(|known| alarm < known));
        if earlier || self.ended.is_some() {
            self.alarm = alarm;
            self.shared.send(Message::Wake);
        }
        job
    }

    /// Takes what workers have posted; whether there was anything.
    fn take_posted(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let posted = shared.posted.1.try_iter().map(|message| self.take(message)).count();
        posted > 0
    }

    pub(super) fn take_line(&mut self, line: Event) {
        self.events.push(line);
    }

    pub(super) fn take(&mut self, message: Message) {
        let now = self.shared.clock.now();
        match message {
            Message::Ended { task, attempt, end } => {
                // Every line of the attempt is here already, and is told before its end.
                self.events.extend(self.lines.try_iter().take(LINES));
                self.attempt_ended(task, attempt, end, now);
            }
            Message::Deferred { task, attempt } => self.input(Input::Deferred { task, attempt }, now),
            Message::Checkpoint { task, attempt, checkpoint, stored } => {
                let kind = EventKind::Checkpoint { task, attempt, checkpoint: Arc::new(checkpoint) };
                let event = Event { ts: now, kind };
                let result = self.record(std::slice::from_ref(&event));
                // The engine may have gone meanwhile.
                let _ = stored.send(result);
            }
            Message::Progress(task) => {
                let kind = self.calls.get(&task).and_then(|call| call.take_progress());
                // A reporter that is behind is told the next progress instead.
                if self.reports.as_ref().is_some_and(Reports::keeps_up) {
                    self.events.extend(kind.map(|kind| Event { ts: now, kind }));
                }
            }
            Message::Wake => {}
            Message::LogFailed(message) => self.fail(message),
            Message::Cancel => self.input(Input::Cancel, now),
            Message::Kill => {
                self.input(Input::Cancel, now);
                // As if every grace period were over.
                self.input(Input::Tick, now.after(GRACE));
            }
        }
    }

    fn attempt_ended(&mut self, task: TaskIdx, attempt: u32, end: Arc<AttemptEnd>, now: Timestamp) {
        let end = match (&end.error, self.scheduler.stop_reason(task)) {
            (Some(error), Some(StopReason::Deadline)) if is_consequence(error.kind) => Arc::new(AttemptEnd {
                error: Some(Failure {
                    kind: FailureKind::TimedOut,
                    message: self.timed_out(task, &error.message),
                }),
                ..(*end).clone()
            }),
            _ => end,
        };
        let failure = end.error.as_ref().map(|error| error.kind);
        self.ends.insert(task, end);
        self.input(Input::Ended { task, attempt, failure }, now);
    }

    fn timed_out(&self, task: TaskIdx, message: &str) -> String {
        let timeout = self.prepared.task(task).timeout.unwrap_or_default();
        format!("stopped after its timeout of {}: {message}", humantime::format_duration(timeout))
    }

    fn input(&mut self, input: Input, now: Timestamp) {
        let handled = self.scheduler.handle(input, now, &mut self.actions);
        self.or_fatal(handled);
    }

    /// Carries out what follows, and what follows from that.
    fn settle(&mut self) {
        loop {
            self.carry_out(self.shared.clock.now());
            if self.actions.is_empty() || self.ended.is_some() {
                return;
            }
        }
    }

    /// First stores it, then does it, then tells it.
    fn carry_out(&mut self, now: Timestamp) {
        let dispatched = self.scheduler.dispatch(now, &mut self.actions);
        self.or_fatal(dispatched);
        let actions = std::mem::take(&mut self.actions);
        actions.iter().for_each(|&action| self.note(action, now));
        self.ends.clear();
        let events = std::mem::take(&mut self.events);
        let stored = self.record(&events);
        self.events = events;
        if let Err(error) = stored {
            self.fail(error);
            // What is not stored is not told.
            self.events.clear();
        }
        actions.iter().for_each(|&action| self.act(action));
        self.actions = actions;
        self.actions.clear();
        if self.fatal.is_some() && self.ended.is_none() {
            self.input(Input::Cancel, now);
        }
        if let Some(reports) = &self.reports {
            reports.send(&mut self.events);
        }
    }

    fn record(&mut self, events: &[Event]) -> Result<(), String> {
        let journal = self.journal.as_mut().ok_or("the run is not stored")?;
        journal.record(events).map_err(|e| e.to_string())
    }

    /// An action as the event that it is.
    fn note(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::State { task, attempt, state } => {
                let end = self
                    .ends
                    .get(&task)
                    .filter(|_| state.is_terminal() || state == TaskState::UpForRetry)
                    .cloned();
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
            Action::Start { .. } | Action::Stop { .. } | Action::RunEnded(_) => {}
        }
    }

    fn note_failure(
        &mut self,
        task: TaskIdx,
        attempt: u32,
        state: TaskState,
        failure: &Failure,
        now: Timestamp,
    ) {
        let text =
            format!("{} attempt {attempt} {state}: {}", self.prepared.graph.name(task), failure.message);
        self.note_run(&text, now);
    }

    /// A line in the run's own log.
    fn note_run(&mut self, text: &str, now: Timestamp) {
        if let Err(error) = self.run_log.write(now, "info", text, &self.shared.masker) {
            self.fail(error.to_string());
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            // What could not be stored is not started.
            Action::Start { task, attempt } => {
                let log = LogFile::new(self.logs.attempt(self.prepared.graph.name(task), attempt));
                let call = Call::new(Arc::clone(&self.shared), task, attempt, log);
                self.calls.insert(task, Arc::clone(&call));
                if self.fatal.is_none() {
                    self.workers.queue(Job { task, attempt, call });
                } else {
                    call.refuse("not started, since the run cannot go on".to_owned());
                }
            }
            Action::Stop { task, .. } => {
                let Some(call) = self.calls.get(&task) else { return };
                if let Err(error) = self.workers.stop(Arc::clone(call)) {
                    self.fail(format!("cannot start a thread: {error}"));
                }
            }
            Action::Abandon { task, .. } => {
                let Some(call) = self.calls.remove(&task) else { return };
                if let Err(error) = self.workers.abandon(task, &call) {
                    self.fail(format!("cannot start a thread: {error}"));
                }
            }
            Action::State { task, state, .. } => {
                if !state.is_in_flight() {
                    self.calls.remove(&task);
                }
            }
            Action::RunEnded(state) => self.ended = Some(state),
        }
    }

    /// The run itself cannot go on: everything is cancelled, and the first reason kept.
    fn fail(&mut self, message: String) {
        let message = self.shared.masker.mask(&message).into_owned();
        self.fatal.get_or_insert(Failure { kind: FailureKind::Failed, message });
    }

    fn or_fatal<E: std::fmt::Display>(&mut self, result: Result<(), E>) {
        if let Err(error) = result {
            self.fail(format!("a bug in the scheduler: {error}"));
            self.ended = Some(RunState::Failed);
        }
    }

    /// The run has ended: stores that and tells it. The threads are the caller's to wait for, without the lock.
    pub(super) fn finish(&mut self) -> (Threads, RunEnd) {
        let state = self.ended.filter(|_| self.fatal.is_none()).unwrap_or(RunState::Failed);
        let mut end = RunEnd { state, error: self.fatal.take() };
        // Only after a bug is there still a call; its thread is not waited for.
        for (task, call) in std::mem::take(&mut self.calls) {
            let _ = self.workers.abandon(task, &call);
        }
        self.events.extend(self.lines.try_iter());
        self.lines = never();
        let now = self.shared.clock.now();
        let last = run_state(now, end.state, end.error.clone());
        let stored = self.record(&[last]);
        let finished = self.journal.take().map(|journal| journal.finish().map_err(|e| e.to_string()));
        if let Err(error) = stored.and(finished.unwrap_or(Ok(()))) {
            end.fail(error);
        }
        self.events.push(run_state(now, end.state, end.error.clone()));
        if let Some(mut reports) = self.reports.take() {
            reports.send(&mut self.events);
            reports.finish();
        }
        (self.workers.close(), end)
    }
}

/// Whether an engine that was asked to stop may have failed for that.
fn is_consequence(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Cancelled | FailureKind::Failed | FailureKind::Transient)
}

fn run_state(ts: Timestamp, state: RunState, error: Option<Failure>) -> Event {
    Event { ts, kind: EventKind::RunState { state, error: error.map(Arc::new) } }
}
