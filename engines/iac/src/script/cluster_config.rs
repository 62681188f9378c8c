//! Dataproc's `ClusterConfig`, as Google's REST reference has it, read from a script.
//!
//! Google's model takes names in `snake_case` and in `camelCase`, and keeps what it does not know. Whether it knows
//! a key is found out by asking it: an unknown one comes out again as it went in.

use google_cloud_dataproc_v1::model::ClusterConfig;
use serde_json::{Value as Json, json};

use super::mistake::{Mistake, nearest};
use super::tree::{Node, Value};

/// The config, if nothing is wrong with it.
pub(crate) fn read(node: &Node, mistakes: &mut Vec<Mistake>) -> Option<ClusterConfig> {
    let before = mistakes.len();
    check(node, &mut Vec::new(), mistakes);
    if mistakes.len() > before {
        return None;
    }
    match parse(node.to_json()) {
        Ok(config) => Some(config),
        Err(why) => {
            mistakes.push(Mistake::new(node.place, format!("the config is not as Dataproc has it: {why}")));
            None
        }
    }
}

/// From the config to a value in it.
#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Item,
}

/// What the model says of a key.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Yes,
    No,
    /// What it stands in has no keys.
    NoMapping,
}

fn check(node: &Node, path: &mut Vec<Step>, mistakes: &mut Vec<Mistake>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                match known(path, &entry.key) {
                    Known::Yes => {
                        path.push(Step::Key(entry.key.clone()));
                        check(&entry.value, path, mistakes);
                        path.pop();
                    }
                    Known::No => mistakes.push(Mistake::new(entry.place, unknown(path, &entry.key))),
                    Known::NoMapping => {
                        mistakes.push(Mistake::new(node.place, misfit(path, node)));
                        return;
                    }
                }
            }
        }
        Value::List(items) => {
            path.push(Step::Item);
            for item in items {
                check(item, path, mistakes);
            }
            path.pop();
        }
        _ if parse(nested(path, node.to_json())).is_err() => {
            mistakes.push(Mistake::new(node.place, misfit(path, node)));
        }
        _ => {}
    }
}

fn known(path: &[Step], key: &str) -> Known {
    if parse(nested(path, json!({}))).is_err() {
        return Known::NoMapping;
    }
    match parse(nested(path, json!({key: null}))) {
        Ok(config) => match serde_json::to_value(config) {
            Ok(json) if has_null(&json) => Known::No,
            _ => Known::Yes,
        },
        // A mapping of names that are the user's own to values that must not be null.
        Err(_) => Known::Yes,
    }
}

fn unknown(path: &[Step], key: &str) -> String {
    let snake = snake_case(key);
    let candidates = FIELDS.iter().copied().filter(|field| known(path, field) == Known::Yes);
    let candidates: Vec<&str> = candidates.collect();
    let place = if path.is_empty() { "config".to_owned() } else { format!("config.{}", name(path)) };
    match nearest(&snake, candidates.iter().copied()) {
        Some(near) => format!("unknown key `{key}` in `{place}`; did you mean `{near}`?"),
        None => {
            format!("unknown key `{key}` in `{place}`; Dataproc knows there: `{}`", candidates.join("`, `"))
        }
    }
}

fn misfit(path: &[Step], node: &Node) -> String {
    let why = parse(nested(path, node.to_json())).err().unwrap_or_default();
    let quotes = match node.value {
        Value::Number(_) | Value::Bool(_) if why.contains("expected a string") => "; put it in quotes",
        _ => "",
    };
    format!("`config.{}` does not fit: {why}{quotes}", name(path))
}

fn name(path: &[Step]) -> String {
    let mut name = String::new();
    for step in path {
        match step {
            Step::Key(key) if name.is_empty() => name.push_str(key),
            Step::Key(key) => name.extend([".", key]),
            Step::Item => name.push_str("[]"),
        }
    }
    name
}

/// A config with nothing but this value, at this place in it.
fn nested(path: &[Step], value: Json) -> Json {
    path.iter().rev().fold(value, |inner, step| match step {
        Step::Key(key) => json!({key: inner}),
        Step::Item => json!([inner]),
    })
}

