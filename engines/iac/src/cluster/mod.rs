//! `resource: dataproc_cluster`: clusters of Dataproc.
//!
//! An attempt looks at the cluster, decides by [`decide`], asks for an operation, waits for its end and looks again:
//! what an operation says of itself is never taken for the state of the cluster. After a crash it looks again, too.

mod calls;
mod decide;
mod differ;
mod patience;
mod place;
mod stop;
mod wanted;
mod work;

use google_cloud_dataproc_v1::client::ClusterController;
use oxidag_google::{Account, Clients, connected, text_param};
use oxidag_plugin_api::{Error, Host, Outcome, Result, Task};

use crate::config::Config;
use crate::script::{ClusterAction, ClusterScript};
use calls::Calls;
use decide::Goal;
use place::{Flight, Memory, Place};
use wanted::Maker;
use work::Work;

/// The clients of all attempts.
pub(crate) type Controllers = Clients<ClusterController>;

/// Where a script's cluster is.
///
/// # Errors
///
/// When the project or the region is not said anywhere.
pub(crate) fn place(config: &Config, task: &Task, script: &ClusterScript) -> Result<Place> {
    let project = match &script.project {
        Some(project) => project.clone(),
        None => config.google.project(task)?.to_owned(),
    };
    let region = match (&script.region, text_param(task, "region")?, &config.region) {
        (Some(region), ..) => region.clone(),
        (None, Some(region), _) => region.to_owned(),
        (None, None, Some(region)) => region.clone(),
        (None, None, None) => {
            return Err(Error::invalid(
                "no region: set `region` in the script, the task's parameters or the engine's config",
            ));
        }
    };
    Ok(Place { project, region, cluster: script.name.clone() })
}

/// Carries out a script.
///
/// # Errors
///
/// When the cluster does not get to where the script wants it.
pub(crate) async fn run(
    config: &Config,
    clients: &Controllers,
    task: &Task,
    host: Host,
    script: &ClusterScript,
) -> Result<Outcome> {
    wanted::refuse_secrets(task, &script.action)?;
    let memory = Memory::resume(task.checkpoint.as_ref(), place(config, task, script)?);
    let account = Account::of(task, &config.google)?;
    let endpoint = match &config.google.endpoint {
        Some(endpoint) => endpoint.clone(),
        None if memory.place.region == "global" => "https://dataproc.googleapis.com".to_owned(),
        None => format!("https://{}-dataproc.googleapis.com", memory.place.region),
    };
    let build = async |credentials| {
        connected(ClusterController::builder(), credentials, Some(&endpoint)).build().await
    };
    let client = clients.get(&account, &endpoint, build).await;
    let client = client.map_err(|error| out_of_reach(&memory, error, &host))?;
    let maker = Maker::new(task, config.environment.as_deref());
    let calls = Calls::new(client, memory.place.clone(), &task.idempotency_key);
    let wanted = maker.cluster(&memory.place, &script.action);
    let (goal, asked) = match &script.action {
        ClusterAction::Create { config, .. } => (Goal::Create, Some((**config).clone())),
        ClusterAction::Start => (Goal::Start, None),
        ClusterAction::Stop => (Goal::Stop, None),
        ClusterAction::Scale(sizes) => (Goal::Scale(*sizes), None),
        ClusterAction::Delete => (Goal::Delete, None),
    };
    let mut work = Work::new(host.clone(), calls, maker, goal, wanted, memory);
    work.asked = asked;
    work.store()?;
    let ended = tokio::select! {
        ended = work.converge() => ended,
        () = host.until_cancelled() => return work.stop().await,
    };
    match ended {
        Ok(outcome) => Ok(outcome),
        Err(error) => Err(work.give_up(error).await),
    }
}

/// The error, which goes on by saying that an operation begun before a crash is left alone.
fn out_of_reach(memory: &Memory, error: Error, host: &Host) -> Error {
    let Some(Flight { verb, id }) = &memory.flight else { return error };
    let Memory { place, .. } = memory;
    let said = format!(
        "operation {id} ({}) on {place} may go on and be billed: see to it at {}",
        verb.name(),
        place.link()
    );
    host.warn(&said);
    Error { message: format!("{}; {said}", error.message), ..error }
}
