//! Reporters: whoever looks at a run, on a thread of their own.
//!
//! A reporter that fails or is slow never stops the run: it loses its place, or waits.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::event::Event;

/// Shows a run to somebody.
pub trait Reporter: Send {
    /// Whether it wants the lines of the tasks' logs.
    fn wants_logs(&self) -> bool {
        false
    }

    /// Something happened; it is stored already.
    ///
    /// # Errors
    ///
    /// After an error the reporter is told nothing more.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Nothing more is known for the moment: a good time to flush.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Events on their way to the reporter.
pub(super) struct Reports {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// There may be room for lines.
    room: Condvar,
}

/// Where the lines of logs wait until the reporter has caught up.
#[derive(Debug)]
pub(super) struct Gate(Arc<Queue>);

impl Gate {
    /// Waits until the reporter keeps up, or nobody listens any more.
    pub(super) fn wait(&self) {
        let is_full = |waiting: &mut Waiting| waiting.events.len() >= MANY && !waiting.closed;
        drop(self.0.room.wait_while(self.0.lock(), is_full));
    }
}

/// What the reporter has not been told yet.
#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Event>,
    /// The thread sleeps until there is something.
    idle: bool,
    /// Nothing follows.
    closed: bool,
    /// Nobody listens any more.
    failed: bool,
}

/// With so many events under way, log lines have to wait.
const MANY: usize = 16 * 1024;

/// How long the reporter rests before it looks for more: a thread that is woken for each event costs more than they do.
const GATHER: Duration = Duration::from_millis(2);

impl Reports {
    /// Without a thread to be had, nobody looks at the run; it goes on all the same.
    pub(super) fn start(reporter: Box<dyn Reporter>) -> Self {
        let queue = Arc::new(Queue::default());
        let of_thread = Arc::clone(&queue);
        let thread = thread::Builder::new().name("oxidag-report".to_owned());
        let thread = thread.spawn(move || of_thread.tell(reporter)).ok();
        queue.lock().failed = thread.is_none();
        Self { queue, thread }
    }

    /// Takes the events; the reporter is told them soon.
    pub(super) fn send(&self, events: &mut Vec<Event>) {
        let mut waiting = self.queue.lock();
        if waiting.failed {
            events.clear();
        }
        if waiting.events.is_empty() {
            // As it is: a turn may bring millions.
            std::mem::swap(&mut waiting.events, events);
        } else {
            waiting.events.append(events);
        }
        if waiting.idle && !waiting.events.is_empty() {
            waiting.idle = false;
            self.queue.wake.notify_one();
        }
    }

    pub(super) fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.queue))
    }

    /// Whether the reporter keeps up. One that failed does: nobody waits for it.
    pub(super) fn keeps_up(&self) -> bool {
        self.queue.lock().events.len() < MANY
    }

    /// Waits until everything is shown.
    pub(super) fn finish(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic of a reporter has been printed by its thread; the run is over and stored.
            let _ = thread.join();
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Queue {
    fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
        self.room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, mut reporter: Box<dyn Reporter>) {
        while let Some(events) = self.next() {
            let told = events.iter().try_for_each(|event| reporter.event(event));
            if told.and_then(|()| reporter.idle()).is_err() {
                let mut waiting = self.lock();
                waiting.failed = true;
                waiting.events.clear();
                self.room.notify_all();
                return;
            }
            let rest = self.wake.wait_timeout_while(self.lock(), GATHER, |waiting| !waiting.closed);
            drop(rest);
        }
    }

    /// Waits for events; `None` when none can follow.
    fn next(&self) -> Option<Vec<Event>> {
        let mut waiting = self.lock();
        while waiting.events.is_empty() && !waiting.closed {
            waiting.idle = true;
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.idle = false;
        if waiting.events.len() >= MANY {
            self.room.notify_all();
        }
        Some(std::mem::take(&mut waiting.events)).filter(|events| !events.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::event::{EventKind, TaskIdx, Timestamp};

    /// Is told something only as long as somebody lets it.
    struct Slow(Receiver<()>);

    impl Reporter for Slow {
        fn event(&mut self, _: &Event) -> io::Result<()> {
            self.0.recv().map_err(io::Error::other)
        }
    }

    fn events(count: usize) -> Vec<Event> {
        let kind = EventKind::Progress { task: TaskIdx(0), attempt: 1, fraction: None, message: "".into() };
        vec![Event { ts: Timestamp(0), kind }; count]
    }

    #[test]
    fn lines_wait_until_the_reporter_has_caught_up() {
        let (lets, let_go) = channel();
        let reports = Reports::start(Box::new(Slow(let_go)));
        reports.send(&mut events(1));
        // Until the reporter has the first.
        while !reports.queue.lock().events.is_empty() {
            thread::yield_now();
        }
        reports.gate().wait();
        reports.send(&mut events(MANY));
        let (gate, (passes, passed)) = (reports.gate(), channel());
        let line = thread::spawn(move || {
            gate.wait();
            passes.send(())
        });
        assert!(!reports.keeps_up() && passed.try_recv().is_err());
        lets.send(()).unwrap();
        line.join().unwrap().unwrap();
        assert!(reports.keeps_up());
        drop(lets);
    }

    #[test]
    fn nobody_waits_for_a_reporter_that_has_failed_or_is_no_more() {
        let (lets, let_go) = channel();
        let reports = Reports::start(Box::new(Slow(let_go)));
        let gate = reports.gate();
        reports.send(&mut events(2 * MANY));
        drop(lets);
        gate.wait();
        drop(reports);
        gate.wait();
    }
}
