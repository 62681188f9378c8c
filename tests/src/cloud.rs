//! What the tests of the engines of Google's services share: a sandbox and a project of the test's own at the fake.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::running::{Running, in_time};
use crate::servers::google::Google;
use crate::{Ended, Sandbox, engine};

/// So long nothing takes that a test waits for, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the fake is asked.
const LOOK: Duration = Duration::from_millis(20);

/// How the fake's tokens begin: no text that is told may have one.
const TOKENS: [&str; 4] = ["eyJhb", "eyJ0e", "eyJra", "ya29.fake-"];

/// Shorter lines of a key than this one are in many texts.
const TELLING: usize = 40;

/// A sandbox with an engine of Google's, beside `shell` and `noop`, and a project at the fake.
#[derive(Debug)]
pub struct Cloud {
    /// Where the DAGs are.
    pub sandbox: Sandbox,
    /// The project; each test has its own.
    pub project: String,
    /// The fake.
    pub google: &'static Google,
}

impl Cloud {
    /// The engine `name` (its library is `oxidag_engine_NAME`, `-` being `_` there) with this project and the fake as
    /// its endpoint; `config` is more of its configuration, as TOML.
    ///
    /// # Panics
    ///
    /// When the fake does not start.
    #[must_use]
    pub fn new(name: &str, project: &str, config: &str) -> Self {
        let cloud = Self { sandbox: Sandbox::new(), project: project.to_owned(), google: Google::shared() };
        let url = cloud.google.url();
        let mut plugins = format!("[engines.{name}]\npath = {:?}\n", engine(&name.replace('-', "_")));
        plugins += &format!("[engines.{name}.config]\nproject = {project:?}\nendpoint = {url:?}\n{config}\n");
        for other in ["shell", "noop"] {
            plugins += &format!("[engines.{other}]\npath = {:?}\n", engine(other));
        }
        cloud.sandbox.write("plugins.toml", &plugins);
        cloud
    }

    /// More lines for `plugins.toml`: `[connections.…]`, `[locations.…]`.
    ///
    /// # Panics
    ///
    /// When the file system refuses.
    pub fn add_plugins(&self, toml: &str) {
        let path = self.sandbox.path().join("plugins.toml");
        let plugins = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read plugins.toml: {e}"));
        self.sandbox.write("plugins.toml", &format!("{plugins}\n{toml}\n"));
    }

    /// The program with the fake's credentials.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        self.google.env(&mut command);
        command
    }

    /// Runs the program to its end, which must come.
    ///
    /// # Panics
    ///
    /// When it hangs.
    #[must_use]
    #[track_caller]
    pub fn oxidag(&self, arguments: &[&str]) -> Ended {
        in_time(self.command(arguments))
    }

    /// Runs `dag.json` as the run `r`, telling events.
    ///
    /// # Panics
    ///
    /// When it hangs.
    #[must_use]
    #[track_caller]
    pub fn run(&self) -> Ended {
        self.oxidag(&["run", "dag.json", "--run-id", "r", "--format", "json"])
    }

    /// Starts `dag.json` as the run `r`, telling events.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self) -> Running {
        Running::start(self.command(&["run", "dag.json", "--run-id", "r", "--format", "json"]))
    }

    /// Waits until the fake's ledger of the project is as wanted, and returns it.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    #[track_caller]
    pub fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ledger = self.google.ledger(&self.project);
            if wanted(&ledger) {
                return ledger;
            }
            assert!(Instant::now() < deadline, "the ledger does not show {what}: {ledger:#}");
            thread::sleep(LOOK);
        }
    }

    /// Waits until one job, and no more, is in this state; returns it with its id.
    ///
    /// # Panics
    ///
    /// As [`until`](Self::until).
    #[track_caller]
    pub fn until_job(&self, state: &str) -> (String, Value) {
        let ledger =
            self.until(&format!("a job that is {state}"), |ledger| only_job(ledger)["state"] == state);
        let id = ledger["jobs"].as_object().and_then(|jobs| jobs.keys().next().cloned());
        (id.unwrap_or_default(), only_job(&ledger).clone())
    }

    /// How often a method was called, by its name in Google's description.
    #[must_use]
    #[track_caller]
    pub fn calls(&self, method: &str) -> usize {
        let ledger = self.google.ledger(&self.project);
        let requests = ledger["requests"].as_array().map(Vec::as_slice).unwrap_or_default();
        requests.iter().filter(|request| request["method"] == method).count()
    }

    /// Nothing of the fake's secret key, and no token, is in the state and the logs, in `plugins.toml` beside them, in what was
    /// printed, or in the command line of any process.
    ///
    /// # Panics
    ///
    /// When it is.
    #[track_caller]
    pub fn assert_no_secret(&self, printed: &[&str]) {
        let secrets = self.secrets();
        for text in printed {
            assert_clean("what was printed", text.as_bytes(), &secrets);
        }
        scan(&self.sandbox.home(), &secrets);
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            // A process that has ended meanwhile shows nothing.
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            assert_clean(&format!("the command line of {}", process.path().display()), &line, &secrets);
        }
    }

    /// The telling lines of the service account's key, and how tokens begin.
    fn secrets(&self) -> Vec<String> {
        let text = fs::read_to_string(self.google.key_file()).unwrap_or_else(|e| panic!("no key: {e}"));
        let key: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("the key is no JSON: {e}"));
        let lines = key["private_key"].as_str().unwrap_or_default().lines();
        let secrets: Vec<String> =
            lines.filter(|line| line.len() >= TELLING && !line.starts_with('-')).map(str::to_owned).collect();
        assert!(secrets.len() > 10, "the key has too few lines to look for");
        secrets.into_iter().chain(TOKENS.map(str::to_owned)).collect()
    }
}

/// The one job of a ledger; null if there are none or several.
fn only_job(ledger: &Value) -> &Value {
    match ledger["jobs"].as_object() {
        Some(jobs) if jobs.len() == 1 => jobs.values().next().unwrap_or(&Value::Null),
        _ => &Value::Null,
    }
}

#[track_caller]
fn scan(folder: &Path, secrets: &[String]) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot look into {}: {e}", folder.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            scan(&path, secrets);
        } else if let Ok(content) = fs::read(&path) {
            assert_clean(&path.display().to_string(), &content, secrets);
        }
    }
}

#[track_caller]
fn assert_clean(what: &str, content: &[u8], secrets: &[String]) {
    let text = String::from_utf8_lossy(content);
    assert!(!secrets.iter().any(|secret| text.contains(secret)), "{what} has the key or a token in it");
}
