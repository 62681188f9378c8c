//! Submits a job once, whatever happens on the way.

use std::pin::pin;
use std::time::Duration;

use google_cloud_bigquery_v2::model::Job;
use oxidag_google::request_slot;
use oxidag_plugin_api::{Error, ErrorKind, Level, Result};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use crate::ending;
use crate::failure;
use crate::remote::{Remote, Submitted};
use crate::witness::Witness;

/// How long a submission on its way is waited for once the task is asked to stop: what it makes has to be ended.
const SETTLING: Duration = Duration::from_secs(5);

/// Leave to submit a job. What a submission needs is not made before: thousands of tasks wait here at once.
///
/// # Errors
///
/// When the task is asked to stop.
pub(crate) async fn turn(witness: &impl Witness) -> Result<Option<SemaphorePermit<'static>>> {
    tokio::select! {
        biased;
        () = witness.until_cancelled() => {
            Err(Error::cancelled("the task was stopped before its job was submitted"))
        }
        slot = request_slot() => Ok(slot),
    }
}

/// Submits the job, or finds the one that an earlier call has submitted; then there is no answer. One that
/// `may_be_there` already is ended also when BigQuery refuses the submission.
///
/// # Errors
///
/// When BigQuery refuses it or the task is asked to stop; what may have been made is ended then.
pub(crate) async fn submit(
    remote: &mut Remote,
    job: Job,
    may_be_there: bool,
    witness: &impl Witness,
) -> Result<Option<Box<Job>>> {
    let answer = {
        let mut submission = pin!(remote.submit(job));
        tokio::select! {
            answer = &mut submission => Some(answer),
            () = witness.until_cancelled() => timeout(SETTLING, submission).await.ok(),
        }
    };
    match answer {
        Some(Ok(Submitted::New(job))) => {
            witness.log(Level::Info, &format!("submitted job {}: {}", remote.handle, remote.handle.link()));
            Ok(Some(job))
        }
        Some(Ok(Submitted::Adopted)) => {
            let handle = &remote.handle;
            witness.log(
                Level::Info,
                &format!("found job {handle}, which was submitted before: {}", handle.link()),
            );
            Ok(None)
        }
        Some(Err(refusal)) => {
            let mut error = oxidag_google::from_gax("cannot submit the job", &refusal);
            error.kind = oxidag_google::reason(&refusal).and_then(failure::may_pass).unwrap_or(error.kind);
            // An answer may have been lost, and the job be there.
            if error.kind == ErrorKind::Transient || may_be_there {
                let is_unanswered = refusal.http_status_code().is_none();
                return ending::given_up(remote, is_unanswered, error, witness).await.map(Some);
            }
            Err(error)
        }
        None => ending::cut_off(remote, witness).await.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scribe, Script};

    async fn submitted(script: Script, scribe: &Scribe) -> (Result<Option<Box<Job>>>, Remote) {
        let (mut remote, _) = script.remote();
        (submit(&mut remote, Job::new(), false, scribe).await, remote)
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_job_tells_where_it_is() {
        let (answer, remote) =
            submitted(Script::default().inserts(&[Ok("PENDING")]), &Scribe::default()).await;
        assert!(answer.unwrap().is_some());
        assert_eq!(remote.handle.location.as_deref(), Some("US"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_there_is_taken_over_where_it_is() {
        let (answer, remote) = submitted(Script::default().inserts(&[Err(409)]), &Scribe::default()).await;
        assert!(answer.unwrap().is_none());
        assert_eq!(remote.handle.location.as_deref(), Some("EU"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_leaves_nothing_to_end() {
        let (answer, _) = submitted(Script::default().inserts(&[Err(400)]), &Scribe::default()).await;
        assert_eq!(answer.unwrap_err().kind, ErrorKind::Invalid);
    }

    #[tokio::test(start_paused = true)]
    async fn a_submission_without_an_answer_may_have_left_a_job_which_is_ended() {
        let script = Script::default().inserts(&[Err(503)]).cancels(&[Ok("DONE (stopped)")]);
        let (answer, _) = submitted(script, &Scribe::default()).await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient);
        assert!(error.message.ends_with("job p:oxidag-0123 was cancelled"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_says_nothing_of_a_job_that_was_submitted_before_which_is_ended() {
        let script = Script::default().inserts(&[Err(403)]).cancels(&[Ok("DONE (stopped)")]);
        let (mut remote, _) = script.remote();
        let error = submit(&mut remote, Job::new(), true, &Scribe::default()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.ends_with("job p:oxidag-0123 was cancelled"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_may_be_anywhere_is_not_taken_for_absent() {
        let script = Script::default().inserts(&[Err(503)]).cancels(&[Err(404)]);
        let (mut remote, script) = script.remote();
        let error = submit(&mut remote, Job::new(), false, &Scribe::default()).await.unwrap_err();
        assert!(error.message.contains("may still run and be billed"), "{error}");
        assert_eq!(script.asked("cancel"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_whose_submission_was_cut_off_is_ended_when_it_comes() {
        let cancels = [Err(404), Err(404), Ok("DONE (stopped)")];
        let (remote, script) = Script::default().cancels(&cancels).remote();
        let error = ending::cut_off(&remote, &Scribe::default()).await.unwrap_err();
        assert_eq!(error.message, "job p:oxidag-0123 was cancelled");
        assert_eq!(script.asked("cancel"), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_was_stopped_before_its_turn_submits_nothing() {
        let scribe = Scribe::default();
        scribe.stop();
        assert_eq!(turn(&scribe).await.unwrap_err().kind, ErrorKind::Cancelled);
    }
}
