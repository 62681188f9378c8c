//! Whether a task was asked to stop, for whoever waits on the engine's side. It knows nothing of who asks.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Shared by all clones of a [`Host`](crate::Host), so that however often it is waited for, the host keeps one callback.
#[derive(Default)]
pub(crate) struct Stopped {
    /// The host has the one callback.
    waited_for: OnceLock<()>,
    asked: Mutex<bool>,
    changed: Condvar,
    #[cfg(feature = "async")]
    told: tokio::sync::Notify,
}

impl Stopped {
    /// Sees to it, once for all clones, that it will be asked. This may happen at once.
    pub(crate) fn when_first_waited_for(&self, have_asked: impl FnOnce()) {
        self.waited_for.get_or_init(have_asked);
    }

    pub(crate) fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
        #[cfg(feature = "async")]
        self.told.notify_waiters();
    }

    /// Waits so long at most; whether it was asked.
    pub(crate) fn within(&self, time: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(asked, time, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    #[cfg(feature = "async")]
    pub(crate) async fn asked(&self) {
        // Enabled before the flag is read: a stop between the two is not missed.
        let mut told = std::pin::pin!(self.told.notified());
        told.as_mut().enable();
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked {
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_its_time_or_when_it_is_asked_to() {
        let stopped = Stopped::default();
        assert!(!stopped.within(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| stopped.within(Duration::from_secs(3600)));
            stopped.ask();
            assert!(waits.join().unwrap());
        });
    }
}
