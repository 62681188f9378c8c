//! What the child says to the scheduler.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use oxidag_plugin_api::Error;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::engine::child::lock;
use crate::engine::child::protocol::{Said, ToHost, Wish, frame};

/// The way to the scheduler.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Mutex<UnixStream>,
    asked: Mutex<HashMap<u64, Sender<Result<Value, String>>>>,
    next: AtomicU64,
    /// Seconds of CPU time after which the scheduler is to start another child; 0 for never, or once it was told.
    enough: AtomicU64,
    has_limit: AtomicBool,
}

impl Wire {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket: Mutex::new(socket),
            asked: Mutex::default(),
            next: AtomicU64::new(0),
            enough: AtomicU64::new(0),
            has_limit: AtomicBool::new(false),
        }
    }

    /// Half of what it may use is left to the attempts that are in it then.
    pub(super) fn watch_cpu(&self, limit: Option<u64>) {
        self.enough.store(limit.map_or(0, |seconds| (seconds / 2).max(1)), Ordering::Relaxed);
        self.has_limit.store(limit.is_some(), Ordering::Relaxed);
    }

    pub(super) fn reply(&self, call: u64, answer: Result<Value, Error>) {
        self.send(&ToHost::Reply { call, answer });
    }

    pub(super) fn say(&self, attempt: u64, said: Said) {
        let ends = matches!(said, Said::Ended(_));
        self.send(&ToHost::Attempt { attempt, said });
        if ends && self.has_limit.load(Ordering::Relaxed) {
            self.look_at_cpu();
        }
    }

    /// Asks the scheduler and waits for the answer.
    pub(super) fn ask(&self, attempt: u64, wish: Wish, value: Value) -> Result<Value, String> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = bounded(1);
        lock(&self.asked).insert(call, answer);
        self.say(attempt, Said::Ask { call, wish, value });
        // The sender is only ever dropped by an answer.
        answered.recv().unwrap_or_else(|_| Err("the scheduler does not answer".to_owned()))
    }

    pub(super) fn answered(&self, call: u64, answer: Result<Value, String>) {
        if let Some(asked) = lock(&self.asked).remove(&call) {
            // Whoever asked waits for it.
            let _ = asked.send(answer);
        }
    }

    fn send(&self, message: &ToHost) {
        match frame(message) {
            Ok(frame) => {
                if lock(&self.socket).write_all(&frame).is_err() {
                    // Nobody hears of anything any more, be it that the scheduler is gone or that the library closed the socket.
                    std::process::exit(1);
                }
            }
            Err(error) => self.send_instead(message, &error.to_string()),
        }
    }

    /// What is too large to be said is an error of its own.
    fn send_instead(&self, message: &ToHost, why: &str) {
        use oxidag_plugin_api::abi::End;
        let instead = match message {
            ToHost::Reply { call, .. } => ToHost::Reply { call: *call, answer: Err(Error::failed(why)) },
            ToHost::Attempt { attempt, said: Said::Ended(_) } => {
                ToHost::Attempt { attempt: *attempt, said: Said::Ended(End::Error(Error::failed(why))) }
            }
            ToHost::Attempt { said: Said::Ask { call, .. }, .. } => {
                return self.answered(*call, Err(why.to_owned()));
            }
            _ => return,
        };
        self.send(&instead);
    }

    fn look_at_cpu(&self) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let used = Duration::try_from(used).unwrap_or_default().as_secs();
        let enough = self.enough.load(Ordering::Relaxed);
        if enough > 0 && used >= enough && self.enough.swap(0, Ordering::Relaxed) > 0 {
            self.send(&ToHost::Spent);
        }
    }
}
