//! `oxidag runs cancel`: asks the process that owns a run to stop it, and waits until it has.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use oxidag_core::state::RunState;
use oxidag_core::store::{RunHead, Store, StoreError};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::runs;
use crate::exit::Exit;
use crate::style::Palette;
use crate::{output, settings};

/// How often the owner is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn cancel(run: &str) -> anyhow::Result<Exit> {
    let (store, run) = runs::find(run)?;
    let head = run.head;
    let Some(pid) = store.owner_pid(&head.run_id)? else {
        output::remark(not_running(&head));
        return Ok(Exit::Failed);
    };
    signal(pid, &head.run_id)?;
    output::remark(format_args!("waiting for process {pid} to end the run {}", head.run_id));
    while store.owner_pid(&head.run_id)? == Some(pid) {
        thread::sleep(LOOK);
    }
    let state = ended(&head.run_id)?;
    let palette = Palette::stdout();
    let said = format!("run {} is {}\n", head.run_id, palette.run(state, state));
    output::print(&said).context("cannot print the state")?;
    Ok(if state == RunState::Cancelled { Exit::Success } else { Exit::Failed })
}

fn not_running(head: &RunHead) -> String {
    if head.interrupted {
        format!("run {} was interrupted: no process owns it, so there is nothing to cancel", head.run_id)
    } else {
        format!("run {} is not running: it is {}", head.run_id, head.state)
    }
}

fn signal(pid: u32, run_id: &str) -> anyhow::Result<()> {
    let owner = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let owner =
        owner.with_context(|| format!("the owner of the run {run_id} has no valid process id: {pid}"))?;
    match kill_process(owner, Signal::TERM) {
        Ok(()) => Ok(()),
        Err(Errno::SRCH) => bail!(
            "process {pid} owns the run {run_id} but cannot be seen from here; cancel it on the machine or in the container that it runs in"
        ),
        Err(error) => {
            Err(error).with_context(|| format!("cannot signal process {pid}, which owns the run {run_id}"))
        }
    }
}

/// The last state of a run that nobody owns any more. Opening the store brings it there, even if its owner died.
fn ended(run_id: &str) -> anyhow::Result<RunState> {
    let unknown = || StoreError::UnknownRun(run_id.to_owned());
    let store: Store = settings::existing_store()?.ok_or_else(unknown)?;
    let run = store.run(run_id)?.ok_or_else(unknown)?;
    if run.head.interrupted {
        bail!("the process that owned the run {run_id} died before it had ended it");
    }
    Ok(run.head.state)
}
