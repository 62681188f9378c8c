//! A script about a Dataproc cluster.

use std::collections::HashMap;
use std::time::Duration;

use google_cloud_dataproc_v1::model::ClusterConfig;

use super::cluster_config;
use super::fields::{Fields, duration};
use super::tree::{Place, Value};

/// What a script wants of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClusterScript {
    pub(crate) project: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) name: String,
    pub(crate) action: ClusterAction,
}

/// What is to be done with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ClusterAction {
    Create { config: Box<ClusterConfig>, idle: Idle, labels: HashMap<String, String> },
    Start,
    Stop,
    Scale(Sizes),
    Delete,
}

/// When a cluster that has nothing to do is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// As its `lifecycle_config` says, else after a while.
    Unsaid,
    After(Duration),
    Never,
}

/// How many workers there shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) workers: Option<i32>,
    pub(crate) secondary_workers: Option<i32>,
    /// How long a worker that goes may finish what it does.
    pub(crate) graceful: Option<Duration>,
}

const ACTIONS: [&str; 5] = ["create", "start", "stop", "scale", "delete"];

/// What Dataproc allows.
const IDLE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5 * 60)..=Duration::from_secs(14 * 24 * 60 * 60);

const OF_CREATE: [(&str, &str); 3] =
    [("config", "`action: create`"), ("idle_delete_ttl", "`action: create`"), ("labels", "`action: create`")];

const OF_SCALE: [(&str, &str); 3] = [
    ("workers", "`action: scale`"),
    ("secondary_workers", "`action: scale`"),
    ("graceful_decommission_timeout", "`action: scale`"),
];

/// Reads what follows `resource`.
pub(super) fn read(mut fields: Fields<'_>) -> Option<ClusterScript> {
    let action = fields.one_of("action", &ACTIONS);
    let project = fields.text("project").map(str::to_owned);
    let region = fields.text("region").map(str::to_owned);
    let name = fields.required("name", "the cluster's name").map(str::to_owned);
    let (action, elsewhere) = match action? {
        "create" => (create(&mut fields), OF_SCALE.to_vec()),
        "scale" => (scale(&mut fields), OF_CREATE.to_vec()),
        "start" => (Some(ClusterAction::Start), [OF_CREATE, OF_SCALE].concat()),
        "stop" => (Some(ClusterAction::Stop), [OF_CREATE, OF_SCALE].concat()),
        _ => (Some(ClusterAction::Delete), [OF_CREATE, OF_SCALE].concat()),
    };
    fields.finish(&elsewhere);
    Some(ClusterScript { project, region, name: name?, action: action? })
}

fn create(fields: &mut Fields<'_>) -> Option<ClusterAction> {
    let labels = labels(fields);
    let idle = idle(fields);
    let config = match fields.take("config") {
        Some(node) => cluster_config::read(node, fields.mistakes()).map(|config| (config, node.place)),
        None => Some((ClusterConfig::default(), Place::default())),
    };
    let (config, place) = config?;
    let twice = config.lifecycle_config.as_ref().is_some_and(|config| config.idle_delete_ttl.is_some());
    if twice && idle != Idle::Unsaid {
        fields.wrong(
            place,
            "`config.lifecycle_config` has an `idle_delete_ttl`, and so has the script: leave one",
        );
    }
    Some(ClusterAction::Create { config: Box::new(config), idle, labels })
}

fn labels(fields: &mut Fields<'_>) -> HashMap<String, String> {
    let mut labels = HashMap::new();
    for (key, node) in fields.map("labels") {
        match &node.value {
            Value::Text(text) => {
                labels.insert(key.to_owned(), text.clone());
            }
            _ => fields.wrong(node.place, format!("the label `{key}` must be text: put it in quotes")),
        }
    }
    labels
}

fn idle(fields: &mut Fields<'_>) -> Idle {
    let Some(node) = fields.take("idle_delete_ttl") else { return Idle::Unsaid };
    if matches!(&node.value, Value::Text(text) if text == "never") {
        return Idle::Never;
    }
    match duration(node).filter(|idle| IDLE.contains(idle)) {
        Some(after) => Idle::After(after),
        None => {
            let wanted = "`idle_delete_ttl` must be from 5m to 14d, or `never`";
            fields.wrong(node.place, wanted);
            Idle::Unsaid
        }
    }
}

fn scale(fields: &mut Fields<'_>) -> Option<ClusterAction> {
    let workers = fields.count("workers");
    let secondary_workers = fields.count("secondary_workers");
    let graceful = fields.duration("graceful_decommission_timeout");
    if workers.is_none() && secondary_workers.is_none() {
        fields.missing("`workers` is missing: how many there shall be; or `secondary_workers`");
        return None;
    }
    Some(ClusterAction::Scale(Sizes { workers, secondary_workers, graceful }))
}
