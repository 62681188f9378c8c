//! One child, as the scheduler has it: what it says is brought to the attempts that are in it, and when it ends they end.
//!
//! Two threads belong to a child, however many attempts wait in it: one for what it says, one for what its library writes.
//! An attempt that keeps a worker anyway is told by that worker, so that a slow terminal or store holds up this one alone, until
//! its queue is full.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{Error, ErrorKind, Level};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ending::Ending;
use super::outbox::Outbox;
use super::output::{self, Stream, Words};
use super::protocol::{Said, ToChild, ToHost, Wish, frame, read_frame};
use super::{HOST_COMMAND, lock};
use crate::engine::Attempt;
use crate::engine::rust_host::level;
use crate::plugins::ChildLimits;
use crate::secrets::Masker;

/// What an attempt has said and its worker has not taken yet; then the child waits.
const UNTAKEN: usize = 64;
/// So long a child has to end once it is asked to, or its last lines to arrive.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether it has ended: it closes its socket as it ends, so once or twice.
const GLANCE: Duration = Duration::from_millis(2);

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
    /// It has ended, or its streams have.
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
    /// Its library, or what that started, may write more.
    is_heard: bool,
    retired: Option<Retired>,
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
        let pipes = [
            (process.stdout.take().map(OwnedFd::from), Level::Stdout),
            (process.stderr.take().map(OwnedFd::from), Level::Stderr),
        ];
        let pipes = pipes.into_iter().filter_map(|(pipe, level)| Some((pipe?, level)));
        let streams =
            pipes.map(|(pipe, level)| Stream::new(pipe, level)).collect::<io::Result<Vec<Stream>>>();
        let streams = streams.inspect_err(|_| bury(&mut process))?;
        let state = State {
            process,
            attempts: BTreeMap::new(),
            calls: HashMap::new(),
            next: 0,
            words: Words::default(),
            is_heard: true,
            retired: None,
            ending: None,
        };
        let outbox = Arc::new(Outbox::new(ours));
        let streams = Mutex::new(streams);
        let child =
            Arc::new(Self { about, outbox, state: Mutex::new(state), streams, changed: Condvar::new() });
        let started = child
            .spawn("oxidag-child", move |child| child.listen(reader))
            .and_then(|()| child.spawn("oxidag-child-out", Self::hear));
        if started.is_err() {
            bury(&mut lock(&child.state).process);
        }
        started.map(|()| child)
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
        match answered.recv() {
            Ok(answer) => answer.map_err(Unanswered::Engine),
            Err(_) => Err(Unanswered::Gone(self.ending())),
        }
    }

    /// Runs an attempt in it, and waits for it where it keeps a worker; gives the attempt back if the child takes no more.
    pub(super) fn run(
        self: &Arc<Self>,
        task: &RawValue,
        blocks: bool,
        attempt: Arc<dyn Attempt>,
    ) -> Result<(), Arc<dyn Attempt>> {
        let (worker, said) = match blocks {
            true => Some(bounded(UNTAKEN)).unzip(),
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
            self.wait(&*attempt, &said);
        }
        Ok(())
    }

    /// A worker, until its attempt has ended, goes on without it or is abandoned.
    fn wait(&self, attempt: &dyn Attempt, said: &Receiver<Said>) {
        for said in said {
            let is_last = matches!(said, Said::Ended(_) | Said::Returned);
            self.pass_on(attempt, said);
            if is_last {
                return;
            }
        }
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

    /// Takes what the child says until it ends.
    fn listen(self: &Arc<Self>, socket: UnixStream) {
        let mut reader = BufReader::with_capacity(64 * 1024, socket);
        let mut payload = Vec::new();
        let broken = loop {
            match read_frame(&mut reader, &mut payload) {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    break Some(format!("it said something that cannot be read: {error}"));
                }
                Ok(false) | Err(_) => break None,
            }
            match serde_json::from_slice(&payload) {
                Ok(message) => self.take(message),
                Err(error) => break Some(format!("it said something that is not understood: {error}")),
            }
        };
        self.bury(broken);
    }

    fn take(&self, message: ToHost) {
        match message {
            ToHost::Reply { call, answer } => {
                let mut state = lock(&self.state);
                if let Some(asked) = state.calls.remove(&call) {
                    // Whoever asked waits for it.
                    let _ = asked.send(answer);
                }
                self.end_if_retired(&mut state);
            }
            ToHost::Attempt { attempt, said } => self.bring(attempt, said),
            ToHost::Spent => {
                let mut state = lock(&self.state);
                state.retired.get_or_insert(Retired::Spent);
                self.end_if_retired(&mut state);
            }
        }
    }

    /// Brings to an attempt what it has said: to its worker, if it keeps one.
    fn bring(&self, number: u64, said: Said) {
        if matches!(said, Said::Ended(_)) {
            // What it wrote before belongs to it.
            self.tell_lines();
        }
        let slot = match said {
            Said::Ended(_) => self.forget(number).map(|slot| (slot.attempt, slot.worker)),
            _ => {
                let mut state = lock(&self.state);
                let slot = state.attempts.get_mut(&number);
                slot.map(|slot| {
                    let worker = match said {
                        Said::Returned => slot.worker.take(),
                        _ => slot.worker.clone(),
                    };
                    (Arc::clone(&slot.attempt), worker)
                })
            }
        };
        match slot {
            Some((_, Some(worker))) => {
                // It is gone where the attempt was abandoned.
                let _ = worker.send(said);
            }
            Some((attempt, None)) => self.pass_on(&*attempt, said),
            None => self.answer_nobody(&said),
        }
    }

    fn pass_on(&self, attempt: &dyn Attempt, said: Said) {
        match said {
            Said::Log { level: number, text } => attempt.log(level(number), &text),
            Said::Progress { fraction, message } => {
                attempt.progress(fraction.unwrap_or(f64::NAN), &message);
            }
            Said::Ask { call, wish, value } => {
                let answer = match wish {
                    Wish::Checkpoint => attempt.checkpoint(value).map(|()| Value::Null),
                    Wish::Append => attempt.append(value).map(|()| Value::Null),
                    Wish::Query => attempt.query(value),
                };
                self.answer(call, answer);
            }
            Said::Ended(end) => attempt.complete(end),
            Said::Returned => {}
        }
    }

    /// An attempt that was abandoned does not wait for ever.
    fn answer_nobody(&self, said: &Said) {
        if let Said::Ask { call, .. } = said {
            self.answer(*call, Err("the attempt has ended".to_owned()));
        }
    }

    fn answer(&self, call: u64, answer: Result<Value, String>) {
        if let Err(error) = self.send(&ToChild::Answer { call, answer }) {
            // So small a frame can be written.
            let _ = self.send(&ToChild::Answer { call, answer: Err(error.to_string()) });
        }
    }

    /// Hears what its library writes, until nobody can write any more.
    fn hear(self: &Arc<Self>) {
        while self.tell_lines() {
            let pipes: io::Result<Vec<OwnedFd>> = lock(&self.streams).iter().map(Stream::pipe).collect();
            match pipes {
                Ok(pipes) => output::wait(&pipes),
                // Without a descriptor to wait for them, they are read as attempts end.
                Err(_) => break,
            }
        }
        lock(&self.state).is_heard = false;
        self.changed.notify_all();
    }

    /// Tells the lines that are there; whether there may be more.
    fn tell_lines(&self) -> bool {
        let mut streams = lock(&self.streams);
        streams.retain_mut(|stream| stream.read(&mut |level, line| self.tell_line(level, line)));
        !streams.is_empty()
    }

    /// A line is for the log of the attempt that began last: nobody can tell whose it is.
    fn tell_line(&self, level: Level, line: String) {
        let mut state = lock(&self.state);
        state.words.add(level, &line);
        let newest = state.attempts.last_key_value().map(|(_, slot)| Arc::clone(&slot.attempt));
        match newest {
            Some(attempt) => {
                drop(state);
                attempt.log(level, &line);
            }
            None => state.words.keep(level, line),
        }
    }

    /// The child says nothing more: its process is waited for, and whatever was in it ends.
    fn bury(&self, broken: Option<String>) {
        if broken.is_some() {
            self.kill();
        }
        let status = self.reaped();
        let state = lock(&self.state);
        // A process that the library started may have its streams still.
        self.wait_until(state, |state| !state.is_heard);
        let mut state = lock(&self.state);
        let words = state.words.last(&self.about.masker);
        let ending = Ending { status, broken, words };
        let why: Arc<str> = ending.sentence(&self.about.engine, &self.about.limits).into();
        state.ending = Some(Arc::clone(&why));
        state.calls.clear();
        let attempts = std::mem::take(&mut state.attempts);
        drop(state);
        self.changed.notify_all();
        for slot in attempts.into_values() {
            let end = End::Error(Error::new(ErrorKind::Panicked, &*why));
            match slot.worker {
                // It is gone where the attempt was abandoned.
                Some(worker) => drop(worker.send(Said::Ended(end))),
                None => slot.attempt.complete(end),
            }
        }
    }

    /// Waits for the process, which is about to end; one that closed its socket and goes on is killed.
    fn reaped(&self) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut state = lock(&self.state);
            match state.process.try_wait() {
                Ok(None) if Instant::now() >= until => {
                    state.kill();
                    return state.process.wait().ok();
                }
                Ok(None) => {}
                Ok(Some(status)) => return Some(status),
                Err(_) => return None,
            }
            drop(state);
            thread::sleep(GLANCE);
        }
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
