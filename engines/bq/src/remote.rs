//! A job in BigQuery: how it is found again, and the calls that are made about it.

use std::time::Duration;

use google_cloud_bigquery_v2::client::JobService;
use google_cloud_bigquery_v2::model::{DataFormatOptions, GetQueryResultsResponse, Job, ListFormatJob};
use google_cloud_gax::error::Error as Gax;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_gax::retry_policy::NeverRetry;
use serde::{Deserialize, Serialize};

/// How long one look at a job may take. It is not made again by the client: whoever waits looks again anyway.
const LOOK: Duration = Duration::from_secs(30);

/// All that is needed to find a job again; the checkpoint. No secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handle {
    /// The project that the job is billed to.
    pub(crate) project: String,
    /// The job's id: the attempt's key.
    pub(crate) job: String,
    /// Where it runs, once that is known.
    pub(crate) location: Option<String>,
}

impl Handle {
    /// Where people see the job.
    pub(crate) fn link(&self) -> String {
        let Self { project, job, .. } = self;
        let place = self.location.as_ref().map(|location| format!("{location}:")).unwrap_or_default();
        format!(
            "https://console.cloud.google.com/bigquery?project={project}&j=bq:{place}{job}&page=queryresults"
        )
    }

    /// Takes over where a job says that it is; tells whether that is news.
    fn learn(&mut self, job: &Job) -> bool {
        let location = job.job_reference.as_ref().and_then(|reference| reference.location.clone());
        let news = location.is_some() && location != self.location;
        if news {
            self.location = location;
        }
        news
    }
}

/// As BigQuery writes it.
impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { project, job, location } = self;
        match location {
            Some(location) => write!(f, "{project}:{location}.{job}"),
            None => write!(f, "{project}:{job}"),
        }
    }
}

/// A job and the client that asks about it.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    service: JobService,
    pub(crate) handle: Handle,
}

/// What became of a submission.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// There is a new job.
    New(Box<Job>),
    /// There was one of this id already.
    Adopted,
}

impl Remote {
    pub(crate) fn new(service: JobService, handle: Handle) -> Self {
        Self { service, handle }
    }

    /// Makes the job, unless it is there already. The id is ours, so that the call may be made again.
    pub(crate) async fn submit(&mut self, job: Job) -> Result<Submitted, Gax> {
        let inserted = self
            .service
            .insert_job()
            .set_project_id(&self.handle.project)
            .set_job(job)
            .with_idempotency(true)
            .send()
            .await;
        match inserted {
            Ok(job) => {
                self.handle.learn(&job);
                Ok(Submitted::New(Box::new(job)))
            }
            Err(error) if error.http_status_code() == Some(409) => {
                if self.handle.location.is_none() {
                    self.handle.location =
                        error.status().and_then(|status| place_in(&status.message, &self.handle));
                }
                Ok(Submitted::Adopted)
            }
            Err(error) => Err(error),
        }
    }

    /// What a job would do; nothing is made.
    pub(crate) async fn dry_run(&self, job: Job) -> Result<Job, Gax> {
        self.service
            .insert_job()
            .set_project_id(&self.handle.project)
            .set_job(job)
            .with_idempotency(true)
            .send()
            .await
    }

    /// The job as it is now.
    pub(crate) async fn look(&self) -> Result<Job, Gax> {
        let Handle { project, job, location } = &self.handle;
        let call = self.service.get_job().set_project_id(project).set_job_id(job);
        let call = call.set_location(location.as_deref().unwrap_or_default());
        call.with_retry_policy(NeverRetry).with_attempt_timeout(LOOK).send().await
    }

    /// Asks BigQuery to end the job; the answer comes before the end.
    pub(crate) async fn cancel(&self) -> Result<Option<Job>, Gax> {
        let Handle { project, job, location } = &self.handle;
        let call = self.service.cancel_job().set_project_id(project).set_job_id(job);
        let call = call.set_location(location.as_deref().unwrap_or_default());
        // Whoever ends a job asks again until its time is up.
        let answer = call.with_retry_policy(NeverRetry).with_attempt_timeout(LOOK).send().await?;
        Ok(answer.job)
    }

    /// A page of the rows that a finished job leaves.
    pub(crate) async fn rows(&self, page: &str, count: u32) -> Result<GetQueryResultsResponse, Gax> {
        let Handle { project, job, location } = &self.handle;
        let format = DataFormatOptions::new().set_use_int64_timestamp(true);
        let call =
            self.service.get_query_results().set_project_id(project).set_job_id(job).set_page_token(page);
        let call = call.set_max_results(count).set_format_options(format);
        call.set_location(location.as_deref().unwrap_or_default()).send().await
    }

    /// The jobs of a script's statements that are told first, which are the last ones.
    pub(crate) async fn children(&self) -> Result<Vec<ListFormatJob>, Gax> {
        let Handle { project, job, .. } = &self.handle;
        let call = self.service.list_jobs().set_project_id(project).set_parent_job_id(job);
        Ok(call.set_max_results(50).send().await?.jobs)
    }
}

/// Where the job is that BigQuery says exists: "Already Exists: Job project:location.id".
fn place_in(message: &str, handle: &Handle) -> Option<String> {
    let (before, _) = message.split_once(&format!(".{}", handle.job))?;
    let (_, place) = before.rsplit_once(':')?;
    let plausible = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (!place.is_empty() && place.chars().all(plausible)).then(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(location: Option<&str>) -> Handle {
        Handle { project: "a.com:p".into(), job: "oxidag-1".into(), location: location.map(str::to_owned) }
    }

    #[test]
    fn the_place_of_an_existing_job_is_in_the_refusal() {
        let place = |message| place_in(message, &handle(None));
        assert_eq!(
            place("Already Exists: Job a.com:p:europe-west1.oxidag-1").as_deref(),
            Some("europe-west1")
        );
        assert_eq!(place("Already Exists: Job a.com:p:oxidag-1"), None);
        assert_eq!(place("Already Exists: Job a.com:p:US.oxidag-2"), None);
    }

    #[test]
    fn a_job_is_told_as_bigquery_tells_it() {
        assert_eq!(handle(Some("EU")).to_string(), "a.com:p:EU.oxidag-1");
        assert_eq!(handle(None).to_string(), "a.com:p:oxidag-1");
        insta::assert_snapshot!(handle(Some("EU")).link(), @"https://console.cloud.google.com/bigquery?project=a.com:p&j=bq:EU:oxidag-1&page=queryresults");
    }
}
