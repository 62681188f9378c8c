//! One run on its way: what happened goes in, and what follows is stored, done and told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::Sender;
use foldhash::fast::RandomState;
use serde_json::Value;

use super::call::{Call, Shared};
use super::live::Live;
use super::lock;
use super::message::{Message, Question, Request};
use super::noting::run_state;
use super::outlet::Outlet;
use super::request::{Opening, RunEnd};
use super::workers::{self, Job, RunInfo, Workers};
use crate::event::{AttemptEnd, Event, EventKind, Failure, FailureKind, TaskIdx, Timestamp};
use crate::growth::Rules;
use crate::logs::LogFile;
use crate::prepare::Prepared;
use crate::scheduler::{Action, Input, Places, Scheduler, StopReason};
use crate::state::{RunState, TaskState};

/// Of those of a run's tasks, of which there may be millions, that something holds for at the moment.
type ByTask<T> = HashMap<TaskIdx, T, RandomState>;

/// What the engine of a task asks, and where the answer goes.
type Query = (TaskIdx, Question, Sender<Result<Value, String>>);

/// A run on its way.
pub(super) struct Run {
    pub(super) info: Arc<RunInfo>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) live: Live,
    pub(super) scheduler: Scheduler,
    outlet: Arc<Mutex<Outlet>>,
    pub(super) shared: Arc<Shared>,
    pub(super) run_log: LogFile,
    /// The attempts that engines have.
    calls: ByTask<Arc<Call>>,
    /// What attempts had stored that a scheduler had begun that died.
    checkpoints: HashMap<TaskIdx, Value>,
    /// What tasks left for conditions.
    pub(super) results: HashMap<TaskIdx, Value>,
    /// How attempts ended whose tasks' states change in this turn.
    pub(super) ends: ByTask<Arc<AttemptEnd>>,
    pub(super) actions: Vec<Action>,
    /// What happened in this turn.
    pub(super) events: Vec<Event>,
    /// What conditions came to in this turn.
    pub(super) conditions: Vec<Input>,
    /// Mapped tasks that want their instances.
    pub(super) expanding: Vec<TaskIdx>,
    /// What the rules look at, as long as one may be applied.
    pub(super) rules: Option<Box<Rules>>,
    /// Of the rules that never were, why.
    pub(super) left_rules: Vec<String>,
    /// Engines that wait until what they added is stored.
    pub(super) answers: Vec<Sender<Result<(), String>>>,
    /// What the engines of tasks ask, until what they would be told is stored.
    queries: Vec<Query>,
    /// Why the run itself cannot go on.
    pub(super) fatal: Option<Failure>,
    /// Why it was stopped, if it took too long.
    pub(super) late: Option<Failure>,
    /// Its end is stored and told.
    told_end: bool,
    pub(super) ended: Option<RunState>,
}

