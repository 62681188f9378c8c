//! The run's clock: the system's at the start, and steady from there on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::Timestamp;

/// Tells the time; never goes back, whatever happens to the system's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Timestamp,
    started: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Timestamp(0).after(since_epoch), started: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.start.after(self.started.elapsed())
    }

    /// How long it is until then.
    pub(super) fn until(&self, time: Timestamp) -> Duration {
        let micros = time.0.saturating_sub(self.now().0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}
