//! A sandbox and a project for a test of functions, and whose credentials the scheduler has.

use std::process::Command;

use oxidag_tests::cloud::Cloud;
use oxidag_tests::running::{Running, in_time};
use oxidag_tests::servers::google::Google;
use oxidag_tests::{Ended, Sandbox, engine};
use serde_json::{Value, json};

const RUN: [&str; 5] = ["run", "dag.json", "--format", "json", "--run-id"];

/// Where the scheduler's Application Default Credentials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// The fake's metadata server, as on a machine at Google: other than a key it gives identity tokens.
    Metadata,
    /// Nowhere.
    None,
}

/// All of it.
pub(crate) struct Fixture {
    cloud: Cloud,
    credentials: Credentials,
}

impl Fixture {
    /// With the credentials of the metadata server, and functions in `europe-west1`.
    pub(crate) fn new(project: &str) -> Self {
        let cloud = Cloud::new("cloud-function", project, "region = 'europe-west1'");
        Self { cloud, credentials: Credentials::Metadata }
    }

    pub(crate) fn with_credentials(self, credentials: Credentials) -> Self {
        Self { credentials, ..self }
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.cloud.sandbox
    }

    pub(crate) fn google(&self) -> &'static Google {
        self.cloud.google
    }

    /// Writes `plugins.toml` anew: with these lines for the engine's config, and what else a test wants.
    pub(crate) fn configure(&self, config: &str, more: &str) {
        let (path, noop) = (engine("cloud_function"), engine("noop"));
        let (project, url) = (&self.cloud.project, self.google().url());
        let plugins = format!(
            "[engines.noop]\npath = {noop:?}\n[engines.cloud-function]\npath = {path:?}\n\
             [engines.cloud-function.config]\nproject = {project:?}\nendpoint = {url:?}\n{config}\n{more}\n"
        );
        self.sandbox().write("plugins.toml", &plugins);
    }

    /// Writes `dag.json`.
    pub(crate) fn dag(&self, tasks: &[Value]) {
        self.sandbox().write("dag.json", &json!({"dag_id": "d", "tasks": tasks}).to_string());
    }

    /// The program with the credentials, and without a way to this machine's own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox().command(arguments);
        command.env("HOME", self.sandbox().path()).env_remove("GOOGLE_APPLICATION_CREDENTIALS");
        let server = match self.credentials {
            Credentials::Metadata => self.google().url().trim_start_matches("http://"),
            // Nobody listens on the port of `tcpmux`.
            Credentials::None => "127.0.0.1:1",
        };
        command.env("GCE_METADATA_HOST", server);
        command
    }

    #[track_caller]
    pub(crate) fn oxidag(&self, arguments: &[&str]) -> Ended {
        in_time(self.command(arguments))
    }

    /// Runs `dag.json` to its end as `r`.
    #[track_caller]
    pub(crate) fn run(&self) -> Ended {
        self.run_as("r")
    }

    #[track_caller]
    pub(crate) fn run_as(&self, run: &str) -> Ended {
        self.oxidag(&[&RUN[..], &[run]].concat())
    }

    /// Starts to run `dag.json` as `r`.
    pub(crate) fn start(&self) -> Running {
        Running::start(self.command(&[&RUN[..], &["r"]].concat()))
    }

    /// A task of the run `r`, as `runs show` tells it.
    #[track_caller]
    pub(crate) fn task(&self, task: &str) -> Value {
        let run = self.oxidag(&["runs", "show", "r", "--json"]).expect_status(0).json();
        let mut tasks = run["tasks"].as_array().into_iter().flatten();
        tasks.find(|known| known["task_id"] == task).unwrap_or_else(|| panic!("no {task}: {run:#}")).clone()
    }

    /// A task's log in the run `r`.
    #[track_caller]
    pub(crate) fn log(&self, task: &str) -> String {
        self.oxidag(&["runs", "logs", "r", task]).expect_status(0).stdout
    }

    #[track_caller]
    pub(crate) fn ledger(&self) -> Value {
        self.google().ledger(&self.cloud.project)
    }

    /// The requests of one method, in order.
    #[track_caller]
    pub(crate) fn requests(&self, method: &str) -> Vec<Value> {
        let ledger = self.ledger();
        let all = ledger["requests"].as_array().into_iter().flatten();
        all.filter(|request| request["method"] == method).cloned().collect()
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.cloud.until(what, wanted)
    }

    #[track_caller]
    pub(crate) fn fault(&self, method: &str, fault: &str, times: u32) {
        let fault = json!({"method": method, "fault": fault, "times": times});
        self.google().fault(&self.cloud.project, fault);
    }

    #[track_caller]
    pub(crate) fn hold(&self, what: impl Into<Value>) {
        self.google().settings(&self.cloud.project, json!({"hold": what.into()}));
    }

    /// Neither the key, nor a token, nor one of `more` is in what was printed, in the state, or in a log.
    #[track_caller]
    pub(crate) fn no_secret(&self, ended: &[&Ended], more: &[&str]) {
        let printed: Vec<&str> =
            ended.iter().flat_map(|ended| [ended.stdout.as_str(), &ended.stderr]).collect();
        self.cloud.assert_no_secret(&printed);
        let kept = files(&self.sandbox().home());
        assert!(!kept.is_empty(), "there is no state to look at");
        for secret in more {
            let has = |text: &[u8]| text.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!printed.iter().any(|text| has(text.as_bytes())), "printed: {}…", &secret[..4]);
            assert!(!kept.iter().any(|text| has(text)), "kept: {}…", &secret[..4]);
        }
    }
}

/// The contents of all files below a folder.
fn files(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { Vec::from_iter(std::fs::read(path)) })
        .collect()
}
