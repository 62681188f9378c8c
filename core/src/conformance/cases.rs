//! What an engine can be asked to do: the cases file of its author (see `docs/engines-test.md`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::plugins::Secret;

/// What an engine can be asked to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cases {
    /// Its configuration, if one is given.
    pub(super) config: Option<Value>,
    pub(super) success: Option<Case>,
    pub(super) failure: Option<Case>,
    pub(super) long: Option<Case>,
    pub(super) panic: Option<Case>,
    pub(super) non_ascii: Option<Case>,
    /// A configuration at which `create` panics.
    pub(super) panic_config: Option<Value>,
    /// Parameters that are secrets, of every task.
    pub(super) connections: BTreeMap<String, String>,
}

/// A task that the engine can be asked to run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Case {
    pub(super) script: String,
    pub(super) params: Map<String, Value>,
    pub(super) result: Option<Value>,
    pub(super) uri: Option<String>,
}

/// Why the cases are not used.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The file cannot be read.
    #[error("cannot read the cases {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        message: String,
    },
    /// A connection's value cannot be had.
    #[error("{}: the connection `{name}` {problem}", path.display())]
    Connection {
        /// The file.
        path: PathBuf,
        /// The connection.
        name: String,
        /// Why; never the value.
        problem: String,
    },
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    config: Option<Map<String, Value>>,
    #[serde(default)]
    tasks: Tasks,
    panic: Option<PanicSection>,
    #[serde(default)]
    connections: BTreeMap<String, Secret>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tasks {
    success: Option<Case>,
    failure: Option<Case>,
    long: Option<Case>,
    panic: Option<Case>,
    non_ascii: Option<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PanicSection {
    config: Map<String, Value>,
}

impl Cases {
    /// Reads a file, and the values of its connections.
    ///
    /// # Errors
    ///
    /// Any [`CasesError`].
    pub fn read(path: &Path) -> Result<Self, CasesError> {
        let failed = |source| CasesError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        // toml's messages have the place, and the line itself, which may hold a secret: only the place is told.
        let written: Written = toml::from_str(&text).map_err(|error| CasesError::Syntax {
            path: path.to_owned(),
            message: format!("{}{}", line(&text, error.span()), error.message()),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut connections = BTreeMap::new();
        for (name, mut secret) in written.connections {
            secret.in_folder(folder);
            let value = secret.read().map_err(|problem| CasesError::Connection {
                path: path.to_owned(),
                name: name.clone(),
                problem,
            })?;
            connections.insert(name, value);
        }
        let Tasks { success, failure, long, panic, non_ascii } = written.tasks;
        Ok(Self {
            config: written.config.map(Value::Object),
            success,
            failure,
            long,
            panic,
            non_ascii,
            panic_config: written.panic.map(|section| Value::Object(section.config)),
            connections,
        })
    }

    /// The configuration of the engine.
    pub(super) fn config(&self) -> Value {
        self.config.clone().unwrap_or_else(|| json!({}))
    }

    /// The task that succeeds, given or assumed.
    pub(super) fn success(&self) -> Case {
        self.success.clone().unwrap_or_default()
    }
}

/// The line of a mistake, for the front of its message.
fn line(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let before = span.and_then(|span| text.get(..span.start));
    before.map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Cases, CasesError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conformance.toml");
        std::fs::write(folder.path().join("secret"), "of a file").unwrap();
        std::fs::write(&path, text).unwrap();
        Cases::read(&path)
    }

    #[test]
    fn all_of_it_is_optional() {
        let cases = read("").unwrap();
        assert_eq!(cases.config(), json!({}));
        assert_eq!(cases.success(), Case::default());
        assert!(cases.config.is_none() && cases.success.is_none());
    }

    #[test]
    fn a_case_has_a_script_parameters_and_a_result() {
        let text = "[config]\na = 1\n[tasks.success]\nscript = 'x'\nparams = {b = [2]}\nresult = {c = 3}\n[panic]\nconfig = {d = 4}";
        let cases = read(text).unwrap();
        let success = cases.success();
        assert_eq!((success.script.as_str(), success.result), ("x", Some(json!({"c": 3}))));
        assert_eq!(Value::Object(success.params), json!({"b": [2]}));
        assert_eq!((cases.config(), cases.panic_config), (json!({"a": 1}), Some(json!({"d": 4}))));
    }

    #[test]
    fn a_key_that_is_not_known_is_a_mistake_with_its_line() {
        let error = read("[tasks.success]\nscript = ''\n[tasks.sucess]\n").unwrap_err().to_string();
        assert!(error.contains("conformance.toml: line 3: unknown field `sucess`"), "{error}");
        assert!(read("[tasks.long]\ntext = ''").is_err());
    }

    #[test]
    fn connections_come_from_where_they_are_kept() {
        let cases = read("[connections]\nA_b = {file = 'secret'}\nC_d = 'text'").unwrap();
        assert_eq!((&*cases.connections["A_b"], &*cases.connections["C_d"]), ("of a file", "text"));
        let error = read("[connections]\nA_b = {env = 'OXIDAG_NO_SUCH_VARIABLE'}").unwrap_err().to_string();
        assert!(error.contains("the connection `A_b` needs the environment variable"), "{error}");
    }
}
