//! A dry run: what can be told of a task without running its job.

use std::time::Duration;

use oxidag_google::Account;
use oxidag_plugin_api::{Finding, Result, Severity, Task};

use crate::batch;
use crate::cluster::Handle;
use crate::config::{Backend, Config};
use crate::google::{self, Shared, is_missing};
use crate::source::Source;
use crate::work::Work;
use crate::{livy, local};

/// How long the cluster is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What would be wrong with the task.
///
/// # Errors
///
/// Invalid, where its parameters or the config are.
pub(crate) async fn findings(config: &Config, shared: &Shared, task: &Task) -> Result<Vec<Finding>> {
    let work = Work::of(task, config)?;
    match crate::backend(task, config)? {
        Backend::Dataproc => {
            let handle = Handle::of(task, config)?;
            google::placed(task, &work, config)?;
            cluster(&handle, config, shared, task).await
        }
        Backend::DataprocServerless => {
            batch::Handle::of(task, config)?;
            google::placed(task, &work, config)?;
            Ok(Vec::new())
        }
        Backend::Livy => {
            livy::url(config)?;
            livy::placed(task, &work, config)?;
            Ok(Vec::new())
        }
        Backend::SparkSubmit => {
            Source::of(task, work.kind)?;
            local::check(&work)?;
            local::program(&config.spark_submit.program)?;
            Ok(Vec::new())
        }
    }
}

/// Whether the cluster is there. If it is not, a task before this one may make it; if it cannot be asked for now, that
/// does not make the task wrong.
async fn cluster(handle: &Handle, config: &Config, shared: &Shared, task: &Task) -> Result<Vec<Finding>> {
    let account = Account::of(task, &config.google)?;
    let client = match shared.clusters(&account, &handle.place, config).await {
        Ok(client) => client,
        Err(error) => {
            return Ok(vec![warning(format!("the cluster was not looked for: {}", error.message))]);
        }
    };
    let get = client.get_cluster().set_project_id(&handle.place.project).set_region(&handle.place.region);
    let looked = tokio::time::timeout(PATIENCE, get.set_cluster_name(&handle.cluster).send()).await;
    let Ok(found) = looked else {
        return Ok(vec![warning("the cluster was not looked for: Dataproc does not answer".to_owned())]);
    };
    Ok(match found {
        Ok(_) => Vec::new(),
        Err(error) if is_missing(&error) => vec![warning(format!(
            "there is no cluster {} in {} of the project {}: unless a task before this one makes it, the job \
             cannot be submitted",
            handle.cluster, handle.place.region, handle.place.project
        ))],
        Err(error) => {
            vec![warning(oxidag_google::from_gax("the cluster was not looked for", &error).message)]
        }
    })
}

fn warning(message: String) -> Finding {
    Finding { severity: Severity::Warning, message, line: None, column: None }
}
