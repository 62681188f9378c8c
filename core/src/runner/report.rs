//! Reporters: whoever looks at a run, on a thread of their own.
//!
//! A reporter that fails or is slow never stops the run: it loses its place, or waits.

use std::io;
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
    thread: JoinHandle<()>,
}

/// With so many batches under way, log lines have to wait.
const MANY: usize = 1024;

impl Reports {
    pub(super) fn start(reporter: Box<dyn Reporter>) -> io::Result<Self> {
        let (events, queue) = unbounded();
        let thread = thread::Builder::new()
            .name("oxidag-report".to_owned())
            .spawn(move || report(reporter, &queue))?;
        Ok(Self { events, thread })
    }

    pub(super) fn send(&self, events: Vec<Event>) {
        // A reporter that failed listens no more.
        let _ = self.events.send(events);
    }

    /// Whether the reporter keeps up.
    pub(super) fn keeps_up(&self) -> bool {
        self.events.len() < MANY
    }

    /// Waits until everything is shown.
    pub(super) fn finish(self) {
        drop(self.events);
        // A panic of a reporter has been printed by its thread; the run is over and stored.
        let _ = self.thread.join();
    }
}

fn report(mut reporter: Box<dyn Reporter>, queue: &Receiver<Vec<Event>>) {
    while let Ok(events) = queue.recv() {
        let shown = events.iter().try_for_each(|event| reporter.event(event));
        let settled = if queue.is_empty() { reporter.idle() } else { Ok(()) };
        if shown.and(settled).is_err() {
            return;
        }
    }
}
