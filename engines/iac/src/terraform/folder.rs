//! Where a module is, and what is written for an attempt: a folder that only its owner may look into.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use oxidag_google::label_value;
use oxidag_plugin_api::{Error, Result, Task};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::config::Config;
use crate::script::{Module, TerraformScript};

/// What an attempt's folder is called by, so that what a crash left can be told from other folders.
pub(super) const PREFIX: &str = "oxidag-iac-";

/// Where modules that are text in a script are kept, beside the DAG.
const MODULES: &str = ".oxidag-terraform";

/// The module's folder. Text is written there.
///
/// # Errors
///
/// When there is none, or it cannot be written.
pub(super) fn module(config: &Config, task: &Task, script: &TerraformScript) -> Result<PathBuf> {
    let (name, main) = match &script.module {
        Module::Folder(folder) => {
            let path = task.working_dir.join(folder);
            if !path.is_dir() {
                let place = path.display();
                return Err(Error::invalid(format!("the module {place} is not there, or no folder")));
            }
            return Ok(path);
        }
        Module::Text { name, main } => (name, main),
    };
    let modules = config.modules.clone().unwrap_or_else(|| PathBuf::from(MODULES));
    let folder = task.working_dir.join(modules).join(&task.dag_id).join(name);
    match main {
        Some(main) => {
            let unwritten = |e: io::Error| {
                Error::invalid(format!("cannot write the module to {}: {e}", folder.display()))
            };
            make(&folder).map_err(unwritten)?;
            let path = folder.join("main.tf");
            let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(unwritten)?;
            file.write_all(main.as_bytes()).map_err(unwritten)?;
            file.persist(&path).map_err(|e| unwritten(e.error))?;
            Ok(folder)
        }
        None if folder.is_dir() => Ok(folder),
        None => Err(Error::failed(format!(
            "this DAG has applied no module by the name {name}: {} is not there",
            folder.display()
        ))),
    }
}

