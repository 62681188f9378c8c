//! Ends what is left of an attempt whose scheduler died, before the attempt is begun anew.
//!
//! A script's processes are recognised by the attempt's key in their environment, and by the process group that
//! its checkpoint names. Numbers of processes are used again: none is signalled that was not recognised right
//! before.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use oxidag_plugin_api::{Error, Level, Result, Task};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::process::{Process, boot_id};
use crate::sink::Sink;

/// How long the end of killed processes is waited for. Only the kernel itself can keep one so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How many processes a message names.
const NAMED: usize = 5;

/// How a script is found again, as it is stored with the attempt.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    process_group: i32,
    /// When the group's leader was started.
    started: u64,
    boot_id: String,
}

impl Checkpoint {
    /// For the script whose first process this is.
    ///
    /// # Errors
    ///
    /// When the system does not tell when it was started.
    pub(crate) fn of(leader: Pid) -> io::Result<Self> {
        let leader = Process::of(leader.as_raw_pid())?;
        Ok(Self { process_group: leader.id, started: leader.started, boot_id: boot_id().to_owned() })
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::json!({
            "process_group": self.process_group, "started": self.started, "boot_id": self.boot_id,
        })
    }

    /// What was stored, if it can still be told by: not on a machine that was started anew or is another one,
    /// and not where a part of it was taken for a secret.
    fn read(stored: &Value) -> Option<Self> {
        let checkpoint = Self::deserialize(stored).ok()?;
        // A group of 1 would stand for all processes there are.
        let usable = checkpoint.process_group > 1 && !checkpoint.boot_id.is_empty();
        (usable && checkpoint.boot_id == boot_id()).then_some(checkpoint)
    }
}

/// Ends what an earlier scheduler left running of this attempt, if there was one: first it is asked to end, and
/// killed when it lives on after `grace`. Returns when nothing of it is left.
///
/// # Errors
///
/// Transient when it does not end within `patience` though it was killed, or cannot be looked for; invalid when
/// this scheduler is part of it.
pub(crate) fn end(task: &Task, grace: Duration, patience: Duration, sink: &impl Sink) -> Result<()> {
    // To look through all processes is not for every task.
    if !task.resumed && task.checkpoint.is_none() {
        return Ok(());
    }
    let search = Search::of(task);
    let left = search.find().map_err(unseen)?;
    if left.is_empty() {
        sink.log(
            Level::Info,
            "nothing runs any more of what an earlier scheduler had started for this attempt",
        );
        return Ok(());
    }
    left.refuse_ourselves()?;
    let found = left.to_string();
    sink.log(
        Level::Info,
        &format!("an earlier scheduler left {found} of this attempt running: sending SIGTERM"),
    );
    left.signal(Signal::TERM, sink);
    left.signal(Signal::CONT, sink);
    let lives = search.wait(Instant::now() + grace, |_| ()).map_err(unseen)?;
    if let Some(left) = lives {
        let grace = grace.as_secs_f64();
        let text = format!("{left} lived on after the grace period of {grace} s: sending SIGKILL");
        sink.log(Level::Info, &text);
        let kill = |left: &Left| left.signal(Signal::KILL, sink);
        if let Some(left) = search.wait(Instant::now() + patience, kill).map_err(unseen)? {
            return Err(immortal(&left));
        }
    }
    sink.log(Level::Info, "all of it has ended: running the script anew");
    Ok(())
}

fn unseen(error: io::Error) -> Error {
    Error::transient(format!("cannot look for what an earlier scheduler left of this attempt: {error}"))
}

fn immortal(left: &Left) -> Error {
    Error::transient(format!(
        "an earlier scheduler left {left} of this attempt running, and SIGKILL did not end it: the script is not \
         run a second time beside it; see what it waits for, or which user it belongs to, and end it"
    ))
}

/// What an attempt's processes are recognised by.
struct Search {
    /// The attempt's key as it stands in an environment.
    entry: Vec<u8>,
    checkpoint: Option<Checkpoint>,
}

