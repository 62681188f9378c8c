//! One attempt in its engine: what the engine does with it becomes messages to the turns, and lines of its log.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Sender, bounded};
use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{Error, ErrorKind, Level, Outcome};
use serde_json::Value;

use super::clock::Clock;
use super::live::LiveTask;
use super::message::{Appended, Message};
use super::report::Gate;
use super::turn::Line;
use super::{lock, workers};
use crate::engine::{Attempt, OnCancel};
use crate::event::{AttemptEnd, Event, EventKind, Failure, FailureKind, TaskIdx};
use crate::logs::{LogFile, RunLogs};
use crate::prepare::Prepared;
use crate::secrets::Masker;

/// How the turns are told what happened.
#[derive(Debug)]
pub(super) struct Post {
    messages: Sender<Message>,
    /// What workers tell before they take a turn themselves: nobody needs to be woken for it.
    posted: Mutex<Vec<Message>>,
    /// For log lines.
    lines: Sender<Line>,
}

impl Post {
    pub(super) fn new(messages: Sender<Message>, lines: Sender<Line>) -> Self {
        Self { messages, posted: Mutex::default(), lines }
    }

    /// Tells the loop.
    pub(super) fn send(&self, message: Message) {
        // It is gone once the runs have ended; then nobody waits for an abandoned attempt.
        let _ = self.messages.send(message);
    }

    /// Tells the next turn, whoever takes it.
    pub(super) fn post(&self, message: Message) {
        lock(&self.posted).push(message);
    }

    /// What was posted since, for a list that is empty.
    pub(super) fn take_posted(&self, into: &mut Vec<Message>) {
        std::mem::swap(&mut *lock(&self.posted), into);
    }
}

/// What all calls of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) run: u32,
    pub(super) post: Arc<Post>,
    /// Where the lines of logs go in, if somebody wants to see them.
    pub(super) lines: Option<Gate>,
    pub(super) masker: Masker,
    pub(super) prepared: Arc<Prepared>,
    pub(super) logs: RunLogs,
    pub(super) clock: Clock,
}

/// One attempt of one task in its engine.
#[derive(Debug)]
pub(super) struct Call {
    shared: Arc<Shared>,
    /// The task, unless it is one of the DAG file.
    added: Option<Arc<LiveTask>>,
    task: TaskIdx,
    attempt: u32,
    log: Mutex<Log>,
    ended: AtomicBool,
    thread: AtomicU8,
    stop: Mutex<Stop>,
    progress: Mutex<Option<Box<EventKind>>>,
}

/// The attempt's log.
#[derive(Debug, Default)]
struct Log {
    /// From when something was logged.
    file: Option<Box<LogFile>>,
    keep_closed: bool,
}

/// The thread that called the engine is in the call.
const IN_CALL: u8 = 0;
/// It has returned.
const RETURNED: u8 = 1;
/// It is not waited for any longer.
const LOST: u8 = 2;

/// Whether the attempt is asked to stop, and who wants to know.
#[derive(Default)]
struct Stop {
    asked: bool,
    callbacks: Vec<OnCancel>,
    abandoned: bool,
    on_abandon: Option<OnCancel>,
}

