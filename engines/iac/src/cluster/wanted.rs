//! The cluster that a script asks for, as it is sent to Dataproc.

use std::collections::HashMap;
use std::time::Duration;

use google_cloud_dataproc_v1::model::{Cluster, ClusterConfig, LifecycleConfig};
use oxidag_google::{label_value, labels};
use oxidag_plugin_api::{Error, Result, Task};
use serde_json::Value;

use super::decide::Seen;
use super::differ::differences;
use super::place::Place;
use crate::script::{ClusterAction, Idle};

/// Says of a cluster which attempt made it.
const ATTEMPT: &str = "oxidag-attempt";
/// Says in which environment, where the engine's config names one.
const ENVIRONMENT: &str = "oxidag-environment";

/// A cluster that nothing runs on goes away, unless the script says otherwise.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// Shorter values of connections are found by chance.
const SHORTEST_SECRET: usize = 6;

/// What makes clusters of one attempt, and what recognises them.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    labels: HashMap<String, String>,
    environment: Option<String>,
}

impl Maker {
    pub(crate) fn new(task: &Task, environment: Option<&str>) -> Self {
        let mut labels = labels(task);
        labels.insert(ATTEMPT.to_owned(), label_value(&task.idempotency_key));
        let environment = environment.map(label_value);
        if let Some(environment) = &environment {
            labels.insert(ENVIRONMENT.to_owned(), environment.clone());
        }
        Self { labels, environment }
    }

    /// Whether this attempt made what has these labels.
    pub(crate) fn is_mine(&self, labels: &HashMap<String, String>) -> bool {
        labels.get(ATTEMPT) == self.labels.get(ATTEMPT)
    }

    /// Whether this DAG made it, in this environment.
    pub(crate) fn is_ours(&self, labels: &HashMap<String, String>) -> bool {
        const DAG: &str = "oxidag-dag";
        labels.get(DAG) == self.labels.get(DAG) && labels.get(ENVIRONMENT) == self.environment.as_ref()
    }

    /// A cluster, and what is to be thought of it.
    pub(crate) fn seen(&self, cluster: Cluster, asked: Option<&ClusterConfig>) -> Seen {
        let there = cluster.config.clone().unwrap_or_default();
        let mine = self.is_mine(&cluster.labels);
        // Whatever Dataproc has made of it: it is what this attempt has asked for.
        let asked = asked.filter(|_| !mine);
        Seen {
            mine,
            ours: self.is_ours(&cluster.labels),
            differences: asked.map(|asked| differences(asked, &there)).unwrap_or_default(),
            cluster,
        }
    }

    /// The cluster to be made.
    pub(crate) fn cluster(&self, place: &Place, action: &ClusterAction) -> Cluster {
        let (config, labels) = match action {
            ClusterAction::Create { config, idle, labels } => (with_idle(config, *idle), labels.clone()),
            _ => (ClusterConfig::default(), HashMap::new()),
        };
        let mut all = labels;
        all.extend(self.labels.clone());
        Cluster::new()
            .set_project_id(&place.project)
            .set_cluster_name(&place.cluster)
            .set_labels(all)
            .set_config(config)
    }
}

/// The config with the time after which the cluster goes away when it is idle.
fn with_idle(config: &ClusterConfig, idle: Idle) -> ClusterConfig {
    let said = config.lifecycle_config.clone();
    let has_own = said.as_ref().is_some_and(|said| said.idle_delete_ttl.is_some());
    let after = match idle {
        Idle::Never => return config.clone(),
        Idle::Unsaid if has_own => return config.clone(),
        Idle::Unsaid => IDLE,
        Idle::After(after) => after,
    };
    let after = google_cloud_wkt::Duration::clamp(i64::try_from(after.as_secs()).unwrap_or(i64::MAX), 0);
    let lifecycle: LifecycleConfig = said.unwrap_or_default().set_idle_delete_ttl(after);
    config.clone().set_lifecycle_config(lifecycle)
}

/// Refuses a config that has the value of a connection in it: whoever may look at the cluster would read it.
pub(crate) fn refuse_secrets(task: &Task, action: &ClusterAction) -> Result<()> {
    let ClusterAction::Create { config, labels, .. } = action else { return Ok(()) };
    let config = serde_json::to_value(config).unwrap_or_default();
    for name in &task.connections {
        let secret = match task.params.get(name) {
            Some(Value::String(secret)) => secret.trim(),
            _ => continue,
        };
        let long = secret.len() >= SHORTEST_SECRET;
        if long && (has(&config, secret) || labels.values().any(|label| label.contains(secret))) {
            return Err(Error::invalid(format!(
                "the script puts the connection `**{name}` into the cluster's config, where whoever may look at the \
                 cluster reads it; keep it in Secret Manager, and let the cluster fetch it there"
            )));
        }
    }
    Ok(())
}