/// Processes of the attempt that still run.
struct Left {
    processes: Vec<Process>,
    /// The groups that are the attempt's as a whole.
    groups: HashSet<i32>,
    /// One of them is this process, or one that it descends from.
    ourselves: Option<i32>,
}

impl Search {
    fn of(task: &Task) -> Self {
        Self {
            entry: format!("OXIDAG_IDEMPOTENCY_KEY={}", task.idempotency_key).into_bytes(),
            checkpoint: task.checkpoint.as_ref().and_then(Checkpoint::read),
        }
    }

    /// All that carry the key, and all members of the groups that are the attempt's.
    ///
    /// # Errors
    ///
    /// When the processes cannot be listed.
    fn find(&self) -> io::Result<Left> {
        let all: Vec<Process> = Process::all()?.collect();
        let carries: Vec<bool> = all.iter().map(|process| process.has_in_environment(&self.entry)).collect();
        let proves = |(process, carries): &(&Process, &bool)| {
            let led = process.id == process.group;
            self.is_recorded_leader(process) || **carries && (led || self.is_recorded_group(process.group))
        };
        let groups = all.iter().zip(&carries).filter(proves).map(|(process, _)| process.group);
        // Signals to lower ones mean something else.
        let groups: HashSet<i32> = groups.filter(|&group| group > 1).collect();
        let ancestors = ancestors(&all);
        let left = all.into_iter().zip(carries);
        let ours = |process: &Process, carries| carries || groups.contains(&process.group);
        let left = left.filter(|(process, carries)| process.lives && ours(process, *carries));
        let processes: Vec<Process> = left.map(|(process, _)| process).collect();
        let ourselves = processes.iter().map(|process| process.id).find(|id| ancestors.contains(id));
        Ok(Left { processes, groups, ourselves })
    }

    /// Also one that has ended: its number is taken as long as its group has members.
    fn is_recorded_leader(&self, process: &Process) -> bool {
        let recorded = self.checkpoint.as_ref();
        recorded.is_some_and(|known| (known.process_group, known.started) == (process.id, process.started))
    }

    fn is_recorded_group(&self, group: i32) -> bool {
        self.checkpoint.as_ref().is_some_and(|known| known.process_group == group)
    }

    /// Waits until nothing is left, doing this to what is found; gives what is left when the time has come.
    fn wait(&self, until: Instant, act: impl Fn(&Left)) -> io::Result<Option<Left>> {
        loop {
            let left = self.find()?;
            if left.is_empty() {
                return Ok(None);
            }
            act(&left);
            for process in &left.processes {
                wait_for(process, until)?;
            }
            if Instant::now() >= until {
                return Ok(Some(left));
            }
        }
    }
}

impl Left {
    fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Signals the groups as a whole, so that no child slips through, and whoever has left them one by one.
    fn signal(&self, signal: Signal, sink: &impl Sink) {
        let warn = |what: &str, id: i32, sent: Result<(), Errno>| match sent {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => sink.log(Level::Warn, &format!("cannot signal {what} {id}: {error}")),
        };
        for &group in &self.groups {
            // A group's number is not used again while it has a member.
            if self.processes.iter().any(|process| process.group == group && is_still(process)) {
                warn("process group", group, kill_group(group, signal));
            }
        }
        for process in self.processes.iter().filter(|process| !self.groups.contains(&process.group)) {
            warn("process", process.id, signal_one(process, signal));
        }
    }

