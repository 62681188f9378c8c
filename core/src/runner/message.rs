//! What the runner's one loop is told, by engines, signals and other processes.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::Value;

use crate::event::{AttemptEnd, TaskIdx};

/// One message. Control messages are few and never wait; log lines have a bounded channel of their own.
#[derive(Debug)]
pub(super) enum Message {
    /// An attempt ended.
    Ended { task: TaskIdx, attempt: u32, end: Arc<AttemptEnd> },
    /// An attempt goes on without a thread of the host.
    Deferred { task: TaskIdx, attempt: u32 },
    /// An engine waits until this is stored.
    Checkpoint { task: TaskIdx, attempt: u32, checkpoint: Value, stored: Sender<Result<(), String>> },
    /// A task's call has progress to tell.
    Progress(TaskIdx),
    /// Nothing but that the loop is to take a turn: the run has ended, or something is due earlier than it knows.
    Wake,
    /// A task's log cannot be written: the run cannot go on.
    LogFailed(String),
    /// The run is to stop.
    Cancel,
    /// The run is to stop now, whatever is still running.
    Kill,
}

/// Asks a run to stop, from any thread.
#[derive(Debug, Clone)]
pub struct Controller(Sender<Message>);

impl Controller {
    /// Asks everything that runs to stop, and waits for it.
    pub fn cancel(&self) {
        // A run that has ended has nothing left to stop.
        let _ = self.0.send(Message::Cancel);
    }

    /// Ends the run at once: what still runs is abandoned.
    pub fn kill(&self) {
        let _ = self.0.send(Message::Kill);
    }
}

/// Where the messages for one run arrive.
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

    /// A handle for whoever may stop the run.
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
