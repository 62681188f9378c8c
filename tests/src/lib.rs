//! Helpers of the tests across crates: the built program, on the built engines, in a folder of its own.
//!
//! It links nothing of oxidag: what is tested is what a user has.

pub mod cloud;
pub mod ledger;
pub mod many;
pub mod running;
pub mod servers;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo has put the program and the engines, in the profile of the running test.
#[must_use]
pub fn built() -> PathBuf {
    // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM
    std::env::current_exe()
        .ok()
        .and_then(|test| {
            let folder = test.parent()?;
            let deps = folder.file_name()? == "deps";
            Some(if deps { folder.parent()? } else { folder }.to_path_buf())
        })
        .unwrap_or_else(|| panic!("the running test has no path"))
}

/// The library of an engine.
///
/// # Panics
///
/// When it has not been built.
#[must_use]
pub fn engine(name: &str) -> PathBuf {
    built_file(&format!(
        "{}oxidag_engine_{name}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ))
}

fn built_file(name: &str) -> PathBuf {
    let path = built().join(name);
    assert!(
        path.is_file(),
        "{} is not there; `cargo build --workspace` builds it, and `cargo xtask test` does so before the tests",
        path.display()
    );
    path
}

/// A folder with state, plugins and DAGs of its own.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// An empty folder, but for a `plugins.toml` with the engines `shell`, `sql` and `noop`.
    ///
    /// # Panics
    ///
    /// When the file system refuses.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let sandbox = Self { folder };
        let engines = ["shell", "sql", "noop"];
        let plugins: String =
            engines.iter().map(|name| format!("[engines.{name}]\npath = {:?}\n", engine(name))).collect();
        sandbox.write("plugins.toml", &plugins);
        sandbox
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where state and logs go.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.path().join(".oxidag")
    }

    /// Writes a file in it, whose folders are made, and returns its path.
    ///
    /// # Panics
    ///
    /// When the file system refuses.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, text))
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        path
    }

    /// The program with these arguments, to be run in this folder.
    ///
    /// # Panics
    ///
    /// When the program has not been built.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = format!("oxidag{}", std::env::consts::EXE_SUFFIX);
        let mut command = Command::new(built_file(&program));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_remove("OXIDAG_ENGINE_PATH")
            .env("OXIDAG_HOME", self.home())
            .env("NO_COLOR", "1");
        command
    }

    /// The same, started by a program that leaves signals to it in a certain way.
    ///
    /// # Panics
    ///
    /// When the program has not been built.
    #[must_use]
    pub fn command_below(&self, starter: &[&str], arguments: &[&str]) -> Command {
        let inner = self.command(arguments);
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(inner.get_program()).args(inner.get_args()).current_dir(self.path());
        command.env_remove("OXIDAG_ENGINE_PATH");
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn oxidag(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output();
        output.unwrap_or_else(|e| panic!("cannot start oxidag: {e}")).into()
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// The same, if this is its exit status.
    ///
    /// # Panics
    ///
    /// With all that was printed, if it is another.
    #[track_caller]
    pub fn expect_status(self, status: i32) -> Self {
        assert_eq!(
            self.status,
            Some(status),
            "\n── stdout ──\n{}\n── stderr ──\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// When it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON: {e}\n{}", self.stdout))
    }

    /// Standard output as one JSON value a line.
    ///
    /// # Panics
    ///
    /// When a line is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {e}\n{line}")))
            .collect()
    }
}
