//! What an engine can be asked to do: the cases file of its author (see `docs/engines-test.md`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::plugins::{Secret, without_values};

/// The largest file of cases, in bytes. A device would be read for ever.
const LARGEST: u64 = 4 << 20;

/// What an engine can be asked to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cases {
    /// Its configuration, if one is given.
    pub(super) config: Option<Value>,
    pub(super) success: Option<Case>,
    pub(super) failure: Option<Case>,
    pub(super) long: Option<Case>,
    pub(super) panic: Option<Case>,
    /// Its parameters make `blocks` panic.
    pub(super) panic_blocks: Option<Case>,
    /// Its dry run panics.
    pub(super) panic_validate: Option<Case>,
    /// It panics once it is asked to stop.
    pub(super) panic_cancel: Option<Case>,
    pub(super) non_ascii: Option<Case>,
    /// A configuration at which `create` panics.
    pub(super) panic_config: Option<Value>,
    /// A configuration with which the engine panics when it is destroyed.
    pub(super) panic_destroy: Option<Value>,
    /// Parameters that are secrets, of every task.
    pub(super) connections: BTreeMap<String, String>,
}

/// A task that the engine can be asked to run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
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
    /// It is too large to be one.
    #[error("the cases {} have more than {} MiB; name a file of cases, as docs/engines-test.md has it", path.display(), LARGEST >> 20)]
    Large {
        /// The file.
        path: PathBuf,
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
#[serde(deny_unknown_fields, expecting = "a table")]
struct Written {
    config: Option<Map<String, Value>>,
    #[serde(default)]
    tasks: Tasks,
    #[serde(default)]
    panic: PanicSection,
    #[serde(default)]
    connections: BTreeMap<String, Secret>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Tasks {
    success: Option<Case>,
    failure: Option<Case>,
    long: Option<Case>,
    panic: Option<Case>,
    panic_blocks: Option<Case>,
    panic_validate: Option<Case>,
    panic_cancel: Option<Case>,
    non_ascii: Option<Case>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct PanicSection {
    config: Option<Map<String, Value>>,
    destroy: Option<Map<String, Value>>,
}

impl Cases {
    /// Reads a file, and the values of its connections.
    ///
    /// # Errors
    ///
    /// Any [`CasesError`].
    pub fn read(path: &Path) -> Result<Self, CasesError> {
        let text = text(path)?;
        let written =
            parsed(&text).map_err(|message| CasesError::Syntax { path: path.to_owned(), message })?;
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
        let tasks = written.tasks;
        Ok(Self {
            config: written.config.map(Value::Object),
            success: tasks.success,
            failure: tasks.failure,
            long: tasks.long,
            panic: tasks.panic,
            panic_blocks: tasks.panic_blocks,
            panic_validate: tasks.panic_validate,
            panic_cancel: tasks.panic_cancel,
            non_ascii: tasks.non_ascii,
            panic_config: written.panic.config.map(Value::Object),
            panic_destroy: written.panic.destroy.map(Value::Object),
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

fn text(path: &Path) -> Result<String, CasesError> {
    let failed = |source| CasesError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST {
        return Err(CasesError::Large { path: path.to_owned() });
    }
    Ok(text)
}

/// What is written, or what is wrong with it and where. Never a value, which may be a secret.
fn parsed(text: &str) -> Result<Written, String> {
    let at = |start: usize| {
        let before = text.get(..start).unwrap_or_default();
        format!("line {}: ", before.matches('\n').count() + 1)
    };
    let place = |error: &toml::de::Error| error.span().map_or_else(String::new, |span| at(span.start));
    let said = |error: &toml::de::Error| format!("{}{}", place(error), without_values(error.message()));
    let table = DeTable::parse(text).map_err(|error| said(&error))?;
    if let Some((key, start)) = not_json(table.get_ref()) {
        return Err(format!(
            "{}`{key}` is a value that JSON does not have; write a finite number, or a text",
            at(start)
        ));
    }
    toml::from_str(text).map_err(|error| {
        let message = without_values(error.message());
        let key = error.span().and_then(|span| key_at(table.get_ref(), span.start));
        match key.filter(|_| !message.starts_with("unknown field")) {
            Some(key) => format!("{}`{key}`: {message}", place(&error)),
            None => said(&error),
        }
    })
}

/// The key with the value at this place, from the top.
fn key_at(table: &DeTable<'_>, at: usize) -> Option<String> {
    // The span of a table may be its head alone, so what is in it comes first.
    find(table, &|value| value.span().contains(&at))
}

/// The first key whose value is one of TOML alone: `nan`, `inf`, a date or a time.
fn not_json(table: &DeTable<'_>) -> Option<(String, usize)> {
    let start = std::cell::Cell::new(0);
    let is_it = |value: &Spanned<DeValue<'_>>| {
        start.set(value.span().start);
        is_not_json(value.get_ref())
    };
    find(table, &is_it).map(|key| (key, start.get()))
}

fn is_not_json(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Float(number) => !number.as_str().replace('_', "").parse::<f64>().is_ok_and(f64::is_finite),
        DeValue::Datetime(_) => true,
        DeValue::Array(items) => items.iter().any(|item| is_not_json(item.get_ref())),
        DeValue::Table(table) => table.values().any(|value| is_not_json(value.get_ref())),
        _ => false,
    }
}

/// The first key, with those above it, whose value is it; the innermost one.
fn find(table: &DeTable<'_>, is_it: &dyn Fn(&Spanned<DeValue<'_>>) -> bool) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let below = value.get_ref().as_table().and_then(|table| find(table, is_it));
        let name = key.get_ref();
        below.map(|below| format!("{name}.{below}")).or_else(|| is_it(value).then(|| name.to_string()))
    })
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
    fn a_value_of_the_wrong_type_is_told_by_its_key_and_not_shown() {
        let said = |text: &str| {
            let error = read(text).unwrap_err().to_string();
            error.split_once("conformance.toml: ").unwrap().1.to_owned()
        };
        assert_eq!(
            said("[tasks.success]\nscript = 4711\n"),
            "line 2: `tasks.success.script`: invalid type, expected a string"
        );
        assert_eq!(said("tasks.long = 'hush'"), "line 1: `tasks.long`: invalid type, expected a table");
        assert_eq!(
            said("[panic]\n\nconfig = 'hush'"),
            "line 3: `panic.config`: invalid type, expected a table"
        );
        let connection = said("[connections]\nA_b = {fil = 'hush'}");
        assert!(connection.starts_with("line 2: `connections.A_b`: expected a text, { file"), "{connection}");
        assert!(!said("[tasks]\nsuccess = {script = 'hush' 'hush'}").contains("hush"));
    }

    #[test]
    fn what_json_does_not_have_is_refused_wherever_it_stands() {
        for (text, key) in [
            ("[tasks.success]\nresult = nan", "tasks.success.result"),
            ("[tasks.success]\nresult = [1.0, -inf]", "tasks.success.result"),
            ("[config]\na = 1\nb = {c = 1e999}", "config.b.c"),
            ("[tasks.long]\nparams = {since = 2026-01-01}", "tasks.long.params.since"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}` is a value that JSON does not have")), "{error}");
        }
        assert_eq!(read("[tasks.success]\nresult = 1.5").unwrap().success().result, Some(json!(1.5)));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = Cases::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("have more than 4 MiB"), "{error}");
    }

    #[test]
    fn connections_come_from_where_they_are_kept() {
        let cases = read("[connections]\nA_b = {file = 'secret'}\nC_d = 'text'").unwrap();
        assert_eq!((&*cases.connections["A_b"], &*cases.connections["C_d"]), ("of a file", "text"));
        let error = read("[connections]\nA_b = {env = 'OXIDAG_NO_SUCH_VARIABLE'}").unwrap_err().to_string();
        assert!(error.contains("the connection `A_b` needs the environment variable"), "{error}");
    }
}
