//! What tells the cluster that is there from the one that a script asks for.

use google_cloud_dataproc_v1::model::ClusterConfig;
use serde_json::{Map, Value};

/// Left out: when a cluster goes away does not make it another one.
const LIFECYCLE: &str = "lifecycleConfig";

/// Groups whose sizes are not compared where a policy sets them.
const SCALED: [&str; 2] = ["workerConfig", "secondaryWorkerConfig"];

/// Each thing that is asked for and is otherwise; what is not asked for may be anything. Lists of names (tags, scopes,
/// components) have no order, and Google adds to them.
pub(crate) fn differences(asked: &ClusterConfig, there: &ClusterConfig) -> Vec<String> {
    let (Ok(mut asked), Ok(there)) = (serde_json::to_value(asked), serde_json::to_value(there)) else {
        return vec!["the configs cannot be compared".to_owned()];
    };
    if let Some(asked) = asked.as_object_mut() {
        asked.remove(LIFECYCLE);
        if asked.contains_key("autoscalingConfig") {
            for group in SCALED {
                asked.get_mut(group).and_then(Value::as_object_mut).map(|group| group.remove("numInstances"));
            }
        }
    }
    let mut found = Vec::new();
    compare("", &asked, &there, &mut found);
    found
}

fn compare(path: &str, asked: &Value, there: &Value, found: &mut Vec<String>) {
    let nothing = Map::new();
    match asked {
        Value::Object(entries) => {
            let others = there.as_object().unwrap_or(&nothing);
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, value, others.get(key).unwrap_or(&Value::Null), found);
            }
        }
        Value::Array(items) => {
            let others = there.as_array().map(Vec::as_slice).unwrap_or_default();
            if items.iter().all(Value::is_string) {
                let absent = items.iter().filter(|item| !others.iter().any(|other| same(path, item, other)));
                found.extend(absent.map(|item| format!("`{path}` has no {}", shown(item))));
                return;
            }
            if items.len() != others.len() {
                found.push(format!("`{path}` has {} entries, asked for {}", others.len(), items.len()));
                return;
            }
            for (index, (item, other)) in items.iter().zip(others).enumerate() {
                compare(&format!("{path}[{index}]"), item, other, found);
            }
        }
        _ if same(path, asked, there) => {}
        _ => found.push(format!("`{path}` is {}, asked for {}", shown(there), shown(asked))),
    }
}

fn same(path: &str, asked: &Value, there: &Value) -> bool {
    if asked == there {
        return true;
    }
    match (asked, there) {
        (Value::String(asked), Value::String(there)) if path.ends_with("imageVersion") => {
            is_image(asked, there)
        }
        (Value::String(asked), Value::String(there)) => is_short_for(asked, there),
        // What has no value is not sent.
        (asked, Value::Null) => {
            matches!(asked, Value::Bool(false)) || asked.as_i64() == Some(0) || asked.as_str() == Some("")
        }
        _ => false,
    }
}

/// Whether `asked` is what a resource is called for short: `custom-1-4096` for `https://…/machineTypes/custom-1-4096`.
fn is_short_for(asked: &str, there: &str) -> bool {
    let parts = |text: &str| text.rsplit('/').map(str::to_owned).collect::<Vec<_>>();
    let (asked, there) = (parts(asked), parts(there));
    asked.len() < there.len() && there.starts_with(&asked)
}

/// Whether an image is one of the version asked for, which may leave out its patch level and system: `2.2` and
/// `2.2-debian12` are answered with `2.2.31-debian12`.
fn is_image(asked: &str, there: &str) -> bool {
    let split = |version: &str| {
        let (number, system) = version.split_once('-').unwrap_or((version, ""));
        (number.split('.').map(str::to_owned).collect::<Vec<_>>(), system.to_owned())
    };
    let ((asked, system), (there, other)) = (split(asked), split(there));
    there.starts_with(&asked) && (system.is_empty() || system == other)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(asked: Value, there: Value) -> Vec<String> {
        let config = |json| serde_json::from_value::<ClusterConfig>(json).unwrap();
        differences(&config(asked), &config(there))
    }

    #[test]
    fn what_google_adds_and_how_it_spells_things_is_no_difference() {
        let asked = json!({
            "worker_config": {"num_instances": 2, "machine_type_uri": "custom-1-4096"},
            "software_config": {"image_version": "1.5-debian10", "properties": {"spark:a": "1"}},
            "gce_cluster_config": {
                "zone_uri": "us-central1-a", "internal_ip_only": false, "tags": ["b", "a"],
                "service_account_scopes": ["https://www.googleapis.com/auth/pubsub"],
            },
            "lifecycle_config": {"idle_delete_ttl": "1800s"},
        });
        let there = json!({
            "config_bucket": "made",
            "worker_config": {
                "num_instances": 2, "preemptibility": "NON_PREEMPTIBLE",
                "machine_type_uri": "https://compute/v1/projects/p/zones/us-central1-a/machineTypes/custom-1-4096",
            },
            "software_config": {"image_version": "1.5.90-debian10", "properties": {"spark:a": "1", "spark:b": "2"}},
            "gce_cluster_config": {
                "zone_uri": "https://compute/v1/projects/p/zones/us-central1-a", "tags": ["a", "b"],
                "service_account_scopes": [
                    "https://www.googleapis.com/auth/logging.write", "https://www.googleapis.com/auth/pubsub",
                ],
            },
        });
        assert_eq!(told(asked, there), [""; 0]);
    }

    #[test]
    fn each_difference_is_told() {
        let asked = json!({
            "master_config": {"num_instances": 1, "machine_type_uri": "n1-standard-4"},
            "worker_config": {"num_instances": 2},
            "software_config": {"image_version": "2.2", "properties": {"spark:a": "1"}},
            "initialization_actions": [{"executable_file": "gs://b/i"}],
            "gce_cluster_config": {"tags": ["a", "b"]},
        });
        let there = json!({
            "master_config": {"num_instances": 1, "machine_type_uri": "https://x/machineTypes/n2-standard-4"},
            "worker_config": {"num_instances": 5},
            "software_config": {"image_version": "2.20.1-debian12"},
            "gce_cluster_config": {"tags": ["a"]},
        });
        insta::assert_snapshot!(told(asked, there).join("\n"), @r#"
        `gceClusterConfig.tags` has no `b`
        `initializationActions` has 0 entries, asked for 1
        `masterConfig.machineTypeUri` is `https://x/machineTypes/n2-standard-4`, asked for `n1-standard-4`
        `softwareConfig.imageVersion` is `2.20.1-debian12`, asked for `2.2`
        `softwareConfig.properties.spark:a` is not set, asked for `1`
        `workerConfig.numInstances` is 5, asked for 2
        "#);
    }

    #[test]
    fn a_policy_sets_how_many_workers_there_are() {
        let asked = json!({"worker_config": {"num_instances": 2}, "autoscaling_config": {"policy_uri": "p"}});
        let there =
            json!({"worker_config": {"num_instances": 9}, "autoscaling_config": {"policy_uri": "x/p"}});
        assert_eq!(told(asked, there), [""; 0]);
    }
}
