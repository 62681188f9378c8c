//! BigQuery, Dataproc and Cloud Functions by the fake in `tests/gcp`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::gcs::Gcs;
use super::http::{call, encoded, post_json};
use super::kept::{Kept, Manner};
use super::python;

/// The server.
#[derive(Debug)]
pub struct Google {
    server: Kept,
    url: String,
}

impl Google {
    /// The one that all tests of this process share; each has projects of its own.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Google> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let storage = Gcs::shared().url();
        let command = |folder: &Path, _| {
            let mut command = Command::new(python());
            command.args(["-m", "fake_google", "--port", "0", "--storage", &storage]);
            command.arg("--key-file").arg(folder.join("key.json"));
            command.arg("--job-path").arg(crate::root().join("tests/gcp/cluster"));
            command.current_dir(crate::root().join("tests/gcp")).env("PYTHONDONTWRITEBYTECODE", "1");
            // It ends what it has started, and then itself, when its standard input ends.
            Manner { command, signal: "", user: None }
        };
        let server = Kept::start("the fake of Google", command, |server| told_url(server).is_some());
        let url = told_url(&server).unwrap_or_else(|| panic!("the fake of Google tells no URL"));
        Self { server, url }
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key of the service account that it knows.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.server.folder().join("key.json")
    }

    /// The Cloud Storage beside it.
    #[must_use]
    pub fn storage(&self) -> &'static Gcs {
        Gcs::shared()
    }

    /// Gives a program this server's Application Default Credentials.
    pub fn env(&self, command: &mut Command) {
        command.env("GOOGLE_APPLICATION_CREDENTIALS", self.key_file());
    }

    /// Has some calls of a project fail: `{"method", "fault", "times", …}`.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn fault(&self, project: &str, fault: Value) {
        self.control("faults", project, fault);
    }

    /// Sets how a project's remote work goes: `{"job_seconds", "hold", …}`.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn settings(&self, project: &str, settings: Value) {
        self.control("settings", project, settings);
    }

    /// Makes a dataset, as nothing in a DAG does.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn make_dataset(&self, project: &str, dataset: &str) {
        self.control("bigquery/datasets", project, serde_json::json!({"dataset": dataset}));
    }

    /// All that was asked of it for a project, and what became of it.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn ledger(&self, project: &str) -> Value {
        let url = format!("{}/_fake/ledger?project={}", self.url, encoded(project, false));
        call("GET", &url, &[], &[]).json()
    }

    /// Posts to another of its ways in for tests, such as `bigquery/datasets`; `tests/gcp/README.md` lists them.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn control(&self, what: &str, project: &str, mut told: Value) -> Value {
        told["project"] = project.into();
        post_json(&format!("{}/_fake/{what}", self.url), &told)
    }
}

/// The URL in the line that it prints when it listens.
fn told_url(server: &Kept) -> Option<String> {
    let told: Value = serde_json::from_str(server.out().lines().next()?).ok()?;
    told["url"].as_str().map(str::to_owned)
}
