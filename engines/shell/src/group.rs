//! One script's process and the process group that it leads.
//!
//! The group is signalled only while its leader is not reaped: until then no other process can get its id.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use wait4::{ResUse, Wait4};

/// A process that leads a process group. Dropped before it was reaped, it is killed with all its group.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Child,
    id: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Group {
    /// Takes over a child that was started in a process group of its own.
    ///
    /// # Errors
    ///
    /// When it cannot be watched; it is killed then.
    pub(crate) fn new(mut leader: Child) -> io::Result<Self> {
        let id = Pid::from_child(&leader);
        match pidfd_open(id, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { leader, id, pidfd, reaped: false }),
            Err(error) => {
                kill_process_group(id, Signal::KILL)?;
                leader.wait()?;
                Err(error.into())
            }
        }
    }

    /// Becomes readable when the leader has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Asks all processes of the group to end, the stopped ones too.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        kill_process_group(self.id, Signal::TERM)?;
        Ok(kill_process_group(self.id, Signal::CONT)?)
    }

    /// Ends all processes of the group.
    pub(crate) fn kill(&self) -> io::Result<()> {
        Ok(kill_process_group(self.id, Signal::KILL)?)
    }

    /// Whether any process of the group still runs. Looks through all processes of the machine.
    pub(crate) fn lives(&self) -> bool {
        let Ok(processes) = fs::read_dir("/proc") else {
            return true;
        };
        let mut stats = processes.flatten().filter_map(|process| fs::read(process.path().join("stat")).ok());
        stats.any(|stat| is_living_member(&String::from_utf8_lossy(&stat), self.id))
    }

    /// How the leader ended and what it used; waits until it has ended.
    pub(crate) fn reap(mut self) -> io::Result<ResUse> {
        loop {
            match self.leader.wait4() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                ended => {
                    // Also after an error: then somebody else has reaped it.
                    self.reaped = true;
                    return ended;
                }
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped && self.kill().is_ok() {
            // There is nobody left to tell.
            let _ = self.leader.wait();
        }
    }
}

/// Reads a line of `/proc/PID/stat`: `pid (name) state parent group …`, where the name may hold anything.
fn is_living_member(stat: &str, group: Pid) -> bool {
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return false;
    };
    let mut fields = fields.split(' ');
    let living = fields.next().is_some_and(|state| state != "Z" && state != "X");
    living && fields.nth(1).and_then(|id| id.parse().ok()) == Some(group.as_raw_pid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn zombies_and_other_groups_are_no_living_members() {
        let group = Pid::from_raw(7).unwrap();
        assert!(is_living_member("12 (a) b) S 1 7 7 0", group));
        assert!(is_living_member("12 (stopped) T 1 7 7 0", group));
        assert!(!is_living_member("7 (sh) Z 1 7 7 0", group));
        assert!(!is_living_member("12 (7) S 7 8 7 0", group));
        assert!(!is_living_member("", group));
    }

    #[test]
    fn a_group_that_is_dropped_is_killed_and_reaped() {
        let child = Command::new("/bin/sleep").arg("1000").process_group(0).spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        let group = Group::new(child).unwrap();
        assert!(group.lives());
        drop(group);
        assert!(!fs::exists(stat).unwrap());
    }
}
