//! The job that a task asks for, as the API takes it.

use google_cloud_bigquery_v2::model::{Job, JobConfiguration, JobConfigurationQuery, JobReference};
use oxidag_plugin_api::{Error, Result, Task};

use crate::config::Request;
use crate::parameters;
use crate::remote::Handle;

/// The job, ready to be submitted.
///
/// # Errors
///
/// When there is nothing to run, or a query parameter cannot be bound.
pub(crate) fn job(task: &Task, request: &Request, handle: &Handle) -> Result<Job> {
    let mut reference = JobReference::new().set_project_id(&handle.project).set_job_id(&handle.job);
    reference.location.clone_from(&handle.location);
    let configuration =
        JobConfiguration::new().set_labels(oxidag_google::labels(task)).set_query(query(task, request)?);
    Ok(Job::new().set_job_reference(reference).set_configuration(configuration))
}

/// The same job, of which BigQuery only says what it would do.
///
/// # Errors
///
/// As [`job`].
pub(crate) fn dry_run(task: &Task, request: &Request, handle: &Handle) -> Result<Job> {
    let mut job = job(task, request, handle)?;
    if let Some(reference) = &mut job.job_reference {
        reference.job_id.clear();
    }
    job.configuration = job.configuration.map(|configuration| configuration.set_dry_run(true));
    Ok(job)
}

fn query(task: &Task, request: &Request) -> Result<JobConfigurationQuery> {
    if task.script.text.trim().is_empty() {
        return Err(Error::invalid(format!("the script {} is empty", task.script.name)));
    }
    let parameters = parameters::of(task)?;
    let mut query = JobConfigurationQuery::new()
        .set_query(&task.script.text)
        .set_use_legacy_sql(false)
        .set_priority(request.priority.word());
    if !parameters.is_empty() {
        query = query.set_parameter_mode("NAMED").set_query_parameters(parameters);
    }
    query.default_dataset.clone_from(&request.dataset);
    query.maximum_bytes_billed = request.maximum_bytes_billed;
    Ok(query)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::testing::task;

    fn described(sql: &str, params: serde_json::Value) -> Result<Job> {
        let task = task(sql, params);
        let request = Request::new(&Config::default(), &task, "p").unwrap();
        let handle =
            Handle { project: "p".into(), job: "oxidag-1".into(), location: request.location.clone() };
        job(&task, &request, &handle)
    }

    #[test]
    fn all_that_the_task_says_is_in_the_job() {
        let params =
            json!({"location": "EU", "dataset": "d", "priority": "batch", "maximum_bytes_billed": 5, "x": 1});
        let job = serde_json::to_value(described("select @x", params).unwrap()).unwrap();
        assert_eq!(job["jobReference"], json!({"projectId": "p", "jobId": "oxidag-1", "location": "EU"}));
        let query = &job["configuration"]["query"];
        assert_eq!(query["query"], "select @x");
        assert_eq!(query["useLegacySql"], false);
        assert_eq!(query["priority"], "BATCH");
        assert_eq!(query["maximumBytesBilled"], "5");
        assert_eq!(query["defaultDataset"], json!({"projectId": "p", "datasetId": "d"}));
        assert_eq!(query["queryParameters"][0]["parameterType"]["type"], "INT64");
        let labels = json!({"oxidag-dag": "d", "oxidag-task": "t", "oxidag-run": "r"});
        assert_eq!(job["configuration"]["labels"], labels);
    }

    #[test]
    fn an_empty_script_is_no_job() {
        insta::assert_snapshot!(described(" \n", json!({})).unwrap_err(), @"the script inline is empty");
    }
}
