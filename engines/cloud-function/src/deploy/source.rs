//! The source of a function: which files it is made of, the archive, and the hash by which a change is seen.

use std::io::{Cursor, Write};

use oxidag_plugin_api::{Error, Result, Task};
use serde_json::json;
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::config::Deployment;
use crate::request::Function;

/// Languages whose functions can be one file: how their runtimes begin, that file, and what lists requirements.
const LANGUAGES: [(&str, &str, &str); 5] = [
    ("python", "main.py", "requirements.txt"),
    ("nodejs", "index.js", "package.json"),
    ("go", "function.go", "go.mod"),
    ("ruby", "app.rb", "Gemfile"),
    ("php", "index.php", "composer.json"),
];

/// A source that is ready to be deployed.
#[derive(Debug)]
pub(crate) struct Source {
    pub(super) runtime: String,
    pub(super) entry_point: String,
    /// What of it and of how it is deployed is told apart.
    pub(super) hash: String,
    files: Vec<(&'static str, String)>,
}

impl Source {
    /// The script as a function's source.
    ///
    /// # Errors
    ///
    /// `invalid`, when it cannot be one.
    pub(crate) fn new(task: &Task, function: &Function, deployment: &Deployment) -> Result<Self> {
        check_name(&function.name)?;
        let runtime = deployment.runtime.clone().ok_or_else(|| {
            Error::invalid(
                "`deploy` names no runtime: write for instance `deploy: {runtime: python312}`, or set it in the \
                 engine's config",
            )
        })?;
        let known = |&&(begin, ..): &&(&str, &str, &str)| runtime.starts_with(begin);
        let Some(&(_, file, requirements)) = LANGUAGES.iter().find(known) else {
            let known: Vec<&str> = LANGUAGES.iter().map(|&(begin, ..)| begin).collect();
            return Err(Error::invalid(format!(
                "a source of the runtime `{runtime}` is no single file; those of {} are",
                known.join(", ")
            )));
        };
        if task.script.text.trim().is_empty() {
            return Err(Error::invalid(format!(
                "the script {} is empty: nothing to deploy",
                task.script.name
            )));
        }
        let mut files = vec![(file, task.script.text.clone())];
        files.extend(deployment.requirements.as_ref().map(|listed| (requirements, listed.text())));
        let entry_point = deployment.entry_point.clone().unwrap_or_else(|| function.name.replace('-', "_"));
        let hash = hash(&files, &entry_point, deployment);
        Ok(Self { runtime, entry_point, hash, files })
    }

    /// The archive, byte for byte the same for the same source.
    pub(super) fn archive(&self) -> Result<Vec<u8>> {
        let failed = |error: String| Error::failed(format!("the source cannot be packed: {error}"));
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in &self.files {
            let options = SimpleFileOptions::default().unix_permissions(0o644);
            archive.start_file(*name, options).map_err(|error| failed(error.to_string()))?;
            archive.write_all(text.as_bytes()).map_err(|error| failed(error.to_string()))?;
        }
        archive.finish().map(Cursor::into_inner).map_err(|error| failed(error.to_string()))
    }
}

fn hash(files: &[(&str, String)], entry_point: &str, deployment: &Deployment) -> String {
    let told = json!([files, entry_point, deployment]).to_string();
    // Half of it: a label holds 63 characters at most.
    Sha256::digest(told).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Google's rule for new functions.
fn check_name(name: &str) -> Result<()> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.chars().all(valid) && !name.ends_with('-') {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "no function can be deployed as `{name}`: Google allows lower-case letters, digits and `-`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::task_of;

    fn source(name: &str, text: &str, deployment: serde_json::Value) -> Result<Source> {
        let function = Function { project: "p".into(), region: "r".into(), name: name.into() };
        let deployment: Deployment = serde_json::from_value(deployment).unwrap();
        Source::new(&task_of("gs://b/f/x.py", text, json!({})), &function, &deployment)
    }

    #[test]
    fn the_archive_holds_the_source_under_the_name_that_its_language_wants() {
        let deployment = json!({"runtime": "python312", "requirements": ["a==1", "b==2"]});
        let source = source("my-function", "def my_function(r): return {}", deployment).unwrap();
        assert_eq!(source.entry_point, "my_function");
        let mut archive = zip::ZipArchive::new(Cursor::new(source.archive().unwrap())).unwrap();
        let mut read = |name: &str| std::io::read_to_string(archive.by_name(name).unwrap()).unwrap();
        assert_eq!(read("main.py"), "def my_function(r): return {}");
        assert_eq!(read("requirements.txt"), "a==1\nb==2\n");
        assert_eq!(archive.len(), 2);
    }

    #[test]
    fn the_hash_changes_with_all_that_is_deployed_and_with_nothing_else() {
        let hash = |text: &str, deployment| source("f", text, deployment).unwrap().hash;
        let python = json!({"runtime": "python312"});
        let first = hash("a", python.clone());
        assert_eq!(first, hash("a", python.clone()));
        assert_eq!(first.len(), 32);
        let changed = [
            hash("b", python.clone()),
            hash("a", json!({"runtime": "python313"})),
            hash("a", json!({"runtime": "python312", "memory": "1Gi"})),
            hash("a", json!({"runtime": "python312", "requirements": "x"})),
            hash("a", json!({"runtime": "python312", "environment": {"A": "1"}})),
        ];
        assert!(!changed.contains(&first), "{first} {changed:?}");
    }

    #[test]
    fn what_cannot_be_deployed_is_said() {
        let said = |name: &str, text: &str, deployment| source(name, text, deployment).unwrap_err().message;
        let python = json!({"runtime": "python312"});
        insta::assert_snapshot!(said("f", "a", json!({})), @"`deploy` names no runtime: write for instance `deploy: {runtime: python312}`, or set it in the engine's config");
        insta::assert_snapshot!(said("f", "a", json!({"runtime": "java21"})), @"a source of the runtime `java21` is no single file; those of python, nodejs, go, ruby, php are");
        insta::assert_snapshot!(said("f", " \n", python.clone()), @"the script gs://b/f/x.py is empty: nothing to deploy");
        insta::assert_snapshot!(said("My_F", "a", python), @"no function can be deployed as `My_F`: Google allows lower-case letters, digits and `-`");
    }
}
