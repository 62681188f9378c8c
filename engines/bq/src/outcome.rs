//! What a finished job leaves: an outcome with its measurements and rows, or an error.

use google_cloud_bigquery_v2::model::{Job, JobStatistics, JobStatistics2};
use oxidag_plugin_api::{Error, ErrorKind, Level, Outcome, Result};
use serde_json::{Map, Value};

use crate::config::ResultMode;
use crate::failure;
use crate::remote::Remote;
use crate::rows::Rows;
use crate::witness::Witness;

/// BigQuery's name for what returns rows.
const SELECT: &str = "SELECT";

/// The end of a job that is done.
///
/// # Errors
///
/// When the job failed, or the rows that are wanted cannot be had.
pub(crate) async fn of(
    job: &Job,
    mode: ResultMode,
    remote: &Remote,
    witness: &impl Witness,
) -> Result<Outcome> {
    let metrics = metrics(job, remote);
    let ended = match failure::of(job) {
        Some(_) => Err(failed(job, remote).await),
        None => succeeded(job, mode, remote, witness).await,
    };
    match ended {
        Ok(mut outcome) => {
            outcome.metrics = metrics.into_iter().chain(outcome.metrics).collect();
            witness.log(Level::Info, &summary(&outcome.metrics));
            Ok(outcome)
        }
        Err(mut error) => {
            error.metrics = metrics;
            Err(error)
        }
    }
}

async fn failed(job: &Job, remote: &Remote) -> Error {
    let failure = failure::of(job).cloned().unwrap_or_default();
    let script = job.statistics.as_ref().is_some_and(|statistics| statistics.num_child_jobs > 0);
    let statement = if script && failure::place(&failure.message).is_none() {
        // That the place is not known makes the error no other.
        remote.children().await.ok().and_then(|children| failure::statement(&children))
    } else {
        None
    };
    let error = failure::error(&failure, statement.as_deref(), &remote.handle);
    // Another attempt does again what a script has done: whether it may, the task's retries say.
    let kind = if script && error.kind == ErrorKind::Transient { ErrorKind::Failed } else { error.kind };
    Error { kind, ..error }
}

async fn succeeded(job: &Job, mode: ResultMode, remote: &Remote, witness: &impl Witness) -> Result<Outcome> {
    let statistics = job.statistics.clone().unwrap_or_default();
    let query = statistics.query.clone().unwrap_or_default();
    let select = query.statement_type == SELECT && statistics.num_child_jobs == 0;
    let mut outcome = Outcome::default();
    if let Some(affected) = query.num_dml_affected_rows {
        outcome = outcome.with_metric("rows", affected);
    }
    if !select && mode != ResultMode::Rows {
        return Ok(outcome);
    }
    let wanted = mode != ResultMode::None;
    let rows = match Rows::read(remote, wanted).await {
        Ok(rows) => rows,
        Err(error) if wanted => {
            let doing = format!("job {} is done, but its rows cannot be read", remote.handle);
            let error = oxidag_google::from_gax(&doing, &error);
            // As for a script that has failed.
            let kind = if select { error.kind } else { ErrorKind::Failed };
            return Err(Error { kind, ..error });
        }
        Err(error) => {
            witness.log(Level::Warn, &oxidag_google::from_gax("the rows cannot be counted", &error).message);
            return Ok(outcome);
        }
    };
    if rows.returned {
        outcome = outcome.with_metric("rows", rows.total);
    }
    keep(outcome, rows, mode, witness)
}

/// Leaves the rows as the result, if they are there and fit.
fn keep(outcome: Outcome, rows: Rows, mode: ResultMode, witness: &impl Witness) -> Result<Outcome> {
    let too_large = || {
        format!(
            "the {} rows are more than {} bytes of JSON, the most a result may have",
            rows.total,
            Outcome::MAX_RESULT
        )
    };
    match (rows.kept, mode) {
        (_, ResultMode::None) => Ok(outcome),
        (_, ResultMode::Rows) if !rows.returned => Err(Error::invalid(
            "`result: rows` wants the rows of the last statement, but that returns none: end the script with a `select`",
        )),
        (Some(kept), _) => Ok(outcome.with_result(kept)),
        (None, ResultMode::Rows) => {
            Err(Error::failed(format!("{}: select less, or leave out `result: rows`", too_large())))
        }
        (None, ResultMode::IfTheyFit) => {
            witness.log(Level::Info, &format!("no result is left: {}", too_large()));
            Ok(outcome)
        }
    }
}