/// Where the program keeps what it needs for this task: providers, the backend's settings, which workspace was selected. Tasks
/// that share a module do not share this, however alike their names; nor do runs of one task for other places.
///
/// # Errors
///
/// When it cannot be made.
pub(super) fn data(module: &Path, task: &Task, script: &TerraformScript) -> Result<PathBuf> {
    let place = json!([script.workspace, script.backend_config]);
    // For people to read; by the hash, ids that differ only in what a label leaves out stay apart.
    let hash: String = Sha256::digest(format!("{}\n{}\n{place}", task.dag_id, task.task_id))[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("{}.{}-{hash}", label_value(&task.dag_id), label_value(&task.task_id));
    let module = module.canonicalize().unwrap_or_else(|_| module.to_path_buf());
    let data = module.join(".terraform/oxidag").join(name);
    make(&data).map_err(|e| Error::invalid(format!("cannot make {}: {e}", data.display())))?;
    Ok(data)
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// An attempt's own folder; it is removed when dropped. What stands in it may be secret, the plan too.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: TempDir,
    has_backend: bool,
}

impl Scratch {
    /// With the script's variables and what it tells the backend.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn new(script: &TerraformScript) -> Result<Self> {
        let unwritten = |e: io::Error| Error::transient(format!("cannot write to a temporary folder: {e}"));
        let own = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix(PREFIX).permissions(own).tempdir();
        let folder = folder.map_err(unwritten)?;
        let scratch = Self { folder, has_backend: !script.backend_config.is_empty() };
        let write = |path: &Path, values: Value| -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(values.to_string().as_bytes())
        };
        let object = |values: &std::collections::BTreeMap<String, Value>| -> Value {
            values.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        write(&scratch.variables(), object(&script.variables)).map_err(unwritten)?;
        if let Some(path) = scratch.backend() {
            write(&path, object(&script.backend_config)).map_err(unwritten)?;
        }
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn variables(&self) -> PathBuf {
        self.path().join("variables.tfvars.json")
    }

    pub(super) fn backend(&self) -> Option<PathBuf> {
        self.has_backend.then(|| self.path().join("backend.json"))
    }

    pub(super) fn plan(&self) -> PathBuf {
        self.path().join("plan")
    }
}

/// Removes the folder of a call that a crash has ended.
pub(super) fn remove(stored: Option<&Value>) {
    let path = stored.and_then(|stored| stored["scratch"].as_str()).map(PathBuf::from);
    let Some(path) = path else { return };
    let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    if named && path.parent() == Some(std::env::temp_dir().as_path()) {
        // It may be gone already.
        let _ = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(folder: &Path) -> Task {
        serde_json::from_value(json!({
            "dag_id": "d", "run_id": "r", "task_id": "t[1]", "attempt": 1, "idempotency_key": "k",
            "script": {"text": "", "name": "inline"}, "params": {}, "working_dir": folder,
        }))
        .unwrap()
    }

    fn script(text: &str) -> TerraformScript {
        match crate::script::Script::parse(&format!("resource: terraform\n{text}")) {
            Ok(crate::script::Script::Terraform(script)) => script,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn text_is_kept_under_its_name_and_found_there_to_be_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let (task, config) = (task(folder.path()), Config::default());
        let destroy = script("action: destroy\nname: n\n");
        let error = module(&config, &task, &destroy).unwrap_err();
        assert!(error.message.starts_with("this DAG has applied no module by the name n"), "{error}");
        let path =
            module(&config, &task, &script("action: apply\nname: n\nmain: 'output \"a\" {}'\n")).unwrap();
        assert_eq!(fs::read_to_string(path.join("main.tf")).unwrap(), "output \"a\" {}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(module(&config, &task, &destroy).unwrap(), path);
        let nowhere = module(&config, &task, &script("action: apply\nmodule: nowhere\n")).unwrap_err();
        assert!(nowhere.message.contains("nowhere is not there"), "{nowhere}");
    }

    #[test]
    fn runs_for_other_workspaces_or_backends_do_not_share_what_the_program_keeps() {
        let folder = tempfile::tempdir().unwrap();
        let of = |more: &str| {
            let script = script(&format!("action: apply\nmodule: .\n{more}"));
            data(folder.path(), &task(folder.path()), &script).unwrap()
        };
        let places = ["", "workspace: dev\n", "workspace: prod\n", "backend_config: {bucket: a}\n"];
        let folders: std::collections::BTreeSet<_> = places.iter().map(|place| of(place)).collect();
        assert_eq!(folders.len(), places.len(), "{folders:?}");
        assert_eq!(of("workspace: dev\n"), of("workspace: dev\n"));
    }

    #[test]
    fn tasks_do_not_share_what_the_program_keeps_however_alike_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let of = |dag: &str, task_id: &str| {
            let mut task = task(folder.path());
            (task.dag_id, task.task_id) = (dag.to_owned(), task_id.to_owned());
            data(folder.path(), &task, &script("action: apply\nmodule: .\n")).unwrap()
        };
        let names = [("d", "net[1]"), ("d", "NET[1]"), ("d", "net.1."), ("D", "net[1]"), ("d.net", "1")];
        let folders: std::collections::BTreeSet<_> =
            names.iter().map(|(dag, task)| of(dag, task).display().to_string().to_lowercase()).collect();
        assert_eq!(folders.len(), names.len(), "{folders:?}");
        let name = of("d", "net[1]");
        assert_eq!(name, of("d", "net[1]"));
        assert!(name.parent().unwrap().ends_with(".terraform/oxidag"), "{}", name.display());
        assert!(name.file_name().unwrap().to_str().unwrap().starts_with("d.net_1_-"), "{}", name.display());
    }

    #[test]
    fn variables_are_for_their_owner_only_and_go_when_the_attempt_does() {
        let script = script("action: apply\nmodule: m\nvariables: {a: [1]}\nbackend_config: {b: c}\n");
        let scratch = Scratch::new(&script).unwrap();
        let path = scratch.path().to_path_buf();
        for (file, content) in
            [(scratch.variables(), r#"{"a":[1]}"#), (scratch.backend().unwrap(), r#"{"b":"c"}"#)]
        {
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let left = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap().keep();
        remove(Some(&json!({"scratch": left})));
        assert!(!left.exists());
        let other = tempfile::tempdir().unwrap();
        remove(Some(&json!({"scratch": other.path()})));
        assert!(other.path().exists());
        remove(None);
    }
}
