//! How often remote work is looked at, and how many calls are on their way at once.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
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

/// So many looks a second are made at most, all tasks together.
const RATE: f64 = 200.0;

/// How many tasks look at remote work now and then.
static LOOKING: AtomicU32 = AtomicU32::new(0);

/// Pauses between two looks: growing from the first to the longest, each with jitter, so that tasks that were
/// started together are not looked at together for ever. Where very many tasks wait, all of them are looked at
/// less often: the services allow so many calls a second, and no more.
#[derive(Debug)]
pub struct Pace {
    next: Duration,
    longest: Duration,
}

impl Pace {
    /// From `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        LOOKING.fetch_add(1, Relaxed);
        Self { next: first, longest }
    }

    /// The pause that follows.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.max(shared(LOOKING.load(Relaxed)));
        self.next = (self.next.mul_f64(1.3)).min(self.longest);
        pause.mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        LOOKING.fetch_sub(1, Relaxed);
    }
}

/// The pause that keeps so many tasks below the rate.
fn shared(looking: u32) -> Duration {
    Duration::from_secs_f64(f64::from(looking) / RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(4));
        let mut pace = Pace::new(first, longest);
        let pauses: Vec<Duration> = (0..20).map(|_| pace.pause()).collect();
        assert!(pauses[0] >= first.mul_f64(0.75) && pauses[0] <= first.mul_f64(1.25), "{pauses:?}");
        assert!(pauses[10..].iter().all(|pause| *pause >= longest.mul_f64(0.75)), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= longest.mul_f64(1.25)), "{pauses:?}");
    }

    #[test]
    fn many_tasks_together_keep_below_the_rate() {
        assert_eq!(shared(10_000), Duration::from_secs(50));
        assert!(shared(10) < Duration::from_millis(100));
    }
}
