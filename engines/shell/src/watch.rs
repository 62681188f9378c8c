//! Waits for a started script on the calling thread: its output, its end, and the wish that it stop.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oxidag_plugin_api::Level;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, ioctl_fionread, read, write};

use crate::ending::{Ended, Stop};
use crate::group::Group;
use crate::lines::{LONGEST, Lines};
use crate::sink::Sink;
use crate::spawn::{Pipes, Used};

/// How long the end of a cancelled script's other processes is waited for before looking again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// How long the output of a script that has ended is read on while something still holds it open.
///
/// In `exec > >(tee log)` the last lines come from a process that outlives the script.
const LINGER: Duration = Duration::from_millis(250);

/// For how long at first a script's output is left in its pipes, which hold 64 KiB each. One that has ended by then has woken
/// this thread once; else the end of each pipe wakes it too, and a wake-up is a good part of starting a short script. Longer than
/// most kernels' tick, or setting the timer in the hardware for each script takes two hundredths of a short one.
const UNHEARD: Duration = Duration::from_millis(5);

/// How much is read at once of a pipe that seems to be at its end: mostly there is nothing, and no large buffer is made for it.
const REST: usize = 512;

/// A script that lives for longer is recorded, to be found again should the scheduler die. Before that, it is found by
/// the key in its environment alone: to record it costs a good part of starting a short one.
const RECORD_AFTER: Duration = Duration::from_millis(20);

thread_local! {
    /// What the attempts of this thread are woken by, one after another: to make one for each costs a hundredth of a short script.
    static EVENT: RefCell<Option<Arc<OwnedFd>>> = const { RefCell::new(None) };
}

/// The wish that the attempt stop.
#[derive(Debug)]
pub(crate) struct StopRequest {
    /// Becomes readable with it; maybe also when the thread's attempt before this one was asked too late.
    event: Arc<OwnedFd>,
    made: Arc<AtomicBool>,
}

impl StopRequest {
    /// Listens to the host.
    ///
    /// # Errors
    ///
    /// When there are no file descriptors left.
    pub(crate) fn listen(sink: &impl Sink) -> io::Result<Self> {
        let request = Self { event: event_of_thread()?, made: Arc::default() };
        let (event, made) = (Arc::clone(&request.event), Arc::clone(&request.made));
        sink.on_cancel(move || {
            // Before the thread is woken to look at it.
            made.store(true, Ordering::SeqCst);
            // It only fails when it is readable already.
            let _ = write(&*event, &1u64.to_ne_bytes());
        });
        Ok(request)
    }

    /// Whether it was made, which is looked at when the event is readable. If it was not, the event is not readable any more.
    fn is_made(&self) -> bool {
        // Emptied first: a request that is made after the look makes it readable again.
        let _ = read(&*self.event, &mut [0; 8]);
        self.made.load(Ordering::SeqCst)
    }
}

fn event_of_thread() -> io::Result<Arc<OwnedFd>> {
    EVENT.with_borrow_mut(|event| {
        if let Some(event) = event {
            return Ok(Arc::clone(event));
        }
        let made = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Arc::clone(event.insert(made)))
    })
}

/// A running script.
pub(crate) struct Watch<'a, S> {
    group: Group,
    out: Stream,
    err: Stream,
    request: StopRequest,
    sink: &'a S,
    grace: Duration,
    stop: Stop,
    /// The script's process has ended; others of its group may live on.
    ended: bool,
    recorded: bool,
    started: Instant,
    buffer: Vec<u8>,
}

/// What a wait has found.
struct Ready {
    out: PollFlags,
    err: PollFlags,
    leader: bool,
    request: bool,
}

impl<'a, S: Sink> Watch<'a, S> {
    /// `pipes` are the script's standard output and standard error.
    pub(crate) fn new(
        group: Group,
        pipes: Pipes,
        request: StopRequest,
        sink: &'a S,
        grace: Duration,
        started: Instant,
    ) -> Self {
        let out = Stream::new(pipes.0, Level::Stdout, started);
        let err = Stream::new(pipes.1, Level::Stderr, started);
        let (stop, ended, recorded, buffer) = (Stop::No, false, false, Vec::new());
        Self { group, out, err, request, sink, grace, stop, ended, recorded, started, buffer }
    }

