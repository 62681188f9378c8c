//! Runs the program, step by step, and passes on what it says.
//!
//! Its output goes to a file that is read while it grows: a pipe would break with the scheduler, and end the program
//! hard in the middle of its work.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, Host, Level, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::report;

/// How often what it says is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// So long after it was asked to stop it is asked again, which the program takes for an order; and then it is killed.
/// The host waits for 30 s.
const PATIENCE: [(Duration, Signal); 2] =
    [(Duration::from_secs(20), Signal::TERM), (Duration::from_secs(25), Signal::KILL)];

/// Runs the steps of one attempt.
pub(super) struct Runner {
    pub(super) host: Host,
    program: PathBuf,
    folder: PathBuf,
    scratch: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

/// A step that has ended.
struct Ended {
    status: ExitStatus,
    said: String,
    /// The last signal that it was sent, if it was asked to stop.
    stopped: Option<Signal>,
}

impl Runner {
    pub(super) fn new(host: Host, program: PathBuf, folder: &Path, scratch: &Path) -> Self {
        let mut runner = Self {
            host,
            program,
            folder: folder.to_path_buf(),
            scratch: scratch.to_path_buf(),
            environment: Vec::new(),
        };
        runner.set("TF_IN_AUTOMATION", "1");
        runner.set("TF_INPUT", "0");
        runner.set("CHECKPOINT_DISABLE", "1");
        runner
    }

    /// Sets a variable of the program's environment.
    pub(super) fn set(&mut self, name: &'static str, value: impl AsRef<OsStr>) {
        self.environment.push((name, value.as_ref().to_owned()));
    }

    /// Runs a step whose end is not the attempt's; gives what it said.
    ///
    /// # Errors
    ///
    /// When it fails, or the attempt is to stop.
    pub(super) async fn step(&mut self, arguments: &[&str]) -> Result<String> {
        let ended = self.run(arguments, true).await?;
        if ended.stopped.is_some() {
            return Err(self.cancelled(arguments, &ended));
        }
        self.verdict(arguments, ended)
    }

    /// As [`step`](Self::step), but one that ends well has done so, asked to stop or not.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub(super) async fn last_step(&mut self, arguments: &[&str]) -> Result<String> {
        let ended = self.run(arguments, true).await?;
        if ended.stopped.is_some() && !ended.status.success() {
            return Err(self.cancelled(arguments, &ended));
        }
        self.verdict(arguments, ended)
    }

    /// Runs a step that is asked for something: what it writes is not logged.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step); it is not kept by a cancellation, the work is done.
    pub(super) async fn read(&mut self, arguments: &[&str]) -> Result<String> {
        let ended = self.run(arguments, false).await?;
        self.verdict(arguments, ended)
    }

    fn verdict(&self, arguments: &[&str], ended: Ended) -> Result<String> {
        if ended.status.success() {
            return Ok(ended.said);
        }
        Err(report::error(&self.name(arguments), &how(ended.status), &ended.said))
    }

    fn cancelled(&self, arguments: &[&str], ended: &Ended) -> Error {
        let step = self.name(arguments);
        if ended.stopped == Some(Signal::INT) {
            return Error::cancelled(format!(
                "cancelled: `{step}` was interrupted and has stopped; what it had done by then is in its state"
            ));
        }
        let text = format!(
            "cancelled: `{step}` did not stop when it was interrupted and was ended by {}; its state may be locked, and \
             may not know all that it made: look with `plan` in {}, and `force-unlock` it if need be",
            how(ended.status),
            self.folder.display()
        );
        self.host.warn(&text);
        Error::cancelled(text)
    }

    /// `terraform plan`, say.
    fn name(&self, arguments: &[&str]) -> String {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        format!("{program} {}", arguments.first().unwrap_or(&""))
    }

