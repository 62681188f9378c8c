//! The run's clock: the system's at the start, and steady from there on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::Timestamp;

/// Tells the time; never goes back, whatever happens to the system's clock.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// The system's.
    System { start: Timestamp, started: Instant },
    /// A test's.
    #[cfg(test)]
    Manual(&'static std::sync::atomic::AtomicI64),
}

impl Clock {
    /// From now on; from `not_before` where the system's clock was set back since.
    pub(super) fn new(not_before: Timestamp) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::System { start: Timestamp(0).after(since_epoch).max(not_before), started: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::System { start, started } => start.after(started.elapsed()),
            #[cfg(test)]
            Self::Manual(now) => Timestamp(now.load(std::sync::atomic::Ordering::Relaxed)),
        }
    }

    /// How long it is until then.
    pub(super) fn until(&self, time: Timestamp) -> Duration {
        let micros = time.0.saturating_sub(self.now().0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}