    /// The same, which cuts no long line of output within one of these.
    pub(crate) fn keeping_whole(mut self, secrets: &Arc<[Vec<u8>]>) -> Self {
        self.out.lines.keep_whole(Arc::clone(secrets));
        self.err.lines.keep_whole(Arc::clone(secrets));
        self
    }

    /// Passes on the output until the script has ended; stops it when asked to.
    ///
    /// Processes that the script left behind hardly delay its end, even where they keep its output open; but
    /// those of a cancelled script do not outlive it.
    ///
    /// # Errors
    ///
    /// When the system refuses to tell, or how to find the script cannot be stored; the script is then killed.
    pub(crate) fn until_end(mut self) -> io::Result<Ended> {
        self.ended = self.wait(Some(UNHEARD), false)?.leader;
        if self.ended {
            return self.end();
        }
        let mut pause = PAUSES.0;
        loop {
            let due = self.until_due(pause).into_iter().chain(self.until_recorded()).min();
            let ready = self.wait(due, true)?;
            self.read(&ready);
            self.ended |= ready.leader;
            if !self.ended && self.until_recorded() == Some(Duration::ZERO) {
                self.record()?;
            }
            if ready.request && !self.ended && self.request.is_made() {
                self.ask_to_stop();
            }
            self.kill_when_due();
            if self.ended {
                let asked = matches!(self.stop, Stop::Asked { .. });
                if !asked || !self.group.lives() {
                    break;
                }
                pause = PAUSES.1.min(pause * 2);
            }
        }
        self.end()
    }

    /// How long nothing has to be done by itself; `pause` goes by between two looks at what outlives the script.
    fn until_due(&self, pause: Duration) -> Option<Duration> {
        match self.stop {
            Stop::Asked { until } => {
                let left = until.saturating_duration_since(Instant::now());
                Some(if self.ended { left.min(pause) } else { left })
            }
            Stop::No | Stop::Killed { .. } => None,
        }
    }

    /// How long the script need not be recorded yet; `None` when it is, or need not be any more.
    fn until_recorded(&self) -> Option<Duration> {
        let is_due = !self.recorded && !self.ended;
        is_due.then(|| RECORD_AFTER.saturating_sub(self.started.elapsed()))
    }

    fn record(&mut self) -> io::Result<()> {
        self.recorded = true;
        let checkpoint = self.group.checkpoint()?.to_json();
        let unstored =
            |e| io::Error::other(format!("cannot store how it is found again, so it was ended: {e}"));
        self.sink.checkpoint(&checkpoint).map_err(unstored)
    }

