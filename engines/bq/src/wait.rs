//! Waits for a job without holding a thread, and ends it when the task is asked to stop.
//!
//! Nothing that goes wrong while looking ends the job, so nothing of it ends the attempt soon: the next attempt would
//! submit a second job beside the first.

use std::time::Duration;

use google_cloud_bigquery_v2::model::Job;
use google_cloud_gax::error::Error as Gax;
use oxidag_google::{Pace, request_slot};
use oxidag_plugin_api::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use crate::ending;
use crate::remote::Remote;
use crate::watch::{Watch, is_done};
use crate::witness::Witness;

/// The first pause between two looks, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long nothing but faults of the service is put up with.
const FAULTS: Duration = Duration::from_secs(600);

/// How long refusals are: lost permissions, or a job that is not found.
const REFUSALS: Duration = Duration::from_secs(60);

/// The job once it is done; `submitted` is what the submission answered, if it made the job.
///
/// # Errors
///
/// When the task was asked to stop, or the job cannot be looked at for too long; the job has then been ended, or
/// the error says that it could not be.
pub(crate) async fn until_done(
    remote: &Remote,
    submitted: Option<Box<Job>>,
    witness: &impl Witness,
) -> Result<Box<Job>> {
    let mut watch = Watch::default();
    let mut trouble = Trouble::default();
    let mut pace = Pace::new(PAUSES.0, PAUSES.1);
    // What was there already may be done already.
    let mut pause = if submitted.is_some() { pace.pause() } else { Duration::ZERO };
    if let Some(job) = submitted {
        watch.note(&job, witness);
    }
    loop {
        let looked = tokio::select! {
            biased;
            () = witness.until_cancelled() => return Box::pin(ending::stopped(remote, witness)).await,
            looked = look_after(pause, remote) => looked,
        };
        match looked {
            Ok(job) => {
                trouble = Trouble::default();
                watch.note(&job, witness);
                if is_done(&job) {
                    return Ok(job);
                }
            }
            Err(error) => {
                let error = oxidag_google::from_gax("cannot look at the job", &error);
                if trouble.is_too_much(&error) {
                    return Box::pin(ending::given_up(remote, false, error, witness)).await;
                }
            }
        }
        pause = pace.pause();
    }
}

/// What a call takes is on the heap, and only while it is made: thousands of tasks wait at once.
async fn look_after(pause: Duration, remote: &Remote) -> std::result::Result<Box<Job>, Gax> {
    sleep(pause).await;
    let look = async {
        let _slot = request_slot().await;
        remote.look().await.map(Box::new)
    };
    Box::pin(look).await
}

/// Since when no look has succeeded, and since when looks have been refused.
#[derive(Default)]
struct Trouble {
    faults: Option<Instant>,
    refusals: Option<Instant>,
}

impl Trouble {
    /// Takes note of one more look that failed.
    fn is_too_much(&mut self, error: &Error) -> bool {
        let faults = *self.faults.get_or_insert_with(Instant::now);
        if error.kind == ErrorKind::Transient {
            self.refusals = None;
        } else if self.refusals.get_or_insert_with(Instant::now).elapsed() >= REFUSALS {
            return true;
        }
        faults.elapsed() >= FAULTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scribe, Script, job};

    const RUNNING: std::result::Result<&str, u16> = Ok("RUNNING");
    const AWAY: std::result::Result<&str, u16> = Err(503);

