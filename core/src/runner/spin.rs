//! Waiting for a message: parked as a rule, spinning while messages follow each other closely.
//!
//! To park a thread and wake it again costs tens of microseconds, more than a short task. While processes or
//! services are waited for, nothing spins.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

/// Beyond this, spinning costs more than it saves.
const SPIN: Duration = Duration::from_micros(50);

/// How the last wait was.
#[derive(Debug, Default)]
pub(super) struct Spin {
    was_brief: bool,
}

impl Spin {
    /// The next message; `None` when none came in time, or none can come any more.
    pub(super) fn receive<T>(&mut self, from: &Receiver<T>, timeout: Option<Duration>) -> Option<T> {
        let start = Instant::now();
        let spin = timeout.unwrap_or(SPIN).min(SPIN);
        while self.was_brief && start.elapsed() < spin {
            if let Ok(message) = from.try_recv() {
                return Some(message);
            }
            thread::yield_now();
        }
        let message = match timeout {
            Some(timeout) => from.recv_timeout(timeout.saturating_sub(start.elapsed())).ok(),
            None => from.recv().ok(),
        };
        // A thread that was parked needs a while to wake up: that is part of a brief wait.
        self.was_brief = start.elapsed() < 2 * SPIN;
        message
    }
}
