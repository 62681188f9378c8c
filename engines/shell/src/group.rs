//! One script's process and the process group that it leads.
//!
//! The group is signalled only while its leader is not reaped: until then no other process can get its id.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::leftover::Checkpoint;
use crate::process::Process;
use crate::spawn::{Child, Used};

/// So long at most a killed group is waited for, and so long it is between two looks at it. What waits for a disk may take longer.
const LONGEST_END: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A process that leads a process group. Dropped before it was reaped, it is killed with all its group.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Child,
    reaped: bool,
}

impl Group {
    /// Takes over a child that was started in a process group of its own.
    pub(crate) fn new(leader: Child) -> Self {
        Self { leader, reaped: false }
    }

    fn id(&self) -> Pid {
        self.leader.id()
    }

    /// How the script is found again should this scheduler die.
    ///
    /// # Errors
    ///
    /// When the system does not tell when it was started.
    pub(crate) fn checkpoint(&self) -> io::Result<Checkpoint> {
        Checkpoint::of(self.id())
    }

    /// Becomes readable when the leader has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.leader.ended()
    }

    /// Asks all processes of the group to end, the stopped ones too.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        kill_process_group(self.id(), Signal::TERM)?;
        Ok(kill_process_group(self.id(), Signal::CONT)?)
    }

    /// Ends all processes of the group.
    pub(crate) fn kill(&self) -> io::Result<()> {
        Ok(kill_process_group(self.id(), Signal::KILL)?)
    }

    /// Whether any process of the group still runs. Looks through all processes of the machine.
    pub(crate) fn lives(&self) -> bool {
        let id = self.id().as_raw_pid();
        let all = Process::all();
        all.map_or(true, |mut all| all.any(|process| process.lives && process.group == id))
    }

    /// How the leader ended and what it used; waits until it has ended.
    pub(crate) fn reap(mut self) -> io::Result<Used> {
        // Also after an error: then somebody else has reaped it.
        self.reaped = true;
        self.leader.reap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped && self.kill().is_ok() {
            // What is killed takes a moment to end, and nobody is to find it running.
            let until = Instant::now() + LONGEST_END;
            while self.lives() && Instant::now() < until {
                thread::sleep(LOOK_AGAIN);
            }
            // There is nobody left to tell.
            let _ = self.leader.reap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::start;
    use std::fs;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn a_group_that_is_dropped_is_killed_and_reaped() {
        let (child, _pipes) = start("/", &["/bin/sleep", "1000"]).unwrap();
        let id = child.id().as_raw_pid();
        let mut other = Command::new("/bin/sleep").arg("1000").process_group(id).spawn().unwrap();
        let group = Group::new(child);
        assert!(group.lives());
        drop(group);
        assert!(!fs::exists(format!("/proc/{id}/stat")).unwrap());
        let seen = Process::of(other.id().cast_signed());
        assert!(!seen.unwrap().lives, "it is not reaped, but has ended");
        other.wait().unwrap();
    }
}
