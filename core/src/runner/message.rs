//! What the runner's one loop is told, by engines, signals and other processes.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde::Deserialize;
use serde_json::Value;

use crate::event::{AttemptEnd, TaskIdx};
use crate::prepare::PreparedTask;

/// One message. Control messages are few and never wait; log lines have a bounded channel of their own.
#[derive(Debug)]
pub(super) enum Message {
    /// An attempt ended.
    Ended { run: u32, task: TaskIdx, attempt: u32, end: Arc<AttemptEnd> },
    /// An attempt goes on without a thread of the host.
    Deferred { run: u32, task: TaskIdx, attempt: u32 },
    /// An engine waits until this is stored.
    Checkpoint {
        run: u32,
        task: TaskIdx,
        attempt: u32,
        checkpoint: Value,
        stored: Sender<Result<(), String>>,
    },
    /// An engine adds to the graph, and waits until that is stored.
    Append { run: u32, task: TaskIdx, attempt: u32, asked: Box<Appended> },
    /// An engine asks about tasks of the run.
    Query { run: u32, task: TaskIdx, question: Question, answer: Sender<Result<Value, String>> },
    /// A task's call has progress to tell.
    Progress { run: u32, task: TaskIdx },
    /// An event could not be stored, or a task's log cannot be written: the run cannot go on.
    Unwritten { run: u32, message: String },
    /// What every run is to take.
    All(Request),
    /// Nothing but that the loop is to take a turn: all runs have ended, or something is due earlier than it knows.
    Wake,
}

/// The tasks that an engine asks about.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Question {
    pub(super) tasks: Vec<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) instances_of: Option<String>,
}

/// What an engine adds to the graph.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) addition: Value,
    /// What its tasks need to run.
    pub(super) ready: Vec<PreparedTask>,
    pub(super) answer: Sender<Result<(), String>>,
}

/// What a run can be asked for from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// To stop.
    Cancel,
    /// To stop now, whatever is still running.
    Kill,
    /// To look what other processes have left in the store.
    Look,
}

/// Asks all runs of a process to stop, from any thread.
#[derive(Debug, Clone)]
pub struct Controller(Sender<Message>);

impl Controller {
    /// Asks everything that runs to stop, and waits for it.
    pub fn cancel(&self) {
        self.ask(Request::Cancel);
    }

    /// Ends the runs at once: what still runs is abandoned.
    pub fn kill(&self) {
        self.ask(Request::Kill);
    }

    /// Looks what other processes ask for: see [`crate::store::Store::ask_to_cancel`].
    pub fn look(&self) {
        self.ask(Request::Look);
    }

    fn ask(&self, request: Request) {
        // A run that has ended has nothing left to stop.
        let _ = self.0.send(Message::All(request));
    }
}

/// Where the messages for the runs of one process arrive.
#[derive(Debug)]
pub struct Mailbox {
    pub(super) sender: Sender<Message>,
    pub(super) receiver: Receiver<Message>,
}

impl Mailbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let (sender, receiver) = unbounded();
        Self { sender, receiver }
    }

    /// A handle for whoever may stop the runs.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller(self.sender.clone())
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}
