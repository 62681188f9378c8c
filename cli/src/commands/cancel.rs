//! `oxidag runs cancel`: asks the process that owns a run to stop it, and waits until it has.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use oxidag_core::event::FailureKind;
use oxidag_core::spec::suggest;
use oxidag_core::state::{RunState, TaskState};
use oxidag_core::store::{RunDetails, RunHead, Store, StoreError, TaskDetails};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::runs;
use crate::exit::Exit;
use crate::format::one_line;
use crate::style::Palette;
use crate::{output, settings};

/// How often the owner is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn cancel(run: &str, tasks: &[String]) -> anyhow::Result<Exit> {
    let (store, run) = runs::find(run)?;
    let head = run.head;
    let Some(pid) = store.owner_pid(&head.run_id)? else {
        output::remark(not_running(&head));
        return Ok(Exit::Failed);
    };
    if !tasks.is_empty() {
        return cancel_tasks(&store, &run.tasks, &head.run_id, pid, tasks);
    }
    store.ask_to_cancel(&head.run_id, &[])?;
    signal(pid, &head.run_id)?;
    output::remark(format_args!("waiting for process {pid} to end the run {}", head.run_id));
    let run = ended(&store, &head.run_id, pid)?;
    for task in run.tasks.iter().filter(|task| is_abandoned(task)) {
        let message = task.error.as_ref().map_or("", |error| error.message.as_str());
        output::remark(format_args!("could not be stopped: {}: {}", task.task_id, one_line(message)));
    }
    let (state, palette) = (run.head.state, Palette::stdout());
    let said = format!("run {} is {}\n", run.head.run_id, palette.run(state, state));
    output::print(&said).context("cannot print the state")?;
    Ok(if state == RunState::Cancelled { Exit::Success } else { Exit::Failed })
}

/// Cancels tasks of a run that goes on.
fn cancel_tasks(
    store: &Store,
    known: &[TaskDetails],
    run_id: &str,
    pid: u32,
    tasks: &[String],
) -> anyhow::Result<Exit> {
    for name in tasks {
        if known.iter().all(|task| task.task_id != *name) {
            match suggest::nearest(name, known.iter().map(|task| task.task_id.as_str())) {
                Some(near) => bail!("the run {run_id} has no task `{name}`; did you mean `{near}`?"),
                None => {
                    bail!("the run {run_id} has no task `{name}`; `oxidag runs show {run_id}` lists them")
                }
            }
        }
    }
    store.ask_to_cancel(run_id, tasks)?;
    signal(pid, run_id)?;
    output::remark(format_args!("waiting for process {pid} to end {}", tasks.join(", ")));
    let palette = Palette::stdout();
    let mut all_cancelled = true;
    for name in tasks {
        let state = ended_task(store, run_id, pid, name)?;
        all_cancelled &= state == TaskState::Cancelled;
        output::print(&format!("task {name} is {}\n", palette.task(state, state)))
            .context("cannot print the state")?;
    }
    Ok(if all_cancelled { Exit::Success } else { Exit::Failed })
}

/// The state of a task once it has ended, or the run's owner has.
fn ended_task(store: &Store, run_id: &str, pid: u32, name: &str) -> anyhow::Result<TaskState> {
    loop {
        let lives = store.owner_pid(run_id)? == Some(pid);
        let run = store.run(run_id)?.ok_or_else(|| StoreError::UnknownRun(run_id.to_owned()))?;
        let state = run.tasks.iter().find(|task| task.task_id == name).map(|task| task.state);
        match state {
            Some(state) if state.is_terminal() || !lives => return Ok(state),
            None => bail!("the run {run_id} has no task `{name}` any more"),
            Some(_) => thread::sleep(LOOK),
        }
    }
}

fn not_running(head: &RunHead) -> String {
    if head.interrupted {
        format!("run {} was interrupted: no process owns it, so there is nothing to cancel", head.run_id)
    } else {
        format!("run {} is not running: it is {}", head.run_id, head.state)
    }
}

/// Has the owner look at what was asked.
fn signal(pid: u32, run_id: &str) -> anyhow::Result<()> {
    let owner = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let owner =
        owner.with_context(|| format!("the owner of the run {run_id} has no valid process id: {pid}"))?;
    match kill_process(owner, Signal::USR1) {
        Ok(()) => Ok(()),
        Err(Errno::SRCH) => bail!(
            "process {pid} owns the run {run_id} but cannot be seen from here; cancel it on the machine or in the container that it runs in"
        ),
        Err(error) => {
            Err(error).with_context(|| format!("cannot signal process {pid}, which owns the run {run_id}"))
        }
    }
}

/// The run once it has ended, even where its process goes on with others.
fn ended(store: &Store, run_id: &str, pid: u32) -> anyhow::Result<RunDetails> {
    loop {
        let lives = store.owner_pid(run_id)? == Some(pid);
        if !lives {
            break;
        }
        let run = store.run(run_id)?.ok_or_else(|| StoreError::UnknownRun(run_id.to_owned()))?;
        if run.head.state != RunState::Running {
            return Ok(run);
        }
        thread::sleep(LOOK);
    }
    // Opening the store brings the run to its end there, even if its owner died.
    let unknown = || StoreError::UnknownRun(run_id.to_owned());
    let store: Store = settings::existing_store()?.ok_or_else(unknown)?;
    let run = store.run(run_id)?.ok_or_else(unknown)?;
    if run.head.interrupted {
        bail!("the process that owned the run {run_id} died before it had ended it");
    }
    Ok(run)
}

/// What the task had started may still be running.
fn is_abandoned(task: &TaskDetails) -> bool {
    task.error.as_ref().is_some_and(|error| error.kind == FailureKind::Abandoned)
}
