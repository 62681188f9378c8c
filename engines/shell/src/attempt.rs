//! One attempt: from the task to its outcome.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
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
use crate::spawn::{Child, Pipes, Program};
use crate::variables::{self, Environment};
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
    let (child, pipes) = start(config, &mut files, task)?;
    let watch = Watch::new(Group::new(child), pipes, request, sink, config.grace(), started);
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
fn start(config: &Config, files: &mut Files, task: &Task) -> Result<(Child, Pipes)> {
    let environment = Environment::of(task, &config.env, files.result())?;
    let folder = &task.working_dir;
    let start = |name: &str, arguments: &[&OsStr]| {
        Program { name, arguments, environment: &environment, folder }.start()
    };
    let text = &task.script.text;
    let interpreter = Interpreter::of(text, &config.interpreter)?;
    // What cannot be started so is the shell's to explain.
    if let Some(words) = interpreter.only_command(text) {
        let arguments: Vec<_> = words[1..].iter().map(OsStr::new).collect();
        if let Ok(started) = start(words[0], &arguments) {
            return Ok(started);
        }
    }
    let script = match &task.script.path {
        // The script runs in another folder.
        Some(path) => &std::path::absolute(path)
            .map_err(|e| Error::invalid(format!("the script's path is none: {e}")))?,
        None => files.write_script(&task.script.name, text)?,
    };
    let arguments: Vec<_> = interpreter.args.iter().map(OsStr::new).chain([script.as_os_str()]).collect();
    start(&interpreter.program, &arguments).map_err(|error| refused(&error, &interpreter, task))
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
