//! The runner: one loop owns the run. Only it calls engines (through its workers) and only it emits
//! events, each of which is stored before anyone else sees it.
//!
//! What to do is decided by [`crate::scheduler`]; here it is carried out.

mod call;
mod clock;
mod message;
mod report;
mod request;
mod spin;
mod workers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, select};

use call::{Call, Shared};
use clock::Clock;
use message::Message;
pub use message::{Controller, Mailbox};
pub use report::Reporter;
use report::Reports;
use request::begin;
pub use request::{RunEnd, RunError, RunRequest};
use spin::Spin;
use workers::{Job, RunInfo, Workers};

use crate::event::{AttemptEnd, Event, EventKind, Failure, FailureKind, TaskIdx, Timestamp};
use crate::logs::{LogFile, RunLogs};
use crate::prepare::Prepared;
use crate::scheduler::{Action, Input, Scheduler, StopReason};
use crate::state::{RunState, TaskState};
use crate::store::RunJournal;

/// How long an attempt that is asked to stop has for it; longer than engines give their own processes.
pub const GRACE: Duration = Duration::from_secs(30);

/// Log lines that may be under way to the loop before engines have to wait.
const LINES: usize = 4096;

/// How long events wait at most for others before the reporter is woken.
const REPORT_EVERY: Duration = Duration::from_millis(2);

/// How often the loop looks whether a reporter that was behind has caught up.
const BEHIND: Duration = Duration::from_millis(10);

/// Messages that one turn of the loop takes at most, so that what they start does not wait for them all.
const BATCH: usize = 512;

/// Runs a DAG to its end.
///
/// # Errors
///
/// When the run could not begin. Once it has, whatever happens is its [`RunEnd`].
pub fn run(prepared: Arc<Prepared>, request: RunRequest<'_>) -> Result<RunEnd, RunError> {
    let clock = Clock::new();
    let started_at = clock.now();
    let history = request.store.durations(&prepared.dag.dag_id)?;
    let logs = RunLogs::new(&request.home, &prepared.dag.dag_id, &request.run_id);
    let (lines_in, lines) = bounded(LINES);
    let wants_logs = request.reporter.wants_logs();
    let shared = Arc::new(Shared {
        messages: request.mailbox.sender.clone(),
        lines: wants_logs.then_some(lines_in),
        masker: prepared.masker.clone(),
        clock,
    });
    let info = RunInfo { prepared: Arc::clone(&prepared), run_id: request.run_id.clone(), started_at };
    let workers = Workers::start(info, &shared, request.workers).map_err(RunError::Thread)?;
    let journal = begin(&prepared, &request, started_at)?;
    let limits = prepared.limits(request.workers);
    let runner = Runner {
        scheduler: Scheduler::new(Arc::clone(&prepared.graph), prepared.infos(&history), limits, GRACE),
        workers,
        reports: Reports::start(request.reporter),
        messages: request.mailbox.receiver,
        spin: Spin::default(),
        shows_lines: wants_logs,
        lines,
        calls: HashMap::new(),
        ends: HashMap::new(),
        actions: Vec::new(),
        events: Vec::new(),
        unreported: Vec::new(),
        reported: Instant::now(),
        fatal: None,
        ended: None,
        run_log: LogFile::new(logs.run()),
        prepared,
        journal,
        shared,
        logs,
    };
    Ok(runner.run(&request.run_id, clock))
}

/// What the loop waits for.
enum Received {
    Message(Message),
    Line(Event),
}

/// A run on its way.
struct Runner {
    prepared: Arc<Prepared>,
    scheduler: Scheduler,
    journal: RunJournal,
    workers: Workers,
    reports: Reports,
    messages: Receiver<Message>,
    spin: Spin,
    lines: Receiver<Event>,
    /// Whether anything arrives there.
    shows_lines: bool,
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
    /// What is stored and not told yet.
    unreported: Vec<Event>,
    reported: Instant,
    /// Why the run itself cannot go on.
    fatal: Option<Failure>,
    ended: Option<RunState>,
}

impl Runner {
    fn run(mut self, run_id: &str, clock: Clock) -> RunEnd {
        self.events.push(run_state(clock.now(), RunState::Running, None));
        let (dag, tasks) = (&self.prepared.dag.dag_id, self.prepared.graph.len());
        self.note_run(&format!("run {run_id} of {dag} begins: {tasks} tasks"), clock.now());
        if self.fatal.is_some() {
            self.input(Input::Cancel, clock.now());
        }
        let started = self.scheduler.start(&mut self.actions);
        self.or_fatal(started);
        self.turn(clock.now());
        while self.ended.is_none() {
            if self.actions.is_empty() {
                self.wait(clock);
            }
            self.turn(clock.now());
        }
        self.finish(clock.now())
    }

