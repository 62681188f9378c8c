//! The environment variables that a script gets besides the inherited ones.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use oxidag_plugin_api::{Error, Result, Task};
use serde_json::Value;

/// A name and its value.
type Variable<'a> = (&'a str, Cow<'a, str>);

/// The configured variables, the task's parameters and the attempt's own, later ones winning.
///
/// # Errors
///
/// When a parameter cannot be an environment variable. Never tells a value, which may be a secret.
pub(crate) fn of<'a>(
    task: &'a Task,
    configured: &'a BTreeMap<String, String>,
    result: &Path,
) -> Result<Vec<Variable<'a>>> {
    let mut all = Vec::with_capacity(configured.len() + task.params.len() + 7);
    all.extend(configured.iter().map(|(name, value)| (name.as_str(), value.into())));
    // A script runs in another folder than the scheduler, so the inherited PWD would be wrong.
    all.push(("PWD", task.working_dir.to_string_lossy()));
    for (name, value) in &task.params {
        let value = text(value);
        check("the task's parameters", name, &value)?;
        all.push((name, value));
    }
    all.extend([
        ("OXIDAG_DAG_ID", Cow::from(&task.dag_id)),
        ("OXIDAG_RUN_ID", Cow::from(&task.run_id)),
        ("OXIDAG_TASK_ID", Cow::from(&task.task_id)),
        ("OXIDAG_ATTEMPT", Cow::from(task.attempt.to_string())),
        ("OXIDAG_IDEMPOTENCY_KEY", Cow::from(&task.idempotency_key)),
        ("OXIDAG_RESULT", result.to_string_lossy().into_owned().into()),
    ]);
    Ok(all)
}

/// Whether this can be an environment variable; `place` is where it stands.
///
/// # Errors
///
/// When it cannot: says what is wrong with the name, or that the value holds a NUL.
pub(crate) fn check(place: &str, name: &str, value: &str) -> Result<()> {
    let wrong = if name.is_empty() {
        "it is empty"
    } else if name.contains('=') {
        "it holds a `=`"
    } else if name.contains('\0') {
        "it holds a NUL character"
    } else if value.contains('\0') {
        return Err(Error::invalid(format!(
            "the value of `{name}` in {place} holds a NUL character, which no environment variable can: remove it"
        )));
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "the name `{}` in {place} cannot be an environment variable's: {wrong}; rename it",
        name.escape_debug()
    )))
}

/// The largest of the task's parameters, for a message; not its value.
pub(crate) fn largest(task: &Task) -> Option<(&str, usize)> {
    let sizes = task.params.iter().map(|(name, value)| (name.as_str(), text(value).len()));
    sizes.max_by_key(|&(_, size)| size)
}

/// Text goes in as it is, any other value as JSON.
fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::task;
    use serde_json::json;

    fn variables(params: Value) -> Result<BTreeMap<String, String>> {
        let configured = BTreeMap::from([("region".to_owned(), "configured".to_owned())]);
        let task = Task { params: params.as_object().unwrap().clone(), ..task("") };
        let all = of(&task, &configured, Path::new("/r"))?;
        Ok(all.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect())
    }

    #[test]
    fn text_goes_in_as_it_is_and_other_values_as_json() {
        let all = variables(json!({"a": "x y\n", "n": 1.5, "t": true, "z": null, "l": [1, "b"], "*v": "s"}));
        let all = all.unwrap();
        let get = |name: &str| all[name].as_str();
        assert_eq!(
            [get("a"), get("n"), get("t"), get("z"), get("l"), get("*v")],
            ["x y\n", "1.5", "true", "null", r#"[1,"b"]"#, "s"]
        );
    }

    #[test]
    fn parameters_win_over_the_configuration_and_the_attempts_own_over_both() {
        let all = variables(json!({"region": "task", "OXIDAG_RESULT": "/etc/passwd"})).unwrap();
        assert_eq!(all["region"], "task");
        assert_eq!(all["OXIDAG_RESULT"], "/r");
    }

    #[test]
    fn what_no_variable_can_be_is_refused_without_its_value() {
        let message = |params| variables(params).unwrap_err().message;
        insta::assert_snapshot!(message(json!({"GCP_key": "secret\0"})), @"the value of `GCP_key` in the task's parameters holds a NUL character, which no environment variable can: remove it");
        insta::assert_snapshot!(message(json!({"a=b": "secret"})), @"the name `a=b` in the task's parameters cannot be an environment variable's: it holds a `=`; rename it");
        insta::assert_snapshot!(message(json!({"": 1})), @"the name `` in the task's parameters cannot be an environment variable's: it is empty; rename it");
        insta::assert_snapshot!(message(json!({"a\0": 1})), @r"the name `a\0` in the task's parameters cannot be an environment variable's: it holds a NUL character; rename it");
    }
}
