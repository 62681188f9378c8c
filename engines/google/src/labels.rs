//! Labels by which remote work is found again: made valid rather than dropped.

use std::collections::HashMap;

use oxidag_plugin_api::Task;
use sha2::{Digest, Sha256};

/// The longest value, in characters (<https://cloud.google.com/resource-manager/docs/labels-overview>).
const LONGEST: usize = 63;

/// `oxidag-dag`, `oxidag-task` and `oxidag-run`.
#[must_use]
pub fn labels(task: &Task) -> HashMap<String, String> {
    [("oxidag-dag", &task.dag_id), ("oxidag-task", &task.task_id), ("oxidag-run", &task.run_id)]
        .map(|(key, value)| (key.to_owned(), label_value(value)))
        .into()
}

/// The text as a label's value: lower case, `_` for what may not stand in one. What is too long is cut off, and
/// ends in a hash so that two long texts stay apart.
#[must_use]
pub fn label_value(text: &str) -> String {
    let valid = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
    let value: String = text.chars().map(valid).collect();
    if value.len() <= LONGEST {
        return value;
    }
    let hash: String = Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", &value[..LONGEST - 1 - hash.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_valid_whatever_the_text() {
        assert_eq!(label_value("Load.Über[2024-01]"), "load__ber_2024-01_");
        let (one, other) = (label_value(&("x".repeat(80) + "1")), label_value(&("x".repeat(80) + "2")));
        assert_eq!((one.len(), other.len()), (63, 63));
        assert_ne!(one, other);
    }
}
