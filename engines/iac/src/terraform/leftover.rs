//! A program that outlived its scheduler: it is waited for, since two at once would only meet at the state's lock.
//!
//! It is recognised by the attempt's key in its environment.

use std::fs;
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, Host, Result, Task};
use rustix::process::{Pid, Signal, kill_process};

use super::folder;

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// So long it may take to stop when it is asked to.
const PATIENCE: Duration = Duration::from_secs(22);

/// Waits until nothing runs any more of what an earlier call for this attempt had started.
///
/// # Errors
///
/// When the attempt is to stop meanwhile; then the program is, too.
pub(super) async fn wait(task: &Task, host: &Host) -> Result<()> {
    if !task.resumed && task.checkpoint.is_none() {
        return Ok(());
    }
    let entry = format!("OXIDAG_IDEMPOTENCY_KEY={}", task.idempotency_key);
    let left = find(&entry);
    if !left.is_empty() {
        host.info(&format!(
            "an earlier scheduler left the program running (process {}): waiting for its end, then planning anew",
            named(&left)
        ));
        host.progress(None, "waits for a program that outlived its scheduler");
    }
    while !find(&entry).is_empty() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = host.until_cancelled() => return Err(stop(&entry, host).await),
        }
    }
    folder::remove(task.checkpoint.as_ref());
    Ok(())
}

async fn stop(entry: &str, host: &Host) -> Error {
    for id in find(entry) {
        if let Some(process) = Pid::from_raw(id) {
            // It may have ended just now.
            let _ = kill_process(process, Signal::INT);
        }
    }
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if find(entry).is_empty() {
            return Error::cancelled(
                "cancelled: the program that an earlier scheduler had left was interrupted and has stopped",
            );
        }
        tokio::time::sleep(LOOK).await;
    }
    let text = format!(
        "cancelled, but the program that an earlier scheduler had left goes on, though it was interrupted: see to \
         process {}",
        named(&find(entry))
    );
    host.warn(&text);
    Error::cancelled(text)
}

/// The processes that have this in their environment, apart from this one and those that have ended.
fn find(entry: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let own = i32::try_from(std::process::id()) == Ok(*id);
        !own && environment.split(|&byte| byte == 0).any(|found| found == entry.as_bytes())
    })
    .collect()
}

fn named(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}
