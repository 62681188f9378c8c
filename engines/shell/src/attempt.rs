//! One attempt: from the task to its outcome.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use oxidag_plugin_api::{Error, Level, Outcome, Result, Task};
use rustix::io::Errno;

use crate::config::Config;
use crate::ending::hides_behind_ours;
use crate::group::Group;
use crate::interpreter::Interpreter;
use crate::leftover;
use crate::lines;
use crate::scratch::{Files, Scratch};
use crate::sink::Sink;
use crate::variables;
use crate::watch::{StopRequest, Watch};

/// Runs the task's script and returns when it has ended. First ends what a scheduler that died left of it.
///
/// # Errors
///
/// When it could not be started, did not succeed, was cancelled, or left a result that is none.
pub(crate) fn run(config: &Config, scratch: &Scratch, task: &Task, sink: &impl Sink) -> Result<Outcome> {
    leftover::end(task, config.grace(), leftover::PATIENCE, sink)?;
    if sink.cancelled() {
        return Err(Error::cancelled("cancelled before the script was started"));
    }
    let mut files = scratch.files()?;
    let request = StopRequest::listen(sink).map_err(|e| unwatchable(&e))?;
    let started = Instant::now();
    let mut child = start(config, &mut files, task)?;
    let pipes = child.stdout.take().zip(child.stderr.take());
    let group = Group::new(child).map_err(|e| unwatchable(&e))?;
    let (out, err) = pipes.ok_or_else(|| unwatchable(&io::ErrorKind::BrokenPipe.into()))?;
    let watch = Watch::new(group, (out.into(), err.into()), request, sink, config.grace(), started);
    let values = task.connections.iter().filter_map(|name| task.params.get(name)?.as_str());
    let ended = watch.keeping_whole(&lines::secrets(values)).until_end().map_err(|e| unwatchable(&e))?;
    if ended.needs_summary() {
        sink.log(Level::Info, &ended.summary(hides_behind_ours(ended.memory)));
    }
    ended.verdict()?;
    let result = files.take_result().map_err(|error| ended.measured(error))?;
    Ok(ended.outcome(result))
}

fn unwatchable(error: &io::Error) -> Error {
    Error::transient(format!("cannot watch the script: {error}"))
}

/// Starts the script in a process group of its own, its output in pipes.
fn start(config: &Config, files: &mut Files, task: &Task) -> Result<Child> {
    let variables = variables::of(task, &config.env, files.result())?;
    // Nothing here may need code between fork and exec, or starting takes several times as long.
    let command = |program: &str| {
        let mut command = Command::new(program);
        command.envs(variables.iter().map(|(name, value)| (name, &**value)));
        command.current_dir(&task.working_dir).process_group(0);
        command.stdin(nothing()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let text = &task.script.text;
    let interpreter = Interpreter::of(text, &config.interpreter)?;
    // What cannot be started so is the shell's to explain.
    if let Some(words) = interpreter.only_command(text)
        && let Ok(child) = command(words[0]).args(&words[1..]).spawn()
    {
        return Ok(child);
    }
    let script = match &task.script.path {
        // The script runs in another folder.
        Some(path) => &std::path::absolute(path)
            .map_err(|e| Error::invalid(format!("the script's path is none: {e}")))?,
        None => files.write_script(&task.script.name, text)?,
    };
    let started = command(&interpreter.program).args(&interpreter.args).arg(script).spawn();
    started.map_err(|error| refused(&error, &interpreter, task))
}

/// `/dev/null` for reading, opened once: every script needs it.
fn nothing() -> Stdio {
    static NOTHING: LazyLock<Option<File>> = LazyLock::new(|| File::open("/dev/null").ok());
    NOTHING.as_ref().and_then(|file| file.try_clone().ok()).map_or_else(Stdio::null, Stdio::from)
}

/// Why the system would not start the interpreter, and what to do.
fn refused(error: &io::Error, interpreter: &Interpreter, task: &Task) -> Error {
    let what = match interpreter.own {
        true => format!("`{}`, which the script's `#!` line names", interpreter.program),
        false => format!("the configured interpreter `{}`", interpreter.program),
    };
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) if !task.working_dir.is_dir() => {
            Error::invalid(format!("the working directory {} does not exist", task.working_dir.display()))
        }
        Some(Errno::NOENT) if Path::new(&interpreter.program).exists() => Error::invalid(format!(
            "cannot run {what}: the file exists, but a program that it needs in turn does not (its own `#!` line, \
             or the loader of another system)"
        )),
        Some(Errno::NOENT | Errno::NOTDIR) => Error::invalid(format!(
            "cannot run {what}: it does not exist; install it, or name another interpreter"
        )),
        Some(Errno::ACCESS | Errno::PERM | Errno::NOEXEC | Errno::ISDIR) => {
            Error::invalid(format!("cannot run {what}: {error}; is it a program, and may this user run it?"))
        }
        Some(Errno::TOOBIG) => Error::invalid(too_big(task)),
        Some(Errno::TXTBSY | Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => {
            Error::transient(format!("cannot run {what} just now: {error}"))
        }
        _ => Error::failed(format!("cannot run {what}: {error}")),
    }
}

fn too_big(task: &Task) -> String {
    let largest = variables::largest(task).map_or_else(String::new, |(name, size)| {
        format!("; the largest parameter, `{name}`, has {size} bytes")
    });
    format!(
        "the task's parameters are too large to be environment variables (on Linux, 128 KiB each){largest}: \
         put it into a file and pass the file's name"
    )
}
