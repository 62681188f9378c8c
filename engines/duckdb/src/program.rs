//! DuckDB's program as a child process that never outlives its scheduler.
//!
//! A shell leads the child's process group and keeps a pipe to the scheduler open. When the scheduler is gone, the
//! pipe ends and the group is killed, also what the program has started: the one that PyPI installs is a script that
//! starts another. So no attempt goes on beside its successor, and no file is left, as the shell removes
//! the script's once it is open. DuckDB's files bear a kill at any moment.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use oxidag_plugin_api::{Error, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// Its arguments: the script's file, then the program and its arguments.
const SHELL: &str = r#"
exec 3<&0 <"$1" || exit
rm -f -- "$1"
shift
(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 &
"$@" 3<&-
status=$?
exec 2>/dev/null
kill -KILL "$!"
exit "$status"
"#;

/// How much of standard error is kept for a message.
const MOST: usize = 16 * 1024;

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The beginning of what it wrote to standard error.
    pub(crate) errors: String,
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
/// Cancelled when it was stopped; transient when the system cannot run it now.
pub(crate) async fn run(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    input: &str,
    mut each_line: impl FnMut(&str),
    stop: impl Future<Output = ()>,
) -> Result<Ended> {
    let mut child = start(program, arguments, folder, input).map_err(|error| unusable(program, &error))?;
    // Open until the child has ended: its end is the scheduler's.
    let lifeline = child.stdin.take();
    let pipes = child.stdout.take().zip(child.stderr.take());
    let (out, err) = pipes.ok_or_else(|| unusable(program, &std::io::ErrorKind::BrokenPipe.into()))?;
    let mut errors = String::new();
    let ended = {
        let work = async {
            let ((), ()) =
                tokio::join!(lines(out, &mut each_line), lines(err, |line| keep(&mut errors, line)));
        };
        tokio::select! {
            () = work => true,
            () = stop => false,
        }
    };
    if !ended {
        kill(&child);
    }
    let status = child.wait().await.map_err(|error| unusable(program, &error))?;
    drop(lifeline);
    if ended {
        Ok(Ended { status, errors })
    } else {
        Err(Error::cancelled("stopped on request: DuckDB was ended"))
    }
}

fn start(program: &Path, arguments: &[&str], folder: &Path, input: &str) -> std::io::Result<Child> {
    // Readable by this user alone.
    let mut file = tempfile::NamedTempFile::with_prefix("oxidag-duckdb-")?;
    file.write_all(input.as_bytes())?;
    let file = file.into_temp_path();
    let child = Command::new("/bin/sh")
        .args(["-c", SHELL, "oxidag"])
        .arg(&file)
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // The shell removes it, as only it knows when it has opened it.
    let _ = file.keep();
    Ok(child)
}

fn unusable(program: &Path, error: &std::io::Error) -> Error {
    Error::transient(format!("cannot run {}: {error}", program.display()))
}

/// Ends the whole group.
fn kill(child: &Child) {
    // Without an id it has been waited for, and its group's number may be another's.
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        // Nothing is left to kill, then.
        let _ = kill_process_group(id, Signal::KILL);
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
