//! One child, as the scheduler has it: how it is started, what it is given and asked, and when it is ended. What it says is
//! `listening`'s.
//!
//! Two threads belong to a child, however many attempts wait in it: one for what it says, one for what its library writes.
//! An attempt that keeps a worker anyway is told by that worker, so that a slow terminal or store holds up this one alone: what its
//! worker has not taken yet is counted, and the attempt waits in the child where that is much.

mod listening;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{Error, Level};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;
use serde_json::value::RawValue;

use super::outbox::Outbox;
use super::output::{Stream, Words};
use super::protocol::{Said, ToChild, UNTAKEN, frame};
use super::{HOST_COMMAND, lock};
use crate::engine::Attempt;
use crate::plugins::ChildLimits;
use crate::secrets::Masker;

/// So long a child has to end once it is asked to.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many lines of an attempt are taken before its child is told.
const TAKEN_AT_ONCE: u64 = UNTAKEN / 2;

/// What is needed of a child besides what it is told.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) engine: Arc<str>,
    pub(super) limits: ChildLimits,
    /// Of what is in its configuration.
    pub(super) masker: Masker,
}

/// A process with an engine.
#[derive(Debug)]
pub(super) struct Child {
    about: About,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
    /// What its library writes. Whoever reads it tells the lines before another one reads on.
    streams: Mutex<Vec<Stream>>,
    /// It has ended.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    process: std::process::Child,
    /// In the order in which they began.
    attempts: BTreeMap<u64, Slot>,
    calls: HashMap<u64, Sender<Result<Value, Error>>>,
    next: u64,
    words: Words,
    retired: Option<Retired>,
    /// The scheduler ends it for this reason.
    broken: Option<String>,
    /// Once the process is gone, why.
    ending: Option<Arc<str>>,
}

/// Why a child is given nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retired {
    /// It has used much of what it may use.
    Spent,
    /// An attempt that does not stop is in it.
    Stuck,
}

/// An attempt in a child.
struct Slot {
    attempt: Arc<dyn Attempt>,
    /// To the worker that waits for it.
    worker: Option<Sender<Said>>,
}

/// Why a question has no answer from the engine.
pub(super) enum Unanswered {
    /// It answered with an error.
    Engine(Error),
    /// The child is gone.
    Gone(Arc<str>),
}

