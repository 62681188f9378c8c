//! A server under its keeper, which ends it when the test process is gone.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(20);

/// On so many ports it is tried: another process may take one between the search for it and its use.
const TRIES: u32 = 3;

/// A server that runs; it ends when dropped.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its name, for people.
    what: &'static str,
    /// Where its output is, and what it keeps.
    folder: PathBuf,
    port: u16,
    /// `None` once it was ended.
    keeper: Mutex<Option<Child>>,
}

/// How a server is run.
pub(super) struct Manner {
    pub(super) command: Command,
    /// The signal that ends it, without `SIG`; empty where it ends when its standard input does.
    pub(super) signal: &'static str,
    /// Whom it runs as, where not as the test does.
    pub(super) user: Option<&'static str>,
}

impl From<Command> for Manner {
    fn from(command: Command) -> Self {
        Self { command, signal: "TERM", user: None }
    }
}

impl Kept {
    /// Starts a server by a command for its folder and port, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub(super) fn start<M: Into<Manner>>(
        what: &'static str,
        command: impl Fn(&Path, u16) -> M,
        ready: impl Fn(&Self) -> bool,
    ) -> Self {
        for _ in 1..TRIES {
            let kept = Self::launch(what, &command);
            if kept.wait(&ready).is_ok() {
                return kept;
            }
        }
        let kept = Self::launch(what, &command);
        kept.wait(&ready).unwrap_or_else(|why| panic!("{why}"));
        kept
    }

    fn launch<M: Into<Manner>>(what: &'static str, command: &impl Fn(&Path, u16) -> M) -> Self {
        let folder = tempfile::Builder::new().prefix("oxidag-server-").tempdir();
        // The keeper removes it.
        let folder = folder.unwrap_or_else(|e| panic!("no temporary folder: {e}")).keep();
        let port = free_port();
        let manner: Manner = command(&folder, port).into();
        let keeper = keeper(&folder, &manner).spawn();
        let keeper = keeper.unwrap_or_else(|e| panic!("cannot start the keeper of {what}, python3: {e}"));
        Self { what, folder, port, keeper: Mutex::new(Some(keeper)) }
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it has ended instead; on another port it might not.
    fn wait(&self, ready: &impl Fn(&Self) -> bool) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !ready(self) {
            if self.folder.join("ended").exists() {
                return Err(format!("{} ended at once:\n{}", self.what, self.said()));
            }
            assert!(Instant::now() < until, "{} does not answer:\n{}", self.what, self.said());
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// What it wrote to standard output so far.
    pub(super) fn out(&self) -> String {
        fs::read_to_string(self.folder.join("out")).unwrap_or_default()
    }

    fn said(&self) -> String {
        self.out() + &fs::read_to_string(self.folder.join("err")).unwrap_or_default()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it, and waits until it is gone.
    pub(super) fn stop(&self) {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut keeper) = keeper {
            drop(keeper.stdin.take());
            // The keeper kills what does not end.
            let _ = keeper.wait();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stop();
    }
}

fn keeper(folder: &Path, manner: &Manner) -> Command {
    let command = &manner.command;
    let mut keeper = Command::new("python3");
    keeper.arg(crate::root().join("tests/servers/keep.py")).arg("--folder").arg(folder);
    keeper.args(["--signal", manner.signal, "--user", manner.user.unwrap_or_default(), "--"]);
    keeper.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => keeper.env(name, value),
            None => keeper.env_remove(name),
        };
    }
    keeper.current_dir(command.get_current_dir().unwrap_or(folder)).stdin(Stdio::piped());
    // Out of the reach of what ends the test by a signal to its group.
    keeper.process_group(0);
    keeper
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.unwrap_or_else(|e| panic!("no free port: {e}")).port()
}