    /// Waits until something happens, at most for `timeout`; the output is something only if `heard`.
    fn wait(&self, timeout: Option<Duration>, heard: bool) -> io::Result<Ready> {
        let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let mut set = Vec::with_capacity(4);
        let mut add = |fd: Option<_>| {
            fd.map(|fd| {
                set.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
                set.len() - 1
            })
        };
        let (out, err) = (add(self.out.open().filter(|_| heard)), add(self.err.open().filter(|_| heard)));
        let leader = add((!self.ended).then(|| self.group.ended()));
        let listens = !self.ended && self.stop == Stop::No;
        let request = add(listens.then(|| self.request.event.as_fd()));
        match poll(&mut set, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let happened = |place: Option<usize>| place.map_or(PollFlags::empty(), |i| set[i].revents());
        Ok(Ready {
            out: happened(out),
            err: happened(err),
            leader: !happened(leader).is_empty(),
            request: !happened(request).is_empty(),
        })
    }

    fn read(&mut self, ready: &Ready) {
        for (stream, ready) in [(&mut self.out, ready.out), (&mut self.err, ready.err)] {
            if !ready.is_empty() {
                // Something may have been written between the look for it and that for the end.
                let most = if ready.contains(PollFlags::IN) { LONGEST } else { REST };
                stream.read(most, &mut self.buffer, self.sink);
            }
        }
    }

    fn ask_to_stop(&mut self) {
        self.sink.log(Level::Info, "asked to stop: sending SIGTERM to the script's process group");
        self.signalled(self.group.terminate());
        self.stop = Stop::Asked { until: Instant::now() + self.grace };
    }

    fn kill_when_due(&mut self) {
        if let Stop::Asked { until } = self.stop
            && Instant::now() >= until
        {
            self.signalled(self.group.kill());
            self.stop = Stop::Killed { script: !self.ended };
        }
    }

    fn signalled(&self, result: io::Result<()>) {
        if let Err(error) = result {
            // A script may have become another user; the host gives the attempt up in the end.
            self.sink.log(Level::Warn, &format!("cannot signal the script's process group: {error}"));
        }
    }

    /// What is left to do once the script's process has ended.
    fn end(mut self) -> io::Result<Ended> {
        if self.stop != Stop::No {
            // For what was started while the group was looked through. Mostly there is nothing to kill.
            let _ = self.group.kill();
        }
        let duration = self.started.elapsed();
        let until = Instant::now() + LINGER;
        while self.out.pipe.is_some() || self.err.pipe.is_some() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let ready = self.wait(Some(left), true)?;
            self.read(&ready);
        }
        self.out.drain(&mut self.buffer, self.sink);
        self.err.drain(&mut self.buffer, self.sink);
        let Used { status, cpu, memory } = self.group.reap()?;
        Ok(Ended {
            status,
            cpu,
            memory,
            duration,
            stop: self.stop,
            grace: self.grace,
            printed: self.out.used || self.err.used,
            last_error_line: self.err.last,
        })
    }
}

/// One of a script's output streams.
struct Stream {
    /// Until its end was read.
    pipe: Option<OwnedFd>,
    level: Level,
    lines: Lines,
    /// The last line of standard error that was not blank.
    last: String,
    /// Something was printed.
    used: bool,
}

impl Stream {
    fn new(pipe: OwnedFd, level: Level, now: Instant) -> Self {
        Self { pipe: Some(pipe), level, lines: Lines::new(now), last: String::new(), used: false }
    }

    fn open(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once, at most `most` bytes, and passes on the lines that are whole. Gives the number of bytes.
    ///
    /// Waits unless the pipe has something to read.
    fn read(&mut self, most: usize, buffer: &mut Vec<u8>, sink: &impl Sink) -> usize {
        let Some(pipe) = &self.pipe else {
            return 0;
        };
        let most = most.min(LONGEST);
        if buffer.len() < most {
            buffer.resize(most, 0);
        }
        match read(pipe, &mut buffer[..most]) {
            Err(Errno::INTR) => 0,
            // A pipe's reading end has no errors but mistakes: the end, like a length of 0.
            Ok(0) | Err(_) => {
                self.pipe = None;
                0
            }
            Ok(length) => {
                let whole = self.lines.push(&buffer[..length], Instant::now());
                self.log(&whole, sink);
                length
            }
        }
    }

    /// Passes on what is in the pipe now, and the last line even if it is not whole.
    ///
    /// Not until the pipe's end: what the script left behind may keep it open, and go on writing.
    fn drain(&mut self, buffer: &mut Vec<u8>, sink: &impl Sink) {
        let waiting = self.open().and_then(|pipe| ioctl_fionread(pipe).ok()).unwrap_or(0);
        let mut left = usize::try_from(waiting).unwrap_or(usize::MAX);
        while left > 0 && self.pipe.is_some() {
            left -= self.read(left, buffer, sink);
        }
        let rest = self.lines.finish();
        self.log(&rest, sink);
    }

    fn log(&mut self, whole: &[u8], sink: &impl Sink) {
        if whole.is_empty() {
            return;
        }
        self.used = true;
        let text = String::from_utf8_lossy(whole);
        sink.log(self.level, &text);
        if self.level == Level::Stderr
            && let Some(last) = text.lines().rev().map(str::trim).find(|line| !line.is_empty())
        {
            last.clone_into(&mut self.last);
        }
    }
}
