//! A notice by a command: the JSON on its standard input.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Miss, Notice, Shared};
use crate::format::{one_line, shorten};

/// How long it is waited before looking whether the command has ended: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How much of a command's standard error is looked at for its last line.
const TAIL: i64 = 4096;

/// How many characters of that line are told.
const LAST_LINE: usize = 200;

/// A program, its arguments, and where it runs.
pub(super) struct Command {
    words: Vec<String>,
    folder: Arc<PathBuf>,
}

impl Command {
    pub(super) fn new(words: &[String], folder: Arc<PathBuf>) -> Self {
        Self { words: words.to_vec(), folder }
    }

    /// Runs it once, and kills it when it takes longer than `limit` or nobody waits for it any longer.
    ///
    /// # Errors
    ///
    /// When it could not be started or did not succeed. It may be tried again when it ended by itself.
    pub(super) fn tell(&self, notice: &Notice, limit: Duration, shared: &Shared) -> Result<(), Miss> {
        let unstarted =
            |error| Miss::Final(format!("it cannot be started in {}: {error}", self.folder.display()));
        let mut said = tempfile::tempfile().ok();
        let mut child = self.start(notice, said.as_ref()).map_err(unstarted)?;
        if let Some(mut input) = child.stdin.take() {
            let json = notice.json.clone();
            // A command that reads nothing may hold this thread until it ends. One that ends first is no failure.
            let feed = move || drop(input.write_all(json.as_bytes()));
            if let Err(error) = thread::Builder::new().spawn(feed) {
                kill(&mut child);
                return Err(unstarted(error));
            }
        }
        let status = wait(&mut child, limit, shared)?;
        match status.success() {
            true => Ok(()),
            false => Err(Miss::Again(failure(status, &last_line(said.as_mut())))),
        }
    }

    fn start(&self, notice: &Notice, said: Option<&File>) -> std::io::Result<Child> {
        let (program, arguments) = self.words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        // A path is meant from the folder that the command runs in; a bare name is looked up on PATH.
        let path = if program.contains('/') { self.folder.join(program) } else { PathBuf::from(program) };
        let mut command = std::process::Command::new(path);
        command.args(arguments).current_dir(self.folder.as_path()).env("PWD", self.folder.as_path());
        for (name, key) in
            [("OXIDAG_DAG_ID", "dag_id"), ("OXIDAG_RUN_ID", "run_id"), ("OXIDAG_RUN_STATE", "state")]
        {
            command.env(name, notice.payload[key].as_str().unwrap_or_default());
        }
        // Where there is no room for a file, its last words are lost.
        let error = said.and_then(|file| file.try_clone().ok()).map_or_else(Stdio::null, Stdio::from);
        // In a group of its own Ctrl-C, which is for the run, does not reach it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(error).spawn()
    }
}

/// Waits for its end.
fn wait(child: &mut Child, limit: Duration, shared: &Shared) -> Result<ExitStatus, Miss> {
    let until = Instant::now() + limit;
    let mut pause = PAUSES.0;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(error) => return Err(Miss::Final(format!("its end cannot be seen: {error}"))),
        }
        let given_up = shared.pause(pause);
        if given_up || Instant::now() >= until {
            kill(child);
            let limit = humantime::format_duration(limit);
            return Err(Miss::Final(format!("it did not end within {limit} and was killed")));
        }
        pause = PAUSES.1.min(pause * 2);
    }
}

/// Ends it with all that it has started.
fn kill(child: &mut Child) {
    // It was not waited for yet, so the group is still its own. There is nobody to tell of an error.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

fn failure(status: ExitStatus, last_line: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
    };
    if last_line.is_empty() { how } else { format!("{how}: {last_line}") }
}

/// The last line that is not blank.
fn last_line(said: Option<&mut File>) -> String {
    let mut tail = Vec::new();
    if let Some(file) = said {
        // What cannot be read is not told.
        let _ = file.seek(SeekFrom::End(-TAIL)).or_else(|_| file.seek(SeekFrom::Start(0)));
        let _ = file.read_to_end(&mut tail);
    }
    let text = String::from_utf8_lossy(&tail);
    let last = text.lines().map(one_line).rfind(|line| !line.is_empty());
    shorten(&last.unwrap_or_default(), LAST_LINE)
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.words.first().map_or("", String::as_str);
        let name =
            Path::new(program).file_name().map_or_else(|| program.into(), |name| name.to_string_lossy());
        write!(f, "command `{}`", one_line(&name))
    }
}
