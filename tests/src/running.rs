//! A program that a test looks at while it runs, or that must not take forever.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::Ended;

/// So long nothing takes that a test asks for, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that tells events, one JSON object a line; it is killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// What it writes, line by line; a thread reads it, so that nobody waits forever for more.
    lines: Receiver<String>,
    told: String,
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let stdout = child.stdout.take().unwrap_or_else(|| panic!("no standard output"));
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Until the test has ended, at most.
            lines.try_for_each(|line| tell.send(line))
        });
        Self { child, lines, told: String::new() }
    }

    /// The next line; `None` when there are no more.
    #[track_caller]
    fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.told += &format!("{line}\n");
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more for {PATIENCE:?}: {}", self.told),
        }
    }

    /// Waits for an event.
    ///
    /// # Panics
    ///
    /// When the program ends before, or hangs.
    #[track_caller]
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Some(line) = self.line() else {
                let mut said = String::new();
                let read = self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
                panic!("it ended before what was waited for ({read:?}): {}\n{said}", self.told);
            };
            let event = serde_json::from_str(&line).unwrap_or_else(|e| panic!("not an event: {e}: {line}"));
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits until a task has taken a state.
    ///
    /// # Panics
    ///
    /// As [`until`](Self::until).
    #[track_caller]
    pub fn until_task(&mut self, task: &str, state: &str) {
        self.until(|event| {
            event["event"] == "task_state" && event["task_id"] == task && event["state"] == state
        });
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, named as `kill` names it.
    ///
    /// # Panics
    ///
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.as_ref().is_ok_and(ExitStatus::success), "cannot send SIG{name}: {sent:?}");
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When the system refuses.
    pub fn kill(mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.unwrap_or_else(|e| panic!("cannot kill process {}: {e}", self.child.id()));
    }

    /// Waits until it ends by itself; all that it told is in what it wrote.
    ///
    /// # Panics
    ///
    /// When it cannot be read, or hangs.
    #[track_caller]
    pub fn end(&mut self) -> Ended {
        while self.line().is_some() {}
        let stdout = std::mem::take(&mut self.told);
        let mut stderr = String::new();
        let read = self.child.stderr.take().map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut stderr));
        let status = read.and_then(|_| self.child.wait()).unwrap_or_else(|e| panic!("lost sight of it: {e}"));
        Ended { status: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in a test that succeeds.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, which must come soon.
///
/// # Panics
///
/// When it cannot be started, or hangs; it is killed then.
#[track_caller]
#[must_use]
pub fn in_time(mut command: Command) -> Ended {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let pid = child.id().to_string();
    let (tell, told) = mpsc::channel();
    // Nobody waits for it any more once it was found to hang.
    thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(output) = told.recv_timeout(PATIENCE) else {
        let killed = Command::new("kill").args(["-KILL", &pid]).status();
        panic!("{command:?} did not end within {PATIENCE:?}; killed: {killed:?}");
    };
    output.unwrap_or_else(|e| panic!("lost sight of {command:?}: {e}")).into()
}