fn has(json: &Value, secret: &str) -> bool {
    match json {
        Value::String(text) => text.contains(secret),
        Value::Array(items) => items.iter().any(|item| has(item, secret)),
        Value::Object(entries) => entries.values().any(|item| has(item, secret)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task() -> Task {
        serde_json::from_value(json!({
            "dag_id": "My DAG", "run_id": "r", "task_id": "t", "attempt": 1,
            "idempotency_key": "oxidag-00112233445566778899aabbccddeeff",
            "script": {"text": "", "name": "inline"}, "working_dir": "/",
            "params": {"DB_password": "s3cret-pass"}, "connections": ["DB_password"],
        }))
        .unwrap()
    }

    fn create(config: Value, idle: Idle) -> ClusterAction {
        let config = Box::new(serde_json::from_value(config).unwrap());
        ClusterAction::Create { config, idle, labels: [("team".to_owned(), "data".to_owned())].into() }
    }

    fn idle(config: Value, idle: Idle) -> Value {
        let place = Place { project: "p".to_owned(), region: "r".to_owned(), cluster: "c".to_owned() };
        let cluster = Maker::new(&task(), None).cluster(&place, &create(config, idle));
        serde_json::to_value(cluster).unwrap()["config"]["lifecycleConfig"].clone()
    }

    #[test]
    fn an_idle_cluster_goes_away_unless_told_otherwise() {
        assert_eq!(idle(json!({}), Idle::Unsaid), json!({"idleDeleteTtl": "1800s"}));
        assert_eq!(idle(json!({}), Idle::After(Duration::from_secs(600))), json!({"idleDeleteTtl": "600s"}));
        assert_eq!(idle(json!({}), Idle::Never), Value::Null);
        let own = json!({"lifecycle_config": {"idle_delete_ttl": "900s"}});
        assert_eq!(idle(own, Idle::Unsaid), json!({"idleDeleteTtl": "900s"}));
        let age = json!({"lifecycle_config": {"auto_delete_ttl": "7200s"}});
        assert_eq!(idle(age, Idle::Unsaid), json!({"idleDeleteTtl": "1800s", "autoDeleteTtl": "7200s"}));
    }

    #[test]
    fn labels_say_which_attempt_dag_and_environment_made_a_cluster() {
        let place = Place { project: "p".to_owned(), region: "r".to_owned(), cluster: "c".to_owned() };
        let maker = Maker::new(&task(), Some("Prod"));
        let made = maker.cluster(&place, &create(json!({}), Idle::Unsaid)).labels;
        let sorted: std::collections::BTreeMap<_, _> = made.iter().collect();
        insta::assert_snapshot!(json!(sorted), @r#"{"oxidag-attempt":"oxidag-00112233445566778899aabbccddeeff","oxidag-dag":"my_dag","oxidag-environment":"prod","oxidag-run":"r","oxidag-task":"t","team":"data"}"#);
        assert!(maker.is_mine(&made) && maker.is_ours(&made));
        let mut other = task();
        other.idempotency_key = "oxidag-ff".to_owned();
        assert!(!Maker::new(&other, Some("Prod")).is_mine(&made));
        assert!(Maker::new(&other, Some("Prod")).is_ours(&made));
        assert!(!Maker::new(&task(), None).is_ours(&made), "another environment");
        other.dag_id = "another".to_owned();
        assert!(!Maker::new(&other, Some("Prod")).is_ours(&made));
        assert!(!maker.is_mine(&HashMap::new()) && !maker.is_ours(&HashMap::new()));
    }

    #[test]
    fn a_cluster_that_this_attempt_made_is_the_one_it_asked_for() {
        let place = Place { project: "p".to_owned(), region: "r".to_owned(), cluster: "c".to_owned() };
        let asked: ClusterConfig = serde_json::from_value(json!({"config_bucket": "b"})).unwrap();
        let maker = Maker::new(&task(), None);
        let made = maker.cluster(&place, &create(json!({}), Idle::Unsaid));
        assert_eq!(maker.seen(made.clone(), Some(&asked)).differences, [""; 0]);
        let another = Task { idempotency_key: "oxidag-ff".to_owned(), ..task() };
        assert_eq!(Maker::new(&another, None).seen(made, Some(&asked)).differences.len(), 1);
    }

    #[test]
    fn a_connection_does_not_get_into_a_clusters_config() {
        let metadata = |value| json!({"gce_cluster_config": {"metadata": {"password": value}}});
        let error = refuse_secrets(&task(), &create(metadata("x-s3cret-pass"), Idle::Unsaid)).unwrap_err();
        assert!(error.message.contains("`**DB_password`") && !error.message.contains("s3cret"), "{error}");
        assert_eq!(refuse_secrets(&task(), &create(metadata("harmless"), Idle::Unsaid)), Ok(()));
    }
}