fn parse(config: Json) -> Result<ClusterConfig, String> {
    serde_json::from_value(config).map_err(|error| error.to_string())
}

fn has_null(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Array(items) => items.iter().any(has_null),
        Json::Object(entries) => entries.values().any(has_null),
        _ => false,
    }
}

fn snake_case(key: &str) -> String {
    let mut snake = String::new();
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// The fields of `ClusterConfig` and of all that stands in it, from Google's reference: what a misspelled key may
/// have meant. One that is missing here is still taken.
const FIELDS: [&str; 149] = [
    "accelerator_count",
    "accelerator_type",
    "accelerator_type_uri",
    "accelerators",
    "attached_disk_configs",
    "auto_delete_time",
    "auto_delete_ttl",
    "auto_stop_time",
    "auto_stop_ttl",
    "auto_zone_exclude_zone_uris",
    "autoscaling",
    "autoscaling_config",
    "auxiliary_node_groups",
    "boot_disk_kms_key",
    "boot_disk_provisioned_iops",
    "boot_disk_provisioned_throughput",
    "boot_disk_size_gb",
    "boot_disk_type",
    "cluster_namespace",
    "cluster_tier",
    "cluster_type",
    "confidential_instance_config",
    "confidential_instance_type",
    "config",
    "config_bucket",
    "consume_reservation_type",
    "core_count",
    "cross_realm_trust_admin_server",
    "cross_realm_trust_kdc",
    "cross_realm_trust_realm",
    "cross_realm_trust_shared_password_uri",
    "dataproc_metastore_service",
    "dataproc_metric_config",
    "diagnostic_bucket",
    "disk_config",
    "disk_size_gb",
    "disk_type",
    "enable_confidential_compute",
    "enable_http_port_access",
    "enable_integrity_monitoring",
    "enable_kerberos",
    "enable_secure_boot",
    "enable_ssh",
    "enable_vtpm",
    "encryption_config",
    "endpoint_config",
    "engine",
    "executable_file",
    "execution_timeout",
    "gce_cluster_config",
    "gce_pd_kms_key_name",
    "gke_cluster_config",
    "gke_cluster_target",
    "gpu_partition_size",
    "hardware_class",
    "identity_config",
    "idle_delete_ttl",
    "idle_stop_ttl",
    "image_uri",
    "image_version",
    "initialization_actions",
    "instance_flexibility_policy",
    "instance_selection_list",
    "internal_ip_only",
    "kdc_db_key_uri",
    "kerberos_config",
    "key",
    "key_password_uri",
    "keystore_password_uri",
    "keystore_uri",
    "kms_key",
    "kms_key_uri",
    "labels",
    "lifecycle_config",
    "local_ssd_count",
    "local_ssd_interface",
    "locations",
    "machine_type",
    "machine_type_uri",
    "machine_types",
    "master_config",
    "master_flexible_config",
    "max_node_count",
    "metadata",
    "metastore_config",
    "metric_overrides",
    "metric_source",
    "metrics",
    "min_cpu_platform",
    "min_node_count",
    "min_num_instances",
    "multi_zone_config",
    "name",
    "namespaced_gke_deployment_target",
    "network_uri",
    "node_group",
    "node_group_affinity",
    "node_group_config",
    "node_group_id",
    "node_group_uri",
    "node_pool",
    "node_pool_config",
    "node_pool_target",
    "num_instances",
    "num_local_ssds",
    "optional_components",
    "policy_uri",
    "preemptibility",
    "preemptible",
    "private_ipv6_google_access",
    "properties",
    "provisioned_iops",
    "provisioned_throughput",
    "provisioning_model_mix",
    "rank",
    "realm",
    "requested_run_duration",
    "required_registration_fraction",
    "reservation_affinity",
    "resource_manager_tags",
    "roles",
    "root_principal_password_uri",
    "scheduling_config",
    "scheduling_timeout",
    "secondary_worker_config",
    "secondary_worker_flexible_config",
    "security_config",
    "service_account",
    "service_account_scopes",
    "shielded_instance_config",
    "software_config",
    "spot",
    "standard_capacity_base",
    "standard_capacity_percent_above_base",
    "startup_config",
    "subnetwork_uri",
    "tags",
    "target_gke_cluster",
    "target_shape",
    "temp_bucket",
    "tgt_lifetime_hours",
    "truststore_password_uri",
    "truststore_uri",
    "type",
    "user_service_account_mapping",
    "values",
    "worker_config",
    "worker_flexible_config",
    "zone_uri",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let mut mistakes = Vec::new();
        let config = read(&Node::parse(text).unwrap(), &mut mistakes);
        assert_eq!(config.is_some(), mistakes.is_empty());
        let told = |mistake: &Mistake| {
            format!("{}:{} {}", mistake.place.line, mistake.place.column, mistake.message)
        };
        mistakes.iter().map(told).collect()
    }

    #[test]
    fn both_spellings_are_taken_and_mean_the_same() {
        let mut mistakes = Vec::new();
        let mut config = |text| read(&Node::parse(text).unwrap(), &mut mistakes).unwrap();
        let snake = config("worker_config: {num_instances: 2, disk_config: {boot_disk_size_gb: 100}}\n");
        let camel = config("workerConfig: {numInstances: 2, diskConfig: {bootDiskSizeGb: 100}}\n");
        assert_eq!(snake, camel);
        assert_eq!(snake.worker_config.unwrap().num_instances, 2);
    }

    #[test]
    fn names_of_the_users_own_and_alternatives_are_known() {
        assert_eq!(
            told(concat!(
                "software_config: {properties: {'spark:spark.executor.memory': 2g}}\n",
                "gce_cluster_config: {metadata: {anything: goes}, tags: [a, b]}\n",
                "lifecycle_config: {auto_delete_ttl: 3600s}\n",
                "initialization_actions: [{executable_file: 'gs://b/i.sh', execution_timeout: 500s}]\n",
            )),
            [""; 0]
        );
    }

    #[test]
    fn an_unknown_key_is_told_with_its_place_and_the_nearest_one() {
        let mistakes = told(concat!(
            "master_config:\n",
            "  num_instanses: 1\n",
            "  diskConfig:\n",
            "    bootDiskSizeGB: 100\n",
            "initialization_actions:\n",
            "  - executable_file: a\n",
            "  - file: b\n",
            "wrker_config: {}\n",
        ));
        insta::assert_snapshot!(mistakes.join("\n"), @r#"
        2:3 unknown key `num_instanses` in `config.master_config`; did you mean `num_instances`?
        4:5 unknown key `bootDiskSizeGB` in `config.master_config.diskConfig`; did you mean `boot_disk_size_gb`?
        7:5 unknown key `file` in `config.initialization_actions[]`; Dataproc knows there: `executable_file`, `execution_timeout`
        8:1 unknown key `wrker_config` in `config`; did you mean `worker_config`?
        "#);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_with_its_place() {
        let mistakes = told(concat!(
            "software_config:\n",
            "  image_version: 2.2\n",
            "worker_config: 2\n",
            "master_config:\n",
            "  num_instances: many\n",
            "config_bucket: {a: 1}\n",
        ));
        insta::assert_snapshot!(mistakes.join("\n"), @r#"
        2:18 `config.software_config.image_version` does not fit: invalid type: floating point `2.2`, expected a string; put it in quotes
        3:16 `config.worker_config` does not fit: invalid type: integer `2`, expected struct InstanceGroupConfig
        5:18 `config.master_config.num_instances` does not fit: invalid float literal
        6:16 `config.config_bucket` does not fit: invalid type: map, expected a string
        "#);
    }

    #[test]
    fn each_name_that_may_be_suggested_is_written_as_such_names_are() {
        assert!(FIELDS.iter().all(|field| snake_case(field) == *field && !field.contains(' ')));
        assert!(FIELDS.is_sorted(), "so that none stands twice unseen");
    }
}