impl Run {
    pub(super) fn new(
        info: Arc<RunInfo>,
        live: Live,
        scheduler: Scheduler,
        outlet: Outlet,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            live,
            prepared: Arc::clone(&info.prepared),
            run_log: LogFile::new(shared.logs.run()),
            info,
            scheduler,
            outlet: Arc::new(Mutex::new(outlet)),
            shared,
            calls: ByTask::default(),
            checkpoints: HashMap::new(),
            results: HashMap::new(),
            ends: ByTask::default(),
            actions: Vec::new(),
            events: Vec::new(),
            conditions: Vec::new(),
            expanding: Vec::new(),
            rules: None,
            left_rules: Vec::new(),
            answers: Vec::new(),
            queries: Vec::new(),
            fatal: None,
            late: None,
            told_end: false,
            ended: None,
        }
    }

    /// The run begins, or goes on.
    pub(super) fn begin(&mut self, opening: Opening) {
        let now = self.shared.clock.now();
        self.events.push(run_state(now, RunState::Running, None));
        let (run_id, dag) = (&self.info.run_id, &self.prepared.dag.dag_id);
        let how = if matches!(opening, Opening::New { .. }) { "begins" } else { "goes on" };
        let tasks = self.scheduler.graph().len();
        self.note_run(&format!("run {run_id} of {dag} {how}: {tasks} tasks"), now);
        if self.fatal.is_some() {
            return;
        }
        let started = match opening {
            Opening::New { left_out, skipped, results } => {
                self.results = results;
                self.begin_rules(&[], |_| TaskState::None);
                for &task in &left_out {
                    let error = Failure {
                        kind: FailureKind::LeftOut,
                        message: "left out of this run as it was asked for".to_owned(),
                    };
                    let result = self.results.get(&task).cloned();
                    self.ends
                        .insert(task, Arc::new(AttemptEnd { error: Some(error), result, metrics: None }));
                }
                self.scheduler.start(&left_out, &skipped, now, &mut self.actions)
            }
            Opening::Resume(resumed) => {
                self.results = resumed.results;
                let ended = |task: TaskIdx| match &resumed.tasks[task.get()] {
                    // As it was before the crash.
                    begun if begun.excluded => TaskState::Success,
                    begun if begun.state.is_terminal() => begun.state,
                    _ => TaskState::None,
                };
                self.begin_rules(&resumed.growth, ended);
                self.checkpoints = resumed.checkpoints;
                self.scheduler.resume(&resumed.tasks, resumed.stopping, now, &mut self.actions)
            }
        };
        self.or_fatal(started);
    }

    /// Whether the reporter can be told more lines.
    pub(super) fn keeps_up(&self) -> bool {
        self.outlet().keeps_up()
    }

    /// Something that happened and only has to be told.
    pub(super) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    pub(super) fn take(&mut self, message: Message, places: &mut Places) {
        let now = self.shared.clock.now();
        match message {
            Message::Ended { task, attempt, end, .. } => self.attempt_ended(task, attempt, end, now, places),
            Message::Deferred { task, attempt, .. } => {
                self.input(Input::Deferred { task, attempt }, now, places);
            }
            Message::Checkpoint { task, attempt, checkpoint, stored, .. } => {
                let kind = EventKind::Checkpoint { task, attempt, checkpoint: Arc::new(checkpoint) };
                let result = self.outlet().store(&[Event { ts: now, kind }]);
                if let Err(error) = &result {
                    self.fail(error.clone());
                }
                // The engine may have gone meanwhile.
                let _ = stored.send(result);
            }
            Message::Query { task, question, answer, .. } => {
                self.queries.push((task, question, answer));
            }
            Message::Append { task, attempt, asked, .. } => self.append((task, attempt), *asked, now),
            Message::Progress { task, .. } => {
                let kind = self.calls.get(&task).and_then(|call| call.take_progress());
                // A reporter that is behind is told the next progress instead.
                if self.keeps_up() {
                    self.events.extend(kind.map(|kind| Event { ts: now, kind }));
                }
            }
            Message::Unwritten { message, .. } => self.fail(message),
            Message::All(_) | Message::Wake => {}
        }
    }

    pub(super) fn ask(&mut self, request: Request, places: &mut Places) {
        let now = self.shared.clock.now();
        match request {
            Request::Cancel => self.input(Input::Cancel, now, places),
            Request::Kill => self.input(Input::Kill, now, places),
            Request::Look => self.take_requests(now, places),
        }
    }

    /// What other processes ask for.
    fn take_requests(&mut self, now: Timestamp, places: &mut Places) {
        let asked = self.outlet().to_cancel();
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => {
                return self.note_run(&format!("cannot read what is to be cancelled: {error}"), now);
            }
        };
        if asked.run {
            self.input(Input::Cancel, now, places);
        }
        let graph = Arc::clone(self.scheduler.graph());
        for task in graph.tasks().filter(|&task| asked.tasks.contains(graph.name(task))) {
            self.input(Input::CancelTask(task), now, places);
        }
    }

    /// The time that an alarm was set for has come.
    pub(super) fn tick(&mut self, now: Timestamp, places: &mut Places) {
        if self.scheduler.next_tick().is_some_and(|tick| tick <= now) {
            self.input(Input::Tick, now, places);
        }
    }

    /// Starts the most urgent task that has a place.
    pub(super) fn start_next(&mut self, now: Timestamp, places: &mut Places) {
        let started = self.scheduler.start_next(now, places, &mut self.actions);
        self.or_fatal(started);
    }

    fn attempt_ended(
        &mut self,
        task: TaskIdx,
        attempt: u32,
        end: Arc<AttemptEnd>,
        now: Timestamp,
        places: &mut Places,
    ) {
        // One that was abandoned may end all the same: its task has ended already.
        if !self.scheduler.is_current(task, attempt) {
            return;
        }
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
        if failure.is_none()
            && let Some(result) = &end.result
        {
            self.results.insert(task, result.clone());
        }
        self.ends.insert(task, end);
        self.input(Input::Ended { task, attempt, failure }, now, places);
    }

    pub(super) fn timed_out(&self, task: TaskIdx, message: &str) -> String {
        let timeout = self.live.entry(task).task.timeout.unwrap_or_default();
        format!("stopped after its timeout of {}: {message}", humantime::format_duration(timeout))
    }

    pub(super) fn input(&mut self, input: Input, now: Timestamp, places: &mut Places) {
        let handled = self.scheduler.handle(input, now, places, &mut self.actions);
        self.or_fatal(handled);
    }

    /// Carries out what follows: whether more follows from that. What starts is handed over, and told, once the turn's events
    /// are stored; all else that is seen from outside is done after they are.
    ///
    /// `now` is the same for all runs of a turn: what one gives free and another takes happens in that order.
    pub(super) fn carry_out(&mut self, now: Timestamp, places: &mut Places, workers: &mut Workers) -> bool {
        let settled = self.scheduler.settle(&mut self.actions);
        self.or_fatal(settled);
        let is_asked = !self.answers.is_empty() || !self.queries.is_empty();
        if self.actions.is_empty() && self.events.is_empty() && !is_asked && self.fatal.is_none() {
            return false;
        }
        let actions = std::mem::take(&mut self.actions);
        actions.iter().for_each(|&action| self.note(action, now));
        self.ends.clear();
        if is_asked || actions.iter().any(is_seen_at_once) {
            let stored = self.put_events();
            if stored.is_err() {
                // Nor is what this turn has started so far.
                workers.refuse(self.info.index);
            }
            self.told_end |= stored.is_ok() && actions.iter().any(|a| matches!(a, Action::RunEnded(_)));
            self.answer(&stored);
        }
        actions.iter().for_each(|&action| self.act(action, workers));
        self.actions = actions;
        self.actions.clear();
        for met in std::mem::take(&mut self.conditions) {
            self.input(met, now, places);
        }
        for task in std::mem::take(&mut self.expanding) {
            self.expand(task, now, places);
        }
        let was_held = self.rules.is_some();
        self.rule(now);
        if self.fatal.is_some() && self.ended.is_none() {
            self.input(Input::Cancel, now, places);
        }
        // A run that was held may end now.
        !self.actions.is_empty() || (was_held && self.rules.is_none())
    }

    /// Answers engines, now that what they are told is stored, or cannot be. They may have gone meanwhile.
    fn answer(&mut self, stored: &Result<(), String>) {
        for answer in std::mem::take(&mut self.answers) {
            let _ = answer.send(stored.clone());
        }
        for (task, question, answer) in std::mem::take(&mut self.queries) {
            let _ = answer.send(stored.clone().and_then(|()| self.query(task, &question)));
        }
    }

    /// Stores and tells what has happened so far.
    pub(super) fn put_events(&mut self) -> Result<(), String> {
        let mut events = std::mem::take(&mut self.events);
        let stored = self.outlet().put(&mut events);
        self.events = events;
        if let Err(error) = &stored {
            self.fail(error.clone());
        }
        stored
    }

    /// Whether something has happened that is not stored yet.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Gives away what has happened, for the list that is empty, to whoever puts it into the outlet before anybody else does.
    pub(super) fn give_events(&mut self, events: &mut Vec<Event>) -> Arc<Mutex<Outlet>> {
        std::mem::swap(&mut self.events, events);
        Arc::clone(&self.outlet)
    }

    #[cfg(test)]
    pub(super) fn has_stored(&self, task: TaskIdx, attempt: u32) -> bool {
        self.outlet().has_stored(task, attempt)
    }

    fn outlet(&self) -> MutexGuard<'_, Outlet> {
        lock(&self.outlet)
    }

    fn act(&mut self, action: Action, workers: &mut Workers) {
        match action {
            Action::Start { task, attempt, again, doomed } => {
                let added = self.live.get(task).cloned();
                let call = Call::new(Arc::clone(&self.shared), added.clone(), task, attempt);
                self.calls.insert(task, Arc::clone(&call));
                if doomed {
                    // Before a worker can take it. Its engine has left nothing to be called yet.
                    call.stop();
                }
                if self.fatal.is_none() {
                    let checkpoint = if again { self.checkpoints.remove(&task) } else { None };
                    let queued = workers.queue(Job {
                        run: Arc::clone(&self.info),
                        added,
                        task,
                        attempt,
                        again,
                        checkpoint,
                        call,
                    });
                    if let Err(error) = queued {
                        self.fail(format!("cannot start a thread: {error}"));
                    }
                } else {
                    call.refuse(workers::UNSTORED.to_owned());
                }
            }
            Action::Stop { task, .. } => {
                let Some(call) = self.calls.get(&task) else { return };
                if let Err(error) = workers.stop(Arc::clone(call)) {
                    self.fail(format!("cannot start a thread: {error}"));
                }
            }
            Action::Abandon { task, .. } => {
                let Some(call) = self.calls.remove(&task) else { return };
                if let Err(error) = workers.abandon(self.live.entry(task).blocks(), &call) {
                    self.fail(format!("cannot start a thread: {error}"));
                }
            }
            Action::State { task, state, .. } => {
                if !state.is_in_flight() {
                    self.calls.remove(&task);
                }
            }
            Action::Evaluate { task } => self.evaluate(task),
            Action::Expand { task } => self.expanding.push(task),
            Action::Stopping(_) => {}
            Action::RunEnded(state) => self.ended = Some(state),
        }
    }

    /// The run itself cannot go on: everything is cancelled, and the first reason kept.
    pub(super) fn fail(&mut self, message: String) {
        let message = self.shared.masker.mask(&message).into_owned();
        self.fatal.get_or_insert(Failure { kind: FailureKind::Failed, message });
    }

    pub(super) fn or_fatal<E: std::fmt::Display>(&mut self, result: Result<(), E>) {
        if let Err(error) = result {
            self.fail(format!("a bug in the scheduler: {error}"));
            self.ended = Some(RunState::Failed);
        }
    }

    /// How the run ends, and why where the reason is its own.
    pub(super) fn end(&self, state: RunState) -> RunEnd {
        let state = if self.fatal.is_some() { RunState::Failed } else { state };
        let error = self.fatal.clone().or_else(|| self.late.clone());
        RunEnd { state, error, remark: None }
    }

    /// The run has ended: the store and the reporter are brought to their ends.
    pub(super) fn finish(mut self, workers: &mut Workers) -> RunEnd {
        // Only after a bug is there still a call; its thread is not waited for.
        for (task, call) in std::mem::take(&mut self.calls) {
            let _ = workers.abandon(self.live.entry(task).blocks(), &call);
        }
        let mut end = self.end(self.ended.unwrap_or(RunState::Failed));
        let outlet = Arc::clone(&self.outlet);
        let mut outlet = lock(&outlet);
        if !self.told_end {
            let last = run_state(self.shared.clock.now(), end.state, end.error.clone());
            // Where the store has failed the run has not ended there: it can be resumed.
            let _ = outlet.store(std::slice::from_ref(&last));
            self.events.push(last);
        }
        if end.remark.is_none() && !self.left_rules.is_empty() {
            end.remark = Some(self.left_rules.join("\n"));
        }
        if outlet.has_failed() {
            let run_id = &self.info.run_id;
            end.remark =
                Some(format!("once the store can be written, `oxidag resume {run_id}` goes on with the run"));
        }
        if let Err(error) = outlet.finish_journal()
            && end.remark.is_none()
        {
            // Everything is in the journal, and whoever opens the store next finds it there.
            end.remark =
                Some(format!("the run is stored in its journal, but not in the database yet: {error}"));
        }
        outlet.tell(&mut self.events);
        outlet.finish_reports();
        end
    }
}

/// Whether an action can be seen from outside at once: what it is about has to be stored before.
fn is_seen_at_once(action: &Action) -> bool {
    match action {
        Action::Stop { .. } | Action::Abandon { .. } | Action::Stopping(_) | Action::RunEnded(_) => true,
        Action::State { .. } | Action::Start { .. } | Action::Evaluate { .. } | Action::Expand { .. } => {
            false
        }
    }
}

/// Whether an engine that was asked to stop may have failed for that.
fn is_consequence(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Cancelled | FailureKind::Failed | FailureKind::Transient)
}
