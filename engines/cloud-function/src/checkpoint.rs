//! What is stored of an attempt, so that after a crash it goes on with the same function.

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