    /// Waits for something to happen and takes it, with what else has happened meanwhile.
    fn wait(&mut self, clock: Clock) {
        match self.receive(clock) {
            Some(Received::Message(message)) => self.take(message, clock.now()),
            Some(Received::Line(line)) => self.events.push(line),
            None => self.report(),
        }
        if self.reports.keeps_up() {
            self.events.extend(self.lines.try_iter().take(BATCH));
        }
        for _ in 0..BATCH {
            let Ok(message) = self.messages.try_recv() else { break };
            self.take(message, clock.now());
        }
        let now = clock.now();
        if self.scheduler.next_tick().is_some_and(|tick| tick <= now) {
            self.input(Input::Tick, now);
        }
    }

    /// The next message, or `None` when an alarm or a report is due.
    fn receive(&mut self, clock: Clock) -> Option<Received> {
        let alarm = self.scheduler.next_tick().map_or(Duration::from_secs(3600), |tick| clock.until(tick));
        let timeout = if self.unreported.is_empty() { alarm } else { alarm.min(REPORT_EVERY) };
        if !self.shows_lines {
            // A plain wait costs less than one for either of two channels.
            return self.spin.receive(&self.messages, Some(timeout)).map(Received::Message);
        }
        if !self.reports.keeps_up() {
            // Lines wait, and so do the engines that log them, until the reporter has caught up.
            return self.spin.receive(&self.messages, Some(timeout.min(BEHIND))).map(Received::Message);
        }
        select! {
            recv(self.messages) -> message => message.ok().map(Received::Message),
            recv(self.lines) -> line => line.ok().map(Received::Line),
            default(timeout) => None,
        }
    }

    /// Tells what is stored, for many events at once: a thread that is woken for each costs more than they do.
    fn report(&mut self) {
        if !self.unreported.is_empty() {
            self.reports.send(std::mem::take(&mut self.unreported));
        }
        self.reported = Instant::now();
    }

    fn take(&mut self, message: Message, now: Timestamp) {
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
                let result = self.journal.record(std::slice::from_ref(&event)).map_err(|e| e.to_string());
                // The engine may have gone meanwhile.
                let _ = stored.send(result);
            }
            Message::Progress(task) => {
                let kind = self.calls.get(&task).and_then(|call| call.take_progress());
                // A reporter that is behind is told the next progress instead.
                if self.reports.keeps_up() {
                    self.events.extend(kind.map(|kind| Event { ts: now, kind }));
                }
            }
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

    /// Carries out what follows: first stores it, then does it, then tells it.
    fn turn(&mut self, now: Timestamp) {
        let dispatched = self.scheduler.dispatch(now, &mut self.actions);
        self.or_fatal(dispatched);
        let actions = std::mem::take(&mut self.actions);
        actions.iter().for_each(|&action| self.note(action, now));
        self.ends.clear();
        if let Err(error) = self.journal.record(&self.events) {
            self.fail(error.to_string());
            // What is not stored is not told.
            self.events.clear();
        }
        actions.iter().for_each(|&action| self.act(action));
        self.actions = actions;
        self.actions.clear();
        if self.fatal.is_some() && self.ended.is_none() {
            self.input(Input::Cancel, now);
        }
        self.unreported.append(&mut self.events);
        if self.reported.elapsed() >= REPORT_EVERY {
            self.report();
        }
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
                    self.workers.start_attempt(Job { task, attempt, call });
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

    fn finish(mut self, now: Timestamp) -> RunEnd {
        let mut end = RunEnd {
            state: if self.fatal.is_some() {
                RunState::Failed
            } else {
                self.ended.unwrap_or(RunState::Failed)
            },
            error: self.fatal.take(),
        };
        // Only after a bug is there still a call; its thread is not waited for.
        for (task, call) in std::mem::take(&mut self.calls) {
            let _ = self.workers.abandon(task, &call);
        }
        self.unreported.extend(self.lines.try_iter());
        let Self { mut journal, mut reports, workers, mut unreported, lines, .. } = self;
        drop(lines);
        let last = run_state(now, end.state, end.error.clone());
        let stored = journal.record(&[last]).and_then(|()| journal.finish());
        if let Err(error) = stored {
            end.fail(error.to_string());
        }
        unreported.push(run_state(now, end.state, end.error.clone()));
        reports.send(unreported);
        workers.finish();
        reports.finish();
        end
    }
}

/// Whether an engine that was asked to stop may have failed for that.
fn is_consequence(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Cancelled | FailureKind::Failed | FailureKind::Transient)
}

fn run_state(ts: Timestamp, state: RunState, error: Option<Failure>) -> Event {
    Event { ts, kind: EventKind::RunState { state, error: error.map(Arc::new) } }
}
