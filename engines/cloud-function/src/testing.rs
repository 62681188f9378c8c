//! What tests share.

use oxidag_plugin_api::Task;
use serde_json::{Value, json};

/// A task with this script and these parameters.
pub(crate) fn task_of(script: &str, text: &str, params: Value) -> Task {
    let task = json!({
        "dag_id": "d", "run_id": "r", "task_id": "t", "attempt": 1, "idempotency_key": "oxidag-k",
        "script": {"text": text, "name": script}, "params": params, "working_dir": "/",
    });
    serde_json::from_value(task).unwrap()
}
