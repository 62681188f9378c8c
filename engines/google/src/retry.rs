//! When a call is made again: too many requests, faults of the service, broken connections.
//!
//! Google's own default makes neither 429 nor 500 again, and no POST at all: calls whose ids are ours say
//! `with_idempotency(true)`. What lasts longer ends the attempt as `transient`, and the host's budget goes on.

use std::time::Duration;

use google_cloud_gax::backoff_policy::BackoffPolicy as _;
use google_cloud_gax::error::Error;
use google_cloud_gax::exponential_backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use google_cloud_gax::retry_policy::{
    Aip194Strict, RetryPolicy, RetryPolicyArg, RetryPolicyExt, TooManyRequests,
};
use google_cloud_gax::retry_result::RetryResult;
use google_cloud_gax::retry_state::RetryState;

/// Calls are made this often at most.
const ATTEMPTS: u32 = 8;
/// And for so long at most.
const LONGEST: Duration = Duration::from_secs(60);

/// The policy of all calls.
#[must_use]
pub fn retry_policy() -> RetryPolicyArg {
    let patient = Patient(Aip194Strict.continue_on_too_many_requests());
    patient.with_attempt_limit(ATTEMPTS).with_time_limit(LONGEST).into()
}

/// How long to wait between calls: growing, with jitter from nothing to the whole.
#[must_use]
pub fn backoff() -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_delay(Duration::from_millis(500))
        .with_maximum_delay(Duration::from_secs(15))
        .with_scaling(2.0)
        .clamp()
}

/// The same for calls that Google's clients do not make: how long to wait after the attempt of this number, from 1 on.
#[must_use]
pub fn pause_after(attempt: u32) -> Duration {
    backoff().on_failure(&RetryState::new(true).set_attempt_count(attempt))
}

/// Google's policy, and besides it all faults of the service.
#[derive(Debug)]
struct Patient(TooManyRequests<Aip194Strict>);

impl RetryPolicy for Patient {
    fn on_error(&self, state: &RetryState, error: Error) -> RetryResult {
        match self.0.on_error(state, error) {
            RetryResult::Permanent(error) if state.idempotent && crate::error::is_fault(&error) => {
                RetryResult::Continue(error)
            }
            decided => decided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(status: u16, idempotent: bool) -> RetryResult {
        let error = Error::http(status, Default::default(), Default::default());
        let policy = Patient(Aip194Strict.continue_on_too_many_requests());
        policy.on_error(&RetryState::new(idempotent), error)
    }

    #[test]
    fn faults_of_the_service_are_tried_again_and_mistakes_are_not() {
        for status in [429, 500, 502, 503, 504] {
            assert!(decided(status, true).is_continue(), "{status}");
        }
        for status in [400, 401, 403, 404, 409, 412] {
            assert!(decided(status, true).is_permanent(), "{status}");
        }
        assert!(decided(500, false).is_permanent());
    }

    #[test]
    fn pauses_grow_and_differ() {
        let longest = |attempt| (0..200).map(|_| pause_after(attempt)).max().unwrap();
        assert!(longest(1) <= Duration::from_millis(500) && longest(4) <= Duration::from_secs(4));
        assert!(longest(4) > Duration::from_secs(1), "{:?}", longest(4));
        assert!(longest(20) <= Duration::from_secs(15));
        assert_ne!(pause_after(4), pause_after(4));
    }
}
