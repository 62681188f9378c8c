//! The `iac` engine: a script declares a resource and what shall become of it.
//!
//! A script is YAML (or JSON, which is YAML): `resource` is `dataproc_cluster` or `terraform`, `action` what is to be
//! done, and the rest says how. Asynchronous: while a cluster is made, or Terraform's program runs, no worker is held.

mod cluster;
mod config;
mod script;
mod terraform;

use oxidag_plugin_api::{AsyncEngine, Finding, Host, Outcome, Result, Task, export_async_engine};

use crate::cluster::Controllers;
use crate::config::Config;
use crate::script::{Script, error};

struct Iac {
    config: Config,
    controllers: Controllers,
}

impl AsyncEngine for Iac {
    type Config = Config;
    const SCRIPT_SUFFIX: &'static str = ".iac";

    fn create(config: Config) -> Result<Self> {
        Ok(Self { config, controllers: Controllers::default() })
    }

    async fn validate(&self, task: &Task) -> Result<Vec<Finding>> {
        match Script::parse(&task.script.text) {
            Ok(_) => Ok(Vec::new()),
            Err(mistakes) => Ok(mistakes.iter().map(Finding::from).collect()),
        }
    }

    async fn run(&self, task: Task, host: Host) -> Result<Outcome> {
        match Script::parse(&task.script.text).map_err(|mistakes| error(&mistakes))? {
            Script::Cluster(script) => {
                cluster::run(&self.config, &self.controllers, &task, host, &script).await
            }
            Script::Terraform(script) => terraform::run(&self.config, &task, host, &script).await,
        }
    }
}

export_async_engine!(Iac, name = "iac");
