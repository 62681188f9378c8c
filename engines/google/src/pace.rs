//! How often remote work is looked at, and how many calls are on their way at once.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Ten thousand waiting tasks share so many calls, and so as many connections at most.
const CALLS: usize = 64;

static SLOTS: Semaphore = Semaphore::const_new(CALLS);

/// Leave to make a call that looks at remote work; it is given back when it is dropped.
pub async fn request_slot() -> Option<SemaphorePermit<'static>> {
    // Never closed, so there always is one in time.
    SLOTS.acquire().await.ok()
}

/// Pauses between two looks: growing from the first to the longest, each with jitter, so that tasks that were
/// started together are not looked at together for ever.
#[derive(Debug, Clone)]
pub struct Pace {
    next: Duration,
    longest: Duration,
}

impl Pace {
    /// From `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// The pause that follows.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause.mul_f64(1.3)).min(self.longest);
        pause.mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}
