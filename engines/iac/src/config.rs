//! The engine's section of `plugins.toml`.

use std::path::PathBuf;

use oxidag_google::GoogleConfig;
use schemars::JsonSchema;
use serde::Deserialize;

/// What the engine can be configured with.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub(crate) google: GoogleConfig,
    /// The region of clusters, unless a script or a task's parameter names one.
    pub(crate) region: Option<String>,
    /// The environment's name. Clusters are labelled with it, so that the DAG of one environment does not take
    /// another's for its own.
    pub(crate) environment: Option<String>,
    /// Terraform's program: a name that is looked up on PATH, or a path. Without it: `terraform`, else `tofu`.
    pub(crate) program: Option<PathBuf>,
    /// Where modules are kept that a script has as text. Without it: `.oxidag-terraform` beside the DAG.
    pub(crate) modules: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_knows_all_keys_and_refuses_others() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_eq!(schema["additionalProperties"], false);
        for key in ["project", "endpoint", "impersonate", "region", "environment", "program", "modules"] {
            assert!(schema["properties"][key].is_object(), "{key}");
        }
    }
}
