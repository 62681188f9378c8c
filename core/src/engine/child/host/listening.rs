//! What a child says is brought to the attempts that are in it, and when it ends they end.

use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oxidag_plugin_api::abi::End;
use oxidag_plugin_api::{Error, ErrorKind, Level};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::Value;

use super::{Child, PATIENCE, Retired};
use crate::engine::Attempt;
use crate::engine::child::ending::Ending;
use crate::engine::child::lock;
use crate::engine::child::output::{self, Stream};
use crate::engine::child::protocol::{Said, ToChild, ToHost, Wish, read_frame};
use crate::engine::rust_host::level;

/// How often it is looked whether a child has ended: it closes its socket as it ends, so once or twice.
const GLANCE: Duration = Duration::from_millis(2);

/// What a child says, until it ends. A process that it has forked may have its socket, and keep it open.
struct Voice {
    socket: UnixStream,
    /// Readable once the process has ended.
    end: Option<OwnedFd>,
}

impl Read for Voice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = &self.end {
            let mut both = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
            while let Err(error) = poll(&mut both, None) {
                if error != Errno::INTR {
                    return Err(error.into());
                }
            }
            // What it said before it ended comes first.
            if both[0].revents().is_empty() {
                return Ok(0);
            }
        }
        self.socket.read(buffer)
    }
}

impl Child {
    /// Takes what the child says until it ends.
    pub(super) fn listen(self: &Arc<Self>, socket: UnixStream, end: Option<OwnedFd>) {
        let mut reader = BufReader::with_capacity(64 * 1024, Voice { socket, end });
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

    pub(super) fn take(self: &Arc<Self>, message: ToHost) {
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
    fn bring(self: &Arc<Self>, number: u64, said: Said) {
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
            Some((attempt, None)) => match said {
                Said::Ask { call, wish: Wish::Append, value } => self.append(attempt, call, value),
                _ => self.pass_on(&*attempt, said),
            },
            None => self.answer_nobody(&said),
        }
    }

    /// Adds tasks for an attempt without a worker. On a thread of its own: where they are tasks of this child's engine, it is
    /// asked about them, and what it answers has to be taken meanwhile.
    fn append(self: &Arc<Self>, attempt: Arc<dyn Attempt>, call: u64, value: Value) {
        let appending = self.spawn("oxidag-append", move |child| {
            child.pass_on(&*attempt, Said::Ask { call, wish: Wish::Append, value });
        });
        if let Err(error) = appending {
            self.answer(call, Err(format!("cannot start a thread: {error}")));
        }
    }

    pub(super) fn pass_on(&self, attempt: &dyn Attempt, said: Said) {
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
    pub(super) fn hear(self: &Arc<Self>) {
        while self.tell_lines() {
            let pipes: io::Result<Vec<OwnedFd>> = lock(&self.streams).iter().map(Stream::pipe).collect();
            match pipes {
                Ok(pipes) => output::wait(&pipes),
                // Without a descriptor to wait for them, they are read as attempts end.
                Err(_) => break,
            }
        }
    }

    /// Tells the lines that are there; whether there may be more.
    fn tell_lines(&self) -> bool {
        let mut streams = lock(&self.streams);
        streams.retain_mut(|stream| stream.read(&mut |level, line| self.tell_line(level, line)));
        !streams.is_empty()
    }

    /// Tells all that the process has written, which is in its pipes now that it is gone. Processes that it has started may write
    /// more to them: nobody waits for that.
    fn tell_last_lines(&self) {
        let mut streams = lock(&self.streams);
        streams.retain_mut(|stream| stream.read_to_here(&mut |level, line| self.tell_line(level, line)));
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
        self.tell_last_lines();
        let mut state = lock(&self.state);
        let broken = state.broken.take().or(broken);
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