    /// A scheduler that the script itself has started would end itself.
    fn refuse_ourselves(&self) -> Result<()> {
        let Some(id) = self.ourselves else {
            return Ok(());
        };
        Err(Error::invalid(format!(
            "this scheduler was started by what an earlier one left of this attempt (process {id}) and cannot end \
             it: resume the run from outside of its own script"
        )))
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = &self.processes[..NAMED.min(self.processes.len())];
        let named: Vec<String> =
            named.iter().map(|process| format!("{} ({})", process.id, process.name.escape_debug())).collect();
        let noun = if self.processes.len() == 1 { "process" } else { "processes" };
        write!(f, "{noun} {}", named.join(", "))?;
        match self.processes.len() - named.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// This process and those that it descends from.
fn ancestors(all: &[Process]) -> Vec<i32> {
    let mut line: Vec<i32> = std::process::id().try_into().into_iter().collect();
    while let Some(last) = line.last()
        && let Some(process) = all.iter().find(|process| process.id == *last)
        && !line.contains(&process.parent)
    {
        line.push(process.parent);
    }
    line
}

/// Whether there still is the process that was found, where it was found.
fn is_still(found: &Process) -> bool {
    Process::of(found.id).is_ok_and(|now| now.is(found) && now.group == found.group)
}

fn open(id: i32) -> Result<OwnedFd, Errno> {
    pidfd_open(Pid::from_raw(id).ok_or(Errno::SRCH)?, PidfdFlags::empty())
}

fn signal_one(process: &Process, signal: Signal) -> Result<(), Errno> {
    // Once it is open the descriptor cannot come to mean another process.
    let pidfd = open(process.id)?;
    if is_still(process) { pidfd_send_signal(&pidfd, signal) } else { Ok(()) }
}

fn kill_group(group: i32, signal: Signal) -> Result<(), Errno> {
    kill_process_group(Pid::from_raw(group).ok_or(Errno::SRCH)?, signal)
}

/// Waits until the process has ended, at most until then.
fn wait_for(process: &Process, until: Instant) -> io::Result<()> {
    let pidfd = match open(process.id) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    while Process::of(process.id).is_ok_and(|now| now.is(process) && now.lives) {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_that_the_script_has_started_does_not_end_itself() {
        // This test's own process carries it.
        let entry = format!("PATH={}", std::env::var("PATH").unwrap()).into_bytes();
        let left = Search { entry, checkpoint: None }.find().unwrap();
        let error = left.refuse_ourselves().unwrap_err();
        let id = left.ourselves.unwrap();
        let message = error.message.replace(&id.to_string(), "ID");
        insta::assert_snapshot!(message, @"this scheduler was started by what an earlier one left of this attempt (process ID) and cannot end it: resume the run from outside of its own script");
    }

    #[test]
    fn this_process_descends_from_its_parent() {
        let all: Vec<Process> = Process::all().unwrap().collect();
        let line = ancestors(&all);
        assert_eq!(line[0], i32::try_from(std::process::id()).unwrap());
        assert_eq!(line[1], i32::try_from(std::os::unix::process::parent_id()).unwrap());
        assert!(line.contains(&1) || line.contains(&0), "{line:?}");
    }

    #[test]
    fn a_checkpoint_that_tells_nothing_here_is_none() {
        let stored = |json: Value| Checkpoint::read(&json);
        let here = boot_id();
        let json =
            |group, boot_id| serde_json::json!({"process_group": group, "started": 7, "boot_id": boot_id});
        let expected = Checkpoint { process_group: 12, started: 7, boot_id: here.to_owned() };
        assert_eq!(expected.to_json(), json(12, here));
        assert_eq!(stored(json(12, here)), Some(expected));
        assert_eq!(stored(json(12, "another")), None, "another machine, or another start of this one");
        assert_eq!(stored(json(1, here)), None, "would stand for all processes");
        assert_eq!(stored(serde_json::json!({"process_group": "***", "started": 7, "boot_id": here})), None);
    }

    #[test]
    fn only_some_of_many_processes_are_named() {
        let one = Process::of(std::process::id().try_into().unwrap()).unwrap();
        let process = |id| Process { id, name: "sh".to_owned(), ..one.clone() };
        let left = |count| Left {
            processes: (1..=count).map(process).collect(),
            groups: HashSet::new(),
            ourselves: None,
        };
        insta::assert_snapshot!(left(1), @"process 1 (sh)");
        insta::assert_snapshot!(left(2), @"processes 1 (sh), 2 (sh)");
        insta::assert_snapshot!(left(7), @"processes 1 (sh), 2 (sh), 3 (sh), 4 (sh), 5 (sh) and 2 more");
    }
}
