//! What the program says of its work: counts, outputs, errors.

use oxidag_plugin_api::{Error, ErrorKind};
use serde_json::{Map, Value};

/// So many characters of an error are told.
const LONGEST: usize = 1500;

/// What one says when somebody else has the state, or has changed it since the plan: later it may do.
const PASSING: [&str; 3] =
    ["Error acquiring the state lock", "Saved plan is stale", "could not connect to registry"];

/// How many resources were added, changed and destroyed, by what `apply` says at its end.
pub(super) fn counts(said: &str) -> Vec<(&'static str, u64)> {
    const KINDS: [&str; 4] = ["imported", "added", "changed", "destroyed"];
    let line = said.lines().rev().find_map(|line| line.split_once("complete! Resources: "));
    let Some((_, line)) = line else { return Vec::new() };
    let count = |kind: &str| {
        let mut parts = line.trim_end_matches('.').split(", ").filter_map(|part| part.split_once(' '));
        parts.find(|(_, what)| *what == kind).and_then(|(number, _)| number.parse().ok())
    };
    let counted = KINDS.into_iter().map(|kind| (kind, count(kind)));
    counted
        .filter_map(|(kind, count)| match (kind, count) {
            ("imported", None) => None,
            (kind, count) => Some((kind, count.unwrap_or(0))),
        })
        .collect()
}

/// The values of what `output -json` writes, without the sensitive ones.
pub(super) fn outputs(json: &str) -> Option<Value> {
    let Value::Object(outputs) = serde_json::from_str(json).ok()? else { return None };
    let open = outputs.into_iter().filter(|(_, output)| output["sensitive"] != Value::Bool(true));
    Some(Value::Object(open.map(|(name, output)| (name, output["value"].clone())).collect::<Map<_, _>>()))
}

/// The error of a step that failed: what stands from its first error on, without the frame around it.
pub(super) fn error(step: &str, how: &str, said: &str) -> Error {
    let kind = match PASSING.iter().any(|passing| said.contains(passing)) {
        true => ErrorKind::Transient,
        false => ErrorKind::Failed,
    };
    let lines = said.lines().map(|line| line.trim_start_matches(['│', '╷', '╵', ' ']).trim_end());
    let mut lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    match lines.iter().position(|line| line.starts_with("Error: ")) {
        Some(first) => drop(lines.drain(..first)),
        None => drop(lines.drain(..lines.len().saturating_sub(3))),
    }
    let text = lines.join(" ");
    let text = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    Error::new(kind, format!("`{step}` ended with {how}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_are_those_of_the_last_line() {
        let said =
            "Plan: 9 to add\n\nApply complete! Resources: 2 added, 0 changed, 1 destroyed.\n\nOutputs:\n";
        assert_eq!(counts(said), [("added", 2), ("changed", 0), ("destroyed", 1)]);
        assert_eq!(
            counts("Destroy complete! Resources: 3 destroyed.\n"),
            [("added", 0), ("changed", 0), ("destroyed", 3)]
        );
        let imported = "Apply complete! Resources: 1 imported, 0 added, 0 changed, 0 destroyed.";
        assert_eq!(counts(imported)[0], ("imported", 1));
        assert_eq!(counts("nothing of the sort"), []);
    }

    #[test]
    fn sensitive_outputs_are_left_out() {
        let json = r#"{"a": {"sensitive": false, "type": "string", "value": "x"},
                       "b": {"sensitive": true, "type": "string", "value": "s3cret"}}"#;
        assert_eq!(outputs(json), Some(json!({"a": "x"})));
        assert_eq!(outputs("{}"), Some(json!({})));
        assert_eq!(outputs("oops"), None);
    }

    #[test]
    fn an_error_is_told_from_its_beginning_and_its_kind_follows_from_it() {
        let said =
            "Initializing…\n╷\n│ Error: No value for required variable\n│ \n│   on main.tf line 1:\n╵\n";
        let told = error("terraform plan", "exit status 1", said);
        insta::assert_snapshot!(told, @"`terraform plan` ended with exit status 1: Error: No value for required variable on main.tf line 1:");
        assert_eq!(told.kind, ErrorKind::Failed);
        let locked = error("terraform plan", "exit status 1", "│ Error: Error acquiring the state lock\n");
        assert_eq!(locked.kind, ErrorKind::Transient);
        insta::assert_snapshot!(error("x", "SIGKILL", "a\nb\nc\nd\n"), @"`x` ended with SIGKILL: b c d");
        let long = error("x", "SIGKILL", &format!("Error: {}", "é".repeat(5000))).message;
        assert!(long.chars().count() < LONGEST + 50);
    }
}
