//! What a script declares: a resource and an action, as YAML. Does no I/O.

mod cluster;
mod cluster_config;
mod fields;
mod mistake;
mod pydag;
mod terraform;
mod tree;

pub(crate) use cluster::{ClusterAction, ClusterScript, Idle, Sizes};
pub(crate) use mistake::{Mistake, error};
pub(crate) use terraform::{Module, Program, TerraformAction, TerraformScript};

use fields::Fields;
use tree::{Node, Place};

/// A script without mistakes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Script {
    Cluster(Box<ClusterScript>),
    Terraform(TerraformScript),
}

const RESOURCES: [&str; 2] = ["dataproc_cluster", "terraform"];

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        if pydag::is_python(text) {
            return Err(vec![Mistake::new(Place::default(), pydag::HELP)]);
        }
        let node = Node::parse(text).map_err(|mistake| vec![mistake])?;
        let mut mistakes = Vec::new();
        let script = Self::read(&node, &mut mistakes);
        mistakes.sort_by_key(|mistake| mistake.place);
        script.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }

    fn read(node: &Node, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut fields = Fields::of(node, mistakes);
        if !matches!(node.value, tree::Value::Map(_)) {
            return None;
        }
        match fields.one_of("resource", &RESOURCES)? {
            "terraform" => terraform::read(fields).map(Self::Terraform),
            _ => cluster::read(fields).map(Box::new).map(Self::Cluster),
        }
    }
}

#[cfg(test)]
mod tests;
