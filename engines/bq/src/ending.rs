//! Ends a job that nobody waits for any more, and says so when it could not.

use std::time::Duration;

use google_cloud_bigquery_v2::model::Job;
use oxidag_plugin_api::{Error, Level, Result};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure;
use crate::remote::{Handle, Remote};
use crate::watch::is_done;
use crate::witness::Witness;

/// How long BigQuery has to confirm the end; the host waits for 30 seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// So many calls end jobs at once: apart from those that look, which may all be waiting for an answer.
static SLOTS: Semaphore = Semaphore::const_new(64);

/// What became of a job that was to end.
#[derive(Debug)]
enum Ending {
    /// It was done before it could be cancelled.
    Done(Box<Job>),
    /// It has ended, and BigQuery says so.
    Cancelled,
    /// BigQuery knows no such job.
    Absent,
    /// Nobody knows; this is why.
    Unknown(String),
}

impl Ending {
    /// What the end of a job means.
    fn of(job: Job) -> Self {
        match failure::of(&job) {
            Some(failure) if failure.reason == "stopped" => Self::Cancelled,
            _ => Self::Done(Box::new(job)),
        }
    }
}

/// Ends the job since the task was asked to stop. A job that was done before is the task's end after all.
///
/// # Errors
///
/// That the task was cancelled, unless the job was done before.
pub(crate) async fn stopped(remote: &Remote, witness: &impl Witness) -> Result<Box<Job>> {
    told(end(remote, false).await, remote, witness)
}

/// The same where the submission was cut off before its answer: the job may come yet.
///
/// # Errors
///
/// As [`stopped`].
pub(crate) async fn cut_off(remote: &Remote, witness: &impl Witness) -> Result<Box<Job>> {
    told(end(remote, true).await, remote, witness)
}

fn told(ending: Ending, remote: &Remote, witness: &impl Witness) -> Result<Box<Job>> {
    match ending {
        Ending::Done(job) => Ok(job),
        Ending::Cancelled => {
            witness.log(Level::Info, "the job was cancelled");
            Err(Error::cancelled(format!("job {} was cancelled", remote.handle)))
        }
        Ending::Absent => Err(Error::cancelled(format!("there was no job {} to cancel", remote.handle))),
        Ending::Unknown(why) => Err(Error::cancelled(left_running(&remote.handle, &why, witness))),
    }
}

/// Ends the job since it cannot be waited for, or one that `may_come` since its submission was not answered. One that is done
/// after all is what was waited for.
///
/// # Errors
///
/// The error, which goes on by saying what became of the job.
pub(crate) async fn given_up(
    remote: &Remote,
    may_come: bool,
    error: Error,
    witness: &impl Witness,
) -> Result<Box<Job>> {
    let said = match end(remote, may_come).await {
        Ending::Done(job) => return Ok(job),
        Ending::Cancelled => format!("job {} was cancelled", remote.handle),
        Ending::Absent => return Err(error),
        Ending::Unknown(why) => left_running(&remote.handle, &why, witness),
    };
    Err(Error { message: format!("{}; {said}", error.message), ..error })
}

/// The error, which goes on by saying that a job submitted earlier is left alone.
pub(crate) fn out_of_reach(handle: &Handle, error: Error, witness: &impl Witness) -> Error {
    let said = left_running(handle, "it was not looked at", witness);
    Error { message: format!("{}; {said}", error.message), ..error }
}

/// Says that a job is left, and where.
pub(crate) fn left_running(handle: &Handle, why: &str, witness: &impl Witness) -> String {
    let message = format!("job {handle} may still run and be billed ({why}): cancel it at {}", handle.link());
    witness.log(Level::Warn, &message);
    message
}

/// Asks BigQuery to end the job, and waits until it has; for one that `may_come` also until it is there.
async fn end(remote: &Remote, may_come: bool) -> Ending {
    let deadline = Instant::now() + PATIENCE;
    let mut why = "BigQuery has not confirmed its end".to_owned();
    match timeout_at(deadline, try_to_end(remote, may_come, &mut why)).await {
        Ok(ending) => ending,
        Err(_) => Ending::Unknown(why),
    }
}

async fn try_to_end(remote: &Remote, may_come: bool, why: &mut String) -> Ending {
    let mut asked = false;
    loop {
        let slot = SLOTS.acquire().await;
        let answer = if asked { remote.look().await.map(Some) } else { remote.cancel().await };
        drop(slot);
        match answer {
            Ok(Some(job)) if is_done(&job) => return Ending::of(job),
            Ok(_) => asked = true,
            Err(error) if !asked && error.http_status_code() == Some(404) => match &remote.handle.location {
                _ if may_come => "its submission was not answered".clone_into(why),
                Some(_) => return Ending::Absent,
                // Without a location BigQuery looks for it in its multi-regions only.
                None => return Ending::Unknown("it is not found, but its location is not known".to_owned()),
            },
            // Refusals may pass as well as faults, and there is nothing else to be done for the job.
            Err(error) => *why = oxidag_google::from_gax("it cannot be cancelled", &error).message,
        }
        sleep(PAUSE).await;
    }
}