    #[tokio::test(start_paused = true)]
    async fn each_state_is_told_once_until_the_job_is_done() {
        let (remote, script) =
            Script::default().looks(&[Ok("PENDING"), RUNNING, RUNNING, Ok("DONE")]).remote();
        let scribe = Scribe::default();
        let done = until_done(&remote, Some(Box::new(job("PENDING"))), &scribe).await.unwrap();
        assert!(is_done(&done));
        assert_eq!(scribe.told(), ["info: the job runs"]);
        assert_eq!(script.asked("look"), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_outlasted() {
        let faults = [AWAY; 10];
        let looks = [&faults[..], &[RUNNING], &faults, &[RUNNING], &faults, &[Ok("DONE")]].concat();
        let (remote, script) = Script::default().looks(&looks).remote();
        until_done(&remote, None, &Scribe::default()).await.unwrap();
        assert_eq!((script.asked("look"), script.asked("cancel")), (33, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_after_many_faults_is_put_up_with_as_any_other() {
        let looks = [&[AWAY; 20][..], &[Err(403), Ok("DONE")]].concat();
        let (remote, script) = Script::default().looks(&looks).remote();
        let began = Instant::now();
        until_done(&remote, None, &Scribe::default()).await.unwrap();
        assert!(began.elapsed() >= REFUSALS);
        assert_eq!(script.asked("cancel"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_stays_away_ends_the_attempt_in_the_end_and_says_what_is_left() {
        let (remote, _) = Script::default().looks(&[AWAY]).cancels(&[AWAY]).remote();
        let scribe = Scribe::default();
        let began = Instant::now();
        let error = until_done(&remote, None, &scribe).await.unwrap_err();
        assert!(began.elapsed() >= FAULTS);
        assert_eq!(error.kind, ErrorKind::Transient);
        assert!(error.message.contains("may still run and be billed"), "{error}");
        assert!(error.message.contains(&remote.handle.link()), "{error}");
        assert_eq!(scribe.told().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_cannot_be_looked_at_is_ended_before_it_is_given_up() {
        let (remote, script) = Script::default().looks(&[Err(403)]).cancels(&[Ok("DONE (stopped)")]).remote();
        let error = until_done(&remote, None, &Scribe::default()).await.unwrap_err();
        assert_eq!((error.kind, script.asked("cancel")), (ErrorKind::Invalid, 1));
        assert!(error.message.ends_with("job p:oxidag-0123 was cancelled"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_job_and_waits_for_that() {
        let looks = [RUNNING, RUNNING, Ok("DONE (stopped)")];
        let (remote, script) = Script::default().looks(&looks).cancels(&[AWAY, RUNNING]).remote();
        let scribe = Scribe::default();
        scribe.stop();
        let error = until_done(&remote, None, &scribe).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
        assert_eq!(error.message, "job p:oxidag-0123 was cancelled");
        assert_eq!((script.asked("cancel"), script.asked("look")), (2, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_to_end_the_job_may_pass_too() {
        let cancels = [Err(403), Err(401), RUNNING];
        let (remote, script) = Script::default().looks(&[Ok("DONE (stopped)")]).cancels(&cancels).remote();
        let scribe = Scribe::default();
        scribe.stop();
        let error = until_done(&remote, None, &scribe).await.unwrap_err();
        assert_eq!(error.message, "job p:oxidag-0123 was cancelled");
        assert_eq!(script.asked("cancel"), 3);

        let (remote, _) = Script::default().looks(&[RUNNING]).cancels(&[Err(403)]).remote();
        let error = until_done(&remote, None, &scribe).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
        assert!(error.message.contains("may still run and be billed (it cannot be cancelled: "), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_was_done_before_the_stop_has_its_own_end() {
        for end in ["DONE", "DONE (invalidQuery)"] {
            let (remote, _) = Script::default().looks(&[Ok(end)]).cancels(&[Ok("RUNNING")]).remote();
            let scribe = Scribe::default();
            scribe.stop();
            assert_eq!(*until_done(&remote, None, &scribe).await.unwrap(), job(end));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_does_not_end_is_told_within_the_hosts_grace() {
        let (remote, _) = Script::default().looks(&[RUNNING]).cancels(&[RUNNING]).remote();
        let scribe = Scribe::default();
        scribe.stop();
        let began = Instant::now();
        let error = until_done(&remote, None, &scribe).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(error.kind, ErrorKind::Cancelled);
        let link = remote.handle.link();
        let message = format!(
            "job p:oxidag-0123 may still run and be billed (BigQuery has not confirmed its end): cancel it at {link}"
        );
        assert_eq!(error.message, message);
        assert_eq!(scribe.told(), [format!("warn: {message}")]);
    }

    #[test]
    fn ten_thousand_waiting_tasks_are_cheap() {
        let (remote, _) = Script::default().remote();
        let scribe = Scribe::default();
        let size = size_of_val(&until_done(&remote, None, &scribe));
        assert!(size < 1500, "{size} bytes for each waiting task");
    }
}
