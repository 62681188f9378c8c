//! The environment of a script: the inherited variables, the configured ones, the task's parameters and the attempt's own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::LazyLock;

use oxidag_plugin_api::{Error, Result, Task};
use serde_json::Value;

/// This process's environment, as it was when it was first asked for: to copy and sort it costs a good part of starting
/// a short script.
static INHERITED: LazyLock<Vec<CString>> = LazyLock::new(|| {
    let all: BTreeMap<_, _> = std::env::vars_os().collect();
    // What has come from an environment holds no NUL.
    all.iter()
        .filter_map(|(name, value)| CString::new(entry(name.as_bytes(), value.as_bytes())).ok())
        .collect()
});

/// Where a script's variables stand, for messages.
pub(crate) const CONFIGURED: &str = "`env`";
const PARAMS: &str = "the task's parameters";
const OURS: &str = "the scheduler's own variables";

/// The variables that a script sees.
pub(crate) struct Environment {
    /// `NAME=value`, by the names.
    entries: Vec<Cow<'static, CStr>>,
}

impl Environment {
    /// The environment of a task's script, later variables winning over earlier ones.
    ///
    /// # Errors
    ///
    /// When a parameter cannot be an environment variable. Never tells a value, which may be a secret.
    pub(crate) fn of(task: &Task, configured: &BTreeMap<String, String>, result: &Path) -> Result<Self> {
        let mut all =
            Self { entries: Vec::with_capacity(INHERITED.len() + configured.len() + task.params.len() + 7) };
        all.entries.extend(INHERITED.iter().map(|entry| Cow::Borrowed(entry.as_c_str())));
        for (name, value) in configured {
            all.set(CONFIGURED, name, value.as_bytes())?;
        }
        // A script runs in another folder than the scheduler, so the inherited PWD would be wrong.
        all.set(OURS, "PWD", task.working_dir.as_os_str().as_bytes())?;
        for (name, value) in &task.params {
            let value = text(value);
            check(PARAMS, name, &value)?;
            all.set(PARAMS, name, value.as_bytes())?;
        }
        all.set(OURS, "OXIDAG_DAG_ID", task.dag_id.as_bytes())?;
        all.set(OURS, "OXIDAG_RUN_ID", task.run_id.as_bytes())?;
        all.set(OURS, "OXIDAG_TASK_ID", task.task_id.as_bytes())?;
        all.set(OURS, "OXIDAG_ATTEMPT", task.attempt.to_string().as_bytes())?;
        all.set(OURS, "OXIDAG_IDEMPOTENCY_KEY", task.idempotency_key.as_bytes())?;
        all.set(OURS, "OXIDAG_RESULT", result.as_os_str().as_bytes())?;
        Ok(all)
    }

    /// `place` is where the variable stands.
    fn set(&mut self, place: &str, name: &str, value: &[u8]) -> Result<()> {
        let entry = CString::new(entry(name.as_bytes(), value)).map_err(|_| nul(place, name))?;
        match self.find(name) {
            Ok(place) => self.entries[place] = entry.into(),
            Err(place) => self.entries.insert(place, entry.into()),
        }
        Ok(())
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        let entry = self.entries[self.find(name).ok()?].to_bytes();
        Some(OsStr::from_bytes(&entry[name.len() + 1..]))
    }

    /// Where the variable is, or would be.
    fn find(&self, name: &str) -> std::result::Result<usize, usize> {
        self.entries.binary_search_by(|entry| name_of(entry).cmp(name.as_bytes()))
    }

    /// `NAME=value` for each variable.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &CStr> {
        self.entries.iter().map(|entry| &**entry)
    }
}

fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(name.len() + value.len() + 2);
    entry.extend_from_slice(name);
    entry.push(b'=');
    entry.extend_from_slice(value);
    entry
}

/// An inherited name may begin with `=`.
fn name_of(entry: &CStr) -> &[u8] {
    let entry = entry.to_bytes();
    let end = memchr::memchr(b'=', entry.get(1..).unwrap_or_default());
    &entry[..end.map_or(entry.len(), |end| end + 1)]
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
        return Err(nul(place, name));
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "the name `{}` in {place} cannot be an environment variable's: {wrong}; rename it",
        name.escape_debug()
    )))
}

fn nul(place: &str, name: &str) -> Error {
    Error::invalid(format!(
        "the value of `{name}` in {place} holds a NUL character, which no environment variable can: remove it"
    ))
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
        let all = Environment::of(&task, &configured, Path::new("/r"))?;
        let entries = all.entries().map(|entry| entry.to_str().unwrap().split_once('=').unwrap());
        Ok(entries.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
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
