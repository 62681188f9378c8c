//! What an engine is given and what it gives back; each type is also the JSON that crosses the boundary.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One attempt of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The DAG's name.
    pub dag_id: String,
    /// The run's id.
    pub run_id: String,
    /// The task's name.
    pub task_id: String,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// The same for every call of `run` for the same attempt, also after a crash: a remote job's id is made from it.
    pub idempotency_key: String,
    /// What to run.
    pub script: Script,
    /// The task's parameters; connections stand under their names with their values filled in.
    pub params: Map<String, Value>,
    /// Which of `params` are connections, whose values are secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<String>,
    /// The folder of the DAG file, absolute.
    pub working_dir: PathBuf,
    /// What an earlier call for this attempt stored before the scheduler stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// The attempt was begun before, by a scheduler that died: what it had started may still be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
}

/// A script's text, with its placeholders filled in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Script {
    /// The text to run.
    pub text: String,
    /// `location.bucket.folder.engine.name`, or `inline`; for messages.
    pub name: String,
    /// The file whose content is exactly `text`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Where the script lies, placeholders and all: `gs://bucket/folder/name.py`, `s3://…`, `file:///…`; for
    /// engines that hand the place to a service. `None` where it has none (`inline`, `database`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// What a successful attempt leaves.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Small JSON for conditions and rules; at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// What the engine measured: exit status, rows, bytes, …
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
}

impl Outcome {
    /// The largest `result`, in bytes of JSON.
    pub const MAX_RESULT: usize = 64 * 1024;

    /// Sets the result.
    #[must_use]
    pub fn with_result(mut self, result: impl Into<Value>) -> Self {
        self.result = Some(result.into());
        self
    }

    /// Adds a measurement.
    #[must_use]
    pub fn with_metric(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metrics.insert(name.to_owned(), value.into());
        self
    }
}

/// Why an attempt did not succeed, or an engine could not be created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the host does about it follows from this.
    pub kind: ErrorKind,
    /// For people: lower case, no full stop, saying what to do where something can be done.
    pub message: String,
    /// What the engine measured before the failure: exit status, CPU time, …
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), metrics: Map::new() }
    }

    /// The request itself is wrong (a parameter, the configuration); it is never retried.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The script failed; the task's retries apply.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// The service failed and may recover; retried with backoff from a budget of its own.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Transient, message)
    }

    /// The task stopped since it was asked to.
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, message)
    }

    /// Adds a measurement.
    #[must_use]
    pub fn with_metric(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metrics.insert(name.to_owned(), value.into());
        self
    }
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request itself is wrong.
    Invalid,
    /// The script's fault.
    Failed,
    /// The service's fault.
    Transient,
    /// Stopped on request.
    Cancelled,
    /// The engine panicked or broke its contract; made by the adapter, not by authors.
    Panicked,
}

/// Something that a dry run noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// For people.
    pub message: String,
    /// The line in the script, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in the script, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The task would fail.
    Error,
    /// The task would run, perhaps not as meant.
    Warning,
    /// Good to know: estimated bytes, …
    Info,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_attempt_is_resumed_only_where_the_host_says_so() {
        let mut json = json!({
            "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "k",
            "script": {"text": "", "name": "inline"}, "params": {}, "working_dir": "/",
        });
        let task: Task = serde_json::from_value(json.clone()).unwrap();
        assert!(!task.resumed);
        assert_eq!(serde_json::to_value(&task).unwrap(), json, "older engines are told nothing new");
        json["resumed"] = true.into();
        let task: Task = serde_json::from_value(json.clone()).unwrap();
        assert!(task.resumed);
        assert_eq!(serde_json::to_value(&task).unwrap(), json);
    }
}