impl Call {
    pub(super) fn new(
        shared: Arc<Shared>,
        added: Option<Arc<LiveTask>>,
        task: TaskIdx,
        attempt: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared,
            added,
            task,
            attempt,
            log: Mutex::default(),
            ended: AtomicBool::new(false),
            thread: AtomicU8::new(IN_CALL),
            stop: Mutex::default(),
            progress: Mutex::default(),
        })
    }

    /// Asks the engine to stop.
    pub(super) fn stop(&self) {
        let callbacks = {
            let mut stop = lock(&self.stop);
            stop.asked = true;
            std::mem::take(&mut stop.callbacks)
        };
        callbacks.into_iter().for_each(|callback| callback());
    }

    /// The attempt is not waited for any longer; whether the thread that called the engine is lost with it.
    pub(super) fn abandon(&self) -> bool {
        let callback = {
            let mut stop = lock(&self.stop);
            stop.abandoned = true;
            stop.on_abandon.take()
        };
        if let Some(callback) = callback {
            callback();
        }
        self.thread.compare_exchange(IN_CALL, LOST, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether the attempt is not waited for any longer, before its engine was called.
    pub(super) fn is_lost(&self) -> bool {
        self.thread.load(Ordering::Acquire) == LOST
    }

    /// The engine's function has returned; whether the thread that called it is still wanted.
    pub(super) fn returned(&self) -> bool {
        self.thread.compare_exchange(IN_CALL, RETURNED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The attempt goes on without a thread, maybe with thousands of others: it keeps no file open.
    pub(super) fn defer(&self) {
        let mut log = lock(&self.log);
        log.keep_closed = true;
        if let Some(file) = &mut log.file {
            file.keep_closed();
        }
    }

    /// The newest progress that the loop was told of.
    pub(super) fn take_progress(&self) -> Option<EventKind> {
        lock(&self.progress).take().map(|kind| *kind)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends the attempt before its engine saw it.
    pub(super) fn refuse(&self, message: String) {
        self.end(End::Error(Error::new(ErrorKind::Invalid, message)));
    }

    pub(super) fn end(&self, end: End) {
        if self.ended.swap(true, Ordering::AcqRel) {
            self.write("warn", "the engine ended this attempt a second time; the first end counts");
            return;
        }
        let end = self.attempt_end(end);
        let callbacks = {
            let mut stop = lock(&self.stop);
            (std::mem::take(&mut stop.callbacks), stop.on_abandon.take())
        };
        drop(callbacks);
        if let Some(failure) = &end.error {
            self.write("error", &failure.message);
        }
        let (run, task, attempt) = (self.shared.run, self.task, self.attempt);
        let message = Message::Ended { run, task, attempt, end: Arc::new(end) };
        let post = &self.shared.post;
        if workers::takes_next_turn(self) { post.post(message) } else { post.send(message) }
    }

    fn attempt_end(&self, end: End) -> AttemptEnd {
        let masker = &self.shared.masker;
        let metrics = |metrics: serde_json::Map<String, Value>| {
            let mut metrics = Value::Object(metrics);
            masker.mask_json(&mut metrics);
            Some(metrics).filter(|m| m.as_object().is_some_and(|m| !m.is_empty()))
        };
        match end {
            End::Outcome(outcome) => {
                let mut result = outcome.result;
                if let Some(result) = &mut result {
                    masker.mask_json(result);
                }
                let size = result.as_ref().map_or(0, |result| result.to_string().len());
                let error = (size > Outcome::MAX_RESULT).then(|| Failure {
                    kind: FailureKind::Invalid,
                    message: format!(
                        "the result is {size} bytes of JSON, at most {} are kept; leave data in a database or bucket and only its place in the result",
                        Outcome::MAX_RESULT
                    ),
                });
                AttemptEnd {
                    result: result.filter(|_| error.is_none()),
                    error,
                    metrics: metrics(outcome.metrics),
                }
            }
            End::Error(error) => AttemptEnd {
                error: Some(Failure {
                    kind: kind(error.kind),
                    message: masker.mask(&error.message).into_owned(),
                }),
                result: None,
                metrics: metrics(error.metrics),
            },
        }
    }

    /// Most attempts of short tasks say nothing, and need not even the name of a log.
    fn log_file(&self, keep_closed: bool) -> LogFile {
        let added = self.added.as_ref().map(|added| added.entry());
        let entry = added.unwrap_or_else(|| self.shared.prepared.entry(self.task));
        let mut file = LogFile::new(self.shared.logs.attempt(entry.task_id, self.attempt));
        if keep_closed {
            file.keep_closed();
        }
        file
    }

    fn write(&self, level: &str, text: &str) {
        let now = self.shared.clock.now();
        let mut log = lock(&self.log);
        let keep_closed = log.keep_closed;
        let file = log.file.get_or_insert_with(|| Box::new(self.log_file(keep_closed)));
        if let Err(error) = file.write(now, level, text, &self.shared.masker) {
            let message = Message::Unwritten { run: self.shared.run, message: error.to_string() };
            // On the way that the attempt's end takes, so that it is known before that.
            let post = &self.shared.post;
            if workers::takes_next_turn(self) { post.post(message) } else { post.send(message) }
        }
    }
}

impl Attempt for Call {
    fn log(&self, level: Level, text: &str) {
        let level = level_name(level);
        self.write(level, text);
        let Some(gate) = &self.shared.lines else { return };
        for line in self.shared.masker.mask(text).lines() {
            let kind = EventKind::Log { task: self.task, attempt: self.attempt, level, line: line.into() };
            // Waits where the terminal is slower than the engine. A run that has ended looks at no line.
            gate.wait();
            let event = Event { ts: self.shared.clock.now(), kind };
            let _ = self.shared.post.lines.send((self.shared.run, event));
        }
    }

    fn cancelled(&self) -> bool {
        lock(&self.stop).asked
    }

    fn on_cancel(&self, callback: OnCancel) {
        let mut stop = lock(&self.stop);
        if stop.asked {
            drop(stop);
            callback();
        } else if self.has_ended() {
            drop(stop);
            drop(callback);
        } else {
            if stop.callbacks.is_empty() {
                // Ten thousand attempts may wait, each with the one that most engines ask for.
                stop.callbacks.reserve_exact(1);
            }
            stop.callbacks.push(callback);
        }
    }

    fn on_abandon(&self, callback: OnCancel) {
        let mut stop = lock(&self.stop);
        if stop.abandoned {
            drop(stop);
            callback();
        } else if self.has_ended() {
            drop(stop);
            drop(callback);
        } else {
            stop.on_abandon = Some(callback);
        }
    }

    fn checkpoint(&self, mut checkpoint: Value) -> Result<(), String> {
        self.shared.masker.mask_json(&mut checkpoint);
        let (stored, answer) = bounded(1);
        let (run, task, attempt) = (self.shared.run, self.task, self.attempt);
        let message = Message::Checkpoint { run, task, attempt, checkpoint, stored };
        if let Err(message) = workers::take_turn_with(self, message) {
            self.shared.post.send(message);
        }
        answer.recv().unwrap_or_else(|_| Err("the run has ended".to_owned()))
    }

    /// Everything that can be checked without the graph is checked here, on the engine's thread.
    fn append(&self, mut addition: Value) -> Result<(), String> {
        self.shared.masker.mask_json(&mut addition);
        let ready = self.shared.prepared.extend(&addition)?;
        let (answer, answered) = bounded(1);
        let asked = Box::new(Appended { addition, ready, answer });
        let (run, task, attempt) = (self.shared.run, self.task, self.attempt);
        let message = Message::Append { run, task, attempt, asked };
        if let Err(message) = workers::take_turn_with(self, message) {
            self.shared.post.send(message);
        }
        answered.recv().unwrap_or_else(|_| Err("the run has ended".to_owned()))
    }

    fn query(&self, question: Value) -> Result<Value, String> {
        let question = serde_json::from_value(question)
            .map_err(|error| format!("the question is not understood: {error}"))?;
        let (answer, answered) = bounded(1);
        let message = Message::Query { run: self.shared.run, task: self.task, question, answer };
        if let Err(message) = workers::take_turn_with(self, message) {
            self.shared.post.send(message);
        }
        answered.recv().unwrap_or_else(|_| Err("the run has ended".to_owned()))
    }

    fn progress(&self, fraction: f64, message: &str) {
        let fraction = (0.0..=1.0).contains(&fraction).then_some(fraction);
        let message = self.shared.masker.mask(message).into();
        let kind = EventKind::Progress { task: self.task, attempt: self.attempt, fraction, message };
        // However often an engine tells it, at most one message is under way.
        if lock(&self.progress).replace(Box::new(kind)).is_none() {
            self.shared.post.send(Message::Progress { run: self.shared.run, task: self.task });
        }
    }

    fn complete(&self, end: End) {
        self.end(end);
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Stdout => "stdout",
        Level::Stderr => "stderr",
    }
}

fn kind(kind: ErrorKind) -> FailureKind {
    match kind {
        ErrorKind::Invalid => FailureKind::Invalid,
        ErrorKind::Failed => FailureKind::Failed,
        ErrorKind::Transient => FailureKind::Transient,
        ErrorKind::Cancelled => FailureKind::Cancelled,
        ErrorKind::Panicked => FailureKind::Panicked,
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("asked", &self.asked).field("callbacks", &self.callbacks.len()).finish()
    }
}
