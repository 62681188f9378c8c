//! DuckDB's program as a child process that never outlives its scheduler.
//!
//! A shell leads the child's process group and keeps a pipe to the scheduler open. When the scheduler is gone, the
//! pipe ends and the group is killed, also what the program has started: the one that PyPI installs is a script that
//! starts another. So no attempt goes on beside its successor, and no file is left: whoever of the two outlives the
//! other removes them. DuckDB's files bear a kill at any moment.
//!
//! Its results come through a named pipe, not through standard output, to which a script may write too.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use oxidag_plugin_api::{Error, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::files::Files;

/// Its arguments: the folder with the script's file, then the program and its arguments.
const SHELL: &str = r#"
exec 3<&0 <"$1/script" || exit
rm -f -- "$1/script"
(read -r _ <&3; rm -rf -- "$1"; kill -KILL 0) >/dev/null 2>&1 &
shift
"$@" 3<&-
status=$?
exec 2>/dev/null
kill -KILL "$!"
exit "$status"
"#;

/// How much of standard error is kept for a message.
const MOST: usize = 16 * 1024;

/// How long the end of a killed process may take.
const DYING: Duration = Duration::from_secs(10);

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The beginning of what it wrote to standard error.
    pub(crate) errors: String,
}

impl Ended {
    /// The signal that ended the program. A shell makes a status above 128 of it, and the script that PyPI installs a
    /// negative one, which is one of the highest; DuckDB has none of them for itself.
    pub(crate) fn signal(&self) -> Option<i32> {
        match self.status.code() {
            None => self.status.signal(),
            Some(code @ 129..192) => Some(code - 128),
            Some(code @ 192..256) => Some(256 - code),
            Some(_) => None,
        }
    }
}

/// Where the program is.
///
/// # Errors
///
/// When there is none of this name.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let found = if program.contains('/') {
        Some(PathBuf::from(program)).filter(|path| path.is_file())
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
    };
    found.ok_or_else(|| {
        Error::invalid(format!(
            "the program `{program}` is not there: install DuckDB's (`pip install duckdb-cli` does), so that it is on \
             PATH, or name it by `program` in the engine's config"
        ))
    })
}

/// Runs the program on this input in this folder until it ends, or until `stop` completes, which kills it.
///
/// # Errors
///
/// Cancelled when it was stopped; others when the system cannot run it.
pub(crate) async fn run(
    command: (&Path, &[&str]),
    folder: &Path,
    input: &str,
    each_result: impl FnMut(&str),
    each_print: impl FnMut(&str),
    stop: impl Future<Output = ()>,
) -> Result<Ended> {
    let files = Files::new(&std::env::temp_dir(), input)?;
    let (results, keeps_open) = files.pipe()?;
    let mut child = start(command, folder, files.folder()).map_err(|error| unusable(folder, &error))?;
    // Open until the child has ended: its end is the scheduler's.
    let lifeline = child.stdin.take();
    let pipes = child.stdout.take().zip(child.stderr.take());
    let (out, err) = pipes.ok_or_else(|| unusable(folder, &std::io::ErrorKind::BrokenPipe.into()))?;
    let mut errors = String::new();
    let ended = {
        let program = async {
            tokio::join!(lines(out, each_print), lines(err, |line| keep(&mut errors, line)));
            // Now that the program is gone, its results may end.
            drop(keeps_open);
        };
        let mut work = std::pin::pin!(async { tokio::join!(program, lines(results, each_result)) });
        let ended = tokio::select! {
            _ = &mut work => true,
            () = stop => false,
        };
        if !ended {
            kill(&child);
            // Its output ends with its last process, which has the database until then.
            let _ = tokio::time::timeout(DYING, work).await;
        }
        ended
    };
    let status = child.wait().await.map_err(|error| unusable(folder, &error))?;
    drop(lifeline);
    if ended {
        Ok(Ended { status, errors })
    } else {
        Err(Error::cancelled("stopped on request: DuckDB was ended"))
    }
}

fn start((program, arguments): (&Path, &[&str]), folder: &Path, files: &Path) -> std::io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", SHELL, "oxidag"])
        .arg(files)
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn unusable(folder: &Path, error: &std::io::Error) -> Error {
    Error::transient(format!("cannot run /bin/sh, which starts DuckDB, in {}: {error}", folder.display()))
}

/// Ends the whole group.
fn kill(child: &Child) {
    // Without an id it has been waited for, and its group's number may be another's.
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // Nothing is left to kill, then.
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
}

/// Passes on the lines of a stream until it ends.
async fn lines(stream: impl AsyncRead + Unpin, mut each: impl FnMut(&str)) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    // A pipe's reading end has no errors but its end.
    while stream.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
}

fn keep(errors: &mut String, line: &str) {
    if errors.len() < MOST {
        errors.push_str(line);
        errors.push('\n');
    }
}
