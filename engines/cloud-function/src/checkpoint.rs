//! What is stored of an attempt, so that after a crash it goes on with the same function.

use oxidag_google::MASK;
use oxidag_plugin_api::{Error, Host, Result, Task};
use serde::{Deserialize, Serialize};

use crate::request::Function;

/// How far an attempt has come.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Checkpoint {
    /// The function is being deployed.
    Deploying {
        /// Which one.
        function: Function,
        /// Google's name for the work, once there is one.
        operation: Option<String>,
    },
    /// It is being called.
    Calling {
        /// Where, if Google told: what the task or the config says may hold a key, and is there still.
        url: Option<String>,
        /// Which one, if it is called by its name.
        function: Option<Function>,
    },
}

impl Checkpoint {
    /// What an earlier call of `run` stored.
    ///
    /// # Errors
    ///
    /// When it is not one of this engine's.
    pub(crate) fn of(task: &Task) -> Result<Option<Self>> {
        let Some(stored) = &task.checkpoint else { return Ok(None) };
        serde_json::from_value(stored.clone()).map(Some).map_err(|error| {
            Error::failed(format!(
                "the attempt's checkpoint is not this version's ({error}); run the task again"
            ))
        })
    }

    /// The same, with parts of a place that is also a secret's taken from what is asked for now: the host has masked them.
    pub(crate) fn unmasked(self, asked: Option<&Function>) -> Self {
        let whole = |function: Function| {
            let Some(asked) = asked else { return function };
            let part = |stored: String, asked: &String| match stored.contains(MASK) {
                true => asked.clone(),
                false => stored,
            };
            Function {
                project: part(function.project, &asked.project),
                region: part(function.region, &asked.region),
                name: part(function.name, &asked.name),
            }
        };
        match self {
            Self::Deploying { function, operation } => {
                let function = whole(function);
                let id = |name: &String| name.rsplit('/').next().map(str::to_owned);
                let operation = match operation {
                    Some(name) if name.contains(MASK) => id(&name)
                        .filter(|id| !id.contains(MASK))
                        .map(|id| format!("{}/operations/{id}", function.parent())),
                    operation => operation,
                };
                Self::Deploying { function, operation }
            }
            Self::Calling { url, function } => {
                Self::Calling { url: url.filter(|url| !url.contains(MASK)), function: function.map(whole) }
            }
        }
    }

    /// Stores it.
    ///
    /// # Errors
    ///
    /// As [`Host::checkpoint`].
    pub(crate) fn store(&self, host: &Host) -> Result<()> {
        let json = serde_json::to_value(self)
            .map_err(|error| Error::failed(format!("the checkpoint cannot be written: {error}")))?;
        host.checkpoint(&json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(project: &str, name: &str) -> Function {
        Function { project: project.into(), region: "r".into(), name: name.into() }
    }

    #[test]
    fn what_the_host_has_masked_is_taken_from_what_is_asked_for() {
        let asked = function("shop-prod", "f");
        let operation = |project: &str| Some(format!("projects/{project}/locations/r/operations/op-1"));
        let stored =
            Checkpoint::Deploying { function: function("***-prod", "g"), operation: operation("***-prod") };
        let whole =
            Checkpoint::Deploying { function: function("shop-prod", "g"), operation: operation("shop-prod") };
        assert_eq!(stored.unmasked(Some(&asked)), whole);
        let calling = |project: &str, url: Option<&str>| Checkpoint::Calling {
            url: url.map(str::to_owned),
            function: Some(function(project, "f")),
        };
        let stored = calling("***-prod", Some("https://r-***-prod.example"));
        assert_eq!(stored.unmasked(Some(&asked)), calling("shop-prod", None));
        let stored = calling("other", Some("https://r-other.example"));
        assert_eq!(stored.unmasked(Some(&asked)), calling("other", Some("https://r-other.example")));
    }
}
