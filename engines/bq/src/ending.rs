//! Ends a job that nobody waits for any more, and says so when it could not.

use std::time::Duration;

use google_cloud_bigquery_v2::model::Job;
use oxidag_plugin_api::{Error, ErrorKind, Level, Result};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure;
use crate::remote::Remote;
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
    match end(remote).await {
        Ending::Done(job) => Ok(job),
        Ending::Cancelled => {
            witness.log(Level::Info, "the job was cancelled");
            Err(Error::cancelled(format!("job {} was cancelled", remote.handle)))
        }
        Ending::Absent => Err(Error::cancelled(format!("there was no job {} to cancel", remote.handle))),
        Ending::Unknown(why) => Err(Error::cancelled(left_running(remote, &why, witness))),
    }
}

/// Ends the job since it cannot be waited for. One that is done after all is what was waited for.
///
/// # Errors
///
/// The error, which goes on by saying what became of the job.
pub(crate) async fn given_up(remote: &Remote, error: Error, witness: &impl Witness) -> Result<Box<Job>> {
    let said = match end(remote).await {
        Ending::Done(job) => return Ok(job),
        Ending::Cancelled => format!("job {} was cancelled", remote.handle),
        Ending::Absent => return Err(error),
        Ending::Unknown(why) => left_running(remote, &why, witness),
    };
    Err(Error { message: format!("{}; {said}", error.message), ..error })
}

fn left_running(remote: &Remote, why: &str, witness: &impl Witness) -> String {
    let handle = &remote.handle;
    let message = format!("job {handle} may still run and be billed ({why}): cancel it at {}", handle.link());
    witness.log(Level::Warn, &message);
    message
}

/// Asks BigQuery to end the job, and waits until it has.
async fn end(remote: &Remote) -> Ending {
    let deadline = Instant::now() + PATIENCE;
    let mut why = "BigQuery has not confirmed its end".to_owned();
    match timeout_at(deadline, try_to_end(remote, &mut why)).await {
        Ok(ending) => ending,
        Err(_) => Ending::Unknown(why),
    }
}

async fn try_to_end(remote: &Remote, why: &mut String) -> Ending {
    let mut asked = false;
    loop {
        let slot = SLOTS.acquire().await;
        let answer = if asked { remote.look().await.map(Some) } else { remote.cancel().await };
        drop(slot);
        match answer {
            Ok(Some(job)) if is_done(&job) => return Ending::of(job),
            Ok(_) => asked = true,
            Err(error) if !asked && error.http_status_code() == Some(404) => return Ending::Absent,
            Err(error) => {
                let error = oxidag_google::from_gax("it cannot be cancelled", &error);
                if error.kind == ErrorKind::Invalid {
                    return Ending::Unknown(error.message);
                }
                *why = error.message;
            }
        }
        sleep(PAUSE).await;
    }
}
