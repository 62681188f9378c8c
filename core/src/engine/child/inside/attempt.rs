//! An attempt as its engine has it in the child: everything goes over to the scheduler's side of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{Error, Level};
use serde_json::Value;

use super::room::Room;
use super::wire::Wire;
use crate::engine::child::lock;
use crate::engine::child::protocol::{Said, Wish};
use crate::engine::{Attempt, OnCancel};

type Open = Mutex<HashMap<u64, Arc<Remote>>>;

/// The attempts that have not ended.
#[derive(Default)]
pub(super) struct Attempts(Arc<Open>);

impl Attempts {
    /// An attempt that keeps a worker, or does not.
    pub(super) fn begin(&self, number: u64, blocks: bool, wire: &Arc<Wire>) -> Arc<Remote> {
        let room = Room::default();
        if !blocks {
            room.taken(None);
        }
        let remote = Arc::new(Remote {
            number,
            wire: Arc::clone(wire),
            all: Arc::downgrade(&self.0),
            ended: AtomicBool::new(false),
            stop: Mutex::default(),
            room,
        });
        lock(&self.0).insert(number, Arc::clone(&remote));
        remote
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Remote>> {
        lock(&self.0).get(&number).cloned()
    }

    pub(super) fn are_over(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

/// The child's side of one attempt.
pub(super) struct Remote {
    number: u64,
    wire: Arc<Wire>,
    all: Weak<Open>,
    ended: AtomicBool,
    stop: Mutex<Stop>,
    room: Room,
}

#[derive(Default)]
struct Stop {
    asked: bool,
    callbacks: Vec<OnCancel>,
}

impl Remote {
    pub(super) fn ask_to_stop(&self) {
        lock(&self.stop).asked = true;
    }

    /// Tells whoever wants to know that the attempt is asked to stop.
    pub(super) fn call_back(&self) {
        let callbacks = std::mem::take(&mut lock(&self.stop).callbacks);
        callbacks.into_iter().for_each(|callback| callback());
    }

    /// What it has said was taken.
    pub(super) fn taken(&self, lines: Option<u64>) {
        self.room.taken(lines);
    }

    pub(super) fn fail(&self, error: Error) {
        self.complete(End::Error(error));
    }

    /// The engine's function has returned. A worker that waits for an attempt that goes on is let go.
    pub(super) fn returned(&self, blocks: bool) {
        if blocks && !self.ended.load(Ordering::Acquire) {
            // No worker counts any more.
            self.room.taken(None);
            self.wire.say(self.number, Said::Returned);
        }
    }
}

impl Attempt for Remote {
    fn log(&self, level: Level, text: &str) {
        self.room.enter();
        self.wire.say(self.number, Said::Log { level: level as u8, text: text.to_owned() });
    }

    fn progress(&self, fraction: f64, message: &str) {
        self.room.enter();
        // JSON has no NaN.
        let fraction = Some(fraction).filter(|fraction| fraction.is_finite());
        self.wire.say(self.number, Said::Progress { fraction, message: message.to_owned() });
    }

    fn cancelled(&self) -> bool {
        lock(&self.stop).asked
    }

    fn on_cancel(&self, callback: OnCancel) {
        let mut stop = lock(&self.stop);
        if stop.asked {
            drop(stop);
            callback();
        } else if self.ended.load(Ordering::Acquire) {
            drop(stop);
            drop(callback);
        } else {
            stop.callbacks.push(callback);
        }
    }

    fn checkpoint(&self, checkpoint: Value) -> Result<(), String> {
        self.wire.ask(self.number, Wish::Checkpoint, checkpoint).map(drop)
    }

    fn append(&self, addition: Value) -> Result<(), String> {
        self.wire.ask(self.number, Wish::Append, addition).map(drop)
    }

    fn query(&self, question: Value) -> Result<Value, String> {
        self.wire.ask(self.number, Wish::Query, question)
    }

    fn complete(&self, end: End) {
        if self.ended.swap(true, Ordering::AcqRel) {
            // The first end counts; the scheduler's side of the attempt may be gone.
            return;
        }
        // Nobody takes what it may say from now on.
        self.room.taken(None);
        let callbacks = std::mem::take(&mut lock(&self.stop).callbacks);
        drop(callbacks);
        if let Some(all) = self.all.upgrade() {
            lock(&all).remove(&self.number);
        }
        self.wire.say(self.number, Said::Ended(end));
    }
}
