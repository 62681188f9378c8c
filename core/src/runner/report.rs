//! Reporters: whoever looks at a run, on a thread of their own.
//!
//! A reporter that fails or is slow never stops the run: it loses its place, or waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

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
    events: Sender<Vec<Event>>,
    sent: usize,
    shown: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// With so many events under way, log lines have to wait.
const MANY: usize = 16 * 1024;

impl Reports {
    /// Without a thread to be had, nobody looks at the run; it goes on all the same.
    pub(super) fn start(reporter: Box<dyn Reporter>) -> Self {
        let (events, queue) = unbounded();
        let shown = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&shown);
        let thread = thread::Builder::new().name("oxidag-report".to_owned());
        let thread = thread.spawn(move || report(reporter, &queue, &count)).ok();
        Self { events, sent: 0, shown, thread }
    }

    pub(super) fn send(&mut self, events: Vec<Event>) {
        let count = events.len();
        // A reporter that failed listens no more.
        if self.events.send(events).is_ok() {
            self.sent += count;
        }
    }

    /// Whether the reporter keeps up. One that failed does: nobody waits for it.
    pub(super) fn keeps_up(&self) -> bool {
        self.sent.saturating_sub(self.shown.load(Ordering::Relaxed)) < MANY
    }

    /// Waits until everything is shown.
    pub(super) fn finish(self) {
        drop(self.events);
        if let Some(thread) = self.thread {
            // A panic of a reporter has been printed by its thread; the run is over and stored.
            let _ = thread.join();
        }
    }
}

fn report(mut reporter: Box<dyn Reporter>, queue: &Receiver<Vec<Event>>, shown: &AtomicUsize) {
    while let Ok(events) = queue.recv() {
        let told = events.iter().try_for_each(|event| reporter.event(event));
        let settled = if queue.is_empty() { reporter.idle() } else { Ok(()) };
        if told.and(settled).is_err() {
            shown.store(usize::MAX, Ordering::Relaxed);
            return;
        }
        shown.fetch_add(events.len(), Ordering::Relaxed);
    }
}
