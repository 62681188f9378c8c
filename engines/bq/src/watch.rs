//! What is told while a job goes on: each state once, and progress where BigQuery knows it.

use google_cloud_bigquery_v2::model::Job;
use oxidag_plugin_api::Level;

use crate::witness::Witness;

/// What has been told so far.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: String,
    units: Option<(i64, i64)>,
}

impl Watch {
    /// Tells what is new about a job.
    pub(crate) fn note(&mut self, job: &Job, witness: &impl Witness) {
        let state = job.status.as_ref().map(|status| status.state.as_str()).unwrap_or_default();
        if state != self.state && state == "RUNNING" {
            witness.log(Level::Info, "the job runs");
        }
        if state != self.state {
            state.clone_into(&mut self.state);
        }
        let units = units(job);
        if let Some((done, all)) = units
            && units != self.units
        {
            self.units = units;
            #[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
            witness.progress(done as f64 / all as f64, &format!("{done} of {all} units of work"));
        }
    }
}

/// Whether the job has ended, one way or the other.
pub(crate) fn is_done(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| status.state == "DONE")
}

/// How many units of work are done, and how many there are as far as BigQuery knows by now.
fn units(job: &Job) -> Option<(i64, i64)> {
    let sample = job.statistics.as_ref()?.query.as_ref()?.timeline.last()?;
    let done = sample.completed_units?;
    let all = done + sample.pending_units.unwrap_or(0);
    (all > 0).then_some((done, all))
}

#[cfg(test)]
mod tests {
    use google_cloud_bigquery_v2::model::{JobStatistics, JobStatistics2, JobStatus, QueryTimelineSample};

    use super::*;
    use crate::testing::Scribe;

    fn job(state: &str, done: i64, pending: i64) -> Job {
        let sample = QueryTimelineSample::new().set_completed_units(done).set_pending_units(pending);
        let statistics = JobStatistics::new().set_query(JobStatistics2::new().set_timeline([sample]));
        Job::new().set_status(JobStatus::new().set_state(state)).set_statistics(statistics)
    }

    #[test]
    fn only_news_are_told() {
        let (scribe, mut watch) = (Scribe::default(), Watch::default());
        for job in [
            job("PENDING", 0, 0),
            job("RUNNING", 0, 4),
            job("RUNNING", 0, 4),
            job("RUNNING", 1, 3),
            job("DONE", 4, 0),
        ] {
            watch.note(&job, &scribe);
        }
        let told = [
            "info: the job runs",
            "0 %: 0 of 4 units of work",
            "25 %: 1 of 4 units of work",
            "100 %: 4 of 4 units of work",
        ];
        assert_eq!(scribe.told(), told);
    }
}
