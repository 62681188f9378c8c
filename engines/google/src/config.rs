//! What every engine of a Google service can be configured with, and parameters that override it.

use oxidag_plugin_api::{Error, Result, Task};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The part of an engine's config that is the same for all of Google's services. An engine flattens it into its
/// own; unknown keys are refused by the schema, since serde cannot refuse them beside a flattened struct.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct GoogleConfig {
    /// The project, unless a task's parameter names one.
    pub project: Option<String>,
    /// The service's endpoint instead of Google's own: an emulator, or a private one.
    pub endpoint: Option<String>,
    /// The email of a service account to act as; whoever the credentials belong to must be allowed to.
    pub impersonate: Option<String>,
    /// The endpoint of IAM's credentials API, which `impersonate` asks, instead of Google's own.
    pub iam_endpoint: Option<String>,
    /// The project that is charged for the calls' quota.
    pub quota_project: Option<String>,
}

impl GoogleConfig {
    /// The project that a task works in: its parameter `project`, else `project_name` (pyDag's name for it in
    /// tasks of Dataproc), else the config's.
    ///
    /// # Errors
    ///
    /// When there is none, or the parameter is no text.
    pub fn project<'a>(&'a self, task: &'a Task) -> Result<&'a str> {
        let param = match text_param(task, "project")? {
            Some(project) => Some(project),
            None => text_param(task, "project_name")?,
        };
        param.or(self.project.as_deref()).ok_or_else(|| {
            Error::invalid("no project: set `project` in the engine's config or the task's parameters")
        })
    }
}

/// A parameter that has to be text, if it is there at all.
///
/// # Errors
///
/// When it is something else.
pub fn text_param<'a>(task: &'a Task, name: &str) -> Result<Option<&'a str>> {
    match task.params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::invalid(format!("the parameter `{name}` must be text"))),
    }
}