/// What BigQuery measured.
fn metrics(job: &Job, remote: &Remote) -> Map<String, Value> {
    let handle = &remote.handle;
    let mut metrics = Map::new();
    metrics.insert("job_id".into(), handle.job.clone().into());
    metrics.insert("project".into(), handle.project.clone().into());
    if let Some(location) = &handle.location {
        metrics.insert("location".into(), location.clone().into());
    }
    metrics.insert("link".into(), handle.link().into());
    if let Some(statistics) = &job.statistics {
        measured(statistics, &mut metrics);
    }
    metrics
}

fn measured(statistics: &JobStatistics, metrics: &mut Map<String, Value>) {
    let nothing = JobStatistics2::default();
    let query = statistics.query.as_ref().unwrap_or(&nothing);
    let numbers = [
        ("bytes_processed", statistics.total_bytes_processed.or(query.total_bytes_processed)),
        ("bytes_billed", query.total_bytes_billed),
        ("slot_ms", statistics.total_slot_ms.or(query.total_slot_ms)),
        ("child_jobs", (statistics.num_child_jobs > 0).then_some(statistics.num_child_jobs)),
    ];
    for (name, number) in numbers {
        metrics.extend(number.map(|number| (name.to_owned(), number.into())));
    }
    if !query.statement_type.is_empty() {
        metrics.insert("statement_type".into(), query.statement_type.clone().into());
    }
    metrics.extend(query.cache_hit.map(|hit| ("cache_hit".to_owned(), hit.into())));
}

/// A line for the task's log.
fn summary(metrics: &Map<String, Value>) -> String {
    let kind = metrics.get("statement_type").and_then(Value::as_str).unwrap_or("query");
    let counts = [
        ("child_jobs", "statements"),
        ("rows", "rows"),
        ("bytes_processed", "bytes processed"),
        ("bytes_billed", "bytes billed"),
        ("slot_ms", "ms of slots"),
    ];
    let told = counts.iter().filter_map(|(name, unit)| Some(format!(", {} {unit}", metrics.get(*name)?)));
    format!("the job is done: {kind}{}", told.collect::<String>())
}

#[cfg(test)]
mod tests {
    use google_cloud_bigquery_v2::model::{ErrorProto, JobStatus};
    use serde_json::json;

    use super::*;
    use crate::testing::{Script, Silent, job};

    fn rows(kept: Option<Vec<Value>>, returned: bool) -> Rows {
        Rows { total: 1, returned, kept }
    }

    #[test]
    fn rows_are_left_unless_they_do_not_fit_or_are_not_wanted() {
        let left = |kept, mode| {
            keep(Outcome::default(), rows(kept, true), mode, &Silent).map(|outcome| outcome.result)
        };
        let row = || Some(vec![json!({"a": 1})]);
        assert_eq!(left(row(), ResultMode::IfTheyFit).unwrap(), Some(json!([{"a": 1}])));
        assert_eq!(left(row(), ResultMode::Rows).unwrap(), Some(json!([{"a": 1}])));
        assert_eq!(left(None, ResultMode::IfTheyFit).unwrap(), None);
        assert_eq!(left(None, ResultMode::None).unwrap(), None);
        insta::assert_snapshot!(left(None, ResultMode::Rows).unwrap_err(), @"the 1 rows are more than 65536 bytes of JSON, the most a result may have: select less, or leave out `result: rows`");
    }

    #[tokio::test]
    async fn a_script_is_not_done_again_for_rows_that_cannot_be_read() {
        let (remote, _) = Script::default().remote();
        for (kind, wanted) in [("SELECT", ErrorKind::Transient), ("SCRIPT", ErrorKind::Failed)] {
            let query = JobStatistics2::new().set_statement_type(kind);
            let done = job("DONE").set_statistics(JobStatistics::new().set_query(query));
            let error = of(&done, ResultMode::Rows, &remote, &Silent).await.unwrap_err();
            assert_eq!(error.kind, wanted, "{error}");
            assert!(error.message.contains("is done, but its rows cannot be read"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_script_is_not_done_again_for_a_fault_in_its_middle() {
        let (remote, _) = Script::default().remote();
        for (children, wanted) in [(0, ErrorKind::Transient), (2, ErrorKind::Failed)] {
            let failure = ErrorProto::new().set_reason("backendError").set_message("Try again at [2:1]");
            let done = job("DONE")
                .set_status(JobStatus::new().set_state("DONE").set_error_result(failure))
                .set_statistics(JobStatistics::new().set_num_child_jobs(children));
            let error = of(&done, ResultMode::IfTheyFit, &remote, &Silent).await.unwrap_err();
            assert_eq!(error.kind, wanted, "{error}");
        }
    }

    #[test]
    fn rows_that_are_demanded_must_be_there() {
        let error =
            keep(Outcome::default(), rows(Some(vec![]), false), ResultMode::Rows, &Silent).unwrap_err();
        assert!(error.message.contains("returns none"), "{error}");
    }
}
