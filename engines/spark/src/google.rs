//! What backends share, those of Dataproc above all: the place, the clients, the script's copy.

use std::sync::Arc;

use google_cloud_dataproc_v1::client::{BatchController, ClusterController, JobController};
use google_cloud_gax::error::Error as Gax;
use google_cloud_storage::client::Storage;
use oxidag_google::{Account, Bucket, Clients, MASK, connected, text_param};
use oxidag_plugin_api::{Error, Result, Task};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::source::{Placed, Source};
use crate::work::Work;

/// What Dataproc reads scripts from.
const READS: [&str; 2] = ["gs://", "hdfs://"];

/// The engine's clients, shared by its tasks.
#[derive(Default)]
pub(crate) struct Shared {
    jobs: Clients<JobController>,
    batches: Clients<BatchController>,
    clusters: Clients<ClusterController>,
    storage: Clients<Arc<Storage>>,
    livy: OnceCell<reqwest::Client>,
}

/// Where the task's job is, as an earlier scheduler stored it. The host masks what is the same as a secret: a place
/// with a part masked is none, and the job is looked for where the config says.
pub(crate) fn stored<H: DeserializeOwned>(task: &Task) -> Option<H> {
    let whole = task.checkpoint.as_ref().filter(|stored| !stored.to_string().contains(MASK));
    whole.and_then(|stored| H::deserialize(stored).ok())
}

/// Whether an earlier scheduler stored that the service has had the task's job; that is known of a masked place, too.
pub(crate) fn was_submitted(task: &Task) -> bool {
    task.checkpoint.as_ref().is_some_and(|stored| stored["submitted"] == true)
}

/// Where a job is: what its checkpoint holds, so that it is found again though the config has changed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) project: String,
    pub(crate) region: String,
}

impl Place {
    /// Where a new job goes.
    ///
    /// # Errors
    ///
    /// When the project or region is missing.
    pub(crate) fn of(task: &Task, config: &Config) -> Result<Self> {
        let project = config.google.project(task)?.to_owned();
        let region = text_param(task, "region")?.or(config.region.as_deref()).ok_or_else(|| {
            Error::invalid("no region: set `region` in the engine's config or the task's parameters")
        })?;
        for (what, name) in [("project", &*project), ("region", region)] {
            // Either becomes a part of paths, the region of the host's name too.
            let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
            if name.is_empty() || !name.chars().all(valid) {
                return Err(Error::invalid(format!("`{name}` is the name of no {what}: correct it")));
            }
        }
        Ok(Self { project, region: region.to_owned() })
    }

    /// The region's endpoint, unless another one is configured: Dataproc's global one knows no regions' clusters.
    fn endpoint(&self, config: &Config) -> String {
        let regional = || format!("https://{}-dataproc.googleapis.com", self.region);
        config.google.endpoint.clone().unwrap_or_else(regional)
    }
}

impl Shared {
    /// A client for jobs.
    ///
    /// # Errors
    ///
    /// When the credentials cannot be used.
    pub(crate) async fn jobs(
        &self,
        account: &Account,
        place: &Place,
        config: &Config,
    ) -> Result<JobController> {
        let endpoint = place.endpoint(config);
        let build = async |credentials| {
            connected(JobController::builder(), credentials, Some(&endpoint)).build().await
        };
        self.jobs.get(account, &endpoint, build).await
    }

    /// A client for batches.
    ///
    /// # Errors
    ///
    /// When the credentials cannot be used.
    pub(crate) async fn batches(
        &self,
        account: &Account,
        place: &Place,
        config: &Config,
    ) -> Result<BatchController> {
        let endpoint = place.endpoint(config);
        let build = async |credentials| {
            connected(BatchController::builder(), credentials, Some(&endpoint)).build().await
        };
        self.batches.get(account, &endpoint, build).await
    }

    /// A client for clusters.
    ///
    /// # Errors
    ///
    /// When the credentials cannot be used.
    pub(crate) async fn clusters(
        &self,
        account: &Account,
        place: &Place,
        config: &Config,
    ) -> Result<ClusterController> {
        let endpoint = place.endpoint(config);
        let build = async |credentials| {
            connected(ClusterController::builder(), credentials, Some(&endpoint)).build().await
        };
        self.clusters.get(account, &endpoint, build).await
    }

    /// A client for Livy.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) async fn livy(&self) -> Result<reqwest::Client> {
        self.livy.get_or_try_init(async || crate::livy_http::client()).await.cloned()
    }

    /// Cloud Storage.
    ///
    /// # Errors
    ///
    /// When the credentials cannot be used.
    pub(crate) async fn storage(&self, account: &Account, config: &Config) -> Result<Bucket> {
        Bucket::open(&self.storage, account, config.storage_endpoint.as_deref()).await
    }
}

/// Where a service reads the task's script; nothing is copied yet.
///
/// # Errors
///
/// When it cannot read it anywhere.
pub(crate) fn placed(task: &Task, work: &Work, config: &Config) -> Result<Placed> {
    let source = Source::of(task, work.kind)?;
    source.placed(task, work.kind, "Dataproc", &READS, config.staging.as_deref())
}

/// Copies the script to where the service reads it, if it does not lie there.
///
/// # Errors
///
/// When it cannot be read or written.
pub(crate) async fn copy(script: &Placed, bucket: &Bucket) -> Result<()> {
    if let Some((place, source)) = &script.copy {
        bucket.write(place, source.content().await?.into()).await?;
    }
    Ok(())
}

/// Whether the service says that there is no such thing.
pub(crate) fn is_missing(error: &Gax) -> bool {
    is(error, 404, &google_cloud_gax::error::rpc::Code::NotFound)
}

/// Whether the service says that the id is taken.
pub(crate) fn is_taken(error: &Gax) -> bool {
    is(error, 409, &google_cloud_gax::error::rpc::Code::AlreadyExists)
}

fn is(error: &Gax, http: u16, code: &google_cloud_gax::error::rpc::Code) -> bool {
    match error.status() {
        Some(status) => status.code == *code,
        None => error.http_status_code() == Some(http),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::tests::{config, task};
    use serde_json::json;

    #[test]
    fn a_place_needs_a_project_and_a_region() {
        let place = |params, section| Place::of(&task(params), &config(section));
        let given =
            place(json!({"project_name": "p", "region": "us-central1"}), json!({"region": "x"})).unwrap();
        assert_eq!(given, Place { project: "p".to_owned(), region: "us-central1".to_owned() });
        assert_eq!(given.endpoint(&config(json!({}))), "https://us-central1-dataproc.googleapis.com");
        insta::assert_snapshot!(place(json!({"project": "p"}), json!({})).unwrap_err(), @"no region: set `region` in the engine's config or the task's parameters");
        insta::assert_snapshot!(place(json!({"project": "p", "region": "evil/x"}), json!({})).unwrap_err(), @"`evil/x` is the name of no region: correct it");
    }
}
