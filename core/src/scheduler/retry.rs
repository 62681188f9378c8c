//! Whether a failed attempt is followed by another one, and how long that waits.

use std::time::Duration;

use super::{Progress, TaskInfo};
use crate::event::{FailureKind, TaskIdx};
use crate::spec::Backoff;

/// How often an attempt that failed for the service's fault is repeated, beside the task's own retries.
pub const TRANSIENT_RETRIES: u32 = 5;
/// The wait before the first of those; it doubles.
pub const TRANSIENT_DELAY: Duration = Duration::from_secs(1);
/// No wait before a retry grows beyond this, unless the task says otherwise.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(3600);

/// A wait is longer by up to one part in so many, so that tasks that failed together do not come back together.
const JITTER: u64 = 10;

/// How long to wait before the next attempt, if there is one; counts the failure.
pub(super) fn delay(
    info: &TaskInfo,
    progress: &mut Progress,
    kind: FailureKind,
    task: TaskIdx,
    seed: u64,
) -> Option<Duration> {
    match kind {
        FailureKind::Invalid | FailureKind::Abandoned | FailureKind::LeftOut => return None,
        FailureKind::Transient if progress.transient_failures < TRANSIENT_RETRIES => {
            progress.transient_failures += 1;
            let wait = grown(TRANSIENT_DELAY, Backoff::Exponential, progress.transient_failures);
            return Some(spread(wait, task, progress.attempt, seed).min(MAX_RETRY_DELAY));
        }
        FailureKind::Transient
        | FailureKind::Failed
        | FailureKind::Panicked
        | FailureKind::Cancelled
        | FailureKind::TimedOut => progress.failures += 1,
    }
    if progress.failures > info.retries {
        return None;
    }
    let wait = grown(info.retry_delay, info.backoff, progress.failures);
    // A cap that nobody wrote does not shorten a wait that somebody did.
    Some(spread(wait, task, progress.attempt, seed).min(info.max_retry_delay.max(info.retry_delay)))
}

/// The wait before the `n`th retry, from 1.
fn grown(delay: Duration, backoff: Backoff, n: u32) -> Duration {
    let factor = match backoff {
        Backoff::Fixed => 1,
        Backoff::Exponential => 2_u32.saturating_pow(n.saturating_sub(1)),
    };
    delay.saturating_mul(factor)
}

/// The wait, longer by up to a tenth; the same for the same attempt of the same run.
fn spread(wait: Duration, task: TaskIdx, attempt: u32, seed: u64) -> Duration {
    let most = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / JITTER;
    let place = u64::from(task.0) << 32 | u64::from(attempt);
    let more = Duration::from_micros(scrambled(seed ^ place) % (most + 1));
    wait.saturating_add(more)
}

/// The mixing function of `SplitMix64` (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
fn scrambled(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
