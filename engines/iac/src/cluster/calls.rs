//! The calls of Dataproc that this engine makes; nothing is decided here.

use google_cloud_dataproc_v1::client::ClusterController;
use google_cloud_dataproc_v1::model::{
    Cluster, ClusterOperationMetadata, DiagnoseClusterResults, InstanceGroupConfig,
};
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_longrunning::model::Operation;
use google_cloud_wkt::FieldMask;

use super::place::{Place, Verb};
use crate::script::Sizes;

type Result<T> = google_cloud_gax::Result<T>;

/// The longest id of a request that Dataproc allows.
const REQUEST_ID: usize = 40;

/// How many operations come in one answer.
const PAGE: i32 = 500;

/// The calls, for one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    client: ClusterController,
    place: Place,
    /// What the ids of requests are made from; the same for the same attempt.
    key: String,
}

impl Calls {
    pub(crate) fn new(client: ClusterController, place: Place, idempotency_key: &str) -> Self {
        let key = idempotency_key.trim_start_matches("oxidag-").to_owned();
        Self { client, place, key }
    }

    /// By which Dataproc recognises a request that is sent again: `create-` and 32 digits.
    fn request_id(&self, verb: Verb) -> String {
        let mut id = format!("{}-{}", verb.name(), self.key);
        id.truncate(REQUEST_ID);
        id
    }

    /// The same for the deletion of this very cluster: an attempt may delete one, make another, and delete that.
    fn delete_id(&self, uuid: &str) -> String {
        let part = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).take(16).collect::<String>();
        format!("delete-{}-{}", part(&self.key), part(uuid))
    }

    pub(crate) async fn look(self) -> Result<Cluster> {
        let Place { project, region, cluster } = &self.place;
        let call =
            self.client.get_cluster().set_project_id(project).set_region(region).set_cluster_name(cluster);
        call.with_idempotency(true).send().await
    }

    pub(crate) async fn operation(self, id: String) -> Result<Operation> {
        let name = self.place.operation(&id);
        self.client.get_operation().set_name(name).with_idempotency(true).send().await
    }

    pub(crate) async fn cancel(self, id: String) -> Result<()> {
        let name = self.place.operation(&id);
        self.client.cancel_operation().set_name(name).with_idempotency(true).send().await
    }

    /// A page of the region's operations, and the next one's token.
    pub(crate) async fn operations(self, token: String) -> Result<(Vec<Operation>, String)> {
        let call = self.client.list_operations().set_name(self.place.operations()).set_page_size(PAGE);
        let page = call.set_page_token(token).with_idempotency(true).send().await?;
        Ok((page.operations, page.next_page_token))
    }

    pub(crate) async fn create(self, cluster: Cluster) -> Result<Operation> {
        let call = self.client.create_cluster().set_project_id(&self.place.project);
        let call = call.set_region(&self.place.region).set_cluster(cluster);
        call.set_request_id(self.request_id(Verb::Create)).with_idempotency(true).send().await
    }

    pub(crate) async fn start(self, uuid: String) -> Result<Operation> {
        let Place { project, region, cluster } = &self.place;
        let call = self.client.start_cluster().set_project_id(project).set_region(region);
        let call = call.set_cluster_name(cluster).set_cluster_uuid(uuid);
        call.set_request_id(self.request_id(Verb::Start)).with_idempotency(true).send().await
    }

    pub(crate) async fn stop(self, uuid: String) -> Result<Operation> {
        let Place { project, region, cluster } = &self.place;
        let call = self.client.stop_cluster().set_project_id(project).set_region(region);
        let call = call.set_cluster_name(cluster).set_cluster_uuid(uuid);
        call.set_request_id(self.request_id(Verb::Stop)).with_idempotency(true).send().await
    }

    pub(crate) async fn scale(self, sizes: Sizes) -> Result<Operation> {
        let Place { project, region, cluster } = &self.place;
        let mut config = google_cloud_dataproc_v1::model::ClusterConfig::new();
        let mut paths = Vec::new();
        let group = |number| InstanceGroupConfig::new().set_num_instances(number);
        if let Some(number) = sizes.workers {
            config = config.set_worker_config(group(number));
            paths.push("config.worker_config.num_instances");
        }
        if let Some(number) = sizes.secondary_workers {
            config = config.set_secondary_worker_config(group(number));
            paths.push("config.secondary_worker_config.num_instances");
        }
        let wanted = Cluster::new().set_project_id(project).set_cluster_name(cluster).set_config(config);
        let call = self.client.update_cluster().set_project_id(project).set_region(region);
        let call = call.set_cluster_name(cluster).set_cluster(wanted);
        let call = call.set_update_mask(FieldMask::default().set_paths(paths));
        let graceful = sizes.graceful.map(|wait| {
            google_cloud_wkt::Duration::clamp(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), 0)
        });
        let call = call.set_or_clear_graceful_decommission_timeout(graceful);
        call.set_request_id(self.request_id(Verb::Update)).with_idempotency(true).send().await
    }

    pub(crate) async fn diagnose(self) -> Result<Operation> {
        let Place { project, region, cluster } = &self.place;
        let call = self.client.diagnose_cluster().set_project_id(project).set_region(region);
        call.set_cluster_name(cluster).with_idempotency(true).send().await
    }

    pub(crate) async fn delete(self, uuid: String) -> Result<Operation> {
        let Place { project, region, cluster } = &self.place;
        let call = self.client.delete_cluster().set_project_id(project).set_region(region);
        let call = call.set_cluster_name(cluster).set_cluster_uuid(&uuid);
        call.set_request_id(self.delete_id(&uuid)).with_idempotency(true).send().await
    }
}

/// What Dataproc says of an operation on a cluster; `None` for one on something else.
pub(crate) fn metadata(operation: &Operation) -> Option<ClusterOperationMetadata> {
    operation.metadata.as_ref()?.to_msg().ok()
}

/// Where a diagnosis was put.
pub(crate) fn diagnosis(operation: &Operation) -> Option<String> {
    let results: DiagnoseClusterResults = operation.response()?.to_msg().ok()?;
    Some(results.output_uri).filter(|uri| !uri.is_empty())
}

/// The last part of an operation's name.
pub(crate) fn id(operation: &Operation) -> String {
    operation.name.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Whether an operation made a cluster of this name, and then when it last got on, and by whom.
pub(crate) fn creation(
    operation: &Operation,
    cluster: &str,
) -> Option<((i64, i32), ClusterOperationMetadata)> {
    let metadata = metadata(operation)?;
    let made = metadata.cluster_name == cluster && metadata.operation_type.eq_ignore_ascii_case("create");
    let when = metadata.status.as_ref().and_then(|status| status.state_start_time.as_ref());
    let when = when.map_or((0, 0), |when| (when.seconds(), when.nanos()));
    made.then_some((when, metadata))
}
