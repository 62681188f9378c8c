//! Processes that a library has started: none of them lives on once its check is made.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that marks the process of a check and, as they inherit it, those that it starts, by fork alone too.
pub(super) const MARK: &str = "OXIDAG_CONFORMANCE";

/// A process that was killed is gone so soon.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills the processes with this mark, until there is none.
///
/// # Errors
///
/// The system does not list its processes.
pub(super) fn end(mark: &str) -> io::Result<()> {
    let entry = format!("{MARK}={mark}");
    let until = Instant::now() + PATIENCE;
    loop {
        let killed = kill(entry.as_bytes())?;
        if killed.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        // The mark is gone before the process is.
        for process in &killed {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            retry_on_intr(|| poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)))?;
        }
    }
}

/// Those that were there.
fn kill(mark: &[u8]) -> io::Result<Vec<OwnedFd>> {
    let mut killed = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // First, so that it is no other process of the same number that is killed.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // That of another user cannot be read.
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        let is_marked = environment.split(|&byte| byte == 0).any(|variable| variable == mark);
        if is_marked && pidfd_send_signal(&process, Signal::KILL).is_ok() {
            killed.push(process);
        }
    }
    Ok(killed)
}