impl Child {
    /// Starts a process, which has no engine yet.
    pub(super) fn start(about: About) -> io::Result<Arc<Self>> {
        let (ours, theirs) = UnixStream::pair()?;
        let reader = ours.try_clone()?;
        let mut process = command(&about.engine).stdin(OwnedFd::from(theirs)).spawn()?;
        // Without it, that the process has ended is told by its socket alone.
        let end = pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).ok();
        let pipes = [
            (process.stdout.take().map(OwnedFd::from), Level::Stdout),
            (process.stderr.take().map(OwnedFd::from), Level::Stderr),
        ];
        let pipes = pipes.into_iter().filter_map(|(pipe, level)| Some((pipe?, level)));
        let streams =
            pipes.map(|(pipe, level)| Stream::new(pipe, level)).collect::<io::Result<Vec<Stream>>>();
        let streams = streams.inspect_err(|_| bury(&mut process))?;
        let child = Self::of(about, process, ours, streams);
        let started = child
            .spawn("oxidag-child", move |child| child.listen(reader, end))
            .and_then(|()| child.spawn("oxidag-child-out", Self::hear));
        if started.is_err() {
            bury(&mut lock(&child.state).process);
        }
        started.map(|()| child)
    }

    /// A process that is there.
    fn of(about: About, process: std::process::Child, socket: UnixStream, streams: Vec<Stream>) -> Arc<Self> {
        let state = State {
            process,
            attempts: BTreeMap::new(),
            calls: HashMap::new(),
            next: 0,
            words: Words::default(),
            retired: None,
            broken: None,
            ending: None,
        };
        let outbox = Arc::new(Outbox::new(socket));
        let (state, streams) = (Mutex::new(state), Mutex::new(streams));
        Arc::new(Self { about, outbox, state, streams, changed: Condvar::new() })
    }

    fn spawn(self: &Arc<Self>, name: &str, work: impl FnOnce(&Arc<Self>) + Send + 'static) -> io::Result<()> {
        let child = Arc::clone(self);
        thread::Builder::new().name(name.to_owned()).spawn(move || work(&child)).map(drop)
    }

    /// Whether it can be given another attempt.
    pub(super) fn takes_more(&self) -> bool {
        let state = lock(&self.state);
        state.ending.is_none() && state.retired.is_none()
    }

    /// Asks it something and waits for the answer.
    pub(super) fn ask<'a>(&self, message: impl FnOnce(u64) -> ToChild<'a>) -> Result<Value, Unanswered> {
        self.ask_within(None, message)
    }

    /// Asks it something that takes no time, or that it has to answer before it takes any attempt; one that does not answer is ended.
    pub(super) fn ask_in_time<'a>(
        &self,
        message: impl FnOnce(u64) -> ToChild<'a>,
    ) -> Result<Value, Unanswered> {
        self.ask_within(Some(self.about.limits.time_to_start()), message)
    }

    fn ask_within<'a>(
        &self,
        limit: Option<Duration>,
        message: impl FnOnce(u64) -> ToChild<'a>,
    ) -> Result<Value, Unanswered> {
        let (answer, answered) = bounded(1);
        let call = {
            let mut state = lock(&self.state);
            if let Some(why) = &state.ending {
                return Err(Unanswered::Gone(Arc::clone(why)));
            }
            let call = state.number();
            state.calls.insert(call, answer);
            call
        };
        if let Err(error) = self.send(&message(call)) {
            lock(&self.state).calls.remove(&call);
            return Err(Unanswered::Engine(Error::invalid(error.to_string())));
        }
        let heard = match limit.map(|limit| (limit, answered.recv_timeout(limit))) {
            Some((_, Ok(answer))) => Ok(answer),
            Some((limit, Err(RecvTimeoutError::Timeout))) => {
                self.end_since(format!("it did not answer within {limit:?}; limits.start gives it longer"));
                answered.recv()
            }
            Some((_, Err(RecvTimeoutError::Disconnected))) | None => answered.recv(),
        };
        match heard {
            Ok(answer) => answer.map_err(Unanswered::Engine),
            Err(_) => Err(Unanswered::Gone(self.ending())),
        }
    }

    /// Ends it for this reason.
    fn end_since(&self, why: String) {
        let mut state = lock(&self.state);
        state.broken.get_or_insert(why);
        state.kill();
    }

    /// Runs an attempt in it, and waits for it where it keeps a worker; gives the attempt back if the child takes no more.
    pub(super) fn run(
        self: &Arc<Self>,
        task: &RawValue,
        blocks: bool,
        attempt: Arc<dyn Attempt>,
    ) -> Result<(), Arc<dyn Attempt>> {
        let (worker, said) = match blocks {
            true => Some(unbounded()).unzip(),
            false => (None, None),
        };
        let (number, unheard) = {
            let mut state = lock(&self.state);
            if state.ending.is_some() || state.retired.is_some() {
                return Err(attempt);
            }
            let number = state.number();
            state.attempts.insert(number, Slot { attempt: Arc::clone(&attempt), worker });
            (number, state.words.take_unheard())
        };
        unheard.for_each(|(level, line)| attempt.log(level, &line));
        if let Err(error) = self.send(&ToChild::Run { attempt: number, blocks, task }) {
            self.forget(number);
            attempt.complete(End::Error(Error::invalid(error.to_string())));
            return Ok(());
        }
        let child = Arc::downgrade(self);
        attempt.on_cancel(Box::new(move || with(&child, |child| child.tell_cancel(number))));
        let child = Arc::downgrade(self);
        attempt.on_abandon(Box::new(move || with(&child, |child| child.abandon(number))));
        if let Some(said) = said {
            self.wait(number, &*attempt, &said);
        }
        Ok(())
    }

    /// A worker, until its attempt has ended, goes on without it or is abandoned.
    fn wait(&self, number: u64, attempt: &dyn Attempt, said: &Receiver<Said>) {
        let mut taken = 0;
        for said in said {
            let is_last = matches!(said, Said::Ended(_) | Said::Returned);
            taken += u64::from(said.is_counted());
            self.pass_on(attempt, said);
            if is_last {
                return;
            }
            if taken == TAKEN_AT_ONCE {
                taken = 0;
                self.tell_taken(number, Some(TAKEN_AT_ONCE));
            }
        }
    }

    fn tell_taken(&self, attempt: u64, lines: Option<u64>) {
        // So small a frame can be written.
        let _ = self.send(&ToChild::Taken { attempt, lines });
    }

    fn tell_cancel(&self, attempt: u64) {
        // So small a frame can be written.
        let _ = self.send(&ToChild::Cancel { attempt });
    }

    fn send(&self, message: &ToChild<'_>) -> io::Result<()> {
        self.outbox.send(&frame(message)?);
        Ok(())
    }

    /// The attempt is not waited for any longer. Whatever it still does ends with its process: now, where nothing else is in
    /// it, else as soon as that is so.
    fn abandon(&self, attempt: u64) {
        let mut state = lock(&self.state);
        let slot = state.attempts.remove(&attempt);
        if slot.is_some() {
            state.retired = Some(Retired::Stuck);
        }
        self.end_if_retired(&mut state);
        drop(state);
        // Nobody takes what it says.
        self.tell_taken(attempt, None);
    }

    fn forget(&self, attempt: u64) -> Option<Slot> {
        let mut state = lock(&self.state);
        let slot = state.attempts.remove(&attempt);
        self.end_if_retired(&mut state);
        slot
    }

    fn end_if_retired(&self, state: &mut State) {
        if !state.attempts.is_empty() || !state.calls.is_empty() {
            return;
        }
        match state.retired {
            Some(Retired::Stuck) => state.kill(),
            Some(Retired::Spent) => self.outbox.close(),
            None => {}
        }
    }

    /// It is needed no longer: it ends by itself, or is killed.
    pub(super) fn end(&self) {
        self.outbox.close();
        let state = lock(&self.state);
        if !self.wait_until(state, |state| state.ending.is_some()) {
            self.kill();
        }
    }

    fn kill(&self) {
        lock(&self.state).kill();
    }

    /// Whether it came to this in time.
    fn wait_until(&self, state: std::sync::MutexGuard<'_, State>, is_so: impl Fn(&State) -> bool) -> bool {
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| !is_so(state));
        !waited.unwrap_or_else(std::sync::PoisonError::into_inner).1.timed_out()
    }

    fn ending(&self) -> Arc<str> {
        let ending = lock(&self.state).ending.clone();
        ending.unwrap_or_else(|| "the process of the engine is gone".into())
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn kill(&mut self) {
        // It may have ended already; it is not reaped without this lock, so nobody else is killed.
        let _ = self.process.kill();
    }
}

/// Ends a process that nobody listens to.
fn bury(process: &mut std::process::Child) {
    // It has ended already if it cannot be killed.
    let _ = process.kill();
    let _ = process.wait();
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("keeps_worker", &self.worker.is_some()).finish_non_exhaustive()
    }
}

fn with(child: &Weak<Child>, act: impl FnOnce(&Child)) {
    if let Some(child) = child.upgrade() {
        act(&child);
    }
}

/// This same program, in a group of its own: what a terminal tells the scheduler is not for its engines.
fn command(engine: &str) -> Command {
    // The file that runs, also where another one has been installed in its place.
    let this = std::path::Path::new("/proc/self/exe");
    let program = match this.exists() {
        true => this.to_owned(),
        false => std::env::current_exe().unwrap_or_else(|_| "oxidag".into()),
    };
    let mut command = Command::new(program);
    command.arg0("oxidag").args([HOST_COMMAND, "--", engine]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}