    async fn run(&mut self, arguments: &[&str], shown: bool) -> Result<Ended> {
        let name = self.name(arguments);
        if shown && self.host.cancelled() {
            return Err(Error::cancelled(format!("cancelled: before `{name}`")));
        }
        self.host.progress(None, &name);
        let broken = |e: io::Error| Error::transient(format!("cannot run `{name}`: {e}"));
        let path = self.scratch.join("output");
        let file =
            |path: &Path| OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let output = file(&path).map_err(broken)?;
        let errors = if shown { output.try_clone() } else { file(&self.scratch.join("errors")) };
        let mut tail = Tail { file: File::open(&path).map_err(broken)?, partial: Vec::new(), shown };
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors.map_err(broken)?)
            .process_group(0);
        let mut child = command
            .spawn()
            .map_err(|e| Error::invalid(format!("cannot start {}: {e}", self.program.display())))?;
        let (status, stopped) = match self.watch(&mut child, &mut tail, shown).await {
            Ok(ended) => ended,
            Err(error) => {
                end(&mut child).await;
                return Err(Error::transient(format!("cannot follow `{name}`, which was ended: {error}")));
            }
        };
        tail.pass_on(&self.host, true).map_err(broken)?;
        let said = if shown || status.success() { path } else { self.scratch.join("errors") };
        let said = String::from_utf8_lossy(&fs::read(said).map_err(broken)?).into_owned();
        Ok(Ended { status, said, stopped })
    }

    /// Waits for its end; when the attempt is to stop, ends it by and by.
    async fn watch(
        &self,
        child: &mut Child,
        tail: &mut Tail,
        stoppable: bool,
    ) -> io::Result<(ExitStatus, Option<Signal>)> {
        let group = group(child);
        let mut asked: Option<Instant> = None;
        let mut sent = None;
        let mut orders = PATIENCE.iter().peekable();
        loop {
            tokio::select! {
                status = child.wait() => return Ok((status?, sent)),
                () = self.host.until_cancelled(), if asked.is_none() && stoppable => {
                    asked = Some(Instant::now());
                    self.host.info("asked to stop: interrupting the program, which ends what it has begun");
                    sent = signal(group, Signal::INT);
                }
                () = tokio::time::sleep(LOOK) => {}
            }
            tail.pass_on(&self.host, false)?;
            if let Some(asked) = asked
                && let Some((patience, order)) = orders.next_if(|(patience, _)| asked.elapsed() > *patience)
            {
                self.host.warn(&format!("the program goes on after {} s", patience.as_secs()));
                sent = signal(group, *order);
            }
        }
    }
}

/// Ends a program that cannot be followed any more, by and by: ended hard it would leave its state locked.
async fn end(child: &mut Child) {
    let (group, asked) = (group(child), Instant::now());
    signal(group, Signal::INT);
    for (patience, order) in PATIENCE {
        let left = patience.saturating_sub(asked.elapsed());
        if tokio::time::timeout(left, child.wait()).await.is_ok() {
            return;
        }
        signal(group, order);
    }
    // Killed, it has ended soon, and that it has is all there is to know.
    let _ = child.wait().await;
}

/// The group that a program leads until it has been waited for.
fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// Signals all processes of the group, whose leader has not been waited for yet.
fn signal(group: Option<Pid>, signal: Signal) -> Option<Signal> {
    if let Some(group) = group {
        // It may have ended just now.
        let _ = kill_process_group(group, signal);
    }
    Some(signal)
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// A file that grows.
struct Tail {
    file: File,
    /// A line that has no end yet.
    partial: Vec<u8>,
    shown: bool,
}

impl Tail {
    /// Logs the lines that are new; at its end, the last one too.
    fn pass_on(&mut self, host: &Host, all: bool) -> io::Result<()> {
        self.file.read_to_end(&mut self.partial)?;
        let end = match self.partial.iter().rposition(|&byte| byte == b'\n') {
            _ if all => self.partial.len(),
            Some(last) => last + 1,
            None => return Ok(()),
        };
        let lines: Vec<u8> = self.partial.drain(..end).collect();
        if self.shown && !lines.is_empty() {
            host.log(Level::Stdout, &String::from_utf8_lossy(&lines));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_cannot_be_followed_is_interrupted_and_its_end_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        // Without a program for each file: the signal is for the whole group, and would end that too.
        let script = "trap ': > interrupted; exit 1' INT; : > begun; while [ -e begun ]; do sleep 0.05; done";
        // A shell does not trap what it was started to ignore, as it is by one that runs the tests in the background.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "sh", "-c", script]);
        command.current_dir(folder.path()).process_group(0);
        let mut child = command.spawn().unwrap();
        while !folder.path().join("begun").exists() {
            tokio::time::sleep(LOOK).await;
        }
        end(&mut child).await;
        assert!(folder.path().join("interrupted").exists());
        assert_eq!(child.id(), None, "it has been waited for");
    }
}
