//! A script about a module of Terraform's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::fields::Fields;
use super::tree::Node;

/// What a script wants of a module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TerraformScript {
    pub(crate) action: TerraformAction,
    pub(crate) module: Module,
    pub(crate) variables: BTreeMap<String, Json>,
    pub(crate) workspace: Option<String>,
    pub(crate) backend_config: BTreeMap<String, Json>,
    pub(crate) program: Option<Program>,
    /// How long to wait for whoever holds the state's lock.
    pub(crate) lock_timeout: Duration,
}

/// What is to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TerraformAction {
    Apply,
    Destroy,
}

/// Where the module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Module {
    /// In a folder, relative to the DAG's.
    Folder(String),
    /// In the script; or, to destroy it, where the text was written when it was applied.
    Text { name: String, main: Option<String> },
}

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Terraform,
    Tofu,
}

const ACTIONS: [&str; 2] = ["apply", "destroy"];
const PROGRAMS: [&str; 2] = ["terraform", "tofu"];
const LOCK_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Reads what follows `resource`.
pub(super) fn read(mut fields: Fields<'_>) -> Option<TerraformScript> {
    let action = match fields.one_of("action", &ACTIONS) {
        Some("apply") => Some(TerraformAction::Apply),
        Some(_) => Some(TerraformAction::Destroy),
        None => None,
    };
    let module = module(&mut fields, action);
    let variables = values(&fields.map("variables"));
    let backend_config = values(&fields.map("backend_config"));
    let workspace = fields.text("workspace").map(str::to_owned);
    let program = fields.there("program").then(|| fields.one_of("program", &PROGRAMS)).flatten();
    let lock_timeout = fields.duration("lock_timeout").unwrap_or(LOCK_TIMEOUT);
    fields.finish(&[]);
    Some(TerraformScript {
        action: action?,
        module: module?,
        variables,
        workspace,
        backend_config,
        program: program.map(|name| if name == "tofu" { Program::Tofu } else { Program::Terraform }),
        lock_timeout,
    })
}

fn module(fields: &mut Fields<'_>, action: Option<TerraformAction>) -> Option<Module> {
    let folder = fields.text("module").map(str::to_owned);
    let main = fields.text("main").map(str::to_owned);
    let name = fields.text("name").map(str::to_owned);
    match (folder, main, name) {
        (Some(folder), None, None) => Some(Module::Folder(folder)),
        (None, Some(main), Some(name)) if is_name(&name) => Some(Module::Text { name, main: Some(main) }),
        (None, None, Some(name)) if action == Some(TerraformAction::Destroy) && is_name(&name) => {
            Some(Module::Text { name, main: None })
        }
        (None, _, Some(name)) if !is_name(&name) => {
            fields.missing("`name` may have letters, digits, `-` and `_` only: a folder is named after it");
            None
        }
        (None, Some(_), None) => {
            fields.missing("`name` is missing: what `main` is kept under, so that it can be destroyed by it");
            None
        }
        _ => {
            fields.missing(
                "name the module by `module`, a folder relative to the DAG's; or write it as text in `main`, \
                 with a `name`",
            );
            None
        }
    }
}

fn is_name(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 100 && name.chars().all(valid)
}

fn values(entries: &[(&str, &Node)]) -> BTreeMap<String, Json> {
    entries.iter().map(|(key, node)| ((*key).to_owned(), node.to_json())).collect()
}
